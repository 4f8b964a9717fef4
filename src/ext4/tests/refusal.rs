//! Damage that must be reported, and unsupported features: every error text, on patched bytes of a real image.

use super::image::Image;
use super::node::Kind;
use super::shape::{file, inode_of, node};
use crate::ext4::{Filesystem, Inode, InodeNumber, ReadError};

const BLOCK: usize = 1024;

/// Returns an image without checksums, so that only the reader's own checks can find a patch.
fn base() -> Vec<u8> {
    let many = (0..200).map(|n| (2 * n * BLOCK as u64, vec![1; 4])).collect();
    let nodes = [
        node("/d", Kind::Directory),
        file("/deep", 400 * BLOCK as u64, many),
        file("/f", 3 * BLOCK as u64, vec![(0, vec![1; 3 * BLOCK])]),
        node("/l", Kind::Symlink("target".into())),
        node("/long", Kind::Symlink("t".repeat(100))),
        node("/x", Kind::Fifo),
    ];
    let options = ["-b", "1024", "-N", "64", "-O", "^has_journal,^resize_inode,^metadata_csum"];
    let image = Image::make(&options, "2M", &nodes);
    image.debugfs("ea_set /f user.k value\nea_set /f user.l another\n");
    image.bytes()
}

/// Returns the error of reading everything about `/name` after `patch` was written at byte `at` of its inode.
fn complaint(base: &[u8], name: &str, at: usize, patch: &[u8]) -> String {
    let filesystem = Filesystem::open(base).unwrap();
    let number = inode_of(&filesystem, name).number;
    let offset = usize::try_from(filesystem.inode_offset(number).unwrap()).unwrap() + at;
    let patched = patched(base, offset, patch);
    let filesystem = Filesystem::open(&patched[..]).unwrap();
    let error = filesystem.inode(number).and_then(|inode| read_all(&filesystem, &inode)).unwrap_err().to_string();
    let subject = format!("has a damaged inode {number}, which ");
    error.strip_prefix(&subject).unwrap_or(&error).to_owned()
}

fn patched(base: &[u8], offset: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    bytes[offset..offset + patch.len()].copy_from_slice(patch);
    bytes
}

fn read_all(filesystem: &Filesystem<&[u8]>, inode: &Inode) -> Result<(), ReadError> {
    use crate::ext4::FileKind;
    filesystem.xattrs(inode)?;
    match inode.kind {
        FileKind::Directory => filesystem.entries(inode).map(drop),
        FileKind::Symlink => filesystem.target(inode).map(drop),
        _ => filesystem.content(inode).map(drop),
    }
}

