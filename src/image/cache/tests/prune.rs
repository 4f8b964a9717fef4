//! Listing, verifying and pruning.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::progress::NoProgress;

impl Bench {
    fn document(&self, value: &Value) -> (Digest, u64) {
        let text = value.to_string();
        (self.cache.put(text.as_bytes()).unwrap(), text.len() as u64)
    }

    fn manifest(&self, layers: &[&[u8]]) -> (Digest, u64) {
        let descriptor = |bytes: &[u8]| json!({"digest": digest(bytes), "size": bytes.len()});
        let layers: Vec<_> = layers.iter().map(|bytes| descriptor(bytes)).collect();
        self.document(&json!({"config": descriptor(b"{}"), "layers": layers}))
    }

    fn name(&self, reference: &str, (digest, size): (Digest, u64)) {
        self.cache.remember(reference, &IndexEntry { digest, size, media_type: "t".into() }).unwrap();
    }

    fn used(&self, bytes: &[u8], hours: u64) {
        let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        File::options().write(true).open(self.blob(bytes)).unwrap().set_modified(time).unwrap();
    }

    fn prune(&self, options: PruneOptions) -> BTreeSet<Digest> {
        let pruned = self.cache.prune(&options).unwrap();
        pruned.blobs.into_iter().map(|blob| blob.digest).collect()
    }
}

fn set<const N: usize>(blobs: [&[u8]; N]) -> BTreeSet<Digest> {
    blobs.into_iter().map(digest).collect()
}

#[test]
fn without_options_unneeded_blobs_are_removed() {
    let bench = Bench::new();
    for blob in [&b"{}"[..], b"one", b"two", b"three"] {
        bench.fetch(blob);
    }
    let index = {
        let (inner, size) = bench.manifest(&[b"one"]);
        let absent = json!({"digest": digest(b"absent"), "size": 6});
        bench.document(&json!({"manifests": [{"digest": inner, "size": size}, absent]}))
    };
    bench.name("index", index);
    bench.name("plain", bench.manifest(&[b"two", b"missing"]));
    bench.name("gone", (digest(b"gone"), 4));
    std::fs::write(bench.cache.partial_path(&digest(b"dead")), "dead").unwrap();
    std::fs::write(bench.cache.lock_path(&digest(b"dead")), "").unwrap();
    let listed = bench.cache.list().unwrap();
    let counts: Vec<_> = listed.iter().map(|l| (l.reference.as_deref().unwrap(), l.present, l.blobs)).collect();
    assert_eq!(counts, [("index", 4, 4), ("plain", 3, 4), ("gone", 0, 1)]);
    let dry = bench.cache.prune(&PruneOptions { dry_run: true, ..PruneOptions::default() }).unwrap();
    assert!(bench.blob(b"three").exists() && bench.cache.recall("gone").unwrap().is_some());
    let pruned = bench.cache.prune(&PruneOptions::default()).unwrap();
    assert_eq!(pruned, dry);
    assert_eq!(pruned.blobs, [RemovedBlob { digest: digest(b"three"), bytes: 5 }]);
    assert_eq!((pruned.references, pruned.leftovers, pruned.bytes, pruned.kept), (vec!["gone".into()], 1, 9, 6));
    assert_eq!(bench.cache.recall("gone").unwrap(), None);
    assert_eq!(bench.prune(PruneOptions::default()), set([]));
    assert!(bench.left().iter().all(|(directory, _)| directory == "blobs/sha256"));
}

#[test]
fn the_least_recently_used_go_first() {
    let bench = Bench::new();
    for (blob, hours) in [(&b"aaaa"[..], 3), (b"bbbb", 5), (b"cccc", 1), (b"dddd", 4)] {
        bench.fetch(blob);
        bench.used(blob, hours);
    }
    assert_eq!(bench.cache.read(&digest(b"bbbb"), None, 9).unwrap(), SmallBlob::Bytes(b"bbbb".to_vec()));
    let older =
        |hours: u64| PruneOptions { older_than: Some(Duration::from_secs(hours * 60 * 60)), ..Default::default() };
    let keep = |bytes| PruneOptions { keep_bytes: Some(bytes), ..Default::default() };
    assert_eq!(bench.prune(older(9)), set([]));
    assert_eq!(bench.prune(keep(12)), set([b"dddd"]));
    assert_eq!(bench.prune(older(2)), set([b"aaaa"]));
    assert_eq!(bench.prune(keep(7)), set([b"cccc"]));
    assert_eq!(bench.prune(keep(0)), set([b"bbbb"]));
}

