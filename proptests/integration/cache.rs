//! The cache: its commands, several processes, and other tools.

use std::path::Path;
use std::process::{Command, Output};

use planish::Cancel;
use planish::cache::{Cache, IndexEntry, Lookup, Reservation};
use planish::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::support::process::{command, run};
use crate::support::{Bench, failed, stderr, succeeded};

const REFERENCE: &str = "docker.io/library/x:tag";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Stores an image of one layer in a cache of the user, by a name, beside an unneeded blob.
fn filled(bench: &Bench) -> Cache {
    let cache = Cache::at(&bench.at("cache"));
    let layer = b"not looked at here";
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).to_string();
    let descriptor = |kind: &str, bytes: &[u8]| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("config.v1+json", config.as_bytes()),
        "layers": [descriptor("layer.v1.tar", layer)],
    })
    .to_string();
    for blob in [&layer[..], config.as_bytes(), manifest.as_bytes(), b"needless"] {
        cache.put(blob).unwrap();
    }
    let (digest, size) = (digest(manifest.as_bytes()), manifest.len() as u64);
    cache.remember(REFERENCE, &IndexEntry { digest, size, media_type: MANIFEST.into() }).unwrap();
    own(bench);
    cache
}

fn own(bench: &Bench) {
    if crate::support::is_root() {
        run(command("chown -R 65534:65534").arg(bench.home()));
    }
}

fn planish(bench: &Bench, words: &str) -> Output {
    bench.planish().env("XDG_CACHE_HOME", bench.home()).args(words.split(' ')).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes the cache the default directory, `$XDG_CACHE_HOME/planish`.
fn by_default(bench: &Bench) {
    std::fs::rename(bench.at("cache"), bench.at("planish")).unwrap();
}

#[test]
fn a_sound_cache_is_listed_hashed_and_pruned() {
    let bench = Bench::new();
    filled(&bench);
    by_default(&bench);
    let listed = planish(&bench, "cache list");
    succeeded(&listed);
    let line = stdout(&listed);
    assert!(line.starts_with(&format!("{REFERENCE}  sha256:")) && line.contains("  3/3  "), "{line}");
    let listed = document(&planish(&bench, "cache list --json"));
    assert_eq!((&listed[0]["reference"], &listed[0]["present"]), (&json!(REFERENCE), &json!(3)));
    let checked = planish(&bench, "cache verify");
    succeeded(&checked);
    assert_eq!(stdout(&checked), "");
    assert_eq!(document(&planish(&bench, "cache verify --json"))["blobs"], 4);
    let needless = digest(b"needless");
    for (words, blobs) in [("cache prune --dry-run", 4), ("cache prune", 3)] {
        let pruned = planish(&bench, words);
        succeeded(&pruned);
        assert_eq!(stdout(&pruned), format!("{needless} 8\n"));
        assert_eq!(document(&planish(&bench, "cache verify --json"))["blobs"], blobs);
    }
    assert_eq!(document(&planish(&bench, "cache prune --older-than 1d --json"))["kept"], 3);
    let emptied = document(&planish(&bench, "cache prune --keep-bytes 0 --json"));
    assert_eq!((&emptied["references"], &emptied["kept"]), (&json!([REFERENCE]), &json!(0)));
    assert_eq!(stdout(&planish(&bench, "cache list")), "");
}

#[test]
fn damage_is_named_and_exits_with_5() {
    let bench = Bench::new();
    let cache = filled(&bench);
    let name = digest(b"needless");
    std::fs::write(cache.directory().join("blobs/sha256").join(name.hex()), "needle s").unwrap();
    let output = planish(&bench, "cache verify --cache-dir cache");
    assert_eq!(failed(&output, 5), "the cache has 1 damaged blobs");
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("{name} has digest {} and 8 bytes\n", digest(b"needle s")));
    let found = document(&planish(&bench, "cache verify --json --cache-dir cache"));
    assert_eq!(found["damaged"][0]["expected"], name.to_string());
}

