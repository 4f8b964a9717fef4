//! Decides whether a failed request is retried.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use hyper_util::client::legacy;

use super::error_body;
use super::http::Request;
use super::origin::Origin;
use super::tls;
use super::wire::{self, ConnectError};
use crate::error::{Error, ErrorKind, RegistryProblem, Resource};

/// The result of one attempt.
pub(super) type Attempt<T> = Result<T, AttemptError>;

/// A failure of one attempt.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// Another attempt may succeed, after the time that the registry asked for, if any.
    Transient(RegistryProblem, Option<Duration>),
    /// Another attempt would fail, too.
    Permanent(Error),
}

impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

/// Returns the error of a registry.
pub(super) fn error(host: &str, resource: &Resource, problem: RegistryProblem) -> Error {
    ErrorKind::Registry { host: host.to_owned(), resource: resource.clone(), problem }.into()
}

/// Returns the failure of a request to `at`, possibly after a redirect. A refused certificate is permanent, and so is a
/// peer that sends bytes without end.
pub(super) fn of_request(fault: &legacy::Error, request: &Request<'_>, at: &Origin) -> AttemptError {
    let last = |problem| AttemptError::Permanent(request.error(problem));
    if wire::is_exhausted(fault) {
        return last(RegistryProblem::Exhausted(wire::ALLOWANCE));
    }
    match tls::tls_error(fault) {
        Some(tls::TlsError::Untrusted(why)) => return last(RegistryProblem::Untrusted(why)),
        Some(tls::TlsError::NotTls) => return last(RegistryProblem::NotTls),
        None => {}
    }
    let cause = root_cause(fault);
    let place = at.host_and_port();
    let why = if place == request.host { cause } else { format!("{place}: {cause}") };
    let is_no_http = |cause: &(dyn StdError + 'static)| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_parse() && !error.to_string().contains("too large"))
    };
    let problem = match causes(fault).find_map(|cause| cause.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Late { handshake: false, .. }) => RegistryProblem::Late(why),
        Some(ConnectError::Late { handshake: true, .. }) => RegistryProblem::Handshake { why, late: true },
        Some(ConnectError::Handshake(_)) => RegistryProblem::Handshake { why, late: false },
        Some(ConnectError::Network(_) | ConnectError::Proxy(_)) => RegistryProblem::Unreachable(why),
        None if !at.is_https() && causes(fault).any(is_no_http) => RegistryProblem::NotHttp(why),
        None => RegistryProblem::Interrupted(why),
    };
    AttemptError::Transient(problem, None)
}

/// Returns an error and its causes, the outermost first. The cause of an `io` error is the error that it wraps.
pub(super) fn causes<'a>(fault: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(fault), |&fault| {
        let wrapped = fault.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map_or_else(|| fault.source(), |wrapped| Some(wrapped as &(dyn StdError + 'static)))
    })
}

/// Returns the innermost cause, which a user can act on: "Connection refused", not "error sending request".
pub(super) fn root_cause(fault: &(dyn StdError + 'static)) -> String {
    let text = |cause: &(dyn StdError + 'static)| match cause.downcast_ref() {
        Some(error) => tls::words(error),
        None => cause.to_string(),
    };
    causes(fault).last().map(|cause| error_body::escaped(text(cause))).unwrap_or_default()
}

/// Returns true if a status may change by itself.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504) || (status.is_server_error() && status != 501)
}

/// Returns the seconds of a `Retry-After`; dates and invalid values count as absent.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_and_permanent_failures_are_distinguished() {
        let passing = |status: u16| is_transient(StatusCode::from_u16(status).unwrap());
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
