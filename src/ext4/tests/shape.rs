//! Shapes of single files and directories, and the superblock, on filesystems of the usual form.

use std::collections::BTreeSet;

use super::image::Image;
use super::node::{Kind, Node};
use crate::ext4::{BlockSource, Chunk, FileKind, Filesystem, Inode, InodeNumber, Run};
use crate::time::Timestamp;

const SIZE: &str = "16M";

/// Returns a node whose metadata does not matter.
pub fn node(name: &str, kind: Kind) -> Node {
    Node {
        names: vec![name.into()],
        kind,
        permissions: 0o644,
        uid: 0,
        gid: 0,
        generation: 0,
        times: [Timestamp::from_seconds(1); 4],
        wide_times: true,
        xattrs: Vec::new(),
        links: None,
    }
}

pub fn file(name: &str, size: u64, pieces: Vec<(u64, Vec<u8>)>) -> Node {
    node(name, Kind::File { size, pieces })
}

/// Returns the inode of a name in the root.
pub fn inode_of<R: BlockSource>(filesystem: &Filesystem<R>, name: &str) -> Inode {
    let root = filesystem.inode(InodeNumber::ROOT).unwrap();
    let entries = filesystem.entries(&root).unwrap();
    let entry = entries.into_iter().find(|entry| *entry.name == *name.as_bytes());
    filesystem.inode(entry.unwrap().inode).unwrap()
}

