//! Harmless layers that resemble the hostile ones, and an ordinary image as a control.

use std::io::Write;

use flate2::write::GzEncoder;
use planish_proptests::Mtime;
use planish_proptests::listing::{Contents, Kind};
use planish_proptests::writer::{Compression, Entry, Layer};

use crate::hostile::{Yard, paths};
use crate::support::raw::Raw;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn file() -> Layer {
    Layer::new([Entry::file("f", "content")])
}

/// Rows: L01.
#[test]
fn truncated_gzip_is_refused() {
    let length = Raw::from(file()).blob.len();
    let cuts = [1, 4, 5, 8, 9, length / 2, length - 11, length - 3];
    let cut = |bytes| Raw::from(file()).change(move |blob| blob.truncate(length - bytes));
    Yard::new().refuses(cuts.map(|bytes| (cut(bytes), 5, "is not valid gzip: it ends early")));
}

/// Rows: L02, L03.
#[test]
fn all_gzip_members_and_zstd_frames_are_read() {
    const SKIPPED: &[u8] = b"\x50\x2a\x4d\x18\x04\0\0\0skip";
    let tar = file().tar();
    let (first, second) = tar.split_at(700);
    let yard = Yard::new();
    for blob in [
        [gzip(first), gzip(second)].concat(),
        [gzip(first), gzip(b""), gzip(second)].concat(),
        [gzip(&tar), vec![0; 1000]].concat(),
        [zstd(first), zstd(second)].concat(),
        [SKIPPED, &zstd(first), SKIPPED, &zstd(second), SKIPPED].concat(),
    ] {
        let found = yard.made(&[Raw::gzip(blob, &tar)]);
        assert_eq!(paths(&found), "/f");
        assert_eq!(found.get(b"/f").unwrap().kind, Kind::File(Contents::of(b"content")));
    }
}

/// Rows: L04.
#[test]
fn the_bytes_decide_the_compression() {
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    let yard = Yard::new();
    let typed_layer = |media_type, layer: Layer| {
        let mut raw = Raw::from(layer);
        raw.media_type = media_type;
        raw
    };
    for layer in [
        typed_layer(TAR, file()),
        typed_layer(ZSTD, file()),
        typed_layer(TAR, file().compression(Compression::Zstd)),
        Raw::from(file().compression(Compression::Zstd)),
        Raw::gzip(file().tar(), &file().tar()),
    ] {
        assert_eq!(paths(&yard.made(&[layer])), "/f");
    }
}

/// Rows: L12.
#[test]
fn paths_that_linux_cannot_walk_are_refused() {
    let deep = |depth| Layer::new([Entry::file("d/".repeat(depth) + "f", "")]);
    let shown = "d/".repeat(100);
    let text = |layer: Layer| Yard::new().refused(&[layer.into()], &[], 5);
    let expected = |length| {
        format!("layer 1 of 1: entry 1 \"{shown}\"… ({length} bytes) has a path of {length} bytes, Linux allows 4095")
    };
    assert_eq!(text(deep(2048)), expected(4097));
    assert_eq!(text(deep(10_000)), expected(20_001));
}

/// Rows: L14.
#[test]
fn hard_links_resolve_as_in_a_chroot() {
    let found = Yard::new().made(&[Layer::new([
        Entry::dir("real"),
        Entry::file("real/f", "x"),
        Entry::symlink("via", "real"),
        Entry::symlink("climbs", "../../../real"),
        Entry::hardlink("a", "via/f"),
        Entry::hardlink("b", "/real/f"),
        Entry::hardlink("c", "../../real/f"),
        Entry::hardlink("e", "climbs/f"),
        Entry::symlink("s", "real/f"),
        Entry::hardlink("t", "s"),
    ])
    .into()]);
    assert_eq!(found.names(b"/real/f"), [&b"/a"[..], b"/b", b"/c", b"/e", b"/real/f"]);
    assert_eq!(found.names(b"/s"), [&b"/s"[..], b"/t"]);
    assert_eq!(found.get(b"/t").unwrap().kind, Kind::Symlink(b"real/f".to_vec()));
}

/// Rows: L16.
#[test]
fn a_file_is_replaced_by_a_required_directory() {
    let found = Yard::new().made(&[
        Layer::new([Entry::file("f", "x"), Entry::symlink("l", "nowhere")]).into(),
        Layer::new([Entry::file("f/g/h", "y"), Entry::file("l/x", "z")]).into(),
    ]);
    assert_eq!(paths(&found), "/f /f/g /f/g/h /l /nowhere /nowhere/x");
}

