//! Endless peers: for any bytes that they send or omit, a run ends by itself, in time, and reads a limited amount.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::registry::day::Day;
use crate::registry::sample::sample;
use crate::support::registry::Plan;
use crate::support::registry::tls::{Authority, Flaw};

/// The largest number of bytes that a peer may send in all, including the kernel's buffers.
const TAKEN_MAX: u64 = 32 << 20;
const TIME_MAX: Duration = Duration::from_secs(30);
const FLAGS: [&str; 6] = ["--idle-timeout", "2", "--connect-timeout", "1", "--retry", "3"];

/// One connection of a peer.
struct Peer {
    stream: TcpStream,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Peer {
    /// Sends bytes; returns an error after the other side has closed.
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stream.write_all(bytes.as_ref())?;
        self.sent.fetch_add(bytes.as_ref().len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Sends the same bytes endlessly.
    fn repeat(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            self.send(bytes)?;
        }
    }

    /// Sends the same bytes endlessly and slowly.
    fn drip(&mut self, bytes: &[u8], pause: u64) -> io::Result<()> {
        loop {
            self.send(bytes)?;
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    /// Sends nothing until the other side closes.
    fn silence(&mut self) -> io::Result<()> {
        let mut ignored = [0; 4096];
        while self.stream.read(&mut ignored)? > 0 {}
        Ok(())
    }

    /// Reads the head of a request, and returns its first line.
    fn request(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Ok(String::from_utf8(head).unwrap().lines().next().unwrap_or_default().to_owned())
    }
}

/// A server whose connections behave equally.
struct Server {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Server {
    fn start(act: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let server = Self { address, sent: Arc::clone(&sent), ended: Arc::clone(&ended) };
        let act = Arc::new(act);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                stream.set_nodelay(true).unwrap();
                let mut peer = Peer { stream, sent: Arc::clone(&sent), ended: Arc::clone(&ended) };
                let act = Arc::clone(&act);
                // The client closes the connection at its limit.
                std::thread::spawn(move || act(&mut peer));
            }
        });
        server
    }

    /// A server that reads a request before it acts.
    fn http(act: impl Fn(&mut Peer, &str) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(move |peer| {
            let request = peer.request()?;
            act(peer, &request)
        })
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port()));
    }
}

/// Builds from a server; requires an end in time, exit code 3 and a line that contains `says`.
#[track_caller]
fn ends(row: &'static str, what: &str, server: &Server, host: &str, more: &[&str], says: &str) {
    ends_with(row, what, server, host, more, &[], says);
}

#[track_caller]
fn ends_with(
    row: &'static str,
    what: &str,
    server: &Server,
    host: &str,
    more: &[&str],
    environment: &[(&str, &str)],
    says: &str,
) {
    let day = Day::new(row, Plan::new());
    let flags: Vec<&str> = FLAGS.iter().chain(more).copied().collect();
    let started = Instant::now();
    let mut command = day.build_command(&format!("docker://{host}/img:latest"), "out.ext4", &flags);
    let output = day.run(command.envs(environment.iter().copied()));
    let took = started.elapsed();
    let line = day.fails(&output, 3, &[says]);
    let sent = server.sent.load(Ordering::SeqCst);
    assert!(took < TIME_MAX && sent < TAKEN_MAX, "{row} {what}: {took:?}, {sent} bytes: {line}");
    day.recovers(&[]);
}

fn local(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

#[test]
fn endless_interim_responses_are_refused() {
    let cut = "came with more than 1048576 bytes beside its content";
    let fast = Server::http(|peer, _| peer.repeat(&HINTS.repeat(100)));
    ends("R50", "as fast as they go", &fast, &local(&fast), &[], cut);
    let large = Server::http(|peer, _| {
        let one = [b"HTTP/1.1 103 Early Hints\r\nLink: <", &b"l".repeat(4000)[..], b">\r\n\r\n"].concat();
        peer.repeat(&one)
    });
    ends("R50", "large ones", &large, &local(&large), &[], cut);
    let slow = Server::http(|peer, _| peer.drip(HINTS, 100));
    ends("R50", "slow ones", &slow, &local(&slow), &[], "stalled");
    let few = Server::http(|peer, _| peer.send(HINTS.repeat(3)).and_then(|()| peer.silence()));
    ends("R50", "a few, and silence", &few, &local(&few), &[], "stalled");
    let proceed = Server::http(|peer, _| peer.repeat(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)));
    ends("R50", "100 without end", &proceed, &local(&proceed), &[], cut);
}

