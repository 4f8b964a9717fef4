//! A registry of Debian without login and TLS, behind two proxies that count bytes: one for images, and one for finished
//! filesystems, which may damage answers.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Bench;
use crate::support::process::command;

/// A connection in this number is damaged while the wire is faulty.
const FAULTY: u64 = 20;

/// A sequence of numbers that is the same in each run (Numerical Recipes).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// The registry and the wire to it. Both end when it is dropped.
pub struct Wire {
    child: Child,
    ports: [u16; 2],
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    received: AtomicU64,
    sent: AtomicU64,
    is_faulty: AtomicBool,
    connections: AtomicU64,
    /// The bytes that the registry may still get about finished filesystems; none before the first limit.
    left: Mutex<Option<u64>>,
    ended: AtomicBool,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        for port in self.ports {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Wire {
    pub fn new(bench: &Bench) -> Self {
        let registry = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = serde_json::json!({
            "version": 0.1,
            "log": {"accesslog": {"disabled": true}, "level": "error"},
            "storage": {"filesystem": {"rootdirectory": bench.shared("storage").display().to_string()}},
            "http": {"addr": format!("127.0.0.1:{registry}")},
        });
        let config = bench.readable("config.yml", config.to_string().as_bytes());
        let log = File::create(bench.shared("registry.log")).unwrap();
        let mut serve = command("docker-registry serve");
        serve.arg(config).stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let child = serve.spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", registry)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(50));
        }
        let state = Arc::new(State::default());
        let ports = [false, true].map(|may_fail| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let shared = Arc::clone(&state);
            std::thread::spawn(move || accept(&listener, registry, may_fail, &shared));
            port
        });
        Self { child, ports, state }
    }

    /// The registry's name in references of images.
    pub fn images(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The registry's name in references of finished filesystems.
    pub fn filesystems(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// From now on, some answers about finished filesystems are cut, or have a wrong byte.
    pub fn damage(&self) {
        self.state.is_faulty.store(true, Ordering::SeqCst);
    }

    /// Cuts all connections about finished filesystems after some bytes to the registry, and takes no new ones.
    pub fn cut_after(&self, bytes: u64) {
        *self.state.left.lock().unwrap() = Some(bytes);
    }

    /// Lifts the limit.
    pub fn mend(&self) {
        *self.state.left.lock().unwrap() = None;
    }

    /// The bytes from and to the registry since the last call.
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.received.swap(0, Ordering::SeqCst), self.state.sent.swap(0, Ordering::SeqCst))
    }
}

fn accept(listener: &TcpListener, registry: u16, may_fail: bool, state: &Arc<State>) {
    while let Ok((client, _)) = listener.accept() {
        if state.ended.load(Ordering::SeqCst) {
            return;
        }
        if may_fail && *state.left.lock().unwrap() == Some(0) {
            continue;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", registry)) else { continue };
        let number = if may_fail { state.connections.fetch_add(1, Ordering::SeqCst) } else { 0 };
        let fault = (may_fail && state.is_faulty.load(Ordering::SeqCst) && number % FAULTY == 7).then_some(number);
        let pairs = [(client.try_clone(), server.try_clone(), None), (Ok(server), Ok(client), Some(fault))];
        for (from, to, direction) in pairs {
            let is_limited = may_fail && direction.is_none();
            let (Ok(from), Ok(to)) = (from, to) else { continue };
            let state = Arc::clone(state);
            std::thread::spawn(move || {
                let count = if direction.is_some() { &state.received } else { &state.sent };
                let left = is_limited.then_some(&state.left);
                let _ = copy(&from, &to, (count, left), direction.flatten());
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }
}

/// Copies bytes until the end. A faulty connection is cut after some bytes, or a bit of one byte is wrong.
fn copy(
    mut from: &TcpStream,
    mut to: &TcpStream,
    (count, left): (&AtomicU64, Option<&Mutex<Option<u64>>>),
    fault: Option<u64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let place = fault.map(|number| (number % 3 == 0, Dice(number).below(2000)));
    let mut total = 0;
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if let Some((cut, at)) = place
            && let Some(at) = at.checked_sub(total).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < length)
        {
            if cut {
                return to.write_all(&buffer[..at]);
            }
            buffer[at] ^= 4;
        }
        if let Some(left) = left.and_then(|left| left.lock().unwrap().as_mut().map(|left| take(left, length)))
            && left < length
        {
            return to.write_all(&buffer[..left]);
        }
        total += length as u64;
        count.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(&buffer[..length])?;
    }
}

/// Takes up to `length` from what is left, and returns what it took.
fn take(left: &mut u64, length: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(length).min(length);
    *left -= taken as u64;
    taken
}
