//! The cache as its callers see it, in normal use and with faults (FAULTS, C01 to C21).

mod bad;
mod index;
mod listings;
mod prune;
mod turns;

use std::path::Path;

use super::*;
use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::read_at::FileSlice;

/// A cache in its own directory, which does not exist yet.
struct Bench {
    cache: Cache,
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { cache: Cache::at(&root.path().join("deep/cache")), root }
    }

    /// Fetches a blob that is not present.
    fn fetch(&self, bytes: &[u8]) -> Digest {
        let mut partial = mine(reserve(&self.cache, bytes, false).unwrap());
        partial.write(bytes).unwrap();
        partial.commit().unwrap().unwrap();
        digest(bytes)
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.cache.blob_path(&digest(bytes))
    }

    /// Returns the files below `blobs`, `partial` and `locks`, each with its directory and size.
    fn left(&self) -> Vec<(String, u64)> {
        let mut left = Vec::new();
        for name in ["blobs/sha256", "partial", "locks"] {
            let entries = self.cache.directory().join(name).read_dir().into_iter().flatten();
            left.extend(entries.map(|entry| (name.to_owned(), entry.unwrap().metadata().unwrap().len())));
        }
        left.sort();
        left
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn reserve(cache: &Cache, bytes: &[u8], again: bool) -> Result<Reservation> {
    cache.reserve(&digest(bytes), bytes.len() as u64, again, &|_| {}, &Cancel::default())
}

#[track_caller]
fn mine(reserved: Reservation) -> Partial {
    match reserved {
        Reservation::Granted(partial) => partial,
        Reservation::Present(blob) => panic!("{blob:?} is there"),
    }
}

#[track_caller]
fn present(reserved: Reservation) -> FileSlice {
    match reserved {
        Reservation::Present(blob) => blob,
        Reservation::Granted(partial) => panic!("{partial:?} is to be fetched"),
    }
}

fn content(blob: &FileSlice) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut blob.reader(), &mut bytes).unwrap();
    bytes
}

/// Returns the text of a message after the path, and its exit code.
fn said(error: &Error) -> (String, u8) {
    let text = error.to_string();
    let (_, predicate) = text.rsplit_once('/').and_then(|(_, rest)| rest.split_once(' ')).unwrap_or(("", &text));
    (predicate.to_owned(), error.fault().exit_code())
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&path.symlink_metadata().unwrap().permissions()) & 0o7777
}

#[test]
fn a_blob_that_was_fetched_is_found_whole() {
    let bench = Bench::new();
    let digest = bench.fetch(b"layer");
    let Lookup::Hit(blob) = bench.cache.find(&digest, Some(5)).unwrap() else { panic!("it is not there") };
    assert_eq!(content(&blob), b"layer");
    assert_eq!(bench.cache.read(&digest, None, 5).unwrap(), SmallBlob::Bytes(b"layer".to_vec()));
    assert_eq!(bench.cache.read(&digest, Some(5), 4).unwrap(), SmallBlob::TooLarge(5));
    assert_eq!(content(&present(reserve(&bench.cache, b"layer", false).unwrap())), b"layer");
    assert_eq!(bench.left(), [("blobs/sha256".into(), 5)]);
}

#[test]
fn a_blob_may_be_put_twice() {
    let bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.cache.put(b"{}").unwrap(), digest(b"{}"));
    }
    std::fs::write(bench.blob(b"{}"), "[]").unwrap();
    bench.cache.put(b"{}").unwrap();
    assert_eq!(bench.cache.read(&digest(b"{}"), None, 9).unwrap(), SmallBlob::Bytes(b"{}".to_vec()));
    assert_eq!(bench.left(), [("blobs/sha256".into(), 2)]);
}

#[test]
fn the_cache_directory_is_made_by_the_first_blob() {
    let bench = Bench::new();
    assert!(matches!(bench.cache.find(&digest(b"x"), None).unwrap(), Lookup::Miss));
    assert_eq!(bench.cache.read(&digest(b"x"), None, 9).unwrap(), SmallBlob::Missing);
    assert_eq!(bench.cache.recall("x").unwrap(), None);
    assert_eq!(bench.cache.list().unwrap(), []);
    assert_eq!(bench.cache.prune(&PruneOptions::default()).unwrap(), PruneReport::default());
    assert_eq!(bench.root.path().read_dir().unwrap().count(), 0);
}

#[test]
fn directories_and_files_are_private() {
    let bench = Bench::new();
    bench.fetch(b"x");
    bench.cache.remember("x", &IndexEntry { digest: digest(b"x"), size: 1, media_type: "t".into() }).unwrap();
    for name in ["", "blobs", "blobs/sha256", "locks", "partial"] {
        assert_eq!(mode(&bench.cache.directory().join(name)), 0o700, "{name}");
    }
    for path in
        [bench.blob(b"x"), bench.cache.directory().join("index.json"), bench.cache.directory().join("oci-layout")]
    {
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
    let layout = std::fs::read_to_string(bench.cache.directory().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
}