#[test]
fn endless_response_heads_are_refused() {
    let lines = Server::http(|peer, _| peer.send("HTTP/1.1 200 OK\r\n").and_then(|()| peer.repeat(b"X-Pad: pad\r\n")));
    ends("R51", "lines", &lines, &local(&lines), &[], "tag latest ");
    let line = Server::http(|peer, _| peer.send("HTTP/1.1 200 OK\r\nX: ").and_then(|()| peer.repeat(&[b'x'; 4096])));
    ends("R51", "one line", &line, &local(&line), &[], "tag latest ");
    let status = Server::http(|peer, _| peer.send("HTTP/1.1 200 ").and_then(|()| peer.repeat(&[b'O'; 4096])));
    ends("R51", "a reason", &status, &local(&status), &[], "tag latest ");
    let empty = Server::http(|peer, _| peer.repeat(&b"\r\n".repeat(2048)));
    ends("R51", "empty lines", &empty, &local(&empty), &[], "tag latest ");
    let drip = Server::http(|peer, _| peer.send("HTTP/1.1 200 OK\r\n").and_then(|()| peer.drip(b"X", 100)));
    ends("R51", "a byte at a time", &drip, &local(&drip), &[], "stalled");
}

#[test]
fn bodies_without_progress_are_refused() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases: [(&str, &[u8], &[u8]); 5] = [
        ("extensions", b"1;", b"name=value;"),
        ("the length of a chunk", b"", &[b'0'; 4096]),
        ("trailers", b"0\r\n", b"X-Trailer: more\r\n"),
        ("one trailer", b"0\r\nX-Trailer: ", &[b'x'; 4096]),
        ("chunks of one byte with extensions", b"", b"1;name=value\r\n \r\n"),
    ];
    for (what, first, again) in cases {
        let (first, again) = (first.to_vec(), again.to_vec());
        let server = Server::http(move |peer, _| {
            peer.send(head)?;
            peer.send(&first)?;
            peer.repeat(&again)
        });
        ends("R52", what, &server, &local(&server), &[], "tag latest ");
    }
    let drip = Server::http(move |peer, _| peer.send(head).and_then(|()| peer.drip(b"1\r\n \r\n", 100)));
    let window = ["--min-rate-window", "4"];
    ends("R52", "a byte at a time", &drip, &local(&drip), &window, "came too slowly");
}

#[test]
fn endless_tls_handshakes_are_refused() {
    let reach = |server: &Server| format!("0.0.0.0:{}", server.port());
    let silent = Server::start(Peer::silence);
    ends("R53", "no handshake", &silent, &reach(&silent), &[], "no TLS handshake within 1 s");
    // Records of a handshake message that has no end.
    let record = [&[0x16, 0x03, 0x03, 0x10, 0x00, 0x02, 0x00, 0xff, 0xff][..], &[0; 0x1000 - 4]].concat();
    let endless = Server::start(move |peer| peer.repeat(&record));
    ends("R53", "a handshake without end", &endless, &reach(&endless), &[], "cannot be reached by HTTPS");
    let drip = Server::start(|peer| peer.drip(&[0x16, 0x03, 0x03], 100));
    ends("R53", "a handshake by bytes", &drip, &reach(&drip), &[], "cannot be ");
    let gone = Server::start(|peer| peer.stream.shutdown(std::net::Shutdown::Both));
    ends("R53", "none at all", &gone, &reach(&gone), &[], "cannot be reached by HTTPS");
    let authority = Authority::new();
    let config = authority.server(Flaw::None);
    // Records that renew keys and have no content.
    let keys = Server::start(move |peer| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut request = [0; 4096];
        while tls.is_handshaking() {
            tls.complete_io(&mut peer.stream)?;
        }
        let read = rustls::Stream::new(&mut tls, &mut peer.stream).read(&mut request)?;
        assert!(request[..read].starts_with(b"GET /v2/"));
        loop {
            tls.refresh_traffic_keys().map_err(io::Error::other)?;
            let mut bytes = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut bytes)?;
            }
            peer.send(bytes)?;
        }
    });
    ends("R53", "keys without end", &keys, &reach(&keys), &["--tls-verify=false"], "tag latest ");
}

