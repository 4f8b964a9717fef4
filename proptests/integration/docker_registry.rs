//! Debian's registry with a login and a certificate of a private CA; skopeo is the other client.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::support::process::{command, publish, run};
use crate::support::registry::tls::{Authority, Flaw, HOST};
use crate::support::{Bench, failed, generated, read_clean, succeeded};

pub const LOGIN: &str = "user:hunter2";

/// A running registry and the files that its clients need.
pub struct House {
    pub bench: Bench,
    pub child: Child,
    pub host: String,
    pub ca: PathBuf,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl House {
    pub fn new() -> Self {
        let bench = Bench::new();
        let authority = Authority::new();
        let identity = authority.identity(Flaw::None);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let password = run(&mut command(&format!("htpasswd -Bbn {}", LOGIN.replace(':', " "))));
        let place = |name: &str| bench.shared(name).display().to_string();
        std::fs::create_dir(bench.shared("certificates")).unwrap();
        let ca = bench.readable("certificates/ca.crt", authority.pem().as_bytes());
        let config = serde_json::json!({
            "version": 0.1,
            "log": {"accesslog": {"disabled": false}, "level": "warn"},
            "storage": {"filesystem": {"rootdirectory": place("storage")}},
            "http": {
                "addr": format!("127.0.0.1:{free}"),
                "tls": {
                    "certificate": bench.readable("server.pem", identity.certificate.as_bytes()),
                    "key": bench.readable("server.key", identity.key.as_bytes()),
                },
            },
            "auth": {"htpasswd": {"realm": "test", "path": bench.readable("htpasswd", password.trim().as_bytes())}},
        });
        let config = bench.readable("config.yml", config.to_string().as_bytes());
        let log = File::create(bench.shared("access.log")).unwrap();
        let mut registry = command("docker-registry serve");
        registry.arg(config).stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let child = registry.spawn().unwrap();
        let house = Self { bench, child, host: format!("{HOST}:{free}"), ca };
        house.wait();
        house
    }

    fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(&self.host).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.bench.shared("access.log")).unwrap()
    }

    /// Returns the number of times that a blob was sent.
    fn downloads(&self, digest: &str) -> usize {
        let request = format!("\"GET /v2/planish/test/blobs/{digest} ");
        self.log().lines().filter(|line| line.contains(&request) && line.contains("\" 200 ")).count()
    }

    fn all_downloads(&self) -> usize {
        let blob = |line: &&str| line.contains("\"GET /v2/planish/test/blobs/") && line.contains("\" 200 ");
        self.log().lines().filter(blob).count()
    }

    fn image(&self, tag: &str) -> String {
        format!("docker://{}/planish/test:{tag}", self.host)
    }

    /// Copies an image into the registry.
    fn push(&self, from: &str, tag: &str) {
        let mut copy = command("skopeo copy -q --insecure-policy --dest-creds");
        copy.arg(LOGIN).arg("--dest-cert-dir").arg(self.bench.shared("certificates"));
        run(copy.args([from, &self.image(tag)]));
    }

    pub fn authfile(&self, login: &str) -> String {
        let auth = base64::engine::general_purpose::STANDARD.encode(login);
        let document = serde_json::json!({"auths": {&self.host: {"auth": auth}}});
        let path = self.bench.at(&format!("auth-{}.json", login.len()));
        std::fs::write(&path, document.to_string()).unwrap();
        self.bench.give(&path);
        crate::support::set_mode(&path, 0o600);
        path.display().to_string()
    }

    fn command(&self, source: &str, output: &str, more: &[&str]) -> Command {
        let mut build = self.bench.planish();
        build.env("HOME", self.bench.home()).args(["build", source, "--output", output, "--force", "--free", "0"]);
        build.args(["--platform", "linux/amd64", "--cache-dir", "cache", "--no-reuse"]).args(more);
        build
    }

    fn with_login(&self, source: &str, output: &str) -> Command {
        let mut build = self.command(source, output, &["--authfile", &self.authfile(LOGIN)]);
        build.arg("--ca-file").arg(&self.ca);
        build
    }

    fn built(&self, mut build: Command, output: &str) -> Vec<u8> {
        succeeded(&build.output().unwrap());
        std::fs::read(self.bench.at(output)).unwrap()
    }
}