#[test]
fn damage_of_an_inode_is_named() {
    let base = base();
    let filesystem = Filesystem::open(&base[..]).unwrap();
    let body = |name: &str| inode_of(&filesystem, name).xattr_start;
    let leaf = u32::from_le_bytes(inode_of(&filesystem, "deep").i_block()[16..20].try_into().unwrap());
    let first = filesystem.extents(&inode_of(&filesystem, "f")).unwrap()[0].physical.unwrap();
    let first = u32::try_from(first).unwrap();
    let mut twice = inode_of(&filesystem, "f").i_block()[2..36].to_vec();
    twice[0] = 2;
    twice[22..].copy_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    twice[30..].copy_from_slice(&(first + 2).to_le_bytes());
    let table: &[(&str, usize, &[u8], String)] = &[
        ("f", 0x2a, &twice, format!("uses block {} twice", first + 2)),
        ("x", 0x00, &[0, 0], "has no file type: its mode is 0o0".into()),
        ("x", 0x80, &[0xff, 0], "claims 255 bytes of extra fields".into()),
        ("f", 0x6c, &[0, 0, 0, 0x80], "claims 9223372036854778880 bytes of content".into()),
        ("x", 0x88, &[0xfc, 0xff, 0xff, 0xff], "has a time with 1073741823 nanoseconds".into()),
        ("f", 0x28, &[0], "has a damaged extent tree: a node has no magic".into()),
        ("f", 0x2a, &[5], "has a damaged extent tree: a node has more entries than room".into()),
        ("f", 0x2c, &[5], "has a damaged extent tree: a node has more entries than room".into()),
        ("f", 0x2e, &[6], "has a damaged extent tree: it is too deep".into()),
        ("deep", 0x2e, &[2], "has a damaged extent tree: a node has the wrong depth".into()),
        ("deep", 0x2a, &[0], "has a damaged extent tree: an inner node is empty".into()),
        ("f", 0x38, &[0, 0], "has a damaged extent tree: an extent is empty".into()),
        ("f", 0x34, &[0xff; 4], "has a damaged extent tree: an extent lies beyond the largest file".into()),
        ("deep", 0x44, &leaf.to_le_bytes(), format!("uses block {leaf} twice")),
        ("deep", 0x40, &[0], "has a damaged extent tree: its entries are out of order".into()),
        ("deep", 0x38, &[0xff; 4], "refers to block 4294967295, outside the filesystem".into()),
        ("f", 0x3a, &[1], format!("refers to block {}, outside the filesystem", (1_u64 << 32) + u64::from(first))),
    ];
    for (name, at, patch, expected) in table {
        assert_eq!(complaint(&base, name, *at, patch), *expected, "{name} {at:#x}");
    }
    let xattrs = |at: usize, patch: &[u8]| complaint(&base, "f", at, patch);
    assert_eq!(xattrs(0x68, &first.to_le_bytes()), "has damaged xattrs: their block has no header");
    let list = body("f") + 4;
    assert_eq!(xattrs(list, &[255]), "has damaged xattrs: a name ends after their area");
    assert_eq!(xattrs(list + 1, &[99]), "has an xattr with the unknown name index 99");
    assert_eq!(xattrs(list + 2, &[255]), "has damaged xattrs: a value lies outside their area");
    assert_eq!(xattrs(list + 2, &[4, 0]), "has damaged xattrs: a value lies outside their area");
    assert_eq!(xattrs(list + 4, &[2]), "keeps an xattr's value in inode 2, which holds no such value");
    assert_eq!(xattrs(list + 16, b"l"), "has damaged xattrs: a name appears twice");
    assert_eq!(xattrs(list + 8, &[255]), "has damaged xattrs: a value lies outside their area");
}

#[test]
fn damage_of_a_symlink_or_a_directory_is_named() {
    let base = base();
    let table: &[(&str, usize, &[u8], &str)] = &[
        ("l", 0x04, &[0], "has a symlink target of 0 bytes"),
        ("l", 0x29, &[0], "has a symlink target with a NUL byte"),
        ("long", 0x05, &[4], "has a symlink target of 1124 bytes"),
        ("d", 0x04, &[1], "has a directory of 1025 bytes, not a multiple of the block size"),
        ("d", 0x05, &[8], "has a directory without its block 1"),
        ("d", 0x34, &[1], "has a directory without its block 0"),
    ];
    for (name, at, patch, expected) in table {
        assert_eq!(complaint(&base, name, *at, patch), *expected, "{name} {at:#x}");
    }
    let filesystem = Filesystem::open(&base[..]).unwrap();
    let wrong = |name| filesystem.entries(&inode_of(&filesystem, name)).unwrap_err().to_string();
    assert_eq!(
        wrong("l"),
        format!("has a damaged inode {}, which is not a directory", inode_of(&filesystem, "l").number)
    );

    let directory = inode_of(&filesystem, "d");
    let place = filesystem.entries(&directory).unwrap()[1].place.unwrap();
    let record = usize::try_from(place.block).unwrap() * BLOCK + place.offset as usize;
    let table: &[(usize, &[u8], &str)] = &[
        (4, &[0, 0], "its length is impossible"),
        (4, &[8, 0], "its length is impossible"),
        (4, &[0xf3, 3], "its length is impossible"),
        (4, &[0xf8, 3], "it ends after its block"),
        (4, &[12, 0, 5], "its name is longer than itself"),
        (6, &[0], "its name is impossible"),
        (8, b"/", "its name is impossible"),
        (9, &[0], "its name is impossible"),
        (7, &[8], "its file type is unknown"),
    ];
    for (at, patch, expected) in table {
        let patched = patched(&base, record + at, patch);
        let filesystem = Filesystem::open(&patched[..]).unwrap();
        let error = filesystem.entries(&directory).unwrap_err().to_string();
        let subject = format!("has a damaged inode {}, which", directory.number);
        assert_eq!(error, format!("{subject} has a damaged directory record at byte 12: {expected}"), "{at} {patch:?}");
    }
}

