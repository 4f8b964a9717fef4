//! Reports the beginning and the end of each stage to the observer, and records how long it took.

use std::time::Instant;

use crate::error::Result;
use crate::progress::StageSeconds;
use crate::progress::{Progress, Stage};

/// Runs stages and records their times.
pub(crate) struct StageTimer<'a> {
    progress: &'a dyn Progress,
    seconds: Vec<StageSeconds>,
}

impl<'a> StageTimer<'a> {
    pub fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, seconds: Vec::new() }
    }

    pub fn progress(&self) -> &'a dyn Progress {
        self.progress
    }

    pub fn run<T>(&mut self, stage: Stage, total: Option<u64>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.progress.begin(stage, total);
        let started = Instant::now();
        let result = work();
        self.seconds.push(StageSeconds { stage, seconds: started.elapsed() });
        self.progress.end();
        result
    }

    pub fn seconds(self) -> Vec<StageSeconds> {
        self.seconds
    }
}
