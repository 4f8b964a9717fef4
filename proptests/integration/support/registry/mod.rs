//! The pull side of an OCI distribution registry on 127.0.0.1, in this process, with planned faults.
//!
//! There are two origins: [`Origin::Main`] is `127.0.0.1:PORT`, and [`Origin::Cdn`] is `localhost:PORT`, another name at
//! another port, for redirects and realms. Layouts are served unchanged, so damaged ones are served damaged. Every
//! request is logged. Threads and plain sockets are used, since faults need access to the socket.

mod answer;
mod body;
mod content;
mod log;
mod plan;
mod request;
mod token;
mod wire;

pub mod tls;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use content::Repository;
pub use log::{Ending, Log, Record};
pub use plan::{ANY, Attempts, Auth, Fault, Host, Kind, NONE, On, Origin, Plan, Redirect, TokenField};
use token::Tokens;
use wire::Wire;

/// The time for which an idle connection or a silent client is kept.
const PATIENCE: Duration = Duration::from_secs(120);
const MOMENT: Duration = Duration::from_millis(300);

/// A running registry. It ends when it is dropped.
pub struct Registry {
    shared: Arc<Shared>,
    ports: [u16; 2],
}

/// The state that the threads of one registry share.
struct Shared {
    repositories: BTreeMap<String, Repository>,
    plan: Mutex<Arc<Plan>>,
    log: Mutex<Vec<Record>>,
    counts: Mutex<Counts>,
    tokens: Mutex<Tokens>,
    open: Mutex<BTreeMap<usize, TcpStream>>,
    connections: AtomicUsize,
    answering: AtomicUsize,
    ended: AtomicBool,
    started: Instant,
    ports: [u16; 2],
}

/// The requests so far, for rules that count.
#[derive(Default)]
struct Counts {
    by_target: BTreeMap<(Origin, String, String), usize>,
    blobs: usize,
    by_tag: BTreeMap<(String, String), usize>,
}

impl Registry {
    /// Serves layouts as repositories of the given names.
    pub fn start(layouts: &[(&str, &Path)], plan: Plan) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap().port());
        let repositories =
            layouts.iter().map(|(name, directory)| ((*name).to_owned(), Repository::load(directory))).collect();
        let shared = Arc::new(Shared {
            repositories,
            plan: Mutex::new(Arc::new(plan)),
            log: Mutex::default(),
            counts: Mutex::default(),
            tokens: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            started: Instant::now(),
            ports,
        });
        for (listener, origin) in listeners.into_iter().zip([Origin::Main, Origin::Cdn]) {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, origin, &shared));
        }
        Self { shared, ports }
    }

    /// The main origin, as in references.
    pub fn host(&self) -> String {
        self.shared.authority(Origin::Main)
    }

    /// The other origin.
    pub fn cdn(&self) -> String {
        self.shared.authority(Origin::Cdn)
    }

    /// Follows another plan from now on with all counts at zero; the log continues.
    pub fn follow(&self, plan: Plan) {
        *lock(&self.shared.plan) = Arc::new(plan);
        *lock(&self.shared.counts) = Counts::default();
    }

    /// Serves everyone without faults from now on; TLS stays.
    pub fn heal(&self) {
        let now = self.shared.plan();
        self.follow(Plan { tls: now.tls.clone(), plain: now.plain.clone(), ..Plan::new() });
    }

    /// Returns the requests so far. It waits a moment for responses in progress, because a client can end before.
    pub fn log(&self) -> Log {
        let waited = Instant::now();
        while self.shared.answering.load(Ordering::SeqCst) > 0 && waited.elapsed() < MOMENT {
            std::thread::sleep(Duration::from_millis(5));
        }
        Log(lock(&self.shared.log).clone())
    }

    /// Returns the number of requests for paths with this suffix, with or without a response.
    pub fn request_count(&self, end: &str) -> usize {
        let counts = lock(&self.shared.counts);
        counts.by_target.iter().filter(|((_, _, path), _)| path.ends_with(end)).map(|(_, count)| count).sum()
    }

    /// Every issued token.
    pub fn tokens(&self) -> Vec<String> {
        lock(&self.shared.tokens).all()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        for port in self.ports {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

impl Shared {
    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&lock(&self.plan))
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn authority(&self, origin: Origin) -> String {
        let port = self.ports[origin as usize];
        match (self.plan().tls.is_some(), origin) {
            (true, _) => format!("{}:{port}", tls::HOST),
            (false, Origin::Main) => format!("127.0.0.1:{port}"),
            (false, Origin::Cdn) => format!("localhost:{port}"),
        }
    }

    fn url(&self, origin: Origin) -> String {
        let scheme = if self.plan().tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority(origin))
    }

    /// Sleeps until the registry's end at most.
    fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while !self.ended() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

/// Locks a mutex even if a thread of a failed test poisoned it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn accept(listener: &TcpListener, origin: Origin, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.ended() {
            return;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            lock(&shared.open).insert(number, copy);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client may close the connection or refuse our certificate.
            let _ = converse(stream, number, origin, &shared);
            lock(&shared.open).remove(&number);
        });
    }
}

/// Answers the requests of one connection until one side closes it.
fn converse(stream: TcpStream, number: usize, origin: Origin, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let plain = shared.plan().plain.contains(&origin);
    let tls = shared.plan().tls.clone().filter(|_| !plain);
    let mut wire = Wire::new(stream, tls)?;
    while let Some(request) = request::read(&mut wire)? {
        shared.answering.fetch_add(1, Ordering::SeqCst);
        let mut exchange = answer::Exchange::new(shared, origin, number, request, &mut wire);
        let place = {
            let mut log = lock(&shared.log);
            log.push(exchange.record.clone());
            log.len() - 1
        };
        let ended = exchange.answer();
        let record = exchange.finish(&ended);
        let over = record.ending != Ending::Kept || ended.is_err();
        lock(&shared.log)[place] = record;
        shared.answering.fetch_sub(1, Ordering::SeqCst);
        ended?;
        if over {
            return Ok(());
        }
    }
    wire.finish()
}
