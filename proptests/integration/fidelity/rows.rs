//! The rows of the table: for each attribute, an image with its extreme values.

use planish_proptests::writer::{Content, Entry, SparseFormat};

/// Extreme times of both words of ext4, and extreme nanoseconds.
pub const TIMES: [(i64, u32); 10] = [
    (-2_147_483_648, 0),
    (-1, 0),
    (-1, 999_999_999),
    (0, 0),
    (0, 1),
    (2_147_483_647, 0),
    (2_147_483_648, 0),
    (4_294_967_296, 123_456_789),
    (12_884_901_888, 4),
    (15_032_385_535, 999_999_999),
];

/// Every row by its name.
pub fn all() -> Vec<(&'static str, Vec<Entry>)> {
    vec![
        ("modes", modes()),
        ("owners", owners()),
        ("times", times()),
        ("links", links(Entry::file("f", "x"), 65_000)),
        ("xattrs", xattrs()),
        ("devices", devices()),
        ("symlinks", symlinks()),
        ("names", names()),
        ("holes", holes()),
        ("lost+found", lost_and_found()),
    ]
}

/// Files of all 4,096 modes, in directories of 64 modes.
pub fn modes() -> Vec<Entry> {
    let mut entries = vec![Entry::dir("./").mode(0o7071)];
    for high in 0..64 {
        entries.push(Entry::dir(format!("{high:02o}")).mode(high << 6 | high));
        let file = |low: u32| Entry::file(format!("{high:02o}/{low:02o}"), "").mode(high << 6 | low);
        entries.extend((0..64).map(file));
    }
    entries.extend([Entry::fifo("fifo").mode(0o7123), Entry::char_device("device", 1, 3).mode(0o7456)]);
    entries
}

pub fn owners() -> Vec<Entry> {
    const IDS: [i64; 8] = [0, 1, 65_534, 65_535, 65_536, 2_147_483_647, 2_147_483_648, 4_294_967_294];
    let mut entries = vec![Entry::dir("./").owner(4_294_967_294, 65_536)];
    for (uid, gid) in IDS.iter().flat_map(|uid| IDS.map(|gid| (*uid, gid))) {
        entries.push(Entry::dir(format!("d{uid}-{gid}")).owner(uid, gid));
        entries.push(Entry::file(format!("d{uid}-{gid}/f"), "").owner(uid, gid));
        entries.push(Entry::symlink(format!("l{uid}-{gid}"), "target").owner(uid, gid));
        entries.push(Entry::block_device(format!("b{uid}-{gid}"), 8, 1).owner(uid, gid));
    }
    entries
}

pub fn times() -> Vec<Entry> {
    let mut entries = vec![Entry::dir("./").mtime(-1, 999_999_999)];
    for ((seconds, nanos), n) in TIMES.into_iter().zip(0..) {
        entries.push(Entry::dir(format!("d{n}")).mtime(seconds, nanos));
        entries.push(Entry::file(format!("d{n}/f"), "x").mtime(seconds, nanos));
        entries.push(Entry::symlink(format!("d{n}/short"), "target").mtime(seconds, nanos));
        entries.push(Entry::symlink(format!("d{n}/long"), vec![b't'; 60]).mtime(seconds, nanos));
        entries.push(Entry::symlink(format!("d{n}/linked"), "target").mtime(seconds, nanos));
        entries.push(Entry::hardlink(format!("d{n}/linked2"), format!("d{n}/linked")).mtime(seconds, nanos));
        entries.push(Entry::fifo(format!("d{n}/p")).mtime(seconds, nanos));
        entries.push(Entry::char_device(format!("d{n}/c"), 1, 3).mtime(seconds, nanos));
    }
    entries
}

/// One inode with `count` names, a thousand in a directory.
pub fn links(first: Entry, count: usize) -> Vec<Entry> {
    let target = first.name.clone();
    let mut entries = vec![first];
    for n in 1..count {
        // The first directory has one name fewer, because the inode has a name in the root.
        entries.push(Entry::hardlink(format!("l{:03}/{:04}", n / 1000, n % 1000), target.clone()));
    }
    entries
}

