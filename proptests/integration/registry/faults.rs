//! The test registry applies each of its faults, as a raw client observes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::registry::sample::{Sample, sample};
use crate::support::registry::{Attempts, Auth, Ending, Fault, Kind, NONE, On, Plan, Redirect, Registry, TokenField};

/// The bytes that a raw client received until the connection ended or 300 ms passed without a byte.
struct RawResponse {
    head: String,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Rst,
    Open,
}

impl RawResponse {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|pair| pair.1)
    }
}

struct Origin {
    registry: Registry,
    _layout: tempfile::TempDir,
}

fn origin(plan: Plan) -> Origin {
    let layout = tempfile::tempdir().unwrap();
    sample().write(layout.path());
    Origin { registry: Registry::start(&[("img", layout.path())], plan), _layout: layout }
}

/// A registry with one fault in every response about blobs.
fn faulty(fault: Fault) -> Origin {
    origin(Plan::new().rule(On::kind(Kind::Blob), fault))
}

impl Origin {
    fn request(&self, method: &str, path: &str, headers: &str) -> RawResponse {
        let mut stream = TcpStream::connect(self.registry.host()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
        let mut bytes = Vec::new();
        let mut block = [0; 65536];
        let end = loop {
            match stream.read(&mut block) {
                Ok(0) => break End::Fin,
                Ok(count) => bytes.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Rst,
                Err(_) => break End::Open,
            }
        };
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(split);
        RawResponse { head: String::from_utf8(bytes).unwrap(), body, end }
    }

    fn blob(&self, headers: &str) -> RawResponse {
        self.request("GET", &path(sample()), headers)
    }
}

fn path(sample: &Sample) -> String {
    format!("/v2/img/blobs/{}", sample.layer().digest)
}

fn content() -> &'static [u8] {
    &sample().files[&format!("blobs/{}", sample().layer().digest.replace(':', "/"))]
}

#[test]
fn a_registry_without_faults_serves_the_files() {
    let origin = origin(Plan::new());
    let response = origin.blob("");
    assert_eq!((response.status(), response.end), ("200", End::Open));
    assert!(response.body == content());
    assert_eq!(response.header("Content-Length"), Some(content().len().to_string().as_str()));
    let manifest = origin.request("GET", "/v2/img/manifests/latest", "");
    assert_eq!(manifest.header("Docker-Content-Digest"), Some(sample().manifest.as_str()));
    assert_eq!(manifest.header("Content-Type"), Some("application/vnd.oci.image.manifest.v1+json"));
    let part = origin.blob("Range: bytes=100-199\r\n");
    assert_eq!((part.status(), &*part.body), ("206", &content()[100..200]));
    assert_eq!(part.header("Content-Range"), Some(&*format!("bytes 100-199/{}", content().len())));
    assert_eq!(origin.blob(&format!("Range: bytes={}-\r\n", content().len())).status(), "416");
    assert_eq!(origin.request("GET", "/v2/img/blobs/sha256:../../etc/passwd", "").status(), "404");
    let log = origin.registry.log();
    assert_eq!(log.gets(&sample().layer().digest).len(), 3);
    assert_eq!((log.0[0].layer, log.0[0].attempt, log.0[2].range.as_deref()), (Some(1), 1, Some("bytes=100-199")));
}

#[test]
fn connection_faults_are_applied() {
    let response = faulty(Fault { reset_after: Some(1000), ..NONE }).blob("");
    assert!(
        response.end == End::Rst && response.body.len() <= 1000,
        "{:?} after {}",
        response.end,
        response.body.len()
    );
    let response = faulty(Fault { close_after: Some(1000), ..NONE }).blob("");
    assert_eq!((response.end, response.body.len()), (End::Fin, 1000));
    assert!(response.head.contains(&content().len().to_string()));
    let response = faulty(Fault { drop_before: true, ..NONE }).blob("");
    assert_eq!((response.end, response.head.len()), (End::Fin, 0));
    let response = faulty(Fault { reset_before: true, ..NONE }).blob("");
    assert_eq!((response.end, response.head.len()), (End::Rst, 0));
    let origin = faulty(Fault { reset_after: Some(1000), ..NONE });
    origin.blob("");
    assert_eq!(origin.registry.log().0[0].ending, Ending::Reset);
}

