//! Reservations between processes, and continuing after killed ones.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::*;
use crate::error::Signal;

#[test]
fn one_thread_fetches_and_the_others_wait_for_it() {
    let bench = Bench::new();
    let (start, fetched) = (Barrier::new(8), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let blob = match reserve(&bench.cache, b"layer", false).unwrap() {
                    Reservation::Present(blob) => blob,
                    Reservation::Granted(mut partial) => {
                        fetched.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(100));
                        partial.write(b"layer").unwrap();
                        partial.commit().unwrap().unwrap()
                    }
                };
                assert_eq!(content(&blob), b"layer");
            });
        }
    });
    assert_eq!(fetched.into_inner(), 1);
    assert_eq!(bench.left(), [("blobs/sha256".into(), 5)]);
}

#[test]
fn the_next_thread_continues_an_abandoned_fetch() {
    let bench = Bench::new();
    let first = mine(reserve(&bench.cache, b"layer", false).unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| mine(reserve(&bench.cache, b"layer", false).unwrap()).len());
        std::thread::sleep(Duration::from_millis(120));
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.join().unwrap(), 0);
    });
    assert_eq!(bench.left(), []);
}

#[test]
fn a_partial_without_a_lock_is_continued() {
    let bench = Bench::new();
    bench.cache.put(b"other").unwrap();
    let (lock, partial) = (bench.cache.lock_path(&digest(b"layer")), bench.cache.partial_path(&digest(b"layer")));
    for (left, want) in [(&b"la"[..], 2), (b"", 0), (b"layer and more", 0), (b"wrong", 0)] {
        std::fs::write(&lock, "1").unwrap();
        std::fs::write(&partial, left).unwrap();
        let mut continued = mine(reserve(&bench.cache, b"layer", false).unwrap());
        assert_eq!(continued.len(), want, "{left:?}");
        continued.write(&b"layer"[usize::try_from(want).unwrap()..]).unwrap();
        assert_eq!(content(&continued.commit().unwrap().unwrap()), b"layer");
        assert_eq!(bench.left(), [("blobs/sha256".into(), 5), ("blobs/sha256".into(), 5)]);
        std::fs::remove_file(bench.blob(b"layer")).unwrap();
    }
    std::fs::write(&partial, "layer").unwrap();
    assert_eq!(content(&present(reserve(&bench.cache, b"layer", false).unwrap())), b"layer");
}

#[test]
fn a_partial_that_is_a_symlink_is_not_written_through() {
    let bench = Bench::new();
    bench.cache.put(b"other").unwrap();
    let secret = bench.root.path().join("secret");
    std::fs::write(&secret, "se").unwrap();
    for path in [bench.cache.partial_path(&digest(b"layer")), bench.cache.lock_path(&digest(b"layer"))] {
        symlink(&secret, &path).unwrap();
        let error = reserve(&bench.cache, b"layer", false).unwrap_err();
        assert_eq!(said(&error), ("is not a regular file".into(), 6));
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(std::fs::read(secret).unwrap(), b"se");
}

/// Takes a blob's lock, like a process that then hangs.
fn hang(bench: &Bench, bytes: &[u8]) -> File {
    bench.cache.put(b"other").unwrap();
    let path = bench.cache.lock_path(&digest(bytes));
    std::fs::write(&path, "4711\n").unwrap();
    let file = File::open(path).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

#[test]
fn a_stalled_holder_is_reported_then_ignored() {
    let bench = Bench::new();
    let hung = hang(&bench, b"layer");
    let cache = bench.cache.clone().with_patience(Duration::from_millis(2300));
    let reported = Mutex::new(Vec::new());
    let waiting = |waiting| reported.lock().unwrap().push(waiting);
    let reserved = cache.reserve(&digest(b"layer"), 5, false, &waiting, &Cancel::default()).unwrap();
    assert_eq!(*reported.lock().unwrap(), [LockHolder { pid: Some(4711) }]);
    let mut partial = mine(reserved);
    partial.write(b"layer").unwrap();
    assert_eq!(content(&partial.commit().unwrap().unwrap()), b"layer");
    drop(hung);
}

#[test]
fn a_holder_that_makes_progress_is_waited_for() {
    let bench = Bench::new();
    let cache = bench.cache.clone().with_patience(Duration::from_secs(2));
    let mut first = mine(reserve(&bench.cache, b"layer", false).unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| content(&present(reserve(&cache, b"layer", false).unwrap())));
        for byte in b"layer" {
            std::thread::sleep(Duration::from_millis(600));
            first.write(&[*byte]).unwrap();
        }
        first.commit().unwrap().unwrap();
        assert_eq!(second.join().unwrap(), b"layer");
    });
}