/// The kernel's form of an ACL: a version, and entries of tag, permissions and id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
    }
    value
}

pub fn xattrs() -> Vec<Entry> {
    const NO_ID: u32 = u32::MAX;
    let every_byte: Vec<u8> = (0..=255).collect();
    let plain = acl(&[(1, 6, NO_ID), (4, 4, NO_ID), (0x20, 0, NO_ID)]);
    let full = acl(&[
        (1, 7, NO_ID),
        (2, 5, 1000),
        (2, 0, 4_294_967_294),
        (4, 4, NO_ID),
        (8, 1, 70_000),
        (0x10, 7, NO_ID),
        (0x20, 4, NO_ID),
    ]);
    let capability = b"\x01\0\0\x02\0\x04\n\0\0\0\0\0\0\0\0\0\0\0\0\0";
    vec![
        Entry::dir("./").xattr("user.root", "\0").xattr("trusted.root", every_byte.clone()),
        Entry::file("empty", "").xattr("user.empty", "").xattr("security.empty", "").xattr("trusted.empty", ""),
        Entry::file("binary", "").xattr("user.all", every_byte.clone()).xattr("user.newline", "\n\0\"\\#!"),
        Entry::file("ping", "x").mode(0o755).xattr("security.capability", capability),
        Entry::file("many", "").xattr("user.a", "1").xattr("user.b", vec![2; 2000]).xattr("trusted.c", vec![3; 1500]),
        Entry::file("acl", "").mode(0o660).xattr("system.posix_acl_access", plain.clone()),
        Entry::file("long-acl", "").mode(0o674).xattr("system.posix_acl_access", full.clone()),
        Entry::dir("d")
            .mode(0o770)
            .xattr("system.posix_acl_access", plain.clone())
            .xattr("system.posix_acl_default", full),
        Entry::symlink("link", "target").xattr("trusted.link", every_byte.clone()),
        Entry::char_device("device", 1, 3).xattr("trusted.device", every_byte.clone()),
        Entry::fifo("fifo").xattr("trusted.fifo", "").xattr("security.fifo", every_byte),
        Entry::file("named", "").xattr(format!("user.{}", "n".repeat(255 - 5)), "v"),
    ]
}

const TEXT: &str = "user::rwx,user:1000:r-x,user:lisa:---,group::r--,group:staff:--x:70000,mask::rwx,other::r--";
const USERS: &str = "root:x:0:0::/:\nlisa:x:4294967294:5::/:\n";

/// ACLs as text and xattrs in libarchive's form; [`meant`] has the same in the kernel's form.
pub fn text_form() -> Vec<Entry> {
    vec![
        Entry::file("etc/passwd", USERS),
        Entry::file("acl", "").mode(0o4774).pax("SCHILY.acl.access", TEXT),
        Entry::dir("d").mode(0o774).pax("SCHILY.acl.access", TEXT).pax("SCHILY.acl.default", TEXT),
        Entry::file("minimal", "").mode(0o640).pax("SCHILY.acl.access", "user::rw-,group::r--,other::---"),
        Entry::fifo("fifo").mode(0o774).pax("SCHILY.acl.access", TEXT.replace(',', "\n")),
        Entry::char_device("device", 1, 3).mode(0o774).pax("SCHILY.acl.access", TEXT),
        Entry::file("encoded", "")
            .pax("LIBARCHIVE.xattr.user.a%20b", "Ymx1ZQ")
            .pax("LIBARCHIVE.xattr.user.c", "AP8K")
            .pax("LIBARCHIVE.xattr.user.d", ""),
    ]
}

