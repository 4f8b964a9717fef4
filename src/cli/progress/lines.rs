//! Lines on stderr: for a person where there is no terminal, and for machines.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use planish::progress::{News, Progress, Stage};

use super::transfers::{Total, Transfers};
use super::{line, lock, say};

/// How long a stage may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines, and the thread that says how long a stage has been running.
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
    now: Option<Now>,
    transfers: Transfers,
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
    transfers: Option<Total>,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Event {
    Begin,
    Advance,
    End,
}

impl Lines {
    pub fn plain(verbose: bool) -> Self {
        Self::new(Form::Plain { verbose })
    }

    pub fn json() -> Self {
        Self::new(Form::Json)
    }

    fn new(form: Form) -> Self {
        let state = Arc::new(Mutex::new(State { now: None, transfers: Transfers::new() }));
        let watched = Arc::downgrade(&state);
        std::thread::spawn(move || {
            while let Some(state) = watched.upgrade() {
                let mut locked = lock(&state);
                let transfers = locked.transfers.total();
                if let Some(now) = locked.now.as_mut().filter(|now| now.said.elapsed() >= PATIENCE) {
                    now.said = Instant::now();
                    form.say(&Now { event: Event::Advance, transfers, ..*now });
                }
                drop(locked);
                drop(state);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { state, form }
    }
}

impl Progress for Lines {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let started = Instant::now();
        let now = Now { stage, total, done: 0, started, said: started, event: Event::Begin, transfers: None };
        self.form.say(&now);
        lock(&self.state).now = Some(now);
    }

    fn advance(&self, amount: u64) {
        lock(&self.state).now.iter_mut().for_each(|now| now.done += amount);
    }

    fn end(&self) {
        let mut state = lock(&self.state);
        if let Some(now) = state.now.take() {
            self.form.say(&Now { event: Event::End, transfers: state.transfers.total(), ..now });
        }
    }

    fn tell(&self, news: &News<'_>) {
        lock(&self.state).transfers.note(news);
        let text = match self.form {
            Form::Plain { verbose } => line(news, verbose),
            Form::Json => json_news(news),
        };
        text.iter().for_each(|line| say(line));
    }
}

impl Form {
    fn say(self, now: &Now) {
        let text = match self {
            Self::Plain { .. } => plain(now),
            Self::Json => json(now),
        };
        text.iter().for_each(|line| say(line));
    }
}

/// Says how far a stage is; one that ends soon goes without a word.
fn plain(now: &Now) -> Option<String> {
    let (text, seconds) = (now.stage.text(), now.started.elapsed().as_secs());
    if now.event != Event::Advance {
        return None;
    }
    if let Some(total) = now.transfers.filter(|total| total.done < total.blobs) {
        return Some(format!("planish: {text}: {}, {seconds} s", total.text()));
    }
    match now.total {
        Some(total) => {
            let percent = now.done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
            Some(format!("planish: {text}: {percent}% after {seconds} s"))
        }
        None => Some(format!("planish: {text}: {seconds} s")),
    }
}

fn json(now: &Now) -> Option<String> {
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
    event: Event,
    stage: Stage,
    done: u64,
    total: Option<u64>,
    milliseconds: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfers: Option<Total>,
}

/// Returns a line of `--progress=json` about a registry.
fn json_news(news: &News<'_>) -> Option<String> {
    let value = match *news {
        News::Have { .. } => return None,
        News::Cached { digest, bytes } => serde_json::json!({"event": "cached", "digest": digest, "bytes": bytes}),
        News::Fetching { digest, bytes } => serde_json::json!({"event": "fetching", "digest": digest, "bytes": bytes}),
        News::Fetched { digest, bytes } => serde_json::json!({"event": "fetched", "digest": digest, "bytes": bytes}),
        News::Again { why, wait, failed, tries } => serde_json::json!({
            "event": "again", "why": why, "milliseconds": wait.as_millis(), "failed": failed, "tries": tries,
        }),
        News::Waiting { digest, pid } => serde_json::json!({"event": "waiting", "digest": digest, "pid": pid}),
        News::Credentials { host, source } => {
            serde_json::json!({"event": "credentials", "host": host, "source": source})
        }
        News::Warning(text) => serde_json::json!({"event": "warning", "text": text}),
    };
    Some(value.to_string())
}
