//! Cancellation, shared by every stage.
//!
//! The library installs no signal handler: the caller's handler raises a [`Cancel`].

mod remains;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::error::Signal;
use crate::error::{ErrorKind, Result};

pub use remains::LINE_MAX;

pub(crate) use remains::Remain;

use remains::Remains;

/// The time after a signal in which the run removes its own files. The next run removes the rest.
const REMOVAL: Duration = Duration::from_millis(700);
/// The state of a run that is out of memory.
const NO_MEMORY: u8 = 0xfd;
/// The state of a run that can no longer be cancelled.
const COMMITTED: u8 = 0xfe;
/// The state of a run that has succeeded and is only reporting.
const DONE: u8 = 0xff;

/// A flag that any thread may raise and that every long loop checks.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<State>,
    /// The state of the flag that this one is a part of; raised, it cancels this part, too.
    whole: Option<Arc<State>>,
    deadline: Option<Deadline>,
}

/// The time limit of a run.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    seconds: u64,
}

#[derive(Debug, Default)]
struct State {
    /// 0, a signal's number, [`NO_MEMORY`], [`COMMITTED`] or [`DONE`].
    now: AtomicU8,
    /// The time of the first signal, in nanoseconds of a clock that is never 0.
    raised: AtomicU64,
    remains: Remains,
}

impl State {
    fn check(&self) -> Result<()> {
        match self.now.load(Ordering::Acquire) {
            NO_MEMORY => Err(ErrorKind::NoMemory.into()),
            number => Signal::of(number).map_or(Ok(()), |signal| Err(ErrorKind::Cancelled(signal).into())),
        }
    }

    fn since(&self) -> Option<Duration> {
        let raised = self.raised.load(Ordering::Acquire);
        (raised != 0).then(|| Duration::from_nanos(now().saturating_sub(raised)))
    }
}

/// The effect of raising a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The run stops; the signal that first raised the flag, and the time since.
    Stops(Signal, Duration),
    /// Too late: the run is publishing its output.
    Committed,
    /// Too late: the run has succeeded.
    Done,
}

impl Cancel {
    /// Cancels the run. A signal handler may call it.
    pub fn raise(&self, signal: Signal) -> CancelOutcome {
        let _ = self.own.raised.compare_exchange(0, now(), Ordering::AcqRel, Ordering::Acquire);
        let _ = self.own.now.compare_exchange(0, signal.number(), Ordering::AcqRel, Ordering::Acquire);
        self.raised().unwrap_or(CancelOutcome::Stops(signal, Duration::ZERO))
    }

    /// Cancels the run because memory is exhausted. An allocator may call it.
    pub fn exhaust(&self) {
        let _ = self.own.now.compare_exchange(0, NO_MEMORY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Returns the effect if the flag was raised. A signal handler may call it.
    #[must_use]
    pub fn raised(&self) -> Option<CancelOutcome> {
        let since = self.own.since()?;
        match self.own.now.load(Ordering::Acquire) {
            COMMITTED => Some(CancelOutcome::Committed),
            DONE => Some(CancelOutcome::Done),
            number => Signal::of(number).map(|signal| CancelOutcome::Stops(signal, since)),
        }
    }

    /// Returns the same flag with a deadline that starts now: after it, the run stops as after a signal.
    #[must_use]
    pub fn within(self, seconds: u64) -> Self {
        let at = Instant::now().checked_add(Duration::from_secs(seconds));
        Self { deadline: at.map(|at| Deadline { at, seconds }), ..self }
    }

    /// Returns a flag for a part of the work: raising it stops that part alone; raising this one stops both.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { own: Arc::default(), whole: Some(Arc::clone(&self.own)), deadline: self.deadline }
    }

    /// Returns a flag for a part of the work with a deadline that starts now, unless that of the whole is earlier.
    #[must_use]
    pub(crate) fn part_within(&self, seconds: u64) -> Self {
        let part = self.part().within(seconds);
        let earlier = self.deadline.filter(|whole| part.deadline.is_none_or(|own| whole.at < own.at));
        Self { deadline: earlier.or(part.deadline), ..part }
    }

    /// Returns an error if the run was cancelled; cheap enough to call for every block of data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`]; [`ErrorKind::Deadline`]; [`ErrorKind::NoMemory`].
    pub fn check(&self) -> Result<()> {
        self.check_flag()?;
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline.at => {
                Err(ErrorKind::Deadline { seconds: deadline.seconds }.into())
            }
            _ => Ok(()),
        }
    }

