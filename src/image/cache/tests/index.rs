//! References.

use serde_json::{Value, json};

use super::*;
use crate::image::cache::temporary::TempBlob;

fn entry(bytes: &[u8]) -> IndexEntry {
    IndexEntry { digest: digest(bytes), size: bytes.len() as u64, media_type: "application/x".into() }
}

fn read(bench: &Bench) -> Value {
    serde_json::from_slice(&std::fs::read(bench.cache.directory().join("index.json")).unwrap()).unwrap()
}

#[test]
fn a_reference_has_its_last_entry() {
    let bench = Bench::new();
    bench.cache.remember("a", &entry(b"1")).unwrap();
    bench.cache.remember("b", &entry(b"2")).unwrap();
    bench.cache.remember("a", &entry(b"3")).unwrap();
    assert_eq!(bench.cache.recall("a").unwrap(), Some(entry(b"3")));
    assert_eq!(bench.cache.recall("b").unwrap(), Some(entry(b"2")));
    assert_eq!(bench.cache.recall("c").unwrap(), None);
    let descriptor = |name: &str, bytes: &[u8]| {
        json!({"mediaType": "application/x", "digest": digest(bytes), "size": 1,
            "annotations": {"org.opencontainers.image.ref.name": name}})
    };
    let want = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("b", b"2"), descriptor("a", b"3")]});
    assert_eq!(read(&bench), want);
    assert_eq!(bench.left(), []);
}

#[test]
fn entries_of_other_programs_stay_in_the_index() {
    let bench = Bench::new();
    bench.cache.put(b"x").unwrap();
    let foreign = json!({"digest": "md5:00", "size": "?", "own": {"deep": [1, 2]}});
    let path = bench.cache.directory().join("index.json");
    std::fs::write(&path, json!({"manifests": [foreign], "more": "of it"}).to_string()).unwrap();
    bench.cache.remember("a", &entry(b"1")).unwrap();
    let found = read(&bench);
    assert_eq!((&found["manifests"][0], &found["more"]), (&foreign, &json!("of it")));
    assert_eq!(bench.cache.recall("a").unwrap(), Some(entry(b"1")));
}

#[test]
fn a_known_name_is_not_written_again() {
    let bench = Bench::new();
    bench.cache.remember("a", &entry(b"1")).unwrap();
    let path = bench.cache.directory().join("index.json");
    let before = path.metadata().unwrap();
    bench.cache.remember("a", &entry(b"1")).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino;
    assert_eq!(inode(&before), inode(&path.metadata().unwrap()));
}

#[test]
fn many_writers_lose_no_name() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let bench = &bench;
            scope.spawn(move || bench.cache.remember(&number.to_string(), &entry(b"1")).unwrap());
        }
    });
    assert_eq!(bench.cache.list().unwrap().len(), 8);
}

#[test]
fn a_damaged_index_is_an_error_to_readers_and_replaced_by_writers() {
    let bench = Bench::new();
    bench.fetch(b"layer");
    let path = bench.cache.directory().join("index.json");
    for damage in ["", "{", "[]", "{}", r#"{"manifests":{}}"#, r#"{"manifests":[],"manifests":[]}"#] {
        std::fs::write(&path, damage).unwrap();
        let error = bench.cache.recall("a").unwrap_err();
        let (text, code) = said(&error);
        assert!(text.starts_with("is no index of an OCI layout: "), "{damage}: {error}");
        assert_eq!(code, 6);
        assert!(bench.cache.list().is_err() && bench.cache.prune(&PruneOptions::default()).is_err());
        bench.cache.remember("a", &entry(b"1")).unwrap();
        assert_eq!(bench.cache.recall("a").unwrap(), Some(entry(b"1")));
    }
    std::fs::write(bench.cache.directory().join("oci-layout"), "").unwrap();
    bench.cache.put(b"x").unwrap();
    let layout = std::fs::read_to_string(bench.cache.directory().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(matches!(bench.cache.find(&digest(b"layer"), Some(5)).unwrap(), Lookup::Hit(_)));
}

#[test]
fn indexes_of_killed_processes_are_removed_and_those_being_written_stay() {
    let bench = Bench::new();
    bench.cache.remember("a", &entry(b"1")).unwrap();
    let partials = bench.cache.partials();
    let being_written = TempBlob::new(&partials, "index.json-").unwrap();
    for name in ["index.json-abc", "oci-layout-abc"] {
        std::fs::write(partials.join(name), "{").unwrap();
    }
    bench.cache.remember("b", &entry(b"2")).unwrap();
    assert!(!partials.join("index.json-abc").exists());
    assert!(partials.join("oci-layout-abc").exists() && being_written.path().exists());
}