/// A layout of the generated image, and the digests of its layers.
fn layout(bench: &Bench) -> (String, Vec<String>) {
    let layout = bench.shared("layout");
    let image = generated::image();
    image.write_layout(&layout, "latest").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&image.manifest()).unwrap();
    let digests =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap().to_owned());
    (format!("oci:{}:latest", layout.display()), digests.collect())
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn an_image_gives_equal_bytes_from_a_registry_and_a_layout() {
    let house = House::new();
    let (layout, layers) = layout(&house.bench);
    house.push(&layout, "latest");
    let zstd = format!("oci:{}:latest", house.bench.shared("zstd").display());
    run(command("skopeo copy -q --insecure-policy --dest-compress --dest-compress-format zstd").args([&layout, &zstd]));
    house.push(&zstd, "zstd");
    let archive = house.bench.shared("archive.tar");
    let docker = format!("docker-archive:{}:planish/test:latest", archive.display());
    run(command("skopeo copy -q --insecure-policy").args([&layout, &docker]));
    publish(&archive);
    let expected = house.built(house.command(&layout, "layout.ext4", &[]), "layout.ext4");
    read_clean(&house.bench.at("layout.ext4"));
    assert!(house.built(house.command(&docker, "docker.ext4", &[]), "docker.ext4") == expected);
    for tag in ["latest", "zstd"] {
        assert!(house.built(house.with_login(&house.image(tag), "out.ext4"), "out.ext4") == expected, "{tag}");
    }
    assert_eq!(
        house.all_downloads(),
        1 + 2 * layers.len(),
        "the config once, the layers in both forms: {}",
        house.log()
    );
    let before: Vec<usize> = layers.iter().map(|layer| house.downloads(layer)).collect();
    assert_eq!(before, vec![1; layers.len()], "{}", house.log());
    assert!(house.built(house.with_login(&house.image("latest"), "again.ext4"), "again.ext4") == expected);
    let after: Vec<usize> = layers.iter().map(|layer| house.downloads(layer)).collect();
    assert_eq!(after, before, "{}", house.log());
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn anonymous_access_is_refused() {
    let house = House::new();
    let (layout, _) = layout(&house.bench);
    house.push(&layout, "latest");
    let image = house.image("latest");
    let ca = house.ca.to_str().unwrap();
    let wrong = house.authfile("user:hunter22");
    let refused = |more: &[&str], code: i32| {
        let output: Output = house.command(&image, "out.ext4", more).output().unwrap();
        let text = failed(&output, code);
        assert!(text.starts_with(&house.host) && !text.contains("hunter2"), "{text}");
        text
    };
    assert!(refused(&["--ca-file", ca, "--authfile", &wrong], 4).contains("the registry refuses the login"));
    assert!(refused(&["--ca-file", ca], 4).contains("the registry requires credentials"));
    let login = house.authfile(LOGIN);
    assert!(refused(&["--authfile", &login], 3).contains("cannot be trusted"));
    let other = house.bench.readable("other.pem", Authority::new().pem().as_bytes());
    assert!(refused(&["--authfile", &login, "--ca-file", other.to_str().unwrap()], 3).contains("cannot be trusted"));
    assert!(!house.bench.at("out.ext4").exists());
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn ten_builds_at_once_download_each_blob_once() {
    let house = House::new();
    let (layout, layers) = layout(&house.bench);
    house.push(&layout, "latest");
    let names: Vec<String> = (0..10).map(|n| format!("out{n}.ext4")).collect();
    let start = |name: &String| house.with_login(&house.image("latest"), name).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = names.iter().map(start).collect();
    for child in children {
        succeeded(&child.wait_with_output().unwrap());
    }
    let expected = house.built(house.command(&layout, "layout.ext4", &[]), "layout.ext4");
    for name in &names {
        assert!(std::fs::read(house.bench.at(name)).unwrap() == expected, "{name}");
    }
    let downloads: Vec<usize> = layers.iter().map(|layer| house.downloads(layer)).collect();
    assert_eq!(downloads, vec![1; layers.len()], "{}", house.log());
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn skopeo_reads_the_cache_in_place() {
    let house = House::new();
    let (layout, _) = layout(&house.bench);
    house.push(&layout, "latest");
    let expected = house.built(house.with_login(&house.image("latest"), "out.ext4"), "out.ext4");
    let cache: &Path = &house.bench.at("cache");
    let reference = house.image("latest").replace("docker://", "");
    let copy = house.bench.shared("copy");
    let from = format!("oci:{}:{reference}", cache.display());
    run(command("skopeo copy -q --insecure-policy").args([&from, &format!("oci:{}:latest", copy.display())]));
    publish(&copy);
    let copied = format!("oci:{}:latest", copy.display());
    assert!(house.built(house.command(&copied, "copied.ext4", &[]), "copied.ext4") == expected);
}