    fn check_flag(&self) -> Result<()> {
        self.whole.as_ref().map_or(Ok(()), |whole| whole.check())?;
        self.own.check()
    }

    /// Makes every later signal come too late, so that the output and the exit code agree.
    ///
    /// # Errors
    ///
    /// The errors of [`Cancel::check`]: the run was cancelled before.
    pub fn commit(&self) -> Result<()> {
        self.check()?;
        let _ = self.own.now.compare_exchange(0, COMMITTED, Ordering::AcqRel, Ordering::Acquire);
        self.check_flag()
    }

    /// Records that a committed run has succeeded.
    pub fn succeed(&self) {
        let _ = self.own.now.compare_exchange(COMMITTED, DONE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Records a private directory that the run has to remove; `swept` is true if a later run would remove it.
    pub(crate) fn remember(&self, path: &str, swept: bool) -> Option<Remain> {
        self.outermost().remains.add(path, swept)
    }

    /// Forgets a directory that was removed.
    pub(crate) fn forget(&self, remain: Remain) {
        self.outermost().remains.remove(remain);
    }

    /// Writes and returns the message that lists the private directories left by a run that ends now; it is empty if
    /// there are none, or if the message was taken before. A signal handler may call it.
    pub fn take_remains<'a>(&self, line: &'a mut [u8; LINE_MAX]) -> &'a [u8] {
        self.outermost().remains.take_line(line)
    }

    fn outermost(&self) -> &State {
        self.whole.as_ref().unwrap_or(&self.own)
    }

    /// Returns true if a signal was received, whatever its effect: the rest must be removed quickly.
    #[must_use]
    pub fn is_short_of_time(&self) -> bool {
        self.own.since().is_some()
    }

    /// Returns true if the time for removal after a signal is over: the rest is left to the next run.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.own.since().is_some_and(|since| since >= REMOVAL)
    }
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    u64::try_from(nanos).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cancelled_alone_and_with_its_run() {
        let whole = Cancel::default();
        let part = whole.part();
        part.raise(Signal::Terminate);
        assert!(whole.check().is_ok() && part.check().is_err());
        let part = whole.part();
        whole.raise(Signal::Interrupt);
        assert_eq!(part.check().unwrap_err().to_string(), "stopped by SIGINT");
    }

    #[test]
    fn a_committed_run_is_not_stopped_and_a_stopped_one_does_not_commit() {
        let cancel = Cancel::default();
        assert!(!cancel.is_short_of_time() && cancel.raised().is_none());
        cancel.commit().unwrap();
        assert_eq!(cancel.raise(Signal::Terminate), CancelOutcome::Committed);
        assert!(cancel.check().is_ok() && cancel.is_short_of_time());
        cancel.succeed();
        assert_eq!(cancel.raise(Signal::Hangup), CancelOutcome::Done);
        let cancel = Cancel::default();
        assert!(matches!(cancel.raise(Signal::Hangup), CancelOutcome::Stops(Signal::Hangup, _)));
        assert!(matches!(cancel.raise(Signal::Terminate), CancelOutcome::Stops(Signal::Hangup, _)));
        assert_eq!(cancel.commit().unwrap_err().to_string(), "stopped by SIGHUP");
        cancel.succeed();
        assert!(cancel.check().is_err() && !cancel.is_out_of_time());
    }

    #[test]
    fn exhausted_memory_cancels_a_run_and_its_parts() {
        let cancel = Cancel::default();
        let part = cancel.part();
        cancel.exhaust();
        assert_eq!(part.check().unwrap_err().to_string(), "out of memory");
        assert!(cancel.commit().is_err());
    }

    #[test]
    fn a_deadline_cancels_a_run_and_its_parts() {
        let whole = Cancel::default();
        assert!(whole.clone().within(3600).part().check().is_ok());
        assert!(whole.clone().within(u64::MAX).check().is_ok());
        let past = whole.clone().within(0);
        let error = past.part().check().unwrap_err();
        assert_eq!(error.to_string(), "the run is not done after 0 seconds, which --deadline allows");
        assert_eq!(error.fault().exit_code(), 7);
        whole.raise(Signal::Interrupt);
        assert_eq!(past.check().unwrap_err().to_string(), "stopped by SIGINT");
    }
}
