//! Filesystems that builds share through a registry: whatever it holds or does costs time, never correctness.

use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::written::{Written, digest, pack};
use crate::docker_registry::{House, LOGIN};
use crate::support::registry::{ANY, Auth, Fault, Kind, NONE, On, Plan, Registry};
use crate::support::{Bench, failed, stderr, succeeded};

const QUICK: [&str; 6] = ["--platform", "linux/amd64", "--free", "1M", "--force", "--json"];

/// The filesystem of the fixture, built without any cache, and its report.
pub struct Direct {
    pub bytes: Vec<u8>,
    pub report: Value,
}

impl Direct {
    pub fn key(&self) -> &str {
        self.report["key"].as_str().unwrap()
    }

    /// Its entry in a registry.
    pub fn entry(&self) -> Written {
        self.entry_with(&self.bytes, |_| {})
    }

    /// An entry of the same key with another filesystem and report, whose digests are right.
    fn entry_with(&self, bytes: &[u8], change: impl FnOnce(&mut Value)) -> Written {
        let mut report = self.report.clone();
        report["filesystem"]["digest"] = digest(bytes).into();
        report["filesystem"]["bytes"] = bytes.len().into();
        change(&mut report);
        Written::entry(self.key(), bytes, report.to_string().as_bytes())
    }
}

pub fn direct() -> &'static Direct {
    static DIRECT: OnceLock<Direct> = OnceLock::new();
    DIRECT.get_or_init(|| {
        let bench = Bench::new();
        let report = report(&build(&bench, &["--no-reuse", "--report", "report.json"]));
        Direct { bytes: std::fs::read(bench.at("out.ext4")).unwrap(), report }
    })
}

pub fn build(bench: &Bench, more: &[&str]) -> Output {
    let source = format!("oci:{}", bench.fixture("layered").display());
    let mut command = bench.planish();
    command.env("HOME", bench.home()).args(["build", &source, "-o", "out.ext4"]).args(QUICK).args(more);
    command.output().unwrap()
}

