//! What is to be done about a failure: try again, or tell.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::said;
use super::tls;
use crate::error::{Asked, Error, ErrorKind, RegistryProblem};

/// What comes of one try.
pub(super) type Tried<T> = Result<T, Trouble>;

/// A failure of one try.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another try may do better, after the time that the registry asked for, if it did.
    Again(RegistryProblem, Option<Duration>),
    /// It will not.
    Final(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Returns the error of a registry.
pub(super) fn error(host: &str, asked: &Asked, problem: RegistryProblem) -> Error {
    ErrorKind::Registry { host: host.to_owned(), asked: asked.clone(), problem }.into()
}

/// Returns what a failed request to `at` means, which a redirect may have led to. A certificate that is not accepted
/// stays so.
pub(super) fn of_request(fault: &reqwest::Error, host: &str, asked: &Asked, at: &str) -> Trouble {
    if let Some(refusal) = tls::refusal(fault) {
        return Trouble::Final(error(host, asked, RegistryProblem::Untrusted(refusal)));
    }
    let cause = root_cause(fault);
    let why = if at == host { cause } else { format!("{at}: {cause}") };
    let problem =
        if fault.is_connect() { RegistryProblem::Unreachable(why) } else { RegistryProblem::Interrupted(why) };
    Trouble::Again(problem, None)
}

/// Returns the innermost cause, which is what a person can act on: "Connection refused", not "error sending request".
pub(super) fn root_cause(fault: &dyn std::error::Error) -> String {
    let mut cause = fault;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    said::escaped(cause.to_string())
}

/// Whether a status may change by itself.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504) || (status.is_server_error() && status != 501)
}

/// Returns the seconds of a `Retry-After`; dates and junk are as good as none.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let passing = |status: u16| is_passing(StatusCode::from_u16(status).unwrap());
        assert!([408, 429, 500, 502, 503, 504, 599].into_iter().all(passing));
        assert!(![200, 400, 401, 403, 404, 410, 416, 501].into_iter().any(passing));
    }

    #[test]
    fn retry_after_counts_in_seconds() {
        let after = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(after("2"), Some(Duration::from_secs(2)));
        assert_eq!(after("86400"), Some(Duration::from_secs(86_400)));
        for junk in ["", "-1", "soon", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(after(junk), None, "{junk}");
        }
    }
}