#[test]
fn length_faults_are_applied() {
    let size = content().len();
    let lengths = |fault| {
        let response = faulty(fault).blob("");
        (
            response.header("Content-Length").map(|length| length.parse::<usize>().unwrap()),
            response.body.len(),
            response.end,
        )
    };
    assert_eq!(lengths(Fault { short_body: Some(10), ..NONE }), (Some(10), 10, End::Open));
    assert_eq!(lengths(Fault { empty: true, ..NONE }), (Some(0), 0, End::Open));
    assert_eq!(lengths(Fault { extra_bytes: 5, ..NONE }), (Some(size + 5), size + 5, End::Open));
    assert_eq!(lengths(Fault { extra_unannounced: 5, ..NONE }), (Some(size), size + 5, End::Open));
    assert_eq!(lengths(Fault { drop_content_length: true, ..NONE }), (None, size, End::Fin));
    let truncated = faulty(Fault { chunked_truncated: Some(1000), ..NONE }).blob("");
    assert_eq!(truncated.header("Transfer-Encoding"), Some("chunked"));
    assert!(truncated.end == End::Fin && truncated.body == [b"3e8\r\n", &content()[..1000], b"\r\n"].concat());
    assert!(faulty(Fault { chunked: true, ..NONE }).blob("").body.ends_with(b"\r\n0\r\n\r\n"));
}

#[test]
fn byte_faults_are_applied() {
    let response = faulty(Fault { flip_byte: Some(7), ..NONE }).blob("");
    let wrong: Vec<usize> = (0..content().len()).filter(|at| response.body[*at] != content()[*at]).collect();
    assert_eq!(wrong, [7]);
    assert_eq!(faulty(Fault { flip_byte: Some(7), ..NONE }).blob("Range: bytes=5-8\r\n").body[2], content()[7] ^ 1);
    let zeros = faulty(Fault { zeros: true, ..NONE }).blob("");
    assert!(zeros.body.len() == content().len() && zeros.body.iter().all(|byte| *byte == 0));
    let other = faulty(Fault { serve_digest: Some(sample().config.clone()), ..NONE }).blob("");
    assert!(other.body.starts_with(b"{") && other.status() == "200");
    let shifted = faulty(Fault { bad_range: 3, ..NONE }).blob("Range: bytes=10-19\r\n");
    assert_eq!((shifted.status(), &*shifted.body), ("206", &content()[13..23]));
    let whole = faulty(Fault { ignore_range: true, ..NONE }).blob("Range: bytes=10-19\r\n");
    assert!(whole.status() == "200" && whole.body == content());
    let packed = faulty(Fault { gzip: true, ..NONE }).blob("");
    assert_eq!((packed.header("Content-Encoding"), &packed.body[..2]), (Some("gzip"), &[0x1f, 0x8b][..]));
}

#[test]
fn header_faults_are_applied() {
    let response = faulty(Fault { digest_header: Some(None), content_type: Some(Some("text/html")), ..NONE }).blob("");
    assert_eq!((response.header("Docker-Content-Digest"), response.header("Content-Type")), (None, Some("text/html")));
    let response =
        faulty(Fault { status: Some(429), retry_after: Some("7"), body: Some(b"no".to_vec()), ..NONE }).blob("");
    assert_eq!((response.status(), response.header("Retry-After"), &*response.body), ("429", Some("7"), &b"no"[..]));
    let plain = faulty(Fault { no_accept_ranges: true, headers: vec![("Set-Cookie", "a=b".into())], ..NONE }).blob("");
    assert_eq!((plain.header("Accept-Ranges"), plain.header("Set-Cookie")), (None, Some("a=b")));
    let padded = origin(Plan::new().rule(On::kind(Kind::Manifest), Fault { pad_json: 100, ..NONE }));
    assert!(padded.request("GET", "/v2/img/manifests/latest", "").body.ends_with(&[b' '; 100]));
}

#[test]
fn delay_faults_are_applied() {
    let wait = Duration::from_millis(150);
    for fault in [
        Fault { stall_before: Some(wait), ..NONE },
        Fault { stall_at: Some((10, wait)), ..NONE },
        Fault { drip: Some((100_000, wait / 3)), ..NONE },
    ] {
        let origin = faulty(fault);
        let started = Instant::now();
        let mut stream = TcpStream::connect(origin.registry.host()).unwrap();
        write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(sample())).unwrap();
        let mut all = vec![0; content().len()];
        stream.read_exact(&mut all).unwrap();
        assert!(started.elapsed() >= wait * 9 / 10, "{:?}", started.elapsed());
    }
}