#[track_caller]
pub fn report(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn is_direct(bench: &Bench) -> bool {
    std::fs::read(bench.at("out.ext4")).unwrap() == direct().bytes
}

pub fn repository(registry: &Registry) -> String {
    format!("{}/fs", registry.host())
}

/// The warnings of a run.
pub fn warnings(output: &Output) -> Vec<String> {
    stderr(output).lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
}

#[test]
fn an_entry_of_the_key_is_taken_with_its_report() {
    let bench = Bench::new();
    let registry = direct().entry().serve(&bench.shared("fs"), Plan::new());
    let from = repository(&registry);
    let empty = Registry::start(&[], Plan::new());
    // A repository without the entry is no warning.
    let output = build(&bench, &["--cache-from", &repository(&empty), "--cache-from", &from]);
    assert_eq!(warnings(&output), [""; 0]);
    let text = stderr(&output);
    let line =
        format!("\nreused      from {from}: verified when it was built, as its report says; all its digests checked\n");
    assert!(text.contains(&line), "{text}");
    let mut found = report(&output);
    assert!(is_direct(&bench));
    assert_eq!(found["reused"], true);
    let origin = json!({"repository": from, "manifest_digest": found["fetched"]["manifest_digest"], "verification": "digest", "signed_by": null});
    assert_eq!(found["fetched"], origin);
    let mut expected = direct().report.clone();
    for name in ["reused", "fetched", "seconds", "source"] {
        let object = found.as_object_mut().unwrap();
        assert!(object.remove(name).is_some(), "{name}");
        expected.as_object_mut().unwrap().remove(name);
    }
    for report in [&mut found, &mut expected] {
        report["filesystem"].as_object_mut().unwrap().remove("path");
    }
    assert_eq!(found, expected);
    assert_eq!(bench.left(), ["out.ext4"]);
}

/// What a registry does, and the warning; the filesystem is built.
#[test]
fn a_registry_with_faults_is_a_warning_and_the_filesystem_is_built() {
    let all = |fault| Plan::new().rule(ANY, fault);
    let on = |kind, fault| Plan::new().rule(On::kind(kind), fault);
    let status = |status| Fault { status: Some(status), ..NONE };
    let stalls = Some(Duration::from_secs(600));
    // Only what would take long has short limits: a loaded machine may be slow, too.
    let (quick, usual) = (["--idle-timeout", "1"], ["--retry", "2"]);
    let limit = ["--cache-timeout", "3"];
    let table = [
        ("requires credentials", usual, Plan::new().auth(Auth::basic())),
        ("denies access", usual, all(status(403))),
        ("status 500", usual, all(status(500))),
        ("rate limited", usual, all(Fault { retry_after: Some("9999"), ..status(429) })),
        ("stalled", quick, all(Fault { stall_before: stalls, ..NONE })),
        ("stalled", quick, on(Kind::Layer, Fault { stall_at: stalls.map(|wait| (10, wait)), ..NONE })),
        (
            "--cache-timeout allows",
            limit,
            on(Kind::Layer, Fault { drip: Some((1, Duration::from_millis(40))), ..NONE }),
        ),
        ("broke off", usual, on(Kind::Layer, Fault { reset_after: Some(10), ..NONE })),
        ("bytes by its descriptor", usual, on(Kind::Layer, Fault { short_body: Some(10), ..NONE })),
        ("bytes by its descriptor", usual, on(Kind::Layer, Fault { extra_bytes: 10, ..NONE })),
        ("has digest", usual, on(Kind::Layer, Fault { flip_byte: Some(9), ..NONE })),
        ("has digest", usual, on(Kind::Layer, Fault { zeros: true, ..NONE })),
        ("--max-manifest-bytes", usual, on(Kind::Manifest, Fault { pad_json: 5 << 20, ..NONE })),
        ("the registry sent more", usual, on(Kind::Layer, Fault { extra_bytes: 40 << 20, ..NONE })),
        ("does not exist there", usual, on(Kind::Layer, status(404))),
    ];
    std::thread::scope(|scope| {
        for (says, flags, plan) in table {
            scope.spawn(move || {
                let bench = Bench::new();
                let registry = direct().entry().serve(&bench.shared("fs"), plan);
                costs_time_only(&bench, &repository(&registry), &flags, says);
            });
        }
    });
    let bench = Bench::new();
    costs_time_only(&bench, "127.0.0.1:1/fs", &[], "cannot be reached");
    // What the registry does not have is not a fault.
    let registry = direct().entry().serve(&bench.shared("fs"), Plan::new().rule(On::kind(Kind::Manifest), status(404)));
    let output = build(&bench, &["--cache-from", &repository(&registry)]);
    assert_eq!((&report(&output)["reused"], warnings(&output)), (&false.into(), vec![]));
}

/// Requires a build with one warning that is byte for byte the direct one.
#[track_caller]
fn costs_time_only(bench: &Bench, from: &str, flags: &[&str], says: &str) {
    let output = build(bench, &[&["--cache-from", from], flags].concat());
    let found = report(&output);
    assert_eq!((&found["reused"], &found["fetched"]), (&false.into(), &Value::Null), "{says}: {}", stderr(&output));
    assert!(is_direct(bench), "{says}");
    let warnings = warnings(&output);
    let begin = format!("--cache-from {from}: ");
    let is_right = matches!(&*warnings, [one] if one.starts_with(&begin) && one.contains(says));
    assert!(is_right, "{says}: {warnings:?}");
    assert_eq!(bench.left(), ["out.ext4"], "{says}");
}

/// Entries whose blobs are what their digests say.
#[test]
fn an_entry_that_is_not_that_of_the_key_is_a_warning_and_the_filesystem_is_built() {
    let direct = direct();
    let other = digest(b"other");
    let with = |change: &dyn Fn(&mut Value)| direct.entry_with(&direct.bytes, change);
    let manifest = |change: &dyn Fn(&mut Value)| {
        let mut entry = direct.entry();
        change(&mut entry.manifest);
        entry
    };
    let raw = |report: &[u8]| Written::entry(direct.key(), &direct.bytes, report);
    let bomb = |bytes: &[u8]| {
        let mut entry = direct.entry();
        entry.manifest["layers"][1]["digest"] = digest(bytes).into();
        entry.manifest["layers"][1]["size"] = bytes.len().into();
        entry.blobs.insert(digest(bytes), bytes.to_vec());
        entry
    };
    let table: [(&str, Written); 21] = [
        ("its build key is", manifest(&|it| it["annotations"]["planish.filesystem.key"] = other.clone().into())),
        (
            "it has no build key",
            manifest(&|it| {
                it["annotations"].as_object_mut().unwrap().remove("planish.filesystem.key");
            }),
        ),
        (
            "it has no report",
            manifest(&|it| {
                it["layers"].as_array_mut().unwrap().remove(0);
            }),
        ),
        ("its report has another build key", with(&|it| it["key"] = other.clone().into())),
        ("its report is that of another filesystem", with(&|it| it["filesystem"]["bytes"] = 4096.into())),
        ("its report is that of another filesystem", with(&|it| it["filesystem"]["digest"] = Value::Null)),
        ("its report is that of another image", with(&|it| it["config_digest"] = other.clone().into())),
        ("its report is that of another image", with(&|it| it["layers"] = json!([]))),
        ("its report is that of another image", with(&|it| it["layers"][0]["diff_id"] = other.clone().into())),
        ("it was not verified", with(&|it| it["verified"] = Value::Null)),
        ("text that is not printable", with(&|it| it["engine"]["reason"] = "\u{1b}[2J".into())),
        ("text that is not printable", with(&|it| it["layers"][0]["compression"] = "a\nwarning: b".into())),
        ("its report has other fields", with(&|it| it["tree"]["inodes"] = "many".into())),
        ("its report has other fields", raw(b"[[[[")),
        (
            "its chunks make a file of digest",
            manifest(&|it| {
                it["layers"].as_array_mut().unwrap().truncate(1);
            }),
        ),
        ("it is no ext4 filesystem", direct.entry_with(&[7; 100_000], |_| {})),
        ("bytes of zstd", bomb(&pack(&vec![0; 400 << 20]))),
        ("bytes of zstd", bomb(b"no zstd")),
        ("its artifact type is not", manifest(&|it| it["artifactType"] = "x".into())),
        (
            "--max-bytes allows",
            manifest(&|it| {
                it["annotations"]["planish.filesystem.bytes"] = "99999999999999".into();
            }),
        ),
        ("its manifest has other fields", manifest(&|it| it["layers"] = 7.into())),
    ];
    for (says, written) in table {
        let bench = Bench::new();
        let registry = written.serve(&bench.shared("fs"), Plan::new());
        costs_time_only(&bench, &repository(&registry), &[], says);
    }
}

/// The filesystem with another byte in a file.
fn poisoned() -> Vec<u8> {
    let mut bytes = direct().bytes.clone();
    let at = bytes.windows(7).position(|window| window == b"root:x:").unwrap();
    bytes[at + 5] = b'y';
    bytes
}

/// The limit of the digests, which the README states: who writes the repository chooses the bytes.
#[test]
fn a_poisoned_entry_is_found_by_comparing_it_with_the_image() {
    let direct = direct();
    let bench = Bench::new();
    let registry = direct.entry_with(&poisoned(), |_| {}).serve(&bench.shared("fs"), Plan::new());
    let from = repository(&registry);
    assert_eq!(report(&build(&bench, &["--cache-from", &from]))["reused"], true);
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == poisoned());
    costs_time_only(&bench, &from, &["--cache-verify", "full"], "differs from the tree in 1 place");
    // With the right tree, but other options.
    let labelled = Bench::new();
    succeeded(&build(&labelled, &["--label", "x"]));
    let other = std::fs::read(labelled.at("out.ext4")).unwrap();
    let bench = Bench::new();
    let registry = direct.entry_with(&other, |_| {}).serve(&bench.shared("fs"), Plan::new());
    costs_time_only(&bench, &repository(&registry), &["--cache-verify=full"], "its size, label, UUID or time");
    let bench = Bench::new();
    let lies = direct.entry_with(&direct.bytes, |it| it["tree_digest"] = digest(b"other").into());
    let registry = lies.serve(&bench.shared("fs"), Plan::new());
    costs_time_only(&bench, &repository(&registry), &["--cache-verify=full"], "the digest of another tree");
    // The right one is compared, and taken.
    let bench = Bench::new();
    let registry = direct.entry().serve(&bench.shared("fs"), Plan::new());
    let output = build(&bench, &["--cache-from", &repository(&registry), "--cache-verify=full"]);
    let found = report(&output);
    assert_eq!((&found["reused"], &found["fetched"]["verification"]), (&true.into(), &"full".into()));
    assert_eq!(found["verified"], direct.report["verified"]);
    assert!(is_direct(&bench));
}

