//! Retries transient failures.

use std::time::Duration;

use super::RequestContext;
use super::attempt::{Attempt, AttemptError, error};
use super::timeouts::{RetryPolicy, pause};
use crate::error::{RegistryProblem, Resource, Result};
use crate::progress::Event;

/// The interval at which a waiting request checks for cancellation.
const LOOK: Duration = Duration::from_millis(50);

/// Attempts until success, a permanent failure, or the last attempt.
///
/// A request that stalls twice without a further byte is not attempted a third time, whatever happens in between: that
/// would take minutes and not help.
pub(super) async fn retry<T>(
    host: &str,
    resource: &Resource,
    patience: &RetryPolicy,
    context: RequestContext<'_>,
    mut attempt: impl AsyncFnMut(bool) -> Attempt<T>,
) -> Result<T> {
    let mut failed = 0;
    let mut stalled: Option<(u64, RegistryProblem)> = None;
    loop {
        let (problem, after) = match or_stop(attempt(stalled.is_some()), context).await? {
            Ok(value) => return Ok(value),
            Err(AttemptError::Permanent(error)) => return Err(error),
            Err(AttemptError::Transient(problem, after)) => (problem, after),
        };
        failed += 1;
        let got = match problem {
            RegistryProblem::Stalled { got, .. } => Some(got),
            RegistryProblem::Late(_) | RegistryProblem::Handshake { late: true, .. } => Some(0),
            _ => None,
        };
        if let (Some((before, first)), Some(now)) = (&stalled, got)
            && now <= *before
        {
            // A missing connection says more than that a less patient attempt received nothing.
            let unconnected = matches!(first, RegistryProblem::Late(_) | RegistryProblem::Handshake { .. });
            return Err(error(host, resource, if unconnected { first.clone() } else { problem }));
        }
        if failed >= patience.tries {
            return Err(error(host, resource, problem));
        }
        stalled = got.map(|got| (got, problem.clone())).or(stalled);
        let wait = after.unwrap_or_default().max(pause(failed));
        if wait > patience.longest_wait {
            return Err(error(host, resource, RegistryProblem::RateLimited { wait: wait.as_secs() }));
        }
        let why = error(host, resource, problem).to_string();
        context.progress.event(&Event::Retry { why: &why, wait, failed, tries: patience.tries });
        or_stop(tokio::time::sleep(wait), context).await?;
    }
}

/// Waits for a future, and gives up if the run is cancelled.
async fn or_stop<T>(work: impl Future<Output = T>, context: RequestContext<'_>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        context.cancel.check()?;
        if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::error::Signal;
    use crate::limits::Limits;
    use crate::progress::NoProgress;

    /// Returns the number of attempts, and how they ended.
    fn tried(failures: &[RegistryProblem], after: Option<u64>) -> (usize, std::result::Result<(), String>) {
        let (limits, cancel) = (Limits::default(), Cancel::default());
        let context = RequestContext { limits: &limits, progress: &NoProgress, cancel: &cancel };
        let mut tries = 0;
        let attempt = async |_| {
            tries += 1;
            match failures.get(tries - 1) {
                Some(problem) => Err(AttemptError::Transient(problem.clone(), after.map(Duration::from_secs))),
                None => Ok(()),
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = runtime.block_on(retry("host", &Resource::Host, &RetryPolicy::default(), context, attempt));
        (tries, done.map_err(|error| error.to_string()))
    }

    fn stalled(got: u64) -> RegistryProblem {
        RegistryProblem::Stalled { seconds: 30, got }
    }

    #[test]
    fn transient_failures_are_retried_and_permanent_ones_reported() {
        let off = || RegistryProblem::Interrupted("off".into());
        assert_eq!(tried(&[off(), off()], None), (3, Ok(())));
        let (tries, end) = tried(&[off(), off(), off(), off(), off()], None);
        assert_eq!((tries, end), (5, Err("host: the registry broke off: off".into())));
    }

    #[test]
    fn two_consecutive_stalls_without_bytes_are_final() {
        assert_eq!(tried(&[stalled(0), stalled(0)], None).0, 2);
        assert_eq!(tried(&[stalled(0), stalled(9), stalled(9)], None).0, 3);
        assert_eq!(tried(&[stalled(0), stalled(9)], None), (3, Ok(())));
        let off = || RegistryProblem::Interrupted("off".into());
        assert_eq!(tried(&[stalled(0), off(), stalled(0)], None).0, 3);
        let (tries, end) = tried(&[RegistryProblem::Late("no connection".into()), stalled(0)], None);
        assert_eq!((tries, end), (2, Err("host: the registry cannot be reached: no connection".into())));
    }

    #[test]
    fn a_long_retry_after_is_not_waited_for() {
        let busy = RegistryProblem::Status { status: 429, url: "u".into(), said: String::new() };
        let (tries, end) = tried(&[busy], Some(86_400));
        assert_eq!(tries, 1);
        assert!(end.unwrap_err().contains("86400 s"));
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let (limits, cancel) = (Limits::default(), Cancel::default());
        cancel.raise(Signal::Interrupt);
        let context = RequestContext { limits: &limits, progress: &NoProgress, cancel: &cancel };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let attempt = async |_| -> Attempt<()> { std::future::pending().await };
        let end = runtime.block_on(retry("host", &Resource::Host, &RetryPolicy::default(), context, attempt));
        assert_eq!(end.unwrap_err().to_string(), "stopped by SIGINT");
    }
}