#[test]
fn a_read_only_cache_is_read() {
    let bench = Bench::new();
    let cache = filled(&bench);
    run(command("chmod -R a-w").arg(cache.directory()));
    succeeded(&planish(&bench, "cache list --cache-dir cache"));
    succeeded(&planish(&bench, "cache verify --cache-dir cache"));
    succeeded(&planish(&bench, "cache prune --dry-run --cache-dir cache"));
    let output = planish(&bench, "cache prune --cache-dir cache");
    assert!(failed(&output, 6).contains("cannot be written"));
    assert!(stderr(&output).contains("hint: choose another directory with --cache-dir"));
    run(command("chmod -R u+w").arg(cache.directory()));
}

#[test]
fn the_environment_selects_the_cache_directory() {
    let bench = Bench::new();
    filled(&bench);
    std::fs::create_dir(bench.at(".cache")).unwrap();
    std::fs::rename(bench.at("cache"), bench.at(".cache/planish")).unwrap();
    let list = |variables: &[(&str, &Path)]| {
        bench.planish().args(["cache", "list"]).envs(variables.iter().copied()).output().unwrap()
    };
    let (home, elsewhere) = (bench.home(), bench.at("elsewhere"));
    for (variables, found) in [
        (&[("HOME", &*home)][..], true),
        (&[("HOME", &*home), ("XDG_CACHE_HOME", Path::new("relative"))], true),
        (&[("HOME", &*home), ("XDG_CACHE_HOME", Path::new(""))], true),
        (&[("HOME", &*home), ("XDG_CACHE_HOME", &*elsewhere)], false),
    ] {
        let listed = list(variables);
        succeeded(&listed);
        assert_eq!(!stdout(&listed).is_empty(), found, "{variables:?}");
    }
    for variables in [&[][..], &[("XDG_CACHE_HOME", Path::new("relative"))], &[("HOME", Path::new("relative"))]] {
        let output = list(variables);
        assert!(failed(&output, 6).starts_with("there is no directory for a cache"));
        assert!(stderr(&output).contains("--cache-dir") && stderr(&output).contains("--no-cache"));
    }
    std::fs::write(&elsewhere, "").unwrap();
    assert!(failed(&list(&[("XDG_CACHE_HOME", &*elsewhere)]), 6).ends_with("elsewhere is not a directory"));
}

#[test]
fn names_in_an_index_are_escaped() {
    let bench = Bench::new();
    let cache = filled(&bench);
    let name = digest(b"gone");
    let index = json!({"manifests": [{"digest": name, "size": 4,
        "annotations": {"org.opencontainers.image.ref.name": "\u{1b}[31m\u{9b}\u{202e}\n"}}]});
    std::fs::write(cache.directory().join("index.json"), index.to_string()).unwrap();
    for words in ["cache list", "cache list --json", "cache prune", "cache prune --json"] {
        std::fs::write(cache.directory().join("index.json"), index.to_string()).unwrap();
        let output = planish(&bench, &format!("{words} --cache-dir cache"));
        succeeded(&output);
        let text = stdout(&output);
        assert!(text.contains("x1b[31m") && text.is_ascii(), "{text:?}");
        assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{text:?}");
    }
    std::fs::write(cache.directory().join("index.json"), "\u{1b}{").unwrap();
    assert!(failed(&planish(&bench, "cache list --cache-dir cache"), 6).contains("is no index of an OCI layout"));
}

