//! Processes that are killed during a download, and the run after them.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::registry::day::{Day, files_below};
use crate::registry::sample::{LAYER, sample};
use crate::support::process::{command, run, wait};
use crate::support::registry::{Fault, Kind, NONE, On, Plan};

const PATIENCE: Duration = Duration::from_secs(20);

/// Every GET of the layer stops after a third of it.
fn stalled() -> Plan {
    let wait = Duration::from_secs(60);
    Plan::new().rule(On::layer(LAYER), Fault { stall_at: Some((100_000, wait)), ..NONE })
}

fn start(day: &Day) -> Child {
    day.pull_command(&day.source(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the layer was requested and a third of it must have arrived.
pub fn wait_for_layer(day: &Day) {
    let started = Instant::now();
    while day.registry.request_count(&sample().layer().digest) == 0 {
        assert!(started.elapsed() < PATIENCE, "{}: the layer was not asked for", day.id);
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_next_run_continues_after_a_kill() {
    let day = Day::new("C13", stalled());
    let child = start(&day);
    wait_for_layer(&day);
    day.cache_is_sound();
    kill(child);
    day.cache_is_sound();
    assert!(!day.blob(&sample().layer().digest).exists(), "C13: a part has the blob's name");
    day.recovers(&[]);
}

#[test]
fn a_lock_file_without_a_holder_is_ignored() {
    let day = Day::new("C16", stalled());
    let child = start(&day);
    wait_for_layer(&day);
    kill(child);
    for file in files_below(&day.cache()) {
        run(command("touch -d 2001-02-03").arg(file));
    }
    let started = Instant::now();
    day.recovers(&[]);
    assert!(started.elapsed() < PATIENCE, "C16: waited for nobody");
    // The lock files of a successful run are not locks either.
    std::fs::remove_file(day.blob(&sample().layer().digest)).unwrap();
    for file in files_below(&day.cache()) {
        run(command("touch").arg(file));
    }
    day.recovers(&[]);
}

#[test]
fn a_signal_ends_a_download_and_leaves_no_part() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let day = Day::new("C13", stalled());
        let mut child = start(&day);
        wait_for_layer(&day);
        let started = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = wait(&mut child, PATIENCE).expect("planish did not stop");
        assert_eq!(status.code(), Some(code), "{signal:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        day.cache_is_sound();
        day.no_partial();
        day.nothing_outside();
        day.recovers(&[]);
    }
}

/// Kills runs at times independent of their progress, and then lets one end.
fn killed_at_random(rounds: u64) {
    let slow = Fault { drip: Some((30_000, Duration::from_millis(20))), ..NONE };
    let day = Day::new("C14", Plan::new().rule(On::kind(Kind::Blob), slow));
    for round in 0..rounds {
        let child = start(&day);
        // The golden ratio spreads the moments evenly over half a second.
        let moment = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        std::thread::sleep(Duration::from_millis((moment * 500) >> 32));
        kill(child);
        day.cache_is_sound();
        if sample().digests().iter().all(|digest| day.blob(digest).exists()) {
            // Otherwise every later round would find a full cache.
            for digest in sample().digests() {
                let _ = std::fs::remove_file(day.blob(digest));
            }
        }
    }
    day.recovers(&[]);
}

#[test]
fn kills_leave_whole_blobs_or_none() {
    killed_at_random(10);
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_kills_leave_whole_blobs_or_none() {
    killed_at_random(100);
}
