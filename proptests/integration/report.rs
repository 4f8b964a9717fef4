//! The report: digests that a reader can recompute, and a file that exists only after success.

use planish::{Algorithm, Digest};
use planish_proptests::writer::{Entry, Image, Layer, SparseFormat};

use crate::support::{Bench, failed, set_mode, succeeded};

fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).hex().to_owned()
}

fn written(bench: &Bench, name: &str, entries: impl IntoIterator<Item = Entry>) -> String {
    let layout = bench.shared(name);
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

fn json(bench: &Bench, arguments: &[&str]) -> serde_json::Value {
    let output = bench.planish().args(arguments).args(["--platform", "linux/amd64", "--json"]).output().unwrap();
    succeeded(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_tree_digest_hashes_the_documented_lines() {
    let bench = Bench::new();
    let mut block = vec![0; 4096];
    block[100] = 1;
    let block_1 = [&4096_u64.to_le_bytes()[..], &4096_u64.to_le_bytes(), &block].concat();
    let (head, tail) = ([b"ab".as_slice(), &[0; 4094]].concat(), [vec![0; 4095], b"c".to_vec()].concat());
    let two = [&0_u64.to_le_bytes()[..], &4096_u64.to_le_bytes(), &head, &8192_u64.to_le_bytes()].concat();
    let two = [&two[..], &4097_u64.to_le_bytes(), &tail, b"d"].concat();
    let entries = [
        Entry::dir("./").mode(0o1755).mtime(-1, 500_000_000).xattr("user.z", "").xattr("trusted.y", [0, 255]),
        Entry::dir("d").owner(4_294_967_294, 7),
        Entry::file("d-e", "hello").mode(0o4711).mtime(5, 7),
        Entry::hardlink("d/x y", "d-e").mode(0o4711).mtime(5, 7),
        Entry::symlink("d/l", "t\\\n\"").mtime(1, 0),
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::block_device("zz", 4095, 1_048_575).mode(0),
        Entry::fifo("p").mode(0o600),
        Entry::file("empty", ""),
        Entry::file("zeros", vec![0; 10_000]),
        Entry::file("hole", [vec![0; 4096], block, vec![0; 5]].concat()),
        Entry::sparse("pieces", SparseFormat::Pax10, [(0, 2), (12_287, 2)], 12_289, "abcd"),
    ];
    let lines = [
        "/ d 1755 0:0 -1.500000000 trusted.y=00ff user.z=".to_owned(),
        "/d d 755 4294967294:7 0.000000000".into(),
        r#"/d/l l 777 0:0 1.000000000 t\x5c\x0a""#.into(),
        format!(r"/d/x\x20y f 4711 0:0 5.000000007 5 sha256:{}", sha256(b"hello")),
        r"/d-e = /d/x\x20y".into(),
        format!("/empty f 644 0:0 0.000000000 0 sha256:{}", sha256(b"")),
        format!("/hole f 644 0:0 0.000000000 8197 sparse:{}", sha256(&block_1)),
        "/null c 666 0:0 0.000000000 1:3".into(),
        "/p p 600 0:0 0.000000000".into(),
        format!("/pieces f 644 0:0 0.000000000 12289 sparse:{}", sha256(&two)),
        format!("/zeros f 644 0:0 0.000000000 10000 sparse:{}", sha256(b"")),
        "/zz b 0 0:0 0.000000000 4095:1048575".into(),
    ];
    let expected = format!("sha256:{}", sha256((lines.join("\n") + "\n").as_bytes()));
    let source = written(&bench, "tree", entries);
    for more in [&["--jobs", "1"][..], &["--jobs", "5", "--engine", "direct"], &["--verify", "none"]] {
        let report = json(&bench, &[&["build", &source, "-o", "out.ext4", "--force"], more].concat());
        assert_eq!(report["tree_digest"], expected, "{more:?}");
        let file = std::fs::read(bench.at("out.ext4")).unwrap();
        assert_eq!(report["filesystem"]["digest"], format!("sha256:{}", sha256(&file)));
    }
    assert_eq!(json(&bench, &["verify", &source, "out.ext4"])["tree_digest"], expected);
}

#[test]
fn every_attribute_changes_the_tree_digest() {
    let bench = Bench::new();
    let file = || Entry::file("f", "x").mtime(1, 0);
    let trees: Vec<Vec<Entry>> = vec![
        vec![file()],
        vec![file(), Entry::hardlink("g", "f").mtime(1, 0)],
        vec![file(), Entry::file("g", "x").mtime(1, 0)],
        vec![Entry::file("g", "x").mtime(1, 0)],
        vec![Entry::file("f", "y").mtime(1, 0)],
        vec![file().mode(0o600)],
        vec![file().owner(1, 0)],
        vec![file().owner(0, 1)],
        vec![Entry::file("f", "x").mtime(1, 1)],
        vec![file().xattr("user.a", "")],
        vec![file().xattr("user.a", "b")],
        vec![Entry::symlink("f", "x").mtime(1, 0)],
        vec![Entry::char_device("f", 1, 2).mtime(1, 0)],
        vec![Entry::block_device("f", 1, 2).mtime(1, 0)],
        vec![Entry::char_device("f", 2, 1).mtime(1, 0)],
    ];
    let count = trees.len();
    let digests: std::collections::BTreeSet<String> = trees
        .into_iter()
        .enumerate()
        .map(|(n, entries)| {
            let source = written(&bench, &n.to_string(), entries);
            let report = json(&bench, &["build", &source, "-o", "out.ext4", "--force", "--verify", "none"]);
            report["tree_digest"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(digests.len(), count);
}

#[test]
fn the_report_file_equals_the_json_output() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    std::fs::write(bench.at("report.json"), "{\n  \"planish\": \"0.0.1\"\n}\n").unwrap();
    let output = bench.build(&source, "out.ext4", &["--json", "--report", "report.json"]);
    succeeded(&output);
    assert_eq!(std::fs::read(bench.at("report.json")).unwrap(), output.stdout);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["planish"], env!("CARGO_PKG_VERSION"));
    assert!(report["e2fsprogs"].as_str().unwrap().starts_with("1."));
    assert_eq!(report["verified"]["inodes"], report["tree"]["inodes"]);
    assert_eq!(report["notes"].as_array().unwrap().len(), 4);
    assert_eq!(bench.left(), ["out.ext4", "report.json"]);
}

#[test]
fn an_impossible_report_path_is_refused_before_anything_is_read() {
    let bench = Bench::new();
    for name in ["dir", "read-only"] {
        std::fs::create_dir(bench.at(name)).unwrap();
        bench.give(&bench.at(name));
    }
    set_mode(&bench.at("read-only"), 0o555);
    std::os::unix::fs::symlink("elsewhere", bench.at("link")).unwrap();
    let refused = |report: &str, code| failed(&bench.build("oci:/nowhere:x", "out.ext4", &["--report", report]), code);
    assert_eq!(refused("dir", 2), "report dir: is a directory");
    assert_eq!(refused("link", 2), "report link: is a symlink, and planish does not write through one");
    assert_eq!(refused("/dev/full", 2), "report /dev/full: is not a regular file");
    let same = "the filesystem and its report would have the same path";
    assert_eq!(refused("out.ext4", 2), format!("report out.ext4: {same}"));
    assert_eq!(refused("dir/../out.ext4", 2), format!("report dir/../out.ext4: {same}"));
    let denied = "its directory cannot be used: Permission denied (os error 13)";
    assert_eq!(refused("read-only/r", 6), format!("report read-only/r: {denied}"));
    let missing = "its directory cannot be used: No such file or directory (os error 2)";
    assert_eq!(refused("none/r", 6), format!("report none/r: {missing}"));
    assert_eq!(bench.left(), ["dir", "link", "read-only"]);
}

#[test]
fn a_report_replaces_only_an_earlier_report() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let archive = std::fs::read(bench.fixture("docker-save.tar")).unwrap();
    let auth = "{\"auths\":{\"r.example\":{\"auth\":\"bWU6c2VjcmV0\"}}}";
    std::fs::write(bench.at("a.tar"), &archive).unwrap();
    std::fs::write(bench.at("auth.json"), auth).unwrap();
    std::fs::write(bench.at("old.ext4"), "precious").unwrap();
    ["a.tar", "auth.json", "old.ext4"].iter().for_each(|name| bench.give(&bench.at(name)));
    for name in ["a.tar", "auth.json", "old.ext4"] {
        let output = bench.build(&source, "out.ext4", &["--report", name, "--authfile", "auth.json"]);
        assert_eq!(failed(&output, 2), format!("report {name}: exists already, and is no report of planish"));
    }
    let inside = "is inside the image that is read";
    let read = "is a file of credentials or certificates that this run reads";
    let home = bench.home().canonicalize().unwrap();
    let own = ["--force", "--authfile", "auth.json", "--no-cache"];
    let output = bench.build("docker://127.0.0.1:1/x", "out.ext4", &[&own[..], &["--report", "auth.json"]].concat());
    assert_eq!(failed(&output, 2), format!("report {}: {read}", home.join("auth.json").display()));
    let output = bench.build("docker://127.0.0.1:1/x", "auth.json", &own);
    assert_eq!(failed(&output, 2), format!("output {}: {read}", home.join("auth.json").display()));
    let from_stdin = |source: &str, arguments: &[&str]| {
        let mut command = bench.planish();
        command.args(["build", source, "--platform", "linux/amd64", "--force"]).args(arguments);
        failed(&command.stdin(std::fs::File::open(bench.at("a.tar")).unwrap()).output().unwrap(), 2)
    };
    for source in ["-", "docker-archive:-"] {
        let text = from_stdin(source, &["--output", "out.ext4", "--report", "a.tar"]);
        assert_eq!(text, format!("report a.tar: {inside}"));
        assert_eq!(from_stdin(source, &["--output", "a.tar"]), format!("output a.tar: {inside}"));
    }
    assert_eq!(std::fs::read(bench.at("a.tar")).unwrap(), archive);
    assert_eq!(std::fs::read_to_string(bench.at("auth.json")).unwrap(), auth);
    assert_eq!(bench.left(), ["a.tar", "auth.json", "old.ext4"]);
    succeeded(&bench.build(&source, "out.ext4", &["--report", "old.ext4", "--force"]));
    assert!(std::fs::read_to_string(bench.at("old.ext4")).unwrap().starts_with("{\n  \"planish\":"));
}

#[test]
fn a_filesystem_is_not_written_to_stdout() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let output = bench.build(&source, "-", &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("a filesystem is made in a file, not on stdout: name a file, or ./- for one of this name"));
    let output = bench.build(&source, "out.ext4", &["--report", "-"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--json prints the report on stdout; a file of this name is ./-"));
    assert!(bench.left().is_empty());
}

#[test]
fn a_failed_build_keeps_the_previous_report() {
    let bench = Bench::new();
    let bad = bench.shared("bad");
    Image::new([Layer::new([Entry::file("a", "a")]).wrong_digest()]).write_layout(&bad, "latest").unwrap();
    let source = format!("oci:{}", bad.display());
    std::fs::write(bench.at("report.json"), "{\n  \"planish\": \"0.0.1\"\n}\n").unwrap();
    failed(&bench.build(&source, "out.ext4", &["--report", "report.json"]), 5);
    assert_eq!(std::fs::read(bench.at("report.json")).unwrap(), b"{\n  \"planish\": \"0.0.1\"\n}\n");
    assert_eq!(bench.left(), ["report.json"]);
}