/// Rows: L17.
#[test]
fn markers_hide_names_of_their_directory() {
    let yard = Yard::new();
    let lower = || Layer::new([Entry::file("real/x", ""), Entry::file("real/y", ""), Entry::symlink("via", "real")]);
    let left = |marker: Entry| paths(&yard.made(&[lower().into(), Layer::new([marker]).into()]));
    assert_eq!(left(Entry::whiteout("via/.wh.x")), "/real /real/y /via");
    assert_eq!(left(Entry::whiteout("./real//.wh.x/")), "/real /real/y /via");
    assert_eq!(left(Entry::whiteout(".wh.via")), "/real /real/x /real/y");
    assert_eq!(left(Entry::whiteout("real/.wh....")), "/real /real/x /real/y /via");
    assert_eq!(left(Entry::whiteout("none/.wh.x")), "/real /real/x /real/y /via");
    assert_eq!(left(Entry::opaque("via")), "/real /via");
    assert_eq!(left(Entry::opaque("")), "");
    let one = |name: &str| Layer::new([Entry::whiteout(name)]);
    yard.refuses([
        (one(".wh."), 5, r#"entry 1 ".wh." is an invalid whiteout: it names no file"#),
        (one("real/.wh.."), 5, r#"entry 1 "real/.wh.." is an invalid whiteout: it names no file"#),
        (one("real/.wh..."), 5, r#"entry 1 "real/.wh..." is an invalid whiteout: it names no file"#),
        (one("real/.wh./"), 5, r#"entry 1 "real/.wh./" is an invalid whiteout: it names no file"#),
    ]);
}

/// Rows: L18.
#[test]
fn tool_syntax_in_names_is_not_interpreted() {
    let odd: [&[u8]; 8] =
        [b"\n!touch owned\n", b"<2>", b"\"; rm -rf /", b"$(id)", b"--help", b"a'b", b"\\n\x80", b"#{x}\t%s"];
    let entries = odd.iter().zip(0..).flat_map(|(bytes, n)| {
        [
            Entry::file(format!("f{n}"), *bytes).xattr("user.odd", *bytes),
            Entry::symlink(format!("l{n}"), *bytes),
            Entry::dir(bytes.iter().copied().filter(|byte| *byte != b'/').collect::<Vec<u8>>()),
        ]
    });
    let entries: Vec<Entry> = entries.collect();
    let yard = Yard::new();
    for engine in ["e2fsprogs", "direct"] {
        let found = yard.made_with(&[Layer::new(entries.clone()).into()], &["--engine", engine]);
        for entry in &entries {
            let node = found.get(&[b"/", &*entry.name].concat()).unwrap();
            assert_eq!(node.xattrs, entry.xattrs.iter().cloned().collect(), "{engine}");
            if !entry.linkname.is_empty() {
                assert_eq!(node.kind, Kind::Symlink(entry.linkname.clone()));
            }
        }
        assert_eq!(found.len(), entries.len() + 1);
    }
    // Names of xattrs that one of the engines can write.
    let ascii = |bytes: &[u8]| bytes.iter().copied().filter(u8::is_ascii).collect::<Vec<u8>>();
    let named =
        odd.iter().fold(Entry::file("f", ""), |file, bytes| file.xattr([b"user.", &*ascii(bytes)].concat(), "v"));
    let found = yard.made(&[Layer::new([named.clone()]).into()]);
    assert_eq!(found.get(b"/f").unwrap().xattrs, named.xattrs.into_iter().collect());
}

/// Rows: L19.
#[test]
fn control_bytes_are_escaped_in_notes() {
    let odd = "\x1b]0;owned\x07\r\u{9b}2J\u{202e}\n".as_bytes();
    let file = || Entry::file(odd, "").xattr([b"trusted.overlay.", odd].concat(), odd).pax([b"X.", odd].concat(), "x");
    let noted = [file(), file(), Entry::hardlink("h", odd), Entry::char_device([b"c", odd].concat(), 0, 0)];
    let acl = [&b"u::rw,g::r,o::r,m::r,u:\xe2\x80\xae"[..], b"\x1b:r"].concat();
    let noted = noted.into_iter().chain([Entry::file([b"acl", odd].concat(), "").pax("SCHILY.acl.access", acl)]);
    let found = Yard::new().made_with(&[Layer::new(noted).into()], &["--verbose"]);
    assert_eq!(found.len(), 5);
}

/// Rows: L27.
#[test]
fn an_ordinary_image_is_exact() {
    let found = Yard::new().made(&[
        Layer::new([
            Entry::dir("./").mtime(1, 0),
            Entry::dir("bin"),
            Entry::file("bin/sh", "#!").mode(0o4755).owner(1, 2).mtime(3, 4).xattr("user.a", "1"),
            Entry::symlink("sh", "bin/sh"),
            Entry::char_device("null", 1, 3).mode(0o666),
            Entry::file("gone", ""),
        ])
        .into(),
        Layer::new([Entry::whiteout(".wh.gone"), Entry::hardlink("bin/ash", "bin/sh"), Entry::fifo("fifo")]).into(),
    ]);
    assert_eq!(paths(&found), "/bin /bin/ash /bin/sh /fifo /null /sh");
    let shell = found.get(b"/bin/ash").unwrap();
    assert_eq!((shell.mode, shell.uid, shell.gid), (0o4755, 1, 2));
    assert_eq!((shell.mtime, &shell.kind), (Mtime { seconds: 3, nanos: 4 }, &Kind::File(Contents::of(b"#!"))));
    assert_eq!(shell.xattrs, [(b"user.a".to_vec(), b"1".to_vec())].into());
    assert_eq!(found.names(b"/bin/sh").len(), 2);
    assert_eq!(found.get(b"/null").unwrap().kind, Kind::CharDevice { major: 1, minor: 3 });
    assert_eq!(found.get(b"/").unwrap().mtime, Mtime { seconds: 1, nanos: 0 });
}