#[test]
fn an_endless_proxy_is_refused() {
    type Act = fn(&mut Peer) -> io::Result<()>;
    let cases: [(&str, Act, &str); 5] = [
        ("silence", Peer::silence, "no answer of the proxy within 1 s"),
        (
            "a head without end",
            |peer| peer.repeat(b"HTTP/1.1 200 OK\r\nX: y"),
            "the proxy PROXY answers with more than",
        ),
        ("a head by bytes", |peer| peer.drip(b"H", 100), "no answer of the proxy within 1 s"),
        ("a refusal", |peer| peer.send("HTTP/1.1 403 No\r\n\r\n"), "the proxy PROXY refuses (status 403)"),
        ("a login", |peer| peer.send("HTTP/1.1 407 No\r\n\r\n"), "the proxy PROXY requires a login (status 407)"),
    ];
    for (what, act, says) in cases {
        let server = Server::http(move |peer, _| act(peer));
        let proxy = format!("http://{}", local(&server));
        let says = says.replace("PROXY", &local(&server));
        ends_with("R54", what, &server, "registry.invalid", &[], &[("HTTPS_PROXY", &proxy)], &says);
    }
}

#[test]
fn endless_realms_and_redirects_are_refused() {
    let cut = "came with more than 1048576 bytes beside its content";
    let realm = Server::http(|peer, request| {
        if request.starts_with("GET /token") {
            return peer.repeat(&HINTS.repeat(100));
        }
        let host = peer.stream.local_addr()?;
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"x\"\r\n");
        peer.send(format!("HTTP/1.1 401 No\r\n{realm}Content-Length: 0\r\nConnection: close\r\n\r\n"))
    });
    ends("R55", "a realm", &realm, &local(&realm), &[], &format!("the token {cut}"));
    let mute = Server::http(|peer, request| {
        if request.starts_with("GET /token") {
            return peer.silence();
        }
        let host = peer.stream.local_addr()?;
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"x\"\r\n");
        peer.send(format!("HTTP/1.1 401 No\r\n{realm}Content-Length: 0\r\nConnection: close\r\n\r\n"))
    });
    ends("R55", "a realm that is mute", &mute, &local(&mute), &[], "stalled");
    let away = Server::http(|peer, request| {
        if request.starts_with("GET /away") {
            return peer.repeat(&HINTS.repeat(100));
        }
        peer.send("HTTP/1.1 307 Away\r\nLocation: /away\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    ends("R55", "a redirect", &away, &local(&away), &[], cut);
    let slow = Server::http(|peer, _| {
        std::thread::sleep(Duration::from_millis(900));
        peer.send("HTTP/1.1 307 On\r\nLocation: /on\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    });
    ends("R55", "slow redirects", &slow, &local(&slow), &[], "stalled");
    let error = Server::http(|peer, _| {
        peer.send("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        peer.drip(b"1\r\n \r\n", 100)
    });
    ends("R55", "an explanation by bytes", &error, &local(&error), &[], "was answered with status 503");
}

#[test]
fn a_deadline_ends_every_wait() {
    let silent = Server::http(|peer, _| peer.silence());
    let day = Day::new("R56", Plan::new());
    // A deadline that is met does not fail, and `verify` gets a filesystem.
    day.succeeds(&day.build(&["--deadline", "600"]));
    assert!(day.blob(&sample().manifest).is_file());
    for command in ["build", "plan", "verify", "pull"] {
        let mut planish = day.planish();
        planish.args([command, &format!("docker://{}/img:latest", local(&silent)), "--cache-dir", "cache"]);
        planish.args(["--deadline", "1"]);
        match command {
            "build" => planish.args(["--output", "out.ext4", "--force"]),
            "verify" => planish.arg("out.ext4"),
            _ => &mut planish,
        };
        let started = Instant::now();
        let output = day.run(&mut planish);
        day.fails(&output, 7, &["the run is not done after 1 second, which --deadline allows"]);
        let took = started.elapsed();
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(10), "R56 {command}: {took:?}");
    }
    day.recovers(&[]);
}
