//! Well-formed entries with hostile values: names outside the root, links to the outside, values out of range.

use std::process::Command;

use planish_proptests::listing::{Contents, Kind};
use planish_proptests::writer::{Entry, EntryType, Layer, SparseFormat};

use crate::hostile::Yard;

fn layer(entries: impl IntoIterator<Item = Entry>) -> Layer {
    Layer::new(entries)
}

fn one(entry: Entry) -> Layer {
    Layer::new([entry])
}

/// Rows: L12, L15, L16, L18, L25.
#[test]
fn names_outside_the_root_and_inconsistent_names_are_refused() {
    let long = "n".repeat(256);
    Yard::new().refuses([
        (one(Entry::file("../x", "")), 5, r#"entry 1 "../x" climbs above the root"#),
        (one(Entry::file("a/b/../../../x", "")), 5, r#"entry 1 "a/b/../../../x" climbs above the root"#),
        (one(Entry::whiteout("../.wh.x")), 5, r#"entry 1 "../.wh.x" climbs above the root"#),
        (one(Entry::file("f", "").pax("path", "a\0b")), 5, r#"entry 1 "a\x00b" has a NUL byte in a name"#),
        (one(Entry::symlink("s", "").pax("linkpath", "a\0b")), 5, r#"entry 1 "s" has a NUL byte in a name"#),
        (
            one(Entry::file(format!("{long}/x"), "")),
            5,
            r#"entry 1 "[190 n]nnnnnnnnnn"… (258 bytes) has a name of 256 bytes, Linux allows 255"#,
        ),
        (one(Entry::file("./", "")), 5, "entry 1 replaces the root by something that is not a directory"),
        (one(Entry::symlink(".", "/tmp")), 5, "entry 1 replaces the root by something that is not a directory"),
        (one(Entry::fifo("/")), 5, "entry 1 replaces the root by something that is not a directory"),
        (one(Entry::file("", "x")), 5, "entry 1 replaces the root by something that is not a directory"),
        (
            layer([Entry::file("f", ""), Entry::hardlink("./", "f")]),
            5,
            "entry 2 replaces the root by something that is not a directory",
        ),
    ]);
}

/// Rows: L19.
#[test]
fn control_bytes_are_escaped_in_errors() {
    let name = "\x1b]0;owned\x07\r\u{9b}2J\u{202e}\u{200b}".as_bytes();
    let shown = r"\x1b]0;owned\x07\x0d\xc2\x9b2J\xe2\x80\xae\xe2\x80\x8b";
    let entry = format!("layer 1 of 1: entry 1 \"{shown}\"");
    let yard = Yard::new();
    let refused = |entry| yard.refused(&[one(entry).into()], &[], 5);
    let link = format!("{entry} is a hard link to \"{shown}\\x0a\\xff\", which does not exist below it");
    assert_eq!(refused(Entry::hardlink(name, [name, b"\n\xff"].concat())), link);
    let xattr = format!("/f has the xattr \"{shown}\", whose name ext4 cannot hold");
    assert_eq!(refused(Entry::file("f", "").xattr(name, "")), xattr);
    assert_eq!(refused(Entry::new(EntryType::Raw(0x1b), name)), format!("{entry} has the unknown type \"\\x1b\""));
}

/// Rows: L13, L14.
#[test]
fn dangling_hard_links_are_refused() {
    let chain = (0..42).map(|n| Entry::symlink(format!("l{n}"), format!("l{}", n + 1)));
    Yard::new().refuses([
        (one(Entry::hardlink("h", "h")), 5, r#"entry 1 "h" is a hard link to "h", which does not exist below it"#),
        (layer([Entry::file("h", ""), Entry::hardlink("h", "h")]), 5, r#"entry 2 "h" is a hard link to itself"#),
        (
            layer([Entry::hardlink("a", "b"), Entry::hardlink("b", "a")]),
            5,
            r#"entry 1 "a" is a hard link to "b", which does not exist below it"#,
        ),
        (
            layer([Entry::hardlink("a", "b"), Entry::file("b", "")]),
            5,
            r#"entry 1 "a" is a hard link to "b", which does not exist below it"#,
        ),
        (
            layer([Entry::dir("d"), Entry::hardlink("a", "d")]),
            5,
            r#"entry 2 "a" is a hard link to "d", which is a directory"#,
        ),
        (
            one(Entry::hardlink("a", "/etc/passwd")),
            5,
            r#"entry 1 "a" is a hard link to "etc/passwd", which does not exist below it"#,
        ),
        (one(Entry::hardlink("a", "")), 5, r#"entry 1 "a" is a hard link to "", which is a directory"#),
        (
            layer([Entry::symlink("a", "b"), Entry::symlink("b", "a"), Entry::file("a/f", "")]),
            5,
            r#"entry 3 "a/f" has more than 40 symlinks in its parents"#,
        ),
        (
            layer([Entry::symlink("a", "a"), Entry::whiteout("a/.wh.f")]),
            5,
            r#"entry 2 "a/f" has more than 40 symlinks in its parents"#,
        ),
        (
            layer(chain.chain([Entry::file("l0/f", "")])),
            5,
            r#"entry 43 "l0/f" has more than 40 symlinks in its parents"#,
        ),
        (
            layer([Entry::file("f", ""), Entry::symlink("l", "f"), Entry::file("l/x", "")]),
            5,
            r#"entry 3 "l/x" has a parent symlink that leads to "f", which is not a directory"#,
        ),
    ]);
}

/// Rows: L13, L15.
#[test]
fn links_are_resolved_inside_the_image() {
    let yard = Yard::new();
    let outside = yard.outside().into_os_string().into_encoded_bytes();
    let climbing = [&b"../../../../.."[..], &outside].concat();
    for target in [&outside, &climbing] {
        let found = yard.made(&[
            layer([Entry::symlink("out", &target[..]), Entry::file("out/canary", "inside")]).into(),
            layer([Entry::hardlink("h", "out/canary"), Entry::whiteout("out/.wh.canary")]).into(),
            layer([Entry::file("out/new", ""), Entry::symlink("loop", "loop"), Entry::file("/../../root", "")]).into(),
        ]);
        assert_eq!(found.get(b"/out").unwrap().kind, Kind::Symlink(target.clone()));
        assert_eq!(found.get(b"/h").unwrap().kind, Kind::File(Contents::of(b"inside")));
        let within = |name: &[u8]| found.get(&[&outside[..], name].concat());
        assert!(within(b"/canary").is_none() && within(b"/new").is_some());
        assert!(found.get(b"/root").is_some() && found.get(b"/loop").is_some());
    }
}

/// Rows: L20.
#[test]
fn difficult_names_are_exact() {
    let names: [&[u8]; 9] =
        [b"\xff\xfe", b"A", b"a", b" ", b"-rf", b"\n", &[b'\xc3'; 255], b"lost+found/#11", b"etc/passwd"];
    let entries = names.iter().zip(1..).map(|(name, n)| Entry::file(*name, *name).owner(n, n));
    let found = Yard::new().made(&[layer(entries).into()]);
    for (name, n) in names.iter().zip(1..) {
        let node = found.get(&[b"/", *name].concat()).unwrap();
        assert_eq!((&node.kind, node.uid), (&Kind::File(Contents::of(name)), n));
    }
    assert_eq!(found.len(), names.len() + 3);
}

/// Rows: L21, L22, L23, L25, L26.
#[test]
fn values_out_of_range_are_refused() {
    let file = || Entry::file("f", "");
    let mtime = |text: &str| one(file().pax("mtime", text));
    let sparse = |segments: &[(u64, u64)], data| {
        one(Entry::sparse("s", SparseFormat::Pax10, segments.iter().copied(), 1 << 42, data))
    };
    Yard::new().refuses([
        (one(file().owner(-1, 0)), 5, r#"entry 1 "f" has an unreadable uid: it is negative"#),
        (one(file().owner(0, 1 << 33)), 5, r#"entry 1 "f" has gid 8589934592, the largest in ext4 is 4294967294"#),
        (mtime("NaN"), 5, r#"entry 1 "f" has an unreadable PAX mtime: it is not a number"#),
        (mtime("1e9"), 5, r#"entry 1 "f" has an unreadable PAX mtime: it is not a number"#),
        (mtime("1.2.3"), 5, r#"entry 1 "f" has an unreadable PAX mtime: it is not a number"#),
        (mtime("--1"), 5, r#"entry 1 "f" has an unreadable PAX mtime: it is not a number"#),
        (
            one(Entry::char_device("c", 4096, 0)),
            5,
            r#"entry 1 "c" has major device number 4096, the largest in ext4 is 4095"#,
        ),
        (
            one(Entry::block_device("b", 0, 1 << 20)),
            5,
            r#"entry 1 "b" has minor device number 1048576, the largest in ext4 is 1048575"#,
        ),
        (one(Entry::char_device("c", -1, 0)), 5, r#"entry 1 "c" has an unreadable device number: it is negative"#),
        (one(Entry::symlink("s", "")), 5, r#"entry 1 "s" has a symlink target of 0 bytes, it must have 1 to 4095"#),
        (
            one(Entry::symlink("s", "t".repeat(4096))),
            5,
            r#"entry 1 "s" has a symlink target of 4096 bytes, it must have 1 to 4095"#,
        ),
        (
            sparse(&[(4096, 1), (0, 1)], "ab"),
            5,
            r#"entry 1 "s" has a damaged sparse map: its runs overlap or leave the file"#,
        ),
        (
            sparse(&[(1 << 42, 1)], "a"),
            5,
            r#"entry 1 "s" has a damaged sparse map: its runs overlap or leave the file"#,
        ),
        (sparse(&[(0, 5)], "a"), 5, r#"entry 1 "s" has a damaged sparse map: its runs are not as long as the data"#),
        (
            sparse(&[(u64::MAX, 2)], "ab"),
            5,
            r#"entry 1 "s" has a damaged sparse map: its runs overlap or leave the file"#,
        ),
        (one(Entry::new(EntryType::Raw(b'V'), "volume")), 5, r#"entry 1 "volume" has the unknown type "V""#),
        (one(Entry::new(EntryType::Raw(b'M'), "rest")), 5, r#"entry 1 "rest" has the unknown type "M""#),
        (one(Entry::new(EntryType::Raw(0xff), "rest")), 5, r#"entry 1 "rest" has the unknown type "\xff""#),
    ]);
}

/// Rows: L18, L24.
#[test]
fn oversized_xattrs_are_refused_by_path() {
    let file = || Entry::file("d/f", "");
    let many = (0..200).fold(file(), |file, n| file.xattr(format!("user.name{n}"), vec![7; 20]));
    Yard::new().refuses([
        (
            one(file().xattr("user.a", vec![7; 65536])),
            5,
            "/d/f has xattrs that need 65556 bytes, ext4 has 4148 for them",
        ),
        (one(many), 5, "/d/f has xattrs that need 8800 bytes, ext4 has 4148 for them"),
        (
            one(file().xattr(format!("user.{}", "n".repeat(256)), "")),
            5,
            r#"/d/f has the xattr "user.[190 n]nnnnn"… (261 bytes), whose name ext4 cannot hold"#,
        ),
        (one(file().xattr("bogus.a", "")), 5, r#"/d/f has the xattr "bogus.a", whose name ext4 cannot hold"#),
        (one(file().xattr("user.", "")), 5, r#"/d/f has the xattr "user.", whose name ext4 cannot hold"#),
        (
            one(file().xattr("system.posix_acl_access", "junk")),
            5,
            "/d/f has the xattr system.posix_acl_access, which is no POSIX ACL: it has an unknown version",
        ),
        (
            one(file().xattr("system.posix_acl_access", vec![0; 4])),
            5,
            "/d/f has the xattr system.posix_acl_access, which is no POSIX ACL: it has an unknown version",
        ),
        (
            one(file().xattr("user.a\0b", "")),
            5,
            r#"entry 1 "d/f" has the xattr "user.a\x00b", whose name ext4 cannot hold"#,
        ),
    ]);
}

/// Rows: L21, L23, L24.
#[test]
fn the_largest_values_are_exact() {
    let (far, near) = ((1_i64 << 34) - (1 << 31) - 1, -(1_i64 << 31));
    let found = Yard::new().made(&[layer([
        Entry::char_device("c", 4095, (1 << 20) - 1),
        Entry::symlink("s", "t".repeat(4095)).mtime(far, 999_999_999),
        Entry::file("n", "").mtime(near, 1).owner(0xffff_fffe, 0xffff_fffe),
        Entry::file("x", "").xattr("user.a", vec![7; 4040]).xattr("user.empty", ""),
    ])
    .into()]);
    assert_eq!(found.get(b"/c").unwrap().kind, Kind::CharDevice { major: 4095, minor: (1 << 20) - 1 });
    let target = found.get(b"/s").unwrap();
    assert_eq!(target.kind, Kind::Symlink(vec![b't'; 4095]));
    assert_eq!((target.mtime.seconds, target.mtime.nanos), (far, 999_999_999));
    let node = found.get(b"/n").unwrap();
    assert_eq!((node.mtime.seconds, node.mtime.nanos, node.uid, node.gid), (near, 1, 0xffff_fffe, 0xffff_fffe));
    let xattrs = &found.get(b"/x").unwrap().xattrs;
    assert_eq!((xattrs[&b"user.a"[..]].len(), xattrs[&b"user.empty"[..]].len()), (4040, 0));
}

/// Rows: L26.
#[test]
fn a_hole_of_terabytes_is_cheap_and_a_larger_file_is_refused() {
    let yard = Yard::new();
    let hole = |size| one(Entry::sparse("s", SparseFormat::Pax10, [(size - 4, 4)], size, "data")).into();
    let output = yard.build(&[hole(4 << 40)], &["--free", "0"]);
    crate::hostile::succeeded(&output);
    let image = yard.bench.at("out.ext4");
    let shown = Command::new(crate::support::tool("debugfs")).args(["-R", "stat s"]).arg(&image).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Size: 4398046511104\n"), "{shown:?}");
    assert!(image.metadata().unwrap().len() < 32 << 20);
    std::fs::remove_file(image).unwrap();
    assert_eq!(
        yard.refused(&[hole(1 << 45)], &[], 5),
        "/s has size 35184372088832, the largest in ext4 is 17592186040320"
    );
    assert_eq!(
        yard.refused(&[hole(1 << 63)], &[], 5),
        "/s has size 9223372036854775808, the largest in ext4 is 17592186040320"
    );
}

#[test]
fn a_lost_and_found_without_a_substitute_name_is_refused() {
    let text = "/lost+found is not a directory, and the names next to it leave none free for staging it";
    let around = ["lost+founc~", "lost+found", "lost+found!"].map(|name| Entry::file(name, ""));
    Yard::new().refuses([(Layer::new(around), 5, text)]);
}

#[test]
fn blocks_of_sparse_files_count_against_the_limits() {
    let yard = Yard::new();
    // Two bytes each, in the last byte of a block and the first of the next.
    let sparse = |name, format| {
        let map = (0..100).map(|n| (n * 8192 + 4095, 2));
        one(Entry::sparse(name, format, map, 100 * 8192, vec![7; 200]))
    };
    for format in [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        let refused = |flag, value, text: &str| {
            let found = yard.refused(&[sparse("s", format).into()], &[flag, value], 7);
            assert!(found.ends_with(&format!("{text}, {flag} allows {value}")), "{format:?}: {found}");
        };
        refused("--max-file-bytes", "819199", " has 819200 bytes in one file");
        refused("--max-bytes", "819200", "the image has more than 819200 uncompressed bytes in all layers");
        refused("--max-sparse-extents", "99", " has more than 99 extents of sparse files");
        let two = [sparse("s", format).into(), sparse("t", format).into()];
        let found = yard.refused(&two, &["--max-sparse-extents", "199"], 7);
        assert!(found.starts_with("layer 2 of 2") && found.ends_with(" --max-sparse-extents allows 199"), "{found}");
        for engine in ["e2fsprogs", "direct"] {
            let enough = ["--max-file-bytes", "819200", "--max-sparse-extents", "200", "--engine", engine];
            assert_eq!(yard.made_with(&two, &enough).len(), 3);
        }
    }
}

#[test]
fn names_from_symlinks_are_limited() {
    let layer = || layer([Entry::dir("a"), Entry::symlink("s", "a/../a"), Entry::file("s/f", "")]);
    let yard = Yard::new();
    assert_eq!(
        yard.refused(&[layer().into()], &["--max-symlink-steps", "2"], 7),
        "the image has more than 2 names in the targets of symlinks on the way of its paths, --max-symlink-steps allows 2"
    );
    assert_eq!(yard.made_with(&[layer().into()], &["--max-symlink-steps", "3"]).len(), 4);
}
