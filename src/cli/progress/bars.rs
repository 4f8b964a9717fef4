//! Progress bars on a terminal: one for the stage, and one for each blob in transfer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use planish::Digest;
use planish::progress::{Event, Progress, Stage};

use super::transfers::Transfers;
use super::{in_background, line, lock, say};

/// The interval of updates without events.
const TICK: Duration = Duration::from_millis(200);

/// An observer that draws bars and removes them at the end.
pub struct Bars {
    all: MultiProgress,
    verbose: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    stage: Option<(Stage, ProgressBar)>,
    blobs: HashMap<Digest, ProgressBar>,
    transfers: Transfers,
}

impl Bars {
    pub fn new(verbose: bool) -> Self {
        let state = State { stage: None, blobs: HashMap::new(), transfers: Transfers::new() };
        let state = Arc::new(Mutex::new(state));
        let watched = Arc::downgrade(&state);
        let tick = move || {
            while let Some(state) = watched.upgrade() {
                lock(&state).stage.iter().for_each(|(_, bar)| bar.tick());
                drop(state);
                std::thread::sleep(TICK);
            }
        };
        // indicatif's own ticker panics if no thread can be started.
        in_background(tick);
        Self { all: MultiProgress::new(), verbose, state }
    }
}

impl Progress for Bars {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let (bar, template) = match (total, stage) {
            (Some(total), stage) if stage.counts_bytes() => {
                (ProgressBar::new(total), "{msg:18} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {elapsed}")
            }
            (Some(total), _) => {
                (ProgressBar::new(total), "{msg:18} {wide_bar} {human_pos}/{human_len} inodes {elapsed}")
            }
            (None, _) => (ProgressBar::new_spinner(), "{msg:18} {spinner} {elapsed}"),
        };
        style(&bar, template);
        let mut state = lock(&self.state);
        if let Some((_, last)) = state.stage.take() {
            last.finish_and_clear();
        }
        let bar = self.all.add(bar);
        bar.set_message(stage.text());
        state.stage = Some((stage, bar));
    }

    fn advance(&self, amount: u64) {
        lock(&self.state).stage.iter().for_each(|(_, bar)| bar.inc(amount));
    }

    fn end(&self) {
        let mut state = lock(&self.state);
        state.stage.take().iter().for_each(|(_, bar)| bar.finish_and_clear());
        state.blobs.drain().for_each(|(_, bar)| bar.finish_and_clear());
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(line) = line(event, self.verbose) {
            self.all.suspend(|| say(&line));
        }
        let mut state = lock(&self.state);
        state.transfers.note(event);
        match *event {
            Event::Fetching { digest, bytes } => {
                let bar = self.all.add(ProgressBar::new(bytes));
                style(&bar, "  {msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}");
                bar.set_message(digest.short());
                state.blobs.insert(digest.clone(), bar);
            }
            Event::Progress { digest, bytes } => state.blobs.get(digest).iter().for_each(|bar| bar.set_position(bytes)),
            Event::Fetched { digest, .. } => {
                state.blobs.remove(digest).iter().for_each(ProgressBar::finish_and_clear);
            }
            Event::Cached { .. } => {
                let cached = state.transfers.cached();
                let said = |(stage, bar): &(Stage, ProgressBar)| {
                    bar.set_message(format!("{}, {cached} cached", stage.text()));
                };
                state.stage.iter().for_each(said);
            }
            _ => {}
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}
