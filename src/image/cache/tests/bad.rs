//! Damaged blobs, foreign files, and directories that cannot be written.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

#[test]
fn a_partial_that_is_dropped_leaves_nothing() {
    let bench = Bench::new();
    drop(mine(reserve(&bench.cache, b"layer", false).unwrap()));
    assert_eq!(bench.left(), []);
    let mut partial = mine(reserve(&bench.cache, b"layer", false).unwrap());
    partial.write(b"l").unwrap();
    drop(partial);
    assert_eq!(bench.left(), []);
    let panicked = std::panic::catch_unwind(|| {
        let mut partial = mine(reserve(&bench.cache, b"layer", false).unwrap());
        partial.write(b"layer").unwrap();
        std::panic::panic_any("as it happens");
    });
    assert!(panicked.is_err());
    assert_eq!(bench.left(), []);
}

#[test]
fn content_with_another_digest_is_not_published() {
    let bench = Bench::new();
    let wrong = [(&b""[..], Mismatch::Size(0)), (b"laye", Mismatch::Size(4)), (b"layer!", Mismatch::Size(6))];
    for (bytes, want) in wrong.into_iter().chain([(&b"lay r"[..], Mismatch::Digest(digest(b"lay r")))]) {
        let mut partial = mine(reserve(&bench.cache, b"layer", false).unwrap());
        partial.write(bytes).unwrap();
        assert_eq!(partial.commit().unwrap().unwrap_err(), want);
        assert_eq!(bench.left(), []);
    }
    let mut partial = mine(reserve(&bench.cache, b"layer", false).unwrap());
    partial.write(b"wrong").unwrap();
    partial.restart().unwrap();
    partial.write(b"lay").unwrap();
    assert_eq!((partial.len(), partial.digest()), (3, digest(b"lay")));
    partial.write(b"er").unwrap();
    assert_eq!(content(&partial.commit().unwrap().unwrap()), b"layer");
}

#[test]
fn a_damaged_blob_is_reported_and_replaced() {
    let bench = Bench::new();
    let name = bench.fetch(b"layer");
    for (damage, found, kept) in [
        (&b""[..], Some(0), SmallBlob::WrongSize(0)),
        (b"laye", Some(4), SmallBlob::WrongSize(4)),
        (b"lay r", None, SmallBlob::WrongDigest(digest(b"lay r"))),
    ] {
        std::fs::write(bench.blob(b"layer"), damage).unwrap();
        match bench.cache.find(&name, Some(5)).unwrap() {
            Lookup::WrongSize(size) => assert_eq!(Some(size), found),
            Lookup::Hit(_) => assert_eq!(found, None),
            Lookup::Miss => panic!("it is there"),
        }
        assert_eq!(bench.cache.read(&name, Some(5), 9).unwrap(), kept);
        let mut partial = mine(reserve(&bench.cache, b"layer", true).unwrap());
        partial.write(b"layer").unwrap();
        partial.commit().unwrap().unwrap();
        assert_eq!(content(&present(reserve(&bench.cache, b"layer", true).unwrap())), b"layer");
    }
    assert_eq!(bench.left(), [("blobs/sha256".into(), 5)]);
}

#[test]
fn only_regular_files_are_blobs_and_others_are_unchanged() {
    let bench = Bench::new();
    bench.cache.put(b"other").unwrap();
    let (path, secret) = (bench.blob(b"layer"), bench.root.path().join("secret"));
    std::fs::write(&secret, "layer").unwrap();
    let refused = ("is not a regular file".to_owned(), 6);
    let make: [&dyn Fn(); 4] = [
        &|| std::fs::create_dir_all(path.join("inside")).unwrap(),
        &|| symlink(&secret, &path).unwrap(),
        &|| mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        &|| drop(UnixListener::bind(&path).unwrap()),
    ];
    for make in make {
        make();
        let kind = path.symlink_metadata().unwrap().file_type();
        assert_eq!(said(&bench.cache.find(&digest(b"layer"), None).unwrap_err()), refused);
        assert_eq!(said(&bench.cache.read(&digest(b"layer"), None, 9).unwrap_err()), refused);
        assert_eq!(said(&bench.cache.put(b"layer").unwrap_err()), refused);
        for again in [false, true] {
            assert_eq!(said(&reserve(&bench.cache, b"layer", again).unwrap_err()), refused);
        }
        assert_eq!(path.symlink_metadata().unwrap().file_type(), kind);
        let _ = if kind.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
    assert_eq!(std::fs::read(&secret).unwrap(), b"layer");
}

#[test]
fn only_a_regular_file_is_replaced_by_a_blob() {
    let bench = Bench::new();
    let mut partial = mine(reserve(&bench.cache, b"layer", false).unwrap());
    partial.write(b"layer").unwrap();
    std::fs::create_dir(bench.blob(b"layer")).unwrap();
    assert_eq!(said(&partial.commit().unwrap_err()), ("is not a regular file".into(), 6));
    std::fs::remove_dir(bench.blob(b"layer")).unwrap();
    assert_eq!(bench.left(), []);
}

#[test]
fn a_cache_that_cannot_be_made_is_refused() {
    let bench = Bench::new();
    let file = bench.root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = Cache::at(&file.join("cache"));
    for (cache, want) in [
        (Cache::at(&file), "is not a directory"),
        (inside, "is not a directory"),
        (Cache::at(Path::new("/sys/planish")), "cannot be written"),
    ] {
        assert_eq!(said(&reserve(&cache, b"x", false).unwrap_err()), (want.into(), 6), "{cache:?}");
        assert_eq!(said(&cache.put(b"x").unwrap_err()), (want.into(), 6), "{cache:?}");
    }
}

#[test]
fn a_writable_cache_is_made_private_and_another_users_cache_is_read_only() {
    let bench = Bench::new();
    bench.fetch(b"x");
    for name in ["", "blobs/sha256"] {
        let path = bench.cache.directory().join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(bench.cache.find(&digest(b"x"), None).unwrap(), Lookup::Hit(_)));
        assert_eq!(mode(&path), 0o777);
        bench.cache.put(name.as_bytes()).unwrap();
        assert_eq!(mode(&path), 0o755);
    }
    let (cache, owner) = ("belongs to another user, and a cache is written by its owner alone", "cannot be chowned");
    if chown(bench.cache.directory(), Some(65534), None).is_err() {
        eprintln!("{owner}: half of this test was skipped");
        return;
    }
    assert!(matches!(bench.cache.find(&digest(b"x"), None).unwrap(), Lookup::Hit(_)));
    assert_eq!(said(&bench.cache.put(b"y").unwrap_err()), (cache.into(), 6));
}

#[test]
fn the_cache_may_be_a_symlink_but_its_directories_may_not() {
    let bench = Bench::new();
    bench.cache.put(b"x").unwrap();
    let link = bench.root.path().join("link");
    symlink(bench.cache.directory(), &link).unwrap();
    Cache::at(&link).put(b"y").unwrap();
    let partials = bench.cache.directory().join("partial");
    std::fs::remove_dir(&partials).unwrap();
    symlink(bench.root.path(), &partials).unwrap();
    assert_eq!(said(&bench.cache.put(b"z").unwrap_err()), ("is not a directory".into(), 6));
}