/// A report that lies about losses fails no build.
#[test]
fn a_loss_in_a_shared_report_fails_no_strict_build() {
    let bench = Bench::new();
    let note = json!({"kind": "xattr-dropped", "loss": true, "layer": 1, "path": "/x", "detail": "y", "text": "z"});
    let lies = direct().entry_with(&direct().bytes, |it| it["notes"] = json!([note]));
    let registry = lies.serve(&bench.shared("fs"), Plan::new());
    costs_time_only(&bench, &repository(&registry), &["--strict"], "--strict allows none");
}

/// The local cache keeps what was fetched for builds that trust the same repository, and for no others.
#[test]
fn what_was_fetched_is_reused_where_it_would_be_fetched_again() {
    let bench = Bench::new();
    let registry = direct().entry().serve(&bench.shared("fs"), Plan::new());
    let from = repository(&registry);
    let local = ["--cache-dir", "cache"];
    let with = [&local[..], &["--cache-from", &from]].concat();
    let first = report(&build(&bench, &with));
    assert_eq!(first["fetched"]["repository"], from);
    let requests = registry.log().len();
    let second = report(&build(&bench, &with));
    assert_eq!((&second["reused"], &second["fetched"]), (&true.into(), &first["fetched"]));
    assert_eq!(registry.log().len(), requests, "the second is taken from the local cache");
    let full = report(&build(&bench, &[&with[..], &["--cache-verify=full"]].concat()));
    assert_eq!(full["fetched"]["verification"], "full");
    // It was compared with the image here: every build may take it.
    assert_eq!(report(&build(&bench, &local))["reused"], true);
    let bench = Bench::new();
    assert_eq!(report(&build(&bench, &with))["reused"], true);
    assert_eq!(report(&build(&bench, &local))["reused"], false);
    let last = report(&build(&bench, &with));
    assert_eq!((&last["reused"], &last["fetched"]), (&true.into(), &Value::Null), "built here meanwhile");
}