/// Returns the meaning of [`spelled`].
pub fn kernel_form() -> Vec<Entry> {
    const NO_ID: u32 = u32::MAX;
    let full = acl(&[
        (1, 7, NO_ID),
        (2, 5, 1000),
        (2, 0, 4_294_967_294),
        (4, 4, NO_ID),
        (8, 1, 70_000),
        (0x10, 7, NO_ID),
        (0x20, 4, NO_ID),
    ]);
    let access = |entry: Entry| entry.xattr("system.posix_acl_access", full.clone());
    vec![
        Entry::file("etc/passwd", USERS),
        access(Entry::file("acl", "").mode(0o4774)),
        access(Entry::dir("d").mode(0o774)).xattr("system.posix_acl_default", full.clone()),
        Entry::file("minimal", "").mode(0o640),
        access(Entry::fifo("fifo").mode(0o774)),
        access(Entry::char_device("device", 1, 3).mode(0o774)),
        Entry::file("encoded", "").xattr("user.a b", "blue").xattr("user.c", *b"\0\xff\n").xattr("user.d", ""),
    ]
}

pub fn devices() -> Vec<Entry> {
    const MAJORS: [i64; 6] = [0, 1, 255, 256, 4094, 4095];
    const MINORS: [i64; 8] = [0, 1, 255, 256, 65_535, 65_536, 1_048_574, 1_048_575];
    let mut entries = Vec::new();
    for (major, minor) in MAJORS.iter().flat_map(|major| MINORS.map(|minor| (*major, minor))) {
        entries.push(Entry::char_device(format!("c{major}-{minor}"), major, minor).mode(0o666));
        entries.push(Entry::block_device(format!("b{major}-{minor}"), major, minor).mode(0o660));
    }
    entries.extend([Entry::fifo("fifo").mode(0o600), Entry::hardlink("fifo2", "fifo").mode(0o600)]);
    entries
}

pub fn symlinks() -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        [1, 2, 3, 4, 58, 59, 60, 61, 255, 4094, 4095].map(|n| Entry::symlink(format!("l{n}"), vec![b't'; n])).into();
    for (n, target) in [&b"/"[..], b"..", b"\xff\xfe\n", b"a//b/../c/.", b" "].into_iter().enumerate() {
        entries.push(Entry::symlink(format!("odd{n}"), target));
        entries.push(Entry::hardlink(format!("second{n}"), format!("odd{n}")));
    }
    entries
}

pub fn names() -> Vec<Entry> {
    let bytes = (1..=255).filter(|byte| !b"./".contains(byte));
    let mut entries: Vec<Entry> = bytes.map(|byte| Entry::file(vec![byte], vec![byte])).collect();
    entries.extend([1, 2, 3, 4, 254, 255].map(|len| Entry::dir(vec![0xff; len])));
    entries.extend([&b"..."[..], b". ", b"-", b"<2>", b"a\nb", b"\xc3\xa4", b"lost+found2"].map(Entry::fifo));
    entries.push(Entry::file([vec![0xff; 255], b"/".to_vec(), vec![b'x'; 255]].concat(), "deep"));
    entries
}

/// Files with some blocks of zeros; the file `all` has no other blocks.
pub fn holes() -> Vec<Entry> {
    let mut middle = vec![0; 50_000];
    middle[20_000] = 1;
    let mut ends = vec![0; 50_000];
    (ends[0], ends[49_999]) = (1, 2);
    vec![
        Entry::file("all", Content::Repeat { byte: 7, count: 40_000 }),
        Entry::file("zeros", Content::Repeat { byte: 0, count: 100_000 }),
        Entry::file("ends", ends),
        Entry::file("middle", middle),
        Entry::sparse("sparse", SparseFormat::OldGnu, [(5_000, 3), (1 << 20, 2)], 5 << 20, "abcde"),
    ]
}

pub fn lost_and_found() -> Vec<Entry> {
    let name = "n".repeat(250);
    let mut entries = vec![Entry::dir("lost+found").mode(0o1750).owner(5, 6).mtime(7, 8).xattr("user.k", "v")];
    entries.extend((0..150).map(|n| Entry::file(format!("lost+found/{n:03}{name}"), "x").owner(n, 1)));
    entries.push(Entry::dir("lost+found/d"));
    entries
}
