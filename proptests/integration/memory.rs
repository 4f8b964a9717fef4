//! Memory is independent of the size of the image: 256 MiB of data (`ulimit -d`) are enough for any image of up to
//! 200,000 inodes; for larger ones the e2fsprogs engine takes at most 400 bytes an inode.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use planish::{Algorithm, Digest};
use planish_proptests::writer::{Content, Entry, Image, Layer};
use serde_json::json;

use crate::support::{Bench, read_clean, stderr, succeeded};

const LIMIT_KIB: u64 = 256 << 10;
const PER_DIRECTORY: u64 = 1000;

/// `planish build SOURCE --output out.ext4` with a limit of memory for data.
fn build(bench: &Bench, source: &str, engine: &str, limit_kib: Option<u64>) -> Command {
    let planish = bench.planish();
    let limit = limit_kib.map_or("unlimited".into(), |kib| kib.to_string());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -d {limit}; exec \"$@\""), "sh"]).arg(planish.get_program());
    command.args(["build", source, "--output", "out.ext4", "--force", "--platform", "linux/amd64"]);
    command.args(["--free", "1M", "--jobs", "8", "--engine", engine]);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(bench.home());
    bench.as_user(&mut command);
    command
}

fn layout(bench: &Bench, name: &str, layers: impl IntoIterator<Item = Layer>) -> String {
    let layout = bench.shared(name);
    Image::new(layers).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// `count` small files of several owners and times, a thousand in a directory.
fn many(bench: &Bench, count: u64) -> String {
    let files = (0..count).map(|n| {
        let name = format!("usr/share/{:04}/file-{n:07}.txt", n / PER_DIRECTORY);
        let (owner, time) = (i64::try_from(n % 1000).unwrap(), i64::try_from(n).unwrap());
        Entry::file(name, "some text").owner(owner, owner).mtime(time, 5)
    });
    layout(bench, &format!("many{count}"), [Layer::new(files)])
}

#[test]
#[ignore = "takes minutes"]
fn three_gib_of_large_files_are_built_in_256_mib() {
    let bench = Bench::new();
    let file = |n: u8| Entry::file(format!("file{n}"), Content::Repeat { byte: n + 1, count: 256 << 20 });
    let source = layout(&bench, "large", (0..12).map(|n| Layer::new([file(n)])));
    for engine in ["e2fsprogs", "direct"] {
        succeeded(&build(&bench, &source, engine, Some(LIMIT_KIB)).output().unwrap());
        assert_eq!(read_clean(&bench.at("out.ext4")).len(), 13);
    }
}

#[test]
#[ignore = "takes minutes"]
fn two_hundred_thousand_inodes_are_built_in_256_mib() {
    let bench = Bench::new();
    // The root, usr, share, 200 directories and their files.
    let source = many(&bench, 199_797);
    for engine in ["direct", "e2fsprogs"] {
        let output = build(&bench, &source, engine, Some(LIMIT_KIB)).output().unwrap();
        succeeded(&output);
        assert!(stderr(&output).contains("tree        200000 inodes, "), "{}", stderr(&output));
    }
}

/// Writes a layout of layers that are compressed with a zstd window of 128 MiB.
fn with_large_windows(directory: &Path, layers: impl Iterator<Item = Layer>) {
    let put = |bytes: &[u8]| {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        std::fs::write(directory.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({ "digest": digest.to_string(), "size": bytes.len() })
    };
    let described = |media_type: &str, mut descriptor: serde_json::Value| {
        descriptor["mediaType"] = media_type.into();
        descriptor
    };
    std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    let (mut blobs, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let tar = layer.tar();
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        let blob = put(&encoder.finish().unwrap());
        blobs.push(described("application/vnd.oci.image.layer.v1.tar+zstd", blob));
        diff_ids.push(Digest::of(Algorithm::Sha256, &tar).to_string());
    }
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string();
    let config = described("application/vnd.oci.image.config.v1+json", put(config.as_bytes()));
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": blobs }).to_string();
    let manifest = described("application/vnd.oci.image.manifest.v1+json", put(manifest.as_bytes()));
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    std::fs::write(directory.join("index.json"), index).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn eight_layers_of_large_windows_are_built_in_256_mib() {
    let bench = Bench::new();
    let directory = bench.shared("windows");
    let file = |n: u8| Entry::file(format!("file{n}"), Content::Repeat { byte: n + 1, count: 20 << 20 });
    with_large_windows(&directory, (0..8).map(|n| Layer::new([file(n)])));
    let source = format!("oci:{}", directory.display());
    for engine in ["e2fsprogs", "direct"] {
        succeeded(&build(&bench, &source, engine, Some(LIMIT_KIB)).output().unwrap());
        assert_eq!(read_clean(&bench.at("out.ext4")).len(), 9);
    }
    // A window of this size occupies its memory: two at a time do not fit.
    let output = build(&bench, &source, "direct", Some(128 << 10)).output().unwrap();
    assert!(!output.status.success());
}

/// Returns the peak of a build's data in bytes.
fn peak(bench: &Bench, source: &str, engine: &str) -> u64 {
    let mut command = build(bench, source, engine, None);
    command.args(["--max-metadata-bytes", "1G"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let data = text.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap_or("0");
        peak = peak.max(data.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    assert!(ended.success());
    peak << 10
}

#[test]
#[ignore = "takes minutes"]
fn each_inode_takes_at_most_400_bytes() {
    let bench = Bench::new();
    let sources = [50_000, 150_000].map(|count| many(&bench, count));
    // The crate of the direct engine renders 256 bytes an inode and holds about 200 more.
    for (engine, most) in [("e2fsprogs", 400), ("direct", 1400)] {
        let [less, more] = [&sources[0], &sources[1]].map(|source| peak(&bench, source, engine));
        let each = (more - less) / 100_100;
        println!("{engine}: {less} and {more} bytes of data, {each} an inode");
        assert!(each <= most, "{engine}: {each} bytes an inode");
    }
}

#[test]
fn a_remaining_directory_is_named_with_any_memory_limit() {
    let bench = Bench::new();
    let source = layout(&bench, "small", [Layer::new([Entry::file("f", "x")])]);
    let mut outcomes = [0; 2];
    for limit_kib in (512..4096).step_by(128) {
        let output = build(&bench, &source, "e2fsprogs", Some(limit_kib)).output().unwrap();
        let (text, left) = (stderr(&output), bench.left());
        outcomes[usize::from(output.status.success())] += 1;
        for name in left.iter().filter(|name| name.as_str() != "out.ext4") {
            assert!(
                text.contains("note: left behind: ") && text.contains(name.as_str()),
                "{limit_kib}: {name}: {text}"
            );
        }
        if output.status.code() == Some(6) && text.contains("out of memory") {
            assert!(text.contains("hint: raise the limit of this process"), "{limit_kib}: {text}");
        }
        left.iter().for_each(|name| {
            let path = bench.at(name);
            std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)).unwrap();
        });
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
