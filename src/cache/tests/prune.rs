//! Listing, hashing again, and removing.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::progress::Silent;

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
        self.cache.remember(reference, &Entry { digest, size, media_type: "t".into() }).unwrap();
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
fn without_a_bound_what_no_image_needs_goes() {
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
    assert_eq!(pruned.blobs, [PrunedBlob { digest: digest(b"three"), bytes: 5 }]);
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
    assert_eq!(bench.cache.read(&digest(b"bbbb"), None, 9).unwrap(), Kept::Bytes(b"bbbb".to_vec()));
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
fn what_is_in_use_stays() {
    let bench = Bench::new();
    let name = bench.fetch(b"layer");
    let found = bench.cache.find(&name, None).unwrap();
    let writing = mine(reserve(&bench.cache, b"next", false).unwrap());
    let pruned = bench.cache.prune(&PruneOptions::default()).unwrap();
    assert_eq!((pruned.blobs.len(), pruned.in_use, pruned.leftovers), (0, 1, 0));
    assert_eq!(bench.cache.partials().read_dir().unwrap().count(), 1);
    drop((found, writing));
    assert_eq!(bench.prune(PruneOptions::default()), set([b"layer"]));
}

#[test]
fn pruning_disturbs_nobody() {
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
                Reserved::Present(blob) => blob,
                Reserved::Mine(mut partial) => {
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
    let checked = bench.cache.verify(&Silent, &Cancel::default()).unwrap();
    let damaged = DamagedBlob { expected: digest(b"bad"), actual: digest(b"b d"), bytes: 3 };
    let mut strangers: Vec<PathBuf> = vec![stranger, directory];
    strangers.sort();
    assert_eq!(checked, Checked { blobs: 2, bytes: 7, damaged: vec![damaged], strangers });
}