#[test]
fn blobs_and_partials_in_use_are_not_pruned() {
    let bench = Bench::new();
    let name = bench.fetch(b"layer");
    let found = bench.cache.find(&name, None).unwrap();
    let writing = mine(reserve(&bench.cache, b"next", false).unwrap());
    let pruned = bench.cache.prune(&PruneOptions::default()).unwrap();
    assert_eq!((pruned.blobs.len(), pruned.in_use, pruned.leftovers), (0, 1, 0));
    assert_eq!(bench.cache.partials().read_dir().unwrap().count(), 1);
    drop((found, writing));
    // A child of another test holds a copy of the lock's descriptor until it executes its program.
    let pruned = (0..200).find_map(|_| {
        let pruned = bench.prune(PruneOptions::default());
        std::thread::sleep(std::time::Duration::from_millis(if pruned.is_empty() { 20 } else { 0 }));
        (!pruned.is_empty()).then_some(pruned)
    });
    assert_eq!(pruned, Some(set([b"layer"])));
}

#[test]
fn pruning_keeps_blobs_in_use() {
    let bench = Bench::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bench.cache.prune(&PruneOptions::default()).unwrap();
            }
        });
        for round in 0..60_u8 {
            let bytes = [round % 3; 3000];
            let blob = match reserve(&bench.cache, &bytes, false).unwrap() {
                Reservation::Present(blob) => blob,
                Reservation::Granted(mut partial) => {
                    partial.write(&bytes[..1000]).unwrap();
                    partial.write(&bytes[1000..]).unwrap();
                    partial.commit().unwrap().unwrap()
                }
            };
            assert_eq!(content(&blob), bytes);
        }
        done.store(true, Ordering::Relaxed);
        pruner.join().unwrap();
    });
}

#[test]
fn hashing_again_finds_damage_and_strangers() {
    let bench = Bench::new();
    for blob in [&b"good"[..], b"bad"] {
        bench.fetch(blob);
    }
    std::fs::write(bench.blob(b"bad"), "b d").unwrap();
    let stranger = bench.cache.directory().join("blobs/sha256/readme");
    std::fs::write(&stranger, "x").unwrap();
    let directory = bench.blob(b"directory");
    std::fs::create_dir(&directory).unwrap();
    let checked = bench.cache.verify(&NoProgress, &Cancel::default()).unwrap();
    let damaged = CorruptBlob { expected: digest(b"bad"), actual: digest(b"b d"), bytes: 3 };
    let mut foreign_files: Vec<PathBuf> = vec![stranger, directory];
    foreign_files.sort();
    assert_eq!(
        checked,
        CheckReport {
            blobs: 2,
            bytes: 7,
            damaged: vec![damaged],
            damaged_records: vec![],
            damaged_listings: vec![],
            damaged_layers: vec![],
            foreign_files
        }
    );
}

#[test]
fn other_directories_are_not_pruned() {
    let all = PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() };
    let hex = digest(b"layer").hex().to_owned();
    let blob = format!("blobs/sha256/{hex}");
    let layout =
        [("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#), ("index.json", "{\"manifests\":[]}"), (&blob, "layer")];
    for files in [&[("a.jpg", "")][..], &[("index.json", "{}")], &layout, &layout[2..], &[("locks/a", ""), ("b", "")]] {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let cache = Cache::at(root.path());
        let count = || std::process::Command::new("find").arg(root.path()).output().unwrap().stdout;
        let before = count();
        let mut errors = vec![
            cache.prune(&all).unwrap_err(),
            cache.prune(&PruneOptions { dry_run: true, ..all }).unwrap_err(),
            cache.list().unwrap_err(),
            cache.verify(&NoProgress, &Cancel::default()).unwrap_err(),
        ];
        // A cache may be made beside anything but blobs and an index of others.
        if files.iter().any(|(name, _)| ["index.json", &blob].contains(name)) {
            errors.push(cache.put(b"x").unwrap_err());
        }
        for error in errors {
            assert_eq!(said(&error), ("is no cache of planish: it has no directories locks and partial".into(), 6));
        }
        assert_eq!(count(), before);
    }
}

#[test]
fn a_directory_without_a_cache_is_unchanged_and_may_become_one() {
    let root = tempfile::tempdir().unwrap();
    for name in ["lost+found", ".snapshot", "locks"] {
        let cache = Cache::at(root.path());
        assert_eq!(cache.prune(&PruneOptions::default()).unwrap(), PruneReport::default());
        assert_eq!(cache.list().unwrap(), []);
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    assert_eq!(root.path().read_dir().unwrap().count(), 3);
    let cache = Cache::at(root.path());
    cache.put(b"x").unwrap();
    assert_eq!(cache.prune(&PruneOptions::default()).unwrap().blobs.len(), 1);
}

#[test]
fn an_invalid_index_entry_does_not_remove_blobs_of_images() {
    let bench = Bench::new();
    for blob in [&b"{}"[..], b"layer"] {
        bench.cache.put(blob).unwrap();
    }
    let manifest = bench.manifest(&[b"layer"]);
    let odd = json!({"digest": digest(b"elsewhere"), "size": null, "platform": 7});
    let sound = json!({"Digest": manifest.0, "size": manifest.1});
    let index = bench.document(&json!({"manifests": [5, odd, sound]}));
    bench.name("image", index);
    assert_eq!(bench.prune(PruneOptions::default()), BTreeSet::new());
}
