//! Stops: every stage, by every signal, ends within a second and leaves no file and no child.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use planish::progress::{Progress, Stage};
use planish::{Builder, Cancel, ErrorKind, Image, Signal};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal as Number, kill_process};

use crate::support::{Bench, read_clean, succeeded};

const PATIENCE: Duration = Duration::from_secs(1);

/// An observer that requests a stop when a stage begins.
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
    let layout = crate::support::fixtures().join("layered");
    let source = format!("oci:{}", layout.display());
    let stages = [
        Stage::Open,
        Stage::Layers,
        Stage::Plan,
        Stage::Stage,
        Stage::Mkfs,
        Stage::Debugfs,
        Stage::Verify,
        Stage::Fsck,
        Stage::Digest,
        Stage::Publish,
    ];
    for stage in stages {
        let cancel = Cancel::default();
        let observer = Arc::new(StopAt { stage, cancel: cancel.clone(), met: AtomicBool::new(false) });
        let options = Image::options()
            .platform("linux/amd64".parse().unwrap())
            .jobs(2)
            .work_dir(home.path())
            .progress(Arc::clone(&observer) as Arc<dyn Progress>)
            .cancel(cancel);
        let builder = Builder::from_source(&*source, options).unwrap().digests(true);
        let error = builder.build(home.path().join("out.ext4")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled(Signal::Terminate)), "{stage:?}: {error}");
        assert!(observer.met.load(Ordering::Relaxed));
        assert_eq!(home.path().read_dir().unwrap().count(), 0, "{stage:?}");
    }
}

/// A directory with a program that sleeps and writes its process ID to a file.
fn sleeping(bench: &Bench, tool: &str) -> PathBuf {
    let dir = bench.shared(&format!("bin-{tool}"));
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in -V) echo 'mke2fs 1.47.0 (x)' >&2; exit 0;; esac\n\
         echo $$ > '{}'\nsleep 1000 & sleep 1000\n",
        bench.at("pid").display()
    );
    crate::support::script(&dir.join(tool), &script);
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

/// Waits for an event that a busy machine may delay.
fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(30), what, look)
}

fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < patience, "{what}");
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
            let status = within(PATIENCE, "planish did not stop", || child.try_wait().unwrap());
            assert_eq!(status.code(), Some(code), "{tool} {signal:?}");
            within(PATIENCE, "the child lives on", || is_gone(sleeper).then_some(()));
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
    let status = within(PATIENCE, "planish did not stop", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn the_next_run_removes_the_files_of_a_killed_run() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let path = sleeping(&bench, "mkfs.ext4");
    let mut child = start(&bench, &path, &source);
    wait_for(&mut child, "mkfs");
    let sleeper = sleeper(&bench);
    child.kill().unwrap();
    child.wait().unwrap();
    within(PATIENCE, "the child lives on", || is_gone(sleeper).then_some(()));
    // A child's own children are not ended.
    let _ = rustix::process::kill_process_group(sleeper, Number::KILL);
    std::fs::remove_file(bench.at("pid")).unwrap();
    assert_eq!(bench.left().len(), 2, "{:?}", bench.left());
    succeeded(&bench.build(&source, "out.ext4", &[]));
    assert_eq!(bench.left(), ["out.ext4"]);
    read_clean(&bench.at("out.ext4"));
}

/// Returns true if a process has ended, even as a zombie.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('Z'))
}

/// A pipe with room for `room` more bytes, at most a page, that has an idle reader.
fn full_pipe(room: usize) -> (PipeReader, PipeWriter) {
    const PAGE: usize = 4096;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while (&writer).write(&[b'x'; PAGE]).is_ok() {}
    reader.read_exact(&mut [0; PAGE]).unwrap();
    (&writer).write_all(&[b'x'; PAGE][room..]).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn build_with_events(bench: &Bench, source: &str) -> Command {
    let mut command = bench.planish();
    command.args(["build", source, "-o", "out.ext4", "--platform", "linux/amd64", "--progress", "json"]);
    command
}

/// Starts a build that blocks on stderr in the line of its first stage, because the reader is idle.
fn start_deaf(bench: &Bench, source: &str) -> (Child, PipeReader) {
    let events = build_with_events(bench, source).output().unwrap().stderr;
    std::fs::remove_file(bench.at("out.ext4")).unwrap();
    let begin: &[u8] = br#"{"event":"begin""#;
    let room = events.windows(begin.len()).position(|bytes| bytes == begin).unwrap();
    let (reader, writer) = full_pipe(room);
    (build_with_events(bench, source).stdin(Stdio::null()).stderr(writer).spawn().unwrap(), reader)
}

#[test]
fn the_next_run_removes_the_files_of_a_hung_run() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    for second in [false, true] {
        let before = bench.left();
        let (mut child, _reader) = start_deaf(&bench, &source);
        until("nothing is made", || {
            let left = bench.left();
            (left.len() == 2 && left.iter().all(|name| !before.contains(name))).then_some(())
        });
        std::thread::sleep(Duration::from_millis(200));
        kill_process(pid(&child), Number::TERM).unwrap();
        let mut patience = PATIENCE;
        if second {
            std::thread::sleep(Duration::from_millis(100));
            assert!(child.try_wait().unwrap().is_none());
            kill_process(pid(&child), Number::INT).unwrap();
            patience = Duration::from_millis(500);
        }
        let started = Instant::now();
        let status = within(PATIENCE, "planish did not stop", || child.try_wait().unwrap());
        assert!(started.elapsed() < patience, "{:?}", started.elapsed());
        // The first signal gives the reason.
        assert_eq!(status.code(), Some(143), "{second}");
    }
    assert!(!bench.left().is_empty());
    succeeded(&bench.build(&source, "out.ext4", &[]));
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn a_signal_ends_the_wait_for_a_reader_of_the_report() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let (reader, writer) = full_pipe(0);
    let mut command = bench.planish();
    command.args(["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--progress", "json", "--json"]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, "publish");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(pid(&child), Number::TERM).unwrap();
    let status = within(PATIENCE, "planish did not stop", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(143));
    assert_eq!(bench.left(), [""; 0]);
    drop(reader);
}
