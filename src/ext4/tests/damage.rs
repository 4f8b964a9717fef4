//! Damaged and truncated images: reading all of an image always ends, without a panic and with bounded work.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;

use super::NodeXattr;
use super::image::Image;
use super::node::Kind;
use super::shape::{file, node};
use crate::ext4::{BlockSource, Chunk, FileKind, Filesystem, Inode, InodeNumber, ReadError};

const BLOCK: u64 = 1024;

/// An image that counts the bytes read from it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<u64>,
}

impl BlockSource for Counted<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_exact_at(buf, offset)?;
        self.read.set(self.read.get() + buf.len() as u64);
        Ok(())
    }
}

fn bases() -> Vec<Vec<u8>> {
    let many = (0..200).map(|n| (2 * n * BLOCK, vec![1; 4])).collect();
    let mut large = file("/d/x", 70, vec![(0, vec![b'x'; 70])]);
    large.xattrs = vec![
        NodeXattr { name: "user.k", set: vec![b'v'; 700], stored: Vec::new() },
        NodeXattr { name: "trusted.k", set: vec![b'v'; 10], stored: Vec::new() },
    ];
    let mut nodes = vec![node("/d", Kind::Directory), large, node("/l", Kind::Symlink("target".into()))];
    nodes.extend([node("/long", Kind::Symlink("t".repeat(100))), file("/deep", 400 * BLOCK, many)]);
    nodes.extend((0..12).map(|n| node(&format!("/d/{n}{}", "n".repeat(100)), Kind::Fifo)));
    let options = [
        "^has_journal,^resize_inode",
        "^has_journal,^resize_inode,^extent,^64bit,^metadata_csum",
        "^has_journal,^resize_inode,inline_data",
        "^has_journal,^resize_inode,ea_inode,meta_bg,^flex_bg",
    ];
    options.map(|features| Image::make(&["-b", "1024", "-N", "40", "-O", features], "1M", &nodes).bytes()).into()
}

/// Reads everything that is reachable, each inode once.
fn read_all(bytes: &[u8]) {
    let counted = Counted { bytes, read: Cell::new(0) };
    let Ok(filesystem) = Filesystem::open(&counted) else { return };
    let (mut pending, mut seen) = (vec![InodeNumber::ROOT], BTreeSet::new());
    while let Some(number) = pending.pop() {
        if !seen.insert(number) {
            continue;
        }
        let before = counted.read.get();
        if let Ok(inode) = filesystem.inode(number) {
            let _ = filesystem.xattrs(&inode);
            let _ = filesystem.extents(&inode);
            let _ = filesystem.target(&inode);
            let _ = read_data(&filesystem, &inode);
            let entries = filesystem.entries(&inode).unwrap_or_default();
            pending.extend(entries.into_iter().map(|entry| entry.inode));
        }
        // No block is read twice in a pass, and there are five passes; the rest is for values stored in inodes.
        assert!(counted.read.get() - before < 12 * bytes.len() as u64, "inode {number}");
    }
}

fn read_data<R: BlockSource>(filesystem: &Filesystem<R>, inode: &Inode) -> Result<(), ReadError> {
    let content = filesystem.content(inode)?;
    let mut buf = vec![0; 8192];
    for chunk in content.chunks() {
        let Chunk::Data { offset, length } = chunk else { continue };
        for position in (offset..offset + length).step_by(buf.len()) {
            content.read_at(&mut buf, position)?;
        }
    }
    assert!(inode.kind != FileKind::Fifo || content.size() == 0);
    Ok(())
}

/// A generator by George Marsaglia with a fixed seed, so that every run has the same damage.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        let edges = [0, 1, 0x7f, 0x80, 0xff];
        let any = self.below(256);
        edges.get(self.below(10)).copied().unwrap_or(u8::try_from(any).unwrap())
    }
}

#[test]
fn flipped_bytes_never_panic_or_hang() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for base in bases() {
        // Only written bytes are damaged; most other damage would have no effect.
        let written: Vec<usize> = (1024..base.len()).filter(|&at| base[at] != 0 && base[at] != b'v').collect();
        for _ in 0..2000 {
            let mut bytes = base.clone();
            for _ in 0..=random.below(6) {
                let at = written[random.below(written.len())] + random.below(4);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.byte();
                }
            }
            read_all(&bytes);
        }
    }
}

#[test]
fn every_byte_of_the_metadata_may_be_anything() {
    for base in bases() {
        let filesystem = Filesystem::open(&base[..]).unwrap();
        let root = usize::try_from(filesystem.inode_offset(InodeNumber::ROOT).unwrap()).unwrap();
        let superblock_and_descriptors = 1024..2048 + 64;
        let inodes = root..root + 24 * 256;
        for at in superblock_and_descriptors.chain(inodes) {
            for value in [0, 0xff, base[at] ^ 1, base[at] ^ 0x80] {
                if value != base[at] {
                    let mut bytes = base.clone();
                    bytes[at] = value;
                    read_all(&bytes);
                }
            }
        }
    }
}

#[test]
fn cut_images_never_panic() {
    for base in bases() {
        for length in (0..base.len()).step_by(509) {
            read_all(&base[..length]);
        }
    }
}
