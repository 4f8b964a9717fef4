//! Several processes with one cache, and the same image twice.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use planish_proptests::writer::Layout;

use crate::registry::day::{Day, files_below};
use crate::registry::kill::wait_for_layer;
use crate::registry::sample::{LAYER, built_from_layout, oracle, sample, variant, variant_image};
use crate::support::registry::{Fault, Kind, NONE, On, Plan};
use crate::support::stderr;

/// A registry slow enough that ten processes overlap.
fn slow() -> Plan {
    let drip = Some((30_000, Duration::from_millis(20)));
    Plan::new().rule(On::kind(Kind::Blob), Fault { drip, ..NONE })
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn builds(day: &Day, count: usize) -> Vec<Child> {
    (0..count).map(|n| spawn(&mut day.build_command(&day.source(), &format!("out{n}.ext4"), &[]))).collect()
}

fn ends(day: &Day, children: Vec<Child>) -> Vec<Output> {
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    day.cache_is_sound();
    day.no_partial();
    day.nothing_outside();
    outputs.iter().for_each(|output| day.says_nothing_secret(output));
    outputs
}

/// Every layer, and the config, was sent once.
#[track_caller]
fn one_get_a_blob(day: &Day) {
    let log = day.registry.log();
    for blob in sample().layers.iter().map(|layer| &layer.digest).chain([&sample().config]) {
        assert_eq!(log.gets(blob).len(), 1, "{}: {blob}", day.id);
    }
}

/// Runs `count` builds on a cold cache: each is right, and each blob is sent once.
#[track_caller]
fn builds_at_once(id: &'static str, count: usize) {
    let day = Day::new(id, slow());
    let children = builds(&day, count);
    for (output, n) in ends(&day, children).iter().zip(0..) {
        day.succeeds(output);
        day.equals_oracle(&format!("out{n}.ext4"));
    }
    one_get_a_blob(&day);
    day.recovers(&[]);
}

#[test]
fn two_builds_fetch_each_layer_once() {
    builds_at_once("C12", 2);
}

#[test]
fn ten_builds_fetch_each_layer_once() {
    builds_at_once("P01", 10);
}

#[test]
fn nine_of_ten_builds_survive_a_503_and_the_kill_of_the_tenth() {
    let drip = Fault { drip: Some((30_000, Duration::from_millis(20))), ..NONE };
    let plan = Plan::new()
        .rule(On::kind(Kind::Blob).first(), Fault { status: Some(503), ..NONE })
        .rule(On::kind(Kind::Blob), drip);
    let day = Day::new("P02", plan);
    let mut children = builds(&day, 10);
    wait_for_layer(&day);
    let mut killed = children.remove(0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for (output, n) in outputs.iter().zip(1..) {
        day.says_nothing_secret(output);
        day.succeeds(output);
        day.equals_oracle(&format!("out{n}.ext4"));
    }
    day.cache_is_sound();
    day.recovers(&[]);
}

#[test]
fn images_that_share_layers_share_their_downloads() {
    let write = |directory: &Path| {
        let layout = (0..10).fold(Layout::new(), |layout, n| layout.tag(&format!("v{n}"), &variant_image(n)));
        layout.write(directory).unwrap();
    };
    let day = Day::of("P03", slow(), &write);
    let pull = |n: u8| spawn(&mut day.pull_command(&day.reference(&format!("img:v{n}")), &[]));
    let children = (0..10).map(pull).collect();
    for output in ends(&day, children) {
        day.succeeds(&output);
    }
    for layer in &sample().layers {
        assert_eq!(day.registry.log().gets(&layer.digest).len(), 1, "P03: {}", layer.digest);
    }
    for n in [0, 9] {
        let source = day.reference(&format!("img:v{n}"));
        day.succeeds(&day.run(&mut day.build_command(&source, "out.ext4", &["--offline"])));
        let built = std::fs::read(day.bench.at("out.ext4")).unwrap();
        assert!(built == built_from_layout(&variant(n)) && built != oracle(), "P03: variant {n}");
    }
    day.recovers(&[]);
}

/// Builds while the cache is pruned continuously.
fn beside_prune(id: &'static str, rounds: usize) {
    let day = Day::new(id, Plan::new());
    let prune = || {
        let mut command = day.planish();
        spawn(command.args(["cache", "prune", "--keep-bytes", "0", "--cache-dir", "cache"]))
    };
    for _ in 0..rounds {
        let children = vec![prune(), spawn(&mut day.build_command(&day.source(), "out.ext4", &[])), prune()];
        let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        for output in &outputs {
            day.says_nothing_secret(output);
            day.succeeds(output);
        }
        day.cache_is_sound();
        day.equals_oracle("out.ext4");
    }
    day.no_partial();
    day.recovers(&[]);
}

#[test]
fn prune_keeps_the_blobs_of_a_running_build() {
    beside_prune("C20", 10);
}

#[test]
#[ignore = "takes minutes"]
fn prune_keeps_the_blobs_of_a_hundred_running_builds() {
    beside_prune("P04", 100);
}

#[test]
fn a_stalled_holder_does_not_block_others() {
    let stall = Fault { stall_at: Some((100_000, Duration::from_secs(6))), ..NONE };
    let day = Day::new("C17", Plan::new().rule(On::layer(LAYER).first(), stall));
    let holder = spawn(&mut day.pull_command(&day.source(), &[]));
    wait_for_layer(&day);
    let started = Instant::now();
    let output = day.build_command(&day.source(), "out.ext4", &[]).output().unwrap();
    day.succeeds(&output);
    assert!(started.elapsed() < Duration::from_secs(30), "C17: {:?}", started.elapsed());
    day.equals_oracle("out.ext4");
    let waited = stderr(&output).contains("wait") || day.registry.log().gets(&sample().layer().digest).len() > 1;
    assert!(waited, "C17: neither waited with a word nor fetched it: {}", stderr(&output));
    for output in ends(&day, vec![holder]) {
        day.succeeds(&output);
    }
    day.recovers(&[]);
}

/// Two hosts with one directory and separate locks: neither sees the other's.
#[test]
fn without_locks_renames_keep_blobs_whole() {
    let stall = Fault { stall_at: Some((100_000, Duration::from_secs(3))), ..NONE };
    let day = Day::new("P05", Plan::new().rule(On::layer(LAYER).first(), stall));
    let first = spawn(&mut day.pull_command(&day.source(), &[]));
    wait_for_layer(&day);
    for file in files_below(&day.cache()) {
        if file.strip_prefix(day.cache()).unwrap().to_string_lossy().contains("lock") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let second = spawn(&mut day.pull_command(&day.source(), &[]));
    for output in ends(&day, vec![first, second]) {
        day.succeeds(&output);
    }
    day.recovers(&[]);
}

#[test]
fn an_image_gives_equal_bytes_with_every_cache_and_jobs_option() {
    let day = Day::new("P06", Plan::new());
    for name in ["a", "b"] {
        std::fs::create_dir(day.bench.at(name)).unwrap();
        day.bench.give(&day.bench.at(name));
    }
    let cases: [(&str, &[&str]); 5] = [
        ("a", &["--jobs", "1"]),
        ("b", &["--jobs", "8"]),
        ("tmp", &["--no-cache"]),
        ("a", &["--offline", "--jobs", "8"]),
        ("b", &["--pull=always", "--jobs", "2"]),
    ];
    for (directory, flags) in cases {
        let mut command = day.build_command(&day.source(), "out.ext4", flags);
        day.succeeds(&day.run(command.env("TMPDIR", day.bench.at(directory))));
        day.equals_oracle("out.ext4");
        assert_eq!(day.bench.at(directory).read_dir().unwrap().count(), 0, "P06: {directory}");
    }
}
