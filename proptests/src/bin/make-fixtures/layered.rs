//! The most complete fixture: a small system in four layers.

use planish_proptests::writer::{Compression, Entry, Format, Image, Layer};

/// The default mtime.
const T: i64 = 1_700_000_000;

pub(crate) fn image() -> Image {
    Image::new([
        Layer::new(system()),
        Layer::new(changes()).compression(Compression::Zstd),
        Layer::new(names()).compression(Compression::GzipMulti),
        Layer::new(last()).compression(Compression::None),
    ])
    .created(Some("2023-11-14T22:13:20Z"))
}

fn dir(name: &str) -> Entry {
    Entry::dir(name).mtime(T, 0)
}

fn file(name: impl Into<Vec<u8>>, content: &str) -> Entry {
    Entry::file(name, content).mtime(T, 0)
}

/// Returns the entries of a small system for a first layer.
fn system() -> Vec<Entry> {
    // Version 2 with the effective bit; CAP_DAC_OVERRIDE, CAP_FOWNER and CAP_NET_RAW are the byte 0x0a.
    let capability = b"\x01\0\0\x02\x0a\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    vec![
        Entry::dir("./").mode(0o711).owner(0, 3).mtime(T, 250_000_000),
        Entry::symlink("bin", "usr/bin").mtime(T, 0),
        dir("usr/"),
        dir("usr/bin/"),
        file("usr/bin/sh", "shell").mode(0o755),
        file("usr/bin/su", "su").mode(0o4755),
        file("usr/bin/wall", "wall").mode(0o2755).owner(0, 5),
        file("usr/bin/ping", "ping").mode(0o755).xattr("security.capability", capability),
        dir("tmp/").mode(0o1777),
        dir("dev/"),
        Entry::char_device("dev/null", 1, 3).mode(0o666).mtime(T, 0),
        Entry::block_device("dev/loop0", 7, 0).mode(0o660).owner(0, 6).mtime(T, 0),
        Entry::fifo("dev/initctl").mode(0o600).mtime(T, 0),
        dir("etc/"),
        file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        file("etc/shadow", "root:*:\n").mode(0o640).owner(0, 42),
        file("etc/old.conf", "old"),
        file("etc/hosts", "127.0.0.1 localhost\n"),
        Entry::hardlink("etc/hosts.bak", "etc/hosts"),
        Entry::symlink("etc/mtab", "../proc/mounts").mtime(T, 0),
        Entry::hardlink("etc/mtab.bak", "etc/mtab"),
        dir("var/").xattr("user.note", "gone with the next layer"),
        dir("var/log/").mode(0o750).owner(0, 4),
        file("var/log/boot", "lower"),
        file("var/log/current", "lower"),
        dir("srv/"),
        file("srv/data", "lower"),
        Entry::symlink("opt", "usr").mtime(T, 0),
    ]
}

/// Returns deletions, replacements and additions.
fn changes() -> Vec<Entry> {
    vec![
        // After its sibling: a marker acts on lower layers only, at any position.
        file("var/log/current", "upper").owner(0, 4),
        Entry::opaque("var/log"),
        Entry::whiteout("etc/.wh.old.conf"),
        Entry::whiteout("etc/.wh.hosts"),
        Entry::whiteout("etc/.wh.never-there"),
        // All metadata of a directory; its children stay.
        dir("var/").mode(0o2755).owner(0, 50),
        // A directory is replaced by a symlink, a symlink by a directory.
        Entry::symlink("srv", "var/srv").mtime(T, 0),
        dir("opt/").xattr("user.origin", "layer 2"),
        // Through the symlink bin.
        file("bin/ls", "list").mode(0o755),
        Entry::hardlink("usr/bin/dir", "bin/ls"),
        // A hard link to a file of the layer below.
        Entry::hardlink("usr/bin/dash", "usr/bin/sh"),
        // There is no entry for home or home/alice.
        file("home/alice/.profile", "export A=1\n").owner(1_000_660_000, 4_294_967_294).xattr("user.empty", ""),
    ]
}

/// Returns names that are hard to store.
fn names() -> Vec<Entry> {
    let long_path = [b"names/", &b"p".repeat(120)[..], b"/", &b"q".repeat(90)].concat();
    let gnu_path = [b"names/", &b"g".repeat(255)[..]].concat();
    vec![
        dir("names/"),
        file(long_path, "a path of 217 bytes, in PAX records"),
        file(gnu_path, "a name of 255 bytes, in GNU's entries").format(Format::Gnu),
        file(*b"names/\xff\xfe", "not UTF-8"),
        file("names/line\nbreak", "newline"),
        file("names/\"quoted\"", "quotes"),
        file("names/!sh", "exclamation"),
        file("names/<2>", "an inode number"),
        file("names/back\\slash and space", "backslash"),
        file("names/.wh", "no marker"),
        Entry::symlink(*b"names/link", *b"\xff\n").mtime(T, 0),
    ]
}

/// Returns unusual times, and further changes.
fn last() -> Vec<Entry> {
    vec![
        Entry::file("times/before-1970", "").mtime(-2, 500_000_000),
        Entry::file("times/nanoseconds", "").mtime(T, 123_456_789),
        Entry::file("times/after-2038", "").mtime(4_102_444_800, 1),
        Entry::file("etc/passwd", "root:x:0:0::/root:/bin/sh\n").mtime(T + 1, 0),
        Entry::whiteout("usr/bin/.wh.dir"),
    ]
}
