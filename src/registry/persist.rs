//! Tries again, and when not to.

use std::time::Duration;

use super::Asking;
use super::patience::{Patience, pause};
use super::trouble::{Tried, Trouble, error};
use crate::error::{Asked, RegistryProblem, Result};
use crate::progress::News;

/// How often a waiting request looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// Tries until it works, the failure is final, or the tries are used up.
///
/// Who stalls twice without a byte in between does not get a third try: that would take minutes, and help nobody.
pub(super) async fn persist<T>(
    host: &str,
    asked: &Asked,
    patience: &Patience,
    asking: Asking<'_>,
    mut attempt: impl AsyncFnMut(bool) -> Tried<T>,
) -> Result<T> {
    let mut failed = 0;
    let mut stalled_at = None;
    loop {
        let (problem, after) = match or_stop(attempt(stalled_at.is_some()), asking).await? {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Again(problem, after)) => (problem, after),
        };
        failed += 1;
        let stalled = match problem {
            RegistryProblem::Stalled { got, .. } => Some(got),
            _ => None,
        };
        let in_vain = matches!((stalled_at, stalled), (Some(before), Some(now)) if now <= before);
        if failed >= patience.tries || in_vain {
            return Err(error(host, asked, problem));
        }
        stalled_at = stalled;
        let wait = after.unwrap_or_default().max(pause(failed));
        if wait > patience.longest_wait {
            return Err(error(host, asked, RegistryProblem::RateLimited { wait: wait.as_secs() }));
        }
        let why = error(host, asked, problem).to_string();
        asking.progress.tell(&News::Again { why: &why, wait, failed, tries: patience.tries });
        or_stop(tokio::time::sleep(wait), asking).await?;
    }
}

/// Waits for something, and gives up once a stop was asked for.
async fn or_stop<T>(work: impl Future<Output = T>, asking: Asking<'_>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        asking.cancel.check()?;
        if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::{Cancel, Signal};
    use crate::limits::Limits;
    use crate::progress::Silent;

    /// Returns how many tries there were, and how they ended.
    fn tried(failures: &[RegistryProblem], after: Option<u64>) -> (usize, std::result::Result<(), String>) {
        let (limits, cancel) = (Limits::default(), Cancel::default());
        let asking = Asking { limits: &limits, progress: &Silent, cancel: &cancel };
        let mut tries = 0;
        let attempt = async |_| {
            tries += 1;
            match failures.get(tries - 1) {
                Some(problem) => Err(Trouble::Again(problem.clone(), after.map(Duration::from_secs))),
                None => Ok(()),
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let done = runtime.block_on(persist("host", &Asked::Host, &Patience::default(), asking, attempt));
        (tries, done.map_err(|error| error.to_string()))
    }

    fn stalled(got: u64) -> RegistryProblem {
        RegistryProblem::Stalled { seconds: 30, got }
    }

    #[test]
    fn what_passes_is_outlived_and_what_stays_is_told() {
        let off = || RegistryProblem::Interrupted("off".into());
        assert_eq!(tried(&[off(), off()], None), (3, Ok(())));
        let (tries, end) = tried(&[off(), off(), off(), off(), off()], None);
        assert_eq!((tries, end), (5, Err("host: the registry broke off: off".into())));
    }

    #[test]
    fn two_stalls_in_a_row_are_enough_unless_bytes_came_between() {
        assert_eq!(tried(&[stalled(0), stalled(0)], None).0, 2);
        assert_eq!(tried(&[stalled(0), stalled(9), stalled(9)], None).0, 3);
        assert_eq!(tried(&[stalled(0), stalled(9)], None), (3, Ok(())));
    }

    #[test]
    fn nobody_is_waited_for_a_day() {
        let busy = RegistryProblem::Status { status: 429, url: "u".into(), said: String::new() };
        let (tries, end) = tried(&[busy], Some(86_400));
        assert_eq!(tries, 1);
        assert!(end.unwrap_err().contains("86400 s"));
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let (limits, cancel) = (Limits::default(), Cancel::default());
        cancel.raise(Signal::Interrupt);
        let asking = Asking { limits: &limits, progress: &Silent, cancel: &cancel };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let attempt = async |_| -> Tried<()> { std::future::pending().await };
        let end = runtime.block_on(persist("host", &Asked::Host, &Patience::default(), asking, attempt));
        assert_eq!(end.unwrap_err().to_string(), "stopped by SIGINT");
    }
}
