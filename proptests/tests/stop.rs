//! Stops: at every stage, by every signal, within two seconds, with nothing left and no child alive.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use planish::build::{BuildOptions, build};
use planish::flatten::ReadOptions;
use planish::plan::PlanOptions;
use planish::progress::{Progress, Stage};
use planish::source::SourceName;
use planish::{Cancel, ErrorKind, Limits, Signal};
use rustix::process::{Pid, Signal as Number, kill_process, test_kill_process};
use support::{Bench, read_clean, succeeded};

const PATIENCE: Duration = Duration::from_secs(2);

/// An observer that asks for a stop when a stage begins.
struct StopAt {
    stage: Stage,
    cancel: Cancel,
    met: AtomicBool,
}

impl Progress for StopAt {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        if stage == self.stage {
            self.met.store(true, Ordering::Relaxed);
            self.cancel.raise(Signal::Terminate);
        }
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}

#[test]
fn a_stop_in_any_stage_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = support::fixtures().join("layered");
    let name = SourceName::parse(format!("oci:{}", layout.display()).as_ref()).unwrap();
    let stages = [
        Stage::Open,
        Stage::Layers,
        Stage::Plan,
        Stage::Stage,
        Stage::Mkfs,
        Stage::Debugfs,
        Stage::Verify,
        Stage::Fsck,
    ];
    for stage in stages {
        let cancel = Cancel::default();
        let observer = StopAt { stage, cancel: cancel.clone(), met: AtomicBool::new(false) };
        let read = ReadOptions {
            platform: Some("linux/amd64".parse().unwrap()),
            implied_mtime: 0,
            keep_selinux: false,
            jobs: 2,
            downloads: 1,
            remote: None,
            limits: Limits::default(),
        };
        let options = BuildOptions {
            read,
            plan: PlanOptions::default(),
            work_dir: None,
            force: false,
            strict: false,
            verify: true,
            digests: false,
            search_path: "/usr/bin:/bin".into(),
        };
        let error = build(&name, &home.path().join("out.ext4"), &options, &observer, &cancel).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled(Signal::Terminate)), "{stage:?}: {error}");
        assert!(observer.met.load(Ordering::Relaxed));
        assert_eq!(home.path().read_dir().unwrap().count(), 0, "{stage:?}");
    }
}

/// A directory with a program that takes for ever, and writes its process ID down.
fn sleeping(bench: &Bench, tool: &str) -> PathBuf {
    let dir = bench.shared(&format!("bin-{tool}"));
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in -V) echo 'mke2fs 1.47.0 (x)' >&2; exit 0;; esac\n\
         echo $$ > '{}'\nsleep 1000 & sleep 1000\n",
        bench.at("pid").display()
    );
    support::script(&dir.join(tool), &script);
    dir
}

fn start(bench: &Bench, path: &Path, source: &str) -> Child {
    let mut command = bench.planish();
    command
        .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
        .args(["build", source, "-o", "out.ext4", "--platform", "linux/amd64", "--progress", "json"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a stage has begun.
fn wait_for(child: &mut Child, stage: &str) {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = format!(r#"{{"event":"begin","stage":"{stage}""#);
    assert!(lines.map_while(Result::ok).any(|line| line.starts_with(&begun)), "{stage} did not begin");
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Waits until the sleeping program runs, and returns its process ID.
fn sleeper(bench: &Bench) -> Pid {
    let text = until("the tool did not start", || {
        std::fs::read_to_string(bench.at("pid")).ok().filter(|text| text.ends_with('\n'))
    });
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

#[test]
fn signals_end_children_and_leave_nothing() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    for (tool, stage) in [("mkfs.ext4", "mkfs"), ("debugfs", "debugfs"), ("e2fsck", "fsck")] {
        let path = sleeping(&bench, tool);
        for (signal, code) in [(Number::HUP, 129), (Number::INT, 130), (Number::TERM, 143)] {
            let mut child = start(&bench, &path, &source);
            wait_for(&mut child, stage);
            let sleeper = sleeper(&bench);
            kill_process(pid(&child), signal).unwrap();
            let status = until("planish did not stop", || child.try_wait().unwrap());
            assert_eq!(status.code(), Some(code), "{tool} {signal:?}");
            until("the child lives on", || test_kill_process(sleeper).err());
            std::fs::remove_file(bench.at("pid")).unwrap();
            assert_eq!(bench.left(), [""; 0], "{tool} {signal:?}");
        }
    }
}

#[test]
fn a_signal_ends_the_wait_for_standard_input() {
    let bench = Bench::new();
    let mut child = start(&bench, Path::new("/usr/sbin"), "-");
    wait_for(&mut child, "open");
    kill_process(pid(&child), Number::TERM).unwrap();
    let status = until("planish did not stop", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn what_a_kill_leaves_the_next_run_removes() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let path = sleeping(&bench, "mkfs.ext4");
    let mut child = start(&bench, &path, &source);
    wait_for(&mut child, "mkfs");
    let sleeper = sleeper(&bench);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(bench.at("pid")).unwrap();
    assert_eq!(bench.left().len(), 2, "{:?}", bench.left());
    succeeded(&bench.build(&source, "out.ext4", &[]));
    assert_eq!(bench.left(), ["out.ext4"]);
    read_clean(&bench.at("out.ext4"));
    let _ = rustix::process::kill_process_group(sleeper, Number::KILL);
}