#[test]
fn waiting_ends_on_cancellation() {
    let bench = Bench::new();
    let _hung = hang(&bench, b"layer");
    let (cancel, started) = (Cancel::default(), Instant::now());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bench.cache.reserve(&digest(b"layer"), 5, false, &|_| {}, &cancel).map(drop));
        std::thread::sleep(Duration::from_millis(100));
        cancel.raise(Signal::Terminate);
        assert_eq!(waiting.join().unwrap().unwrap_err().fault().exit_code(), 143);
    });
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn old_leftovers_are_removed_unless_in_use() {
    let bench = Bench::new();
    let living = mine(reserve(&bench.cache, b"living", false).unwrap());
    let old = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    let dead = bench.cache.partial_path(&digest(b"dead"));
    let fresh = bench.cache.partial_path(&digest(b"fresh"));
    for path in [&dead, &fresh] {
        std::fs::write(path, "x").unwrap();
    }
    for path in [&dead, &bench.cache.partial_path(&digest(b"living"))] {
        File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    bench.fetch(b"layer");
    assert!(!dead.exists() && fresh.exists());
    drop(living);
}

/// Takes a turn at building, and returns the process that was waited for.
fn turn(cache: &Cache, key: &Digest, cancel: &Cancel) -> (Result<BuildTurn>, Option<u32>) {
    let holder = Mutex::new(None);
    let turn = cache.build_turn(key, &|waiting| *holder.lock().unwrap() = waiting.pid, cancel);
    (turn, holder.into_inner().unwrap())
}

#[test]
fn a_builder_that_shows_no_life_is_not_waited_for() {
    let bench = Bench::new();
    let cache = bench.cache.clone().with_patience(Duration::from_millis(2500));
    let key = digest(b"key");
    let (first, _) = turn(&cache, &key, &Cancel::default());
    let BuildTurn::Granted(Some(first)) = first.unwrap() else { panic!("the lock is free") };
    let started = Instant::now();
    let (second, holder) = turn(&cache, &key, &Cancel::default());
    assert!(matches!(second.unwrap(), BuildTurn::Granted(None)) && started.elapsed() >= Duration::from_millis(2500));
    assert_eq!(holder, Some(std::process::id()));
    // A stop ends the wait, and so does the end of the other build.
    let cancel = Cancel::default();
    cancel.raise(Signal::Terminate);
    assert!(turn(&cache, &key, &cancel).0.is_err());
    std::thread::scope(|scope| {
        let third = scope.spawn(|| turn(&bench.cache, &key, &Cancel::default()).0.unwrap());
        std::thread::sleep(Duration::from_millis(120));
        assert!(!third.is_finished());
        drop(first);
        assert!(matches!(third.join().unwrap(), BuildTurn::Granted(Some(_))));
    });
    assert_eq!(bench.left(), []);
}

#[test]
fn a_builder_touches_its_lock() {
    let bench = Bench::new();
    let key = digest(b"key");
    let _turn = turn(&bench.cache, &key, &Cancel::default());
    let lock = bench.cache.build_lock_path(&key);
    let old = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    let touched = || lock.metadata().unwrap().modified().unwrap() > old + Duration::from_secs(60);
    let started = Instant::now();
    while !touched() && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(touched());
}
