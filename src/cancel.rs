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
pub struct Cancel(Arc<AtomicU8>);

impl Cancel {
    /// Asks every stage to stop.
    pub fn raise(&self, signal: Signal) {
        self.0.store(signal.number(), Ordering::Relaxed);
    }

    /// Returns an error once a stop was asked for; cheap enough for every block of data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        let raised = self.0.load(Ordering::Relaxed);
        [Signal::Hangup, Signal::Interrupt, Signal::Terminate]
            .into_iter()
            .find(|signal| signal.number() == raised)
            .map_or(Ok(()), |signal| Err(ErrorKind::Cancelled(signal).into()))
    }
}