#[test]
fn redirect_faults_are_applied() {
    let location = |redirect| {
        let origin = faulty(Fault { redirect: Some(redirect), ..NONE });
        let response = origin.blob("");
        let location = response.header("Location").unwrap().to_owned();
        (
            response.status().to_owned(),
            location.replace(&origin.registry.cdn(), "CDN").replace(&origin.registry.host(), "MAIN"),
        )
    };
    let path = path(sample());
    let cases = [
        (Redirect::Cdn, format!("http://CDN{path}?sig=s3cret&hop=1")),
        (Redirect::PingPong, format!("http://CDN{path}?hop=1")),
        (Redirect::Loop, format!("http://MAIN{path}?hop=1")),
        (Redirect::Relative, format!("{path}?hop=1")),
        (Redirect::To("file:///etc/passwd".into()), "file:///etc/passwd".into()),
    ];
    for (redirect, expected) in cases {
        assert_eq!(location(redirect), ("307".to_owned(), expected));
    }
    let followed = faulty(Fault { redirect: Some(Redirect::Cdn), ..NONE });
    assert!(followed.request("GET", &format!("{path}?hop=1"), "").body == content());
}

#[test]
fn rules_select_by_attempt_and_blob() {
    let statuses = |on: On| {
        let origin = origin(Plan::new().rule(on, Fault { status: Some(503), ..NONE }));
        [0, 0, 1, 0].map(|layer: usize| {
            let path = format!("/v2/img/blobs/{}", sample().layers[layer].digest);
            origin.request("GET", &path, "").status().to_owned()
        })
    };
    let attempts: Attempts = 2..=2;
    assert_eq!(statuses(On::kind(Kind::Blob).attempts(attempts)), ["200", "503", "200", "200"]);
    assert_eq!(statuses(On::layer(1)), ["200", "200", "503", "200"]);
    assert_eq!(statuses(On { nth_blob: Some(3..=4), ..On::kind(Kind::Blob) }), ["200", "200", "503", "503"]);
    assert_eq!(statuses(On::kind(Kind::Layer).ranged(true)), ["200"; 4]);
}

#[test]
fn a_tag_moves_with_every_lookup() {
    let origin = origin(Plan::new().tag("t", vec![sample().manifest.clone(), sample().config.clone()]));
    let digests = [(); 3].map(|()| {
        let response = origin.request("GET", "/v2/img/manifests/t", "");
        response.header("Docker-Content-Digest").unwrap().to_owned()
    });
    assert_eq!(digests, [&sample().manifest, &sample().config, &sample().config].map(String::as_str));
}

#[test]
fn tokens_are_issued_for_the_login_and_expire() {
    let auth =
        Auth { max_uses: 2, token_field: TokenField::AccessToken, identity: Some("identity-t0ken"), ..Auth::bearer() };
    let origin = origin(Plan::new().auth(auth));
    let refused = origin.blob("");
    let challenge = refused.header("WWW-Authenticate").unwrap();
    let realm = format!("Bearer realm=\"http://{}/token\"", origin.registry.host());
    assert_eq!(challenge, format!("{realm},service=\"faulty\",scope=\"repository:img:pull\""));
    assert_eq!(origin.request("GET", "/token", "").status(), "401");
    let posted = "grant_type=refresh_token&refresh_token=identity-t0ken";
    assert_eq!(
        origin.request("POST", "/token", &format!("Content-Length: {}\r\n\r\n{posted}", posted.len())).status(),
        "200"
    );
    let given = origin.request("GET", "/token", "Authorization: Basic dXNlcjpodW50ZXIy\r\n");
    let document: serde_json::Value = serde_json::from_slice(&given.body).unwrap();
    let token = format!("Authorization: Bearer {}\r\n", document["access_token"].as_str().unwrap());
    assert_eq!([(); 3].map(|()| origin.blob(&token).status().to_owned()), ["200", "200", "401"]);
    let log = origin.registry.log();
    assert_eq!(log.0.iter().filter(|record| record.has_secret()).count(), 5);
    assert_eq!((log.0[4].scheme(), log.0[4].status), (Some("Bearer"), Some(200)));
}

#[test]
fn a_registry_stops_when_its_handle_is_dropped() {
    let origin = origin(Plan::new());
    let host = origin.registry.host();
    let mut open = TcpStream::connect(&host).unwrap();
    drop(origin);
    assert_eq!(open.read(&mut [0]).unwrap_or(0), 0);
    std::thread::sleep(Duration::from_millis(100));
    assert!(TcpStream::connect(&host).is_err());
}
