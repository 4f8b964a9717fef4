//! The messages of the program for refusals and failures: each stands in `transcript.txt`, as a person reads it.
//!
//! After a change that is meant, `PLANISH_WRITE_TRANSCRIPT=1 cargo test messages` writes the file anew; read the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Bench, set_mode, stderr};

const TRANSCRIPT: &str = "proptests/integration/messages/transcript.txt";

/// A part of the transcript: a title, and the commands below it.
struct Part {
    title: &'static str,
    commands: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part {
        title: "The command line",
        commands: &[
            "bulid",
            "build",
            "build oci:layered:latest",
            "build oci:layered:latest -o",
            "build oci:layered:latest -o -",
            "build oci:layered:latest --outptu x",
            "build oci:layered:latest -output x",
            "build oci:layered:latest -o x --free much",
            "build oci:layered:latest -o x --free 1M --size 1G",
            "build oci:layered:latest -o x --engine mke2fs",
            "build oci:layered:latest -o x --features dir_index,bigalloc",
            "build oci:layered:latest -o x --block-size 1024",
            "build oci:layered:latest -o x --journal-size 1K",
            "build oci:layered:latest -o x --journal-size none --features has_journal",
            "build oci:layered:latest -o x --label a-label-of-too-many-bytes",
            "build oci:layered:latest -o x --uuid 1234",
            "build oci:layered:latest -o x --platform linux",
            "build oci:layered:latest oci:whiteout -o x",
            "build oci:layered:latest oci:layered:latest --output-dir .",
            "build - --output-dir .",
            "build oci:layered:latest -o x --cache-from registry.example/cache:tag",
            "build oci:layered:latest -o x --cache-to registry.example/cache --verify none",
            "build oci:layered:latest -o x --cache-to-required",
            "build oci:layered:latest --from-list text --output-dir .",
            "build --from-list text -o x",
            "build --from-list nowhere --output-dir .",
            "build --from-list text --output-dir . --shard 2/2",
            "plan oci:layered:latest --jobs 0",
            "plan oci:layered:latest --quiet --verbose",
            "plan debian --creds user",
            "plan debian --creds :password",
            "plan debian --registry-mirror /",
            "completion tcsh",
            "man bulid",
            "cache prune --older-than soon",
        ],
    },
    Part {
        title: "The image",
        commands: &[
            "plan nowhere/",
            "plan oci:nowhere",
            "plan oci:archive.tar",
            "plan oci-archive:layered",
            "plan docker-archive:archive.tar",
            "plan docker-archive:nowhere.tar",
            "plan oci:layered:newest",
            "plan oci:layered:latest --platform windows/amd64",
            "plan oci:layered:latest --platform linux/s390x",
            "plan ./text",
            "plan oci:.",
            "plan docker://UPPER",
            "plan -",
            "plan oci:broken-index",
            "plan oci:broken-manifest",
            "plan oci:broken-layer --platform linux/amd64",
        ],
    },
    Part {
        title: "Limits",
        commands: &[
            "plan oci:layered:latest --platform linux/amd64 --max-layers 3",
            "plan oci:layered:latest --platform linux/amd64 --max-entries 10",
            "plan oci:layered:latest --platform linux/amd64 --max-bytes 1K",
            "plan oci:layered:latest --platform linux/amd64 --max-file-bytes 16",
            "plan oci:layered:latest --platform linux/amd64 --max-metadata-bytes 1K",
            "plan oci:layered:latest --platform linux/amd64 --max-manifest-bytes 100",
            "plan oci:layered:latest --platform linux/amd64 --size 64K",
        ],
    },
    Part {
        title: "This machine",
        commands: &[
            "build oci:layered:latest -o nowhere/out.ext4 --platform linux/amd64",
            "build oci:layered:latest -o text --platform linux/amd64",
            "build oci:layered:latest -o directory --platform linux/amd64",
            "build oci:layered:latest -o directory/ --platform linux/amd64",
            "build oci:layered:latest -o link --platform linux/amd64",
            "build oci:layered:latest -o read-only/out.ext4 --platform linux/amd64",
            "build oci:layered:latest -o out.ext4 --report text --platform linux/amd64",
            "build oci:layered:latest -o out.ext4 --report nowhere/report.json --platform linux/amd64",
            "build oci:layered:latest -o out.ext4 --work-dir nowhere --platform linux/amd64",
            "verify oci:layered:latest nowhere.ext4 --platform linux/amd64",
            "verify oci:layered:latest text --platform linux/amd64",
            "verify oci:layered:latest directory --platform linux/amd64",
            "plan debian --authfile nowhere.json --offline",
            "plan debian --offline --cache-dir text",
            "plan debian --offline --cache-dir cache",
            "cache list --cache-dir text",
            "cache prune --cache-dir layered",
            "plan docker://127.0.0.1:1/x --retry 1",
            "build oci:layered:latest -o x --cache-from 127.0.0.1:1/x --verify-key nowhere.pub",
            "build oci:layered:latest -o x --cache-from 127.0.0.1:1/x --verify-key text",
            "build oci:layered:latest -o x --cache-to 127.0.0.1:1/x --sign-key text",
            "plan docker://127.0.0.1:1/x --ca-file nowhere.pem",
            "plan docker://127.0.0.1:1/x --ca-file text",
        ],
    },
];

