//! `planish ls`: the final tree, as the hand-written listings have it.

use std::process::Command;

use planish_proptests::listing::{self, Kind};
use planish_proptests::writer::{Entry, Image, Layer};
use serde_json::{Value, json};

use super::{json as listed, layout, text};
use crate::support::{Bench, listing as handwritten};

/// Escapes as planish does: a space is printable.
fn escape(bytes: &[u8]) -> String {
    listing::escape(bytes).replace(r"\x20", " ")
}

#[test]
fn every_name_of_a_fixture_is_listed_with_its_attributes() {
    for fixture in ["layered", "hardlink", "devices", "whiteout", "opaque", "symlinked-parent"] {
        let bench = Bench::new();
        let source = format!("oci:{}", bench.fixture(fixture).display());
        let found = listed(&bench, "ls", &source, &["--recursive"]);
        assert_eq!(found["schema"], "planish.ls.v1");
        let expected = handwritten(&format!("{fixture}.listing"));
        let names = found["names"].as_array().unwrap();
        let mut paths: Vec<String> = expected.iter().map(|(path, _)| escape(path)).filter(|path| path != "/").collect();
        let mut shown: Vec<&str> = names.iter().map(|name| name["path"].as_str().unwrap()).collect();
        shown.sort_unstable();
        paths.sort_unstable();
        assert_eq!(shown, paths, "{fixture}");
        for name in names {
            let path = name["path"].as_str().unwrap();
            let (bytes, node) = expected.iter().find(|(bytes, _)| escape(bytes) == path).unwrap();
            let kind = match &node.kind {
                Kind::Directory => "directory",
                Kind::File(_) => "file",
                Kind::Symlink(_) => "symlink",
                Kind::CharDevice { .. } => "character-device",
                Kind::BlockDevice { .. } => "block-device",
                _ => "fifo",
            };
            assert_eq!(name["type"], kind, "{path}");
            assert_eq!(name["mode"], format!("{:04o}", node.mode), "{path}");
            assert_eq!((&name["uid"], &name["gid"]), (&json!(node.uid), &json!(node.gid)), "{path}");
            match &node.kind {
                Kind::File(contents) => assert_eq!(name["size"], contents.size(), "{path}"),
                Kind::Symlink(target) => assert_eq!(name["target"], escape(target), "{path}"),
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    assert_eq!(name["device"], json!({"major": major, "minor": minor}), "{path}");
                }
                _ => {}
            }
            if !matches!(node.kind, Kind::Directory) {
                assert_eq!(name["links"], expected.names(bytes).len(), "{path}");
            }
            let xattrs: Vec<String> = node.xattrs.keys().map(|key| escape(key)).collect();
            let shown: Vec<&Value> = name["xattrs"].as_array().unwrap().iter().map(|xattr| &xattr["name"]).collect();
            assert_eq!(json!(shown), json!(xattrs), "{path}");
        }
    }
}

/// Every kind of file, every special bit, and names that must be escaped.
fn kinds() -> Image {
    let below = Layer::new([
        Entry::dir("d").mode(0o1777).mtime(-1, 0),
        Entry::file("d/suid", "12345").mode(0o4755).owner(0, 42),
        Entry::file("d/odd", "").mode(0o6640).owner(1_000_660_000, 4_294_967_294),
        Entry::char_device("d/null", 1, 3).mode(0o666),
        Entry::block_device("d/loop", 7, 0).mode(0o660),
        Entry::fifo("d/pipe").mode(0o600),
        Entry::symlink("link", "d/\x1b[31m"),
    ]);
    let above = Layer::new([
        Entry::hardlink("d/more", "d/suid"),
        Entry::file(*b"d/\x1b\xff \n", "x").mode(0o1001).mtime(1_700_000_000, 5),
        Entry::file("implied/f", "").xattr("user.a", "b"),
    ]);
    Image::new([below, above])
}

#[test]
fn columns_equal_those_of_ls() {
    let bench = Bench::new();
    let source = layout(&bench, "kinds", &kinds());
    let shown = text(&bench, "ls", &source, &["/d"]);
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(shown.lines().count(), 7);
    let expected = [
        r"---------t 1 0 0 1 2023-11-14 22:13:20 [2] \x1b\xff \x0a",
        "brw-rw---- 1 0 0 7,0 1970-01-01 00:00:00 [1] loop",
        "-rwsr-xr-x 2 0 42 5 1970-01-01 00:00:00 [2] more",
        "crw-rw-rw- 1 0 0 1,3 1970-01-01 00:00:00 [1] null",
        "-rwSr-S--- 1 1000660000 4294967294 0 1970-01-01 00:00:00 [1] odd",
        "prw------- 1 0 0 - 1970-01-01 00:00:00 [1] pipe",
        "-rwsr-xr-x 2 0 42 5 1970-01-01 00:00:00 [1] suid",
    ];
    for (line, expected) in shown.lines().zip(expected) {
        assert_eq!(columns(line), columns(expected), "{shown}");
    }
}