/// Stores one blob, in another process that tests start. It does nothing when it runs alone.
#[test]
fn a_blob_in_use_by_another_process_is_kept() {
    let Some(directory) = std::env::var_os("PLANISH_TEST_CACHE") else { return };
    let bytes = vec![7; 100_000];
    let cache = Cache::at(Path::new(&directory));
    match cache.reserve(&digest(&bytes), 100_000, false, &|_| {}, &Cancel::default()).unwrap() {
        Reservation::Present(_) => println!("present"),
        Reservation::Granted(mut partial) => {
            for part in bytes.chunks(10_000) {
                if let Err(error) = partial.write(part) {
                    println!("{} {error}", error.fault().exit_code());
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            partial.commit().unwrap().unwrap();
            println!("fetched");
        }
    }
}

/// The command of a process that stores one blob, run by other words.
fn other(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or("env"));
    command.args(words.get(1..).unwrap_or_default()).arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", "cache::a_blob_in_use_by_another_process_is_kept", "--nocapture"])
        .env("PLANISH_TEST_CACHE", directory);
    command
}

fn files(directory: &Path) -> Vec<String> {
    let found = run(command("find").arg(directory).args(["-type", "f", "-printf", "%P\n"]));
    let mut files: Vec<String> = found.lines().map(str::to_owned).collect();
    files.sort();
    files
}

fn whole() -> Vec<String> {
    vec![format!("blobs/sha256/{}", digest(&vec![7; 100_000]).hex()), "oci-layout".into()]
}

#[test]
fn one_of_several_processes_fetches() {
    let directory = tempfile::tempdir().unwrap();
    let children: Vec<_> =
        (0..4).map(|_| other(directory.path(), &[]).stdout(std::process::Stdio::piped()).spawn().unwrap()).collect();
    let outputs: Vec<String> = children.into_iter().map(|child| stdout(&child.wait_with_output().unwrap())).collect();
    let count = |word: &str| outputs.iter().filter(|text| text.contains(word)).count();
    assert_eq!((count("fetched"), count("present")), (1, 3), "{outputs:?}");
    assert_eq!(files(directory.path()), whole());
}

#[test]
fn the_partial_of_a_killed_process_is_continued() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = other(directory.path(), &[]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let partial = directory.path().join(format!("partial/sha256-{}", digest(&vec![7; 100_000]).hex()));
    while partial.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = vec![7; 100_000];
    let cache = Cache::at(directory.path());
    assert!(matches!(cache.find(&digest(&bytes), None).unwrap(), Lookup::Miss));
    let reserved = cache.reserve(&digest(&bytes), 100_000, false, &|_| {}, &Cancel::default()).unwrap();
    let Reservation::Granted(mut partial) = reserved else { panic!("it cannot be complete") };
    let there = usize::try_from(partial.len()).unwrap();
    assert!(there >= 10_000, "{there}");
    partial.write(&bytes[there..]).unwrap();
    partial.commit().unwrap().unwrap();
    assert_eq!(files(directory.path()), whole());
}

#[test]
fn a_file_size_limit_is_an_error_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let words = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"];
    let output = stdout(&other(directory.path(), &words).output().unwrap());
    assert!(output.contains("6 cache: ") && output.contains("has no room left after "), "{output}");
    assert_eq!(files(directory.path()), ["oci-layout"]);
}

#[test]
#[ignore = "needs strace"]
fn a_blob_is_synced_before_its_rename_and_the_directory_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (cache, trace) = (directory.path().join("cache"), directory.path().join("trace"));
    let words = format!(
        "strace -f -y -e trace=fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat -o {}",
        trace.display()
    );
    run(&mut other(&cache, &words.split(' ').collect::<Vec<_>>()));
    let name = digest(&vec![7; 100_000]);
    let name = name.hex();
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains(name) || line.contains("blobs/sha256>"))
        .map(|line| line.split_whitespace().nth(1).unwrap().split('(').next().unwrap())
        .collect();
    // The last one is the lock file.
    assert_eq!(calls, ["fsync", "rename", "fsync", "unlink"], "{trace}");
}

#[test]
#[ignore = "needs skopeo"]
fn skopeo_reads_the_cache_in_place() {
    let bench = Bench::new();
    let cache = filled(&bench);
    let source = format!("oci:{}:{REFERENCE}", cache.directory().display());
    let inspected: Value = serde_json::from_str(&run(command("skopeo inspect").arg(&source))).unwrap();
    assert_eq!(inspected["Architecture"], "amd64");
    let raw = run(command("skopeo inspect --raw").arg(&source));
    assert_eq!(inspected["Digest"], digest(raw.as_bytes()).to_string());
    let copy = format!("dir:{}", bench.at("copy").display());
    run(command("skopeo --insecure-policy copy").args([&source, &copy]));
    succeeded(&planish(&bench, "cache verify --cache-dir cache"));
}