/// Makes the files that the commands name.
fn prepare(bench: &Bench) {
    let home = bench.home();
    for name in ["layered", "whiteout"] {
        let fixture = bench.fixture(name);
        std::os::unix::fs::symlink(&fixture, home.join(name)).unwrap();
    }
    let write = |path: &str, bytes: &[u8]| {
        std::fs::create_dir_all(home.join(path).parent().unwrap()).unwrap();
        std::fs::write(home.join(path), bytes).unwrap();
    };
    write("text", b"a text\n");
    write("archive.tar", &oci_archive());
    for name in ["directory", "read-only"] {
        std::fs::create_dir(home.join(name)).unwrap();
    }
    set_mode(&home.join("read-only"), 0o555);
    std::os::unix::fs::symlink("text", home.join("link")).unwrap();
    let layout = b"{\"imageLayoutVersion\":\"1.0.0\"}";
    write("broken-index/oci-layout", layout);
    write("broken-index/index.json", b"{\"manifests\": [");
    broken(bench, "broken-manifest", |path, length| length < 2_000 && !is_gzip(path));
    broken(bench, "broken-layer", |path, _| is_gzip(path));
}

fn is_gzip(path: &Path) -> bool {
    std::fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])
}

/// Copies a fixture and changes the last byte of the blobs that `matches` accepts.
fn broken(bench: &Bench, name: &str, matches: impl Fn(&Path, u64) -> bool) {
    let (from, to) = (bench.fixture("layered"), bench.home().join(name));
    crate::support::process::run(crate::support::process::command("cp -r").arg(&from).arg(&to));
    for blob in to.join("blobs/sha256").read_dir().unwrap() {
        let path = blob.unwrap().path();
        if matches(&path, path.metadata().unwrap().len()) {
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 0x20;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

/// An OCI archive of an image without layers would be read; this one has no index.
fn oci_archive() -> Vec<u8> {
    planish_proptests::writer::Layer::new([planish_proptests::writer::Entry::file(
        "oci-layout",
        "{\"imageLayoutVersion\":\"1.0.0\"}",
    )])
    .tar()
}

#[test]
fn every_message_equals_its_transcript() {
    let bench = Bench::new();
    prepare(&bench);
    let home = bench.home().canonicalize().unwrap();
    let mut actual = String::new();
    for Part { title, commands } in PARTS {
        let _ = writeln!(actual, "# {title}\n");
        for command in *commands {
            let mut planish = bench.planish();
            planish.args(command.split_whitespace()).stdin(Stdio::null()).env("HOME", bench.home());
            let output = planish.output().unwrap();
            let text = stderr(&output).replace(&home.display().to_string(), "HOME");
            let code = output.status.code().unwrap();
            assert_ne!(code, 0, "{command}");
            let _ = writeln!(actual, "$ planish {command}\n{}\n[{code}]\n", text.trim_end());
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRANSCRIPT);
    if std::env::var_os("PLANISH_WRITE_TRANSCRIPT").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (expected, actual) in expected.split("\n$ ").zip(actual.split("\n$ ")) {
        assert_eq!(expected, actual);
    }
    assert_eq!(expected.len(), actual.len());
}