#[test]
fn the_superblock_has_the_options_of_mkfs() {
    let options = [
        &["-L", "a label", "-U", "12345678-9abc-def0-0123-456789abcdef", "-N", "4096", "-m", "10", "-b", "4096"][..],
        &["-O", "^has_journal,^resize_inode"],
    ]
    .concat();
    let image = Image::make(&options, SIZE, &[file("/five", 5, vec![(0, vec![1; 5])])]);
    image.debugfs("ssv hash_seed fedcba98-7654-3210-fedc-ba9876543210\n");
    let filesystem = image.open();
    let superblock = filesystem.superblock();
    assert_eq!(*superblock.label, *b"a label");
    assert_eq!(superblock.uuid, *b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01\x23\x45\x67\x89\xab\xcd\xef");
    assert_eq!(superblock.hash_seed, *b"\xfe\xdc\xba\x98\x76\x54\x32\x10\xfe\xdc\xba\x98\x76\x54\x32\x10");
    assert_eq!((superblock.block_size, superblock.block_count, superblock.reserved_blocks), (4096, 4096, 409));
    // 10 reserved inodes, lost+found and the file.
    assert_eq!((superblock.inode_count, superblock.free_inodes, superblock.first_inode), (4096, 4096 - 12, 11));
    // Boot block and superblock, descriptors, two bitmaps, 256 blocks of inodes; root, lost+found (4) and the file.
    assert_eq!(superblock.free_blocks, 4096 - (1 + 1 + 2 + 256) - (1 + 4 + 1));
    assert!(superblock.features.metadata_csum() && superblock.features.filetype() && superblock.is_clean());
}

#[test]
fn descriptors_before_the_first_meta_group_lie_together() {
    let nodes: Vec<_> = (0..200).map(|number| file(&format!("/{number}"), number, vec![])).collect();
    let options = ["-b", "1024", "-g", "1024", "-N", "512", "-O", "meta_bg,^resize_inode,^has_journal,^flex_bg"];
    let mut bytes = Image::make(&options, "64M", &nodes).bytes();
    let own = Filesystem::open(&bytes[..]).unwrap().superblock().descriptor_block(16);
    let own = usize::try_from(own).unwrap() * 1024;
    // The layout after resize2fs: the table as it was at first, meta groups after it. Block 3 contained a bitmap.
    bytes.copy_within(own..own + 1024, 3 * 1024);
    bytes[own..own + 1024].fill(0xff);
    bytes[1024 + 0x104] = 2;
    let filesystem = Filesystem::open(&bytes[..]).unwrap();
    for number in [0, 100, 199, 99] {
        let inode = inode_of(&filesystem, &number.to_string());
        assert_eq!(inode.size, number);
    }
    assert!(inode_of(&filesystem, "99").number.get() > 16 * 8);
}

#[test]
fn sectors_count_all_blocks_of_an_inode() {
    let mut large = file("/with-xattr-block", 5, vec![(0, vec![1; 5])]);
    large.xattrs.push(super::NodeXattr { name: "user.k", set: vec![7; 1000], stored: vec![7; 1000] });
    let nodes = [file("/five", 5, vec![(0, vec![1; 5])]), file("/empty", 0, vec![]), large];
    let filesystem = Image::make(&["-b", "4096"], SIZE, &nodes).open();
    for (name, sectors) in [("five", 8), ("empty", 0), ("with-xattr-block", 16)] {
        assert_eq!(inode_of(&filesystem, name).sectors, sectors, "{name}");
    }
}

#[test]
fn unwritten_blocks_read_as_zeros() {
    let image = Image::make(&["-b", "4096"], SIZE, &[file("/f", 10 * 4096, vec![(0, vec![1; 4096])])]);
    image.debugfs("fallocate /f 4 7\n");
    image.check();
    let filesystem = image.open();
    let inode = inode_of(&filesystem, "f");
    let runs = filesystem.extents(&inode).unwrap();
    assert!(matches!(
        runs[..],
        [Run { logical: 0, count: 1, physical: Some(_) }, Run { logical: 4, count: 4, physical: None }]
    ));
    let content = filesystem.content(&inode).unwrap();
    let chunks: Vec<_> = content.chunks().collect();
    assert_eq!(chunks, [Chunk::Data { offset: 0, length: 4096 }, Chunk::Hole { offset: 4096, length: 9 * 4096 }]);
    let mut bytes = [9; 3];
    assert_eq!(content.read_at(&mut bytes, 4095).unwrap(), 3);
    assert_eq!(bytes, [1, 0, 0]);
    assert_eq!(content.read_at(&mut bytes, 10 * 4096 - 1).unwrap(), 1);
    assert_eq!(content.read_at(&mut bytes, 10 * 4096).unwrap(), 0);
    assert_eq!(content.read_at(&mut bytes, u64::MAX).unwrap(), 0);
}

#[test]
fn a_hole_of_terabytes_is_one_chunk() {
    const SPARSE: u64 = 4 << 40;
    let image = Image::make(&["-b", "4096"], SIZE, &[file("/f", SPARSE, vec![(1 << 40, vec![1; 4096])])]);
    let filesystem = image.open();
    let content = filesystem.content(&inode_of(&filesystem, "f")).unwrap();
    let data = Chunk::Data { offset: 1 << 40, length: 4096 };
    let end = (1 << 40) + 4096;
    let last = Chunk::Hole { offset: end, length: SPARSE - end };
    assert_eq!(content.chunks().collect::<Vec<_>>(), [Chunk::Hole { offset: 0, length: 1 << 40 }, data, last]);
}

#[test]
fn an_indexed_directory_lists_every_name_with_its_place() {
    let name = |number: u32| format!("/d/name-{number:05}");
    let mut nodes = vec![node("/d", Kind::Directory)];
    nodes.extend((0..3000).map(|number| file(&name(number), 0, vec![])));
    let image = Image::make(&["-b", "1024", "-N", "4000"], SIZE, &nodes);
    image.index_directories();
    let filesystem = image.open();
    let directory = inode_of(&filesystem, "d");
    assert!(directory.is_indexed());
    let entries = filesystem.entries(&directory).unwrap();
    let found: BTreeSet<_> = entries.iter().map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()).collect();
    let expected = (0..3000).map(|number| name(number)[3..].to_owned()).chain([".".into(), "..".into()]);
    assert_eq!((entries.len(), found), (3002, expected.collect()));
    for entry in &entries {
        let place = entry.place.unwrap();
        let block = filesystem.block(place.block).unwrap();
        let record = &block[place.offset as usize..];
        assert_eq!(record[..4], entry.inode.get().to_le_bytes());
        assert_eq!(record[7], entry.kind.unwrap().type_byte());
        assert_eq!(record[8..8 + entry.name.len()], *entry.name);
    }
    assert!(entries[2..].iter().all(|entry| entry.kind == Some(FileKind::Regular)));
}