#[test]
fn a_path_resolves_as_in_a_chroot() {
    let bench = Bench::new();
    let source = layout(
        &bench,
        "links",
        &Image::new([Layer::new([
            Entry::dir("usr/bin"),
            Entry::file("usr/bin/vi", ""),
            Entry::symlink("bin", "/usr/bin"),
            Entry::symlink("up", "../../../bin"),
        ])]),
    );
    let names = |more: &[&str]| -> Vec<String> {
        let found = listed(&bench, "ls", &source, more);
        found["names"].as_array().unwrap().iter().map(|name| name["path"].as_str().unwrap().to_owned()).collect()
    };
    for (path, expected) in [
        ("/", vec!["/bin", "/up", "/usr"]),
        ("/bin", vec!["/bin"]),
        ("/bin/", vec!["/usr/bin/vi"]),
        ("up/vi", vec!["/usr/bin/vi"]),
        ("bin/../../..", vec!["/bin", "/up", "/usr"]),
        ("usr/", vec!["/usr/bin"]),
    ] {
        assert_eq!(names(&[path]), expected, "{path}");
    }
    assert_eq!(names(&["usr", "--directory"]), ["/usr"]);
    assert_eq!(names(&["usr", "--recursive"]), ["/usr/bin", "/usr/bin/vi"]);
    assert_eq!(names(&["/", "--directory"]), ["/"]);
}

#[test]
fn a_name_has_its_last_layer() {
    let bench = Bench::new();
    let image = Image::new([
        Layer::new([Entry::dir("d"), Entry::file("d/kept", ""), Entry::file("d/new", "")]),
        Layer::new([Entry::file("d/new", "2"), Entry::hardlink("d/link", "d/kept")]),
        Layer::new([Entry::file("made/f", "")]),
    ]);
    let source = layout(&bench, "layers", &image);
    let found = listed(&bench, "ls", &source, &["-R"]);
    let layers: Vec<(&str, u64, bool)> = found["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| (name["path"].as_str().unwrap(), name["layer"].as_u64().unwrap(), name["implied"] == true))
        .collect();
    let expected = [
        ("/d", 1, false),
        ("/d/kept", 1, false),
        ("/d/link", 2, false),
        ("/d/new", 2, false),
        ("/made", 3, true),
        ("/made/f", 3, false),
    ];
    assert_eq!(layers, expected);
}

#[test]
fn colours_are_printed_on_terminals_or_on_request() {
    let bench = Bench::new();
    let source = layout(&bench, "kinds", &kinds());
    let plain = text(&bench, "ls", &source, &["-R"]);
    assert!(!plain.contains('\x1b'));
    assert_eq!(text(&bench, "ls", &source, &["--tree"]), plain);
    let painted = text(&bench, "ls", &source, &["-R", "--color=always"]);
    assert!(painted.contains("\x1b[1;34m/d\x1b[0m"), "{painted:?}");
    assert!(painted.contains("\x1b[1;36m/link\x1b[0m -> d/\\x1b[31m\n"), "{painted:?}");
    let on_terminal = |arguments: &str, environment: &[(&str, &str)]| {
        let binary = bench.shared("planish");
        let line = format!("{} ls {source} {arguments} --progress none --platform linux/amd64", binary.display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
        let output = script.envs(environment.iter().copied()).current_dir(bench.home()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(on_terminal("/d", &[]).contains("\x1b[1;31mmore\x1b[0m"));
    for environment in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        assert!(!on_terminal("/d", &environment).contains('\x1b'), "{environment:?}");
    }
    let drawn = on_terminal("--tree --color=never", &[]).replace('\r', "");
    let expected = "/\n├── [1] d\n│   ├── [2] \\x1b\\xff \\x0a\n│   ├── [1] loop\n│   ├── [2] more\n│   ├── [1] null\n│   ├── [1] odd\n│   ├── [1] pipe\n│   └── [1] suid\n├── [2] implied\n│   └── [2] f\n└── [1] link -> d/\\x1b[31m\n";
    assert_eq!(drawn, expected);
}
