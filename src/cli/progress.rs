//! Shows what a run is doing: a bar on a terminal, else a line now and then, and only when a stage takes long.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use planish::progress::{Progress, Stage};

/// How long a stage may be silent where there is no terminal.
const PATIENCE: Duration = Duration::from_secs(5);

/// The forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A bar on a terminal, else plain
    Auto,
    /// A line for each stage that takes long
    Plain,
    /// A JSON line for each stage and for what it does
    Json,
    /// Nothing
    None,
}

/// Returns the observer for a form.
pub fn observer(form: Form) -> Box<dyn Progress + Send> {
    match form {
        Form::Auto if std::io::stderr().is_terminal() => Box::new(Bar::default()),
        Form::Auto | Form::Plain => Box::new(Lines::new(plain)),
        Form::Json => Box::new(Lines::new(json)),
        Form::None => Box::new(planish::progress::Silent),
    }
}

/// A bar that is there while a stage lasts.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut lock(&self.0));
    }
}

impl Progress for Bar {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let (bar, template) = match (total, stage) {
            (Some(total), Stage::Layers | Stage::Cache) => {
                (ProgressBar::new(total), "{msg:18} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {elapsed}")
            }
            (Some(total), _) => {
                (ProgressBar::new(total), "{msg:18} {wide_bar} {human_pos}/{human_len} inodes {elapsed}")
            }
            (None, _) => (ProgressBar::new_spinner(), "{msg:18} {spinner} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(stage.text());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with(|current| *current = Some(bar));
    }

    fn advance(&self, amount: u64) {
        self.with(|current| current.iter().for_each(|bar| bar.inc(amount)));
    }

    fn end(&self) {
        self.with(|current| current.take().iter().for_each(ProgressBar::finish_and_clear));
    }
}

/// What a line is about.
#[derive(Clone, Copy)]
struct Now {
    stage: Stage,
    total: Option<u64>,
    done: u64,
    started: Instant,
    said: Instant,
    event: Event,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Begin,
    Advance,
    End,
}

/// Lines on stderr, and the thread that says how long a stage has been running.
struct Lines {
    state: Arc<Mutex<Option<Now>>>,
    format: Format,
}

type Format = fn(&Now) -> Option<String>;

impl Lines {
    fn new(format: Format) -> Self {
        let state = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&state);
        std::thread::spawn(move || {
            while let Some(state) = watched.upgrade() {
                if let Some(now) = lock(&state).as_mut().filter(|now: &&mut Now| now.said.elapsed() >= PATIENCE) {
                    now.said = Instant::now();
                    say(format, &Now { event: Event::Advance, ..*now });
                }
                drop(state);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { state, format }
    }
}

fn say(format: Format, now: &Now) {
    if let Some(line) = format(now) {
        // A closed stderr must not end the work.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress for Lines {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let started = Instant::now();
        let now = Now { stage, total, done: 0, started, said: started, event: Event::Begin };
        say(self.format, &now);
        *lock(&self.state) = Some(now);
    }

    fn advance(&self, amount: u64) {
        lock(&self.state).iter_mut().for_each(|now| now.done += amount);
    }

    fn end(&self) {
        if let Some(now) = lock(&self.state).take() {
            say(self.format, &Now { event: Event::End, ..now });
        }
    }
}

/// Says how far a stage is; one that ends soon goes without a word.
fn plain(now: &Now) -> Option<String> {
    let (text, seconds) = (now.stage.text(), now.started.elapsed().as_secs());
    match (now.event, now.total) {
        (Event::Advance, Some(total)) => {
            let percent = now.done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
            Some(format!("planish: {text}: {percent}% after {seconds} s"))
        }
        (Event::Advance, None) => Some(format!("planish: {text}: {seconds} s")),
        (Event::Begin | Event::End, _) => None,
    }
}

fn json(now: &Now) -> Option<String> {
    serde_json::to_string(&Line {
        event: now.event,
        stage: now.stage,
        done: now.done,
        total: now.total,
        milliseconds: now.started.elapsed().as_millis(),
    })
    .ok()
}

/// A line of `--progress=json`.
#[derive(serde::Serialize)]
struct Line {
    event: Event,
    stage: Stage,
    done: u64,
    total: Option<u64>,
    milliseconds: u128,
}