#[test]
fn inline_data_that_is_not_there_is_named() {
    let nodes = [node("/d", Kind::Directory), node("/l", Kind::Symlink("t".repeat(70)))];
    let base = Image::make(&["-O", "inline_data,^metadata_csum,^has_journal"], "2M", &nodes).bytes();
    assert_eq!(complaint(&base, "d", 0x05, &[1]), "claims 316 bytes of inline data and holds 60");
    assert_eq!(complaint(&base, "l", 0x05, &[1]), "claims 326 bytes of inline data and holds 70");
    assert_eq!(complaint(&base, "d", 0x04, &[3]), "has a directory of 3 bytes, not a multiple of the block size");
}

#[test]
fn an_invalid_superblock_is_named() {
    let base = base();
    let table: &[(usize, &[u8], &str)] = &[
        (0x38, &[0], "has no ext4 superblock: its magic is 0xef00, not 0xef53"),
        (0x18, &[7], "has a damaged superblock: s_log_block_size is 7"),
        (0x04, &[0; 4], "has a damaged superblock: s_blocks_count is 0"),
        (0x153, &[0x80], "has a damaged superblock: s_blocks_count is 9223372036854777856"),
        (0x14, &[2], "has a damaged superblock: s_first_data_block is 2"),
        (0x20, &[0; 4], "has a damaged superblock: s_blocks_per_group is 0"),
        (0x28, &[0; 4], "has a damaged superblock: s_inodes_per_group is 0"),
        (0x29, &[0x21], "has a damaged superblock: s_inodes_per_group is 8512"),
        (0x00, &[65], "has a damaged superblock: s_inodes_count is 65"),
        (0x58, &[0, 8], "has a damaged superblock: s_inode_size is 2048"),
        (0x58, &[64, 0], "has a damaged superblock: s_inode_size is 64"),
        (0xfe, &[32], "has a damaged superblock: s_desc_size is 32"),
        (0x60, &[0xc6], "was not unmounted cleanly: its journal must be replayed first"),
        (0x60, &[0xca], "is the journal of another filesystem"),
        (0x60, &[0xc3], "uses features that planish does not read: compression"),
        (0x62, &[0x1, 0x80], "uses features that planish does not read: encrypt, incompat bits 0x80000000"),
    ];
    for (at, patch, expected) in table {
        let patched = patched(&base, 1024 + at, patch);
        let error = Filesystem::open(&patched[..]).map(drop).unwrap_err().to_string();
        assert_eq!(error, *expected, "{at:#x}");
    }
}

#[test]
fn missing_inodes_and_blocks_are_named() {
    let base = base();
    let filesystem = Filesystem::open(&base[..]).unwrap();
    for number in [0, 65, u32::MAX] {
        let error = filesystem.inode(InodeNumber::new(number)).unwrap_err().to_string();
        assert_eq!(error, format!("has 64 inodes, inode {number} is not one of them"));
    }
    let error = filesystem.block(2048).unwrap_err().to_string();
    assert_eq!(error, "has 2048 blocks, block 2048 is not one of them");
    let cut = &base[..1500];
    let error = Filesystem::open(cut).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "cannot be read: 1024 bytes at byte 1024");
    assert!(std::error::Error::source(&error).is_some());
    let beyond = patched(&base, 2048 + 8, &[0xff; 4]);
    let error = Filesystem::open(&beyond[..]).unwrap().inode(InodeNumber::ROOT).unwrap_err().to_string();
    assert_eq!(error, "has its inode table of group 0 at block 4294967295, outside the filesystem");
}
