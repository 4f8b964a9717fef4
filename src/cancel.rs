//! A request to stop, shared by every stage.
//!
//! The library installs no signal handler: whoever does tells it through a [`Cancel`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{ErrorKind, Result};

/// The signals that end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: the terminal went away.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: someone asked.
    Terminate,
}

impl Signal {
    /// Returns the signal's number on Linux.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// A flag that any thread may raise and every long loop looks at.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicU8>,
    /// Raised, it counts here as well.
    whole: Option<Arc<AtomicU8>>,
}

impl Cancel {
    /// Asks every stage to stop.
    pub fn raise(&self, signal: Signal) {
        self.own.store(signal.number(), Ordering::Relaxed);
    }

    /// Returns a flag for a part of the work: raised, it stops that part alone; raising this one stops both.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { own: Arc::default(), whole: Some(Arc::clone(&self.own)) }
    }

    /// Returns an error once a stop was asked for; cheap enough for every block of data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        let own = self.own.load(Ordering::Relaxed);
        let whole = self.whole.as_ref().map_or(0, |whole| whole.load(Ordering::Relaxed));
        let raised = if whole == 0 { own } else { whole };
        [Signal::Hangup, Signal::Interrupt, Signal::Terminate]
            .into_iter()
            .find(|signal| signal.number() == raised)
            .map_or(Ok(()), |signal| Err(ErrorKind::Cancelled(signal).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_and_with_the_whole() {
        let whole = Cancel::default();
        let part = whole.part();
        part.raise(Signal::Terminate);
        assert!(whole.check().is_ok() && part.check().is_err());
        let part = whole.part();
        whole.raise(Signal::Interrupt);
        assert_eq!(part.check().unwrap_err().to_string(), "stopped by SIGINT");
    }
}