#[test]
fn a_push_that_fails_is_a_warning_or_with_required_an_error() {
    let status = |status| Fault { status: Some(status), ..NONE };
    let method = |method| On { method: Some(method), ..ANY };
    let begins = || {
        let place = vec![("Location", "/v2/fs/blobs/uploads/1".to_owned())];
        Plan::new().rule(method("POST"), Fault { headers: place, ..status(202) })
    };
    let table = [
        ("denies access", 4, Plan::new().rule(method("POST"), status(403))),
        ("requires credentials", 4, Plan::new().auth(Auth::basic())),
        ("does not exist there", 3, Plan::new()),
        ("status 507", 3, Plan::new().rule(method("POST"), status(507))),
        ("names no place for an upload", 3, Plan::new().rule(method("POST"), status(202))),
        ("status 413", 3, begins().rule(method("PUT"), status(413))),
        ("status 500", 3, begins().rule(method("PUT"), status(500))),
        ("denies access", 4, {
            let blobs = On { kind: Some(Kind::Other), ..method("PUT") };
            begins().rule(blobs, status(201)).rule(method("PUT"), status(403))
        }),
        // Last: the one with a short limit.
        ("--cache-timeout allows", 3, {
            Plan::new().rule(method("POST"), Fault { stall_before: Some(Duration::from_secs(600)), ..NONE })
        }),
    ];
    for (says, code, plan) in table {
        let bench = Bench::new();
        let registry = Written::of(b"", &[]).serve(&bench.shared("fs"), plan);
        let to = repository(&registry);
        let limit = if says.contains("timeout") { "3" } else { "300" };
        let flags = ["--cache-to", &to, "--retry", "1", "--cache-timeout", limit];
        let output = build(&bench, &flags);
        assert_eq!(report(&output)["reused"], false, "{says}");
        assert!(is_direct(&bench), "{says}");
        let found = warnings(&output);
        assert!(matches!(&*found, [one] if one.contains(says)), "{says}: {found:?}");
        std::fs::write(bench.at("out.ext4"), "older").unwrap();
        let line = failed(&build(&bench, &[&flags[..], &["--cache-to-required"]].concat()), code);
        assert!(line.contains(says), "{says}: {line}");
        assert_eq!(std::fs::read(bench.at("out.ext4")).unwrap(), b"older", "{says}");
        assert_eq!(bench.left(), ["out.ext4"], "{says}");
    }
}

