//! Progress lines on stderr: as text without a terminal, and as JSON for programs.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use planish::Escaped;
use planish::progress::{Event, Progress, Stage};

use super::transfers::{Total, Transfers};
use super::{in_background, line, lock, say};
use crate::cli::summary;

/// The time after which a stage is reported for the first time, and a program is told again.
const FIRST: Duration = Duration::from_secs(1);
/// The time after which a person is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// The format of the JSON lines; it grows when a field changes its meaning or disappears.
const FORMAT: u32 = 1;
/// True if the progress of this run is JSON lines.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Prints the end of a run as a JSON line, if its progress is JSON lines.
pub fn json_end(code: u8, error: Option<&str>, hint: Option<&str>) {
    if IN_USE.load(Ordering::Relaxed) {
        say(&serde_json::json!({"event": "exit", "code": code, "error": error, "hint": hint}).to_string());
    }
}

/// Prints the failure of one of several images as a JSON line, if the progress is JSON lines.
pub fn json_error(error: &str, hint: Option<&str>, code: u8) {
    if IN_USE.load(Ordering::Relaxed) {
        say(&serde_json::json!({"event": "error", "code": code, "error": error, "hint": hint}).to_string());
    }
}

/// An observer that prints lines, with a thread that reports long stages.
pub struct Lines {
    state: Arc<Mutex<State>>,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Plain { verbose: bool },
    Json,
}

struct State {
    now: Option<CurrentStage>,
    transfers: Transfers,
}

/// The stage that a line is about.
#[derive(Clone, Copy)]
struct CurrentStage {
    stage: Stage,
    total: Option<u64>,
    done: u64,
    started: Instant,
    said: Instant,
    event: StageEvent,
    transfers: Option<Total>,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum StageEvent {
    Begin,
    Advance,
    End,
}

impl Lines {
    pub fn plain(verbose: bool) -> Self {
        Self::new(Form::Plain { verbose })
    }

    pub fn json() -> Self {
        let run = serde_json::json!({
            "event": "run", "format": FORMAT, "planish": env!("CARGO_PKG_VERSION"), "pid": std::process::id(),
        });
        say(&run.to_string());
        IN_USE.store(true, Ordering::Relaxed);
        Self::new(Form::Json)
    }

    fn new(form: Form) -> Self {
        let state = Arc::new(Mutex::new(State { now: None, transfers: Transfers::new() }));
        let watched = Arc::downgrade(&state);
        let watch = move || {
            while let Some(state) = watched.upgrade() {
                let mut locked = lock(&state);
                let transfers = locked.transfers.total();
                if let Some(now) = locked.now.as_mut().filter(|now| now.said.elapsed() >= form.patience(now)) {
                    now.said = Instant::now();
                    form.say(&CurrentStage { event: StageEvent::Advance, transfers, ..*now });
                }
                drop(locked);
                drop(state);
                std::thread::sleep(Duration::from_millis(500));
            }
        };
        in_background(watch);
        Self { state, form }
    }
}

impl Progress for Lines {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let started = Instant::now();
        let now =
            CurrentStage { stage, total, done: 0, started, said: started, event: StageEvent::Begin, transfers: None };
        self.form.say(&now);
        lock(&self.state).now = Some(now);
    }

    fn advance(&self, amount: u64) {
        lock(&self.state).now.iter_mut().for_each(|now| now.done += amount);
    }

    fn end(&self) {
        let mut state = lock(&self.state);
        if let Some(now) = state.now.take() {
            self.form.say(&CurrentStage { event: StageEvent::End, transfers: state.transfers.total(), ..now });
        }
    }

    fn event(&self, event: &Event<'_>) {
        lock(&self.state).transfers.note(event);
        let text = match self.form {
            Form::Plain { verbose } => line(event, verbose),
            Form::Json => json_news(event),
        };
        text.iter().for_each(|line| say(line));
    }
}

impl Form {
    /// Returns the time after which a stage is reported again.
    fn patience(self, now: &CurrentStage) -> Duration {
        match self {
            Self::Plain { .. } if now.said > now.started => AGAIN,
            _ => FIRST,
        }
    }

    fn say(self, now: &CurrentStage) {
        let text = match self {
            Self::Plain { .. } => plain(now),
            Self::Json => json(now),
        };
        text.iter().for_each(|line| say(line));
    }
}

/// Returns the progress of a stage as text; `None` for a stage that has just begun.
fn plain(now: &CurrentStage) -> Option<String> {
    let (text, seconds) = (now.stage.text(), now.started.elapsed().as_secs());
    if now.event != StageEvent::Advance {
        return None;
    }
    if let Some(total) = now.transfers.filter(|total| total.done < total.blobs) {
        return Some(format!("planish: {text}: {}, {seconds} s", total.text()));
    }
    match now.total {
        Some(total) => {
            let percent = now.done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
            let (done, total) = if now.stage.counts_bytes() {
                (summary::bytes(now.done.min(total)), summary::bytes(total))
            } else {
                (now.done.min(total).to_string(), format!("{total} inodes"))
            };
            Some(format!("planish: {text}: {percent}%, {done} of {total}, {seconds} s"))
        }
        None => Some(format!("planish: {text}: {seconds} s")),
    }
}

fn json(now: &CurrentStage) -> Option<String> {
    serde_json::to_string(&Line {
        event: now.event,
        stage: now.stage,
        done: now.done,
        total: now.total,
        milliseconds: now.started.elapsed().as_millis(),
        transfers: now.transfers,
    })
    .ok()
}

/// A line of `--progress=json` about a stage.
#[derive(serde::Serialize)]
struct Line {
    event: StageEvent,
    stage: Stage,
    done: u64,
    total: Option<u64>,
    milliseconds: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfers: Option<Total>,
}

/// Returns a line of `--progress=json` about an event.
fn json_news(event: &Event<'_>) -> Option<String> {
    let value = match *event {
        Event::Cached { digest, bytes } => serde_json::json!({"event": "cached", "digest": digest, "bytes": bytes}),
        Event::Fetching { digest, bytes } => serde_json::json!({"event": "fetching", "digest": digest, "bytes": bytes}),
        Event::Fetched { digest, bytes } => serde_json::json!({"event": "fetched", "digest": digest, "bytes": bytes}),
        Event::Retry { why, wait, failed, tries } => serde_json::json!({
            "event": "again", "why": why, "milliseconds": wait.as_millis(), "failed": failed, "tries": tries,
        }),
        Event::Waiting { digest, pid } => serde_json::json!({"event": "waiting", "digest": digest, "pid": pid}),
        Event::WaitingForBuild { key, pid } => {
            serde_json::json!({"event": "waiting-for-build", "key": key, "pid": pid})
        }
        Event::Credentials { host, source } => {
            serde_json::json!({"event": "credentials", "host": host, "source": source})
        }
        Event::Tool { name, path, version } => {
            let path = Escaped(path.as_os_str().as_bytes()).to_string();
            serde_json::json!({"event": "tool", "name": name, "path": path, "version": version})
        }
        Event::Warning(text) => serde_json::json!({"event": "warning", "text": text}),
        Event::Remark(text) => serde_json::json!({"event": "remark", "text": text}),
        _ => return None,
    };
    Some(value.to_string())
}