#[test]
fn nothing_is_sent_offline() {
    let bench = Bench::new();
    let registry = direct().entry().serve(&bench.shared("fs"), Plan::new());
    let from = repository(&registry);
    let output = build(&bench, &["--cache-from", &from, "--cache-to", &from, "--offline"]);
    assert_eq!(report(&output)["reused"], false);
    assert!(matches!(&*warnings(&output), [one] if one.contains("nothing may be sent")), "{}", stderr(&output));
    assert_eq!(registry.log().len(), 0);
}

/// Runs a build with the login of a house.
fn house_build(house: &House, home: &Path, more: &[&str]) -> Output {
    let source = format!("oci:{}", house.bench.fixture("layered").display());
    let mut command = house.bench.planish();
    command.env("HOME", home).args(["build", &source, "-o", "out.ext4"]).args(QUICK).args(more);
    command.arg("--authfile").arg(house.authfile(LOGIN)).arg("--ca-file").arg(&house.ca).output().unwrap()
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn one_host_builds_and_another_takes_it_from_the_registry() {
    let house = House::new();
    let bench = &house.bench;
    let repository = format!("{}/team/cache", house.host);
    let both = ["--cache-from", &repository, "--cache-to", &repository, "--cache-to-required"];
    let run = |more: &[&str]| {
        let output = house_build(&house, &bench.home(), &[&both[..], more].concat());
        assert_eq!(warnings(&output), [""; 0], "{more:?}");
        let found = report(&output);
        assert!(is_direct(bench), "{more:?}");
        found
    };
    assert_eq!(run(&["--cache-dir", "one"])["reused"], false);
    let second = run(&["--cache-dir", "two"]);
    assert_eq!((&second["reused"], &second["fetched"]["repository"]), (&true.into(), &(*repository).into()));
    assert_eq!(run(&["--no-reuse", "--cache-verify=full"])["fetched"]["verification"], "full");
    // Two builds push the same: the manifest did not change.
    succeeded(&house_build(&house, &bench.home(), &["--no-reuse", "--cache-to", &repository, "--cache-to-required"]));
    let third = run(&["--no-reuse"]);
    assert_eq!(third["fetched"]["manifest_digest"], second["fetched"]["manifest_digest"]);
    // It is an artifact like any other, with its report.
    let digits = &direct().key()["sha256:".len()..];
    let reference = format!("docker://{repository}:planish-{}", &digits[..32]);
    let mut pull = bench.planish();
    pull.env("HOME", bench.home()).args(["pull", &reference, "--output", "pulled.ext4", "--report", "pulled.json"]);
    succeeded(&pull.arg("--authfile").arg(house.authfile(LOGIN)).arg("--ca-file").arg(&house.ca).output().unwrap());
    assert!(std::fs::read(bench.at("pulled.ext4")).unwrap() == direct().bytes);
    let pulled: Value = serde_json::from_slice(&std::fs::read(bench.at("pulled.json")).unwrap()).unwrap();
    assert_eq!((&pulled["key"], &pulled["tree_digest"]), (&direct().report["key"], &direct().report["tree_digest"]));
    // Unchanged: it names no file of the machine that pushed it, and none of this one.
    assert_eq!((&pulled["filesystem"]["path"], &pulled["fetched"]), (&"".into(), &Value::Null));
    // A filesystem that was built earlier is pushed to a registry without it.
    let other = format!("{}/team/other", house.host);
    let more = ["--cache-dir", "one", "--cache-to", &other, "--cache-to-required"];
    assert_eq!(report(&house_build(&house, &bench.home(), &more))["reused"], true);
    let more = ["--no-reuse", "--cache-from", &other];
    assert_eq!(report(&house_build(&house, &bench.home(), &more))["fetched"]["repository"], *other);
}
