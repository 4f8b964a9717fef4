//! Filesystems: a valid one of e2fsprogs, with changes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use planish::fuzzing::ext4::{Chunk, FileKind, Filesystem, Inode, InodeNumber};

/// The position of the superblock.
const SUPERBLOCK: usize = 1024;
const BLOCK: usize = 1024;
/// The limit of visits of one walk: a damaged filesystem may name an inode any number of times.
const INODES_MAX: usize = 2_000;
const BYTES_MAX: u64 = 4 << 20;

/// The bytes are changes of a valid filesystem; every inode of the result is read.
///
/// A change has two bytes that select a block which is not all zero, two for the offset in it, one for the number of
/// bytes that follow, and those bytes.
pub fn run(bytes: &[u8]) {
    let mut image = base().bytes.clone();
    let blocks = &base().blocks;
    let mut rest = bytes;
    while let [block_low, block_high, low, high, count, tail @ ..] = rest {
        let block = blocks[usize::from(u16::from_le_bytes([*block_low, *block_high])) % blocks.len()];
        let start = block * BLOCK + usize::from(u16::from_le_bytes([*low, *high])) % BLOCK;
        let count = usize::from(*count).min(tail.len()).min(image.len() - start);
        image[start..start + count].copy_from_slice(&tail[..count]);
        rest = &tail[count..];
    }
    walk(&image);
}

fn walk(image: &[u8]) {
    let Ok(filesystem) = Filesystem::open(image) else { return };
    let mut seen = BTreeSet::from([InodeNumber::ROOT]);
    let mut open = vec![InodeNumber::ROOT];
    let mut budget = BYTES_MAX;
    while let Some(number) = open.pop() {
        let Ok(inode) = filesystem.inode(number) else { continue };
        let _ = filesystem.xattrs(&inode);
        let _ = filesystem.target(&inode);
        if inode.kind == FileKind::Directory {
            for entry in filesystem.entries(&inode).unwrap_or_default() {
                assert!(!entry.name.is_empty() && entry.name.len() <= 255 && !entry.name.contains(&b'/'));
                if seen.len() < INODES_MAX && seen.insert(entry.inode) {
                    open.push(entry.inode);
                }
            }
        }
        read(&filesystem, &inode, &mut budget);
    }
}

/// Reads a file's bytes: chunks are consecutive up to the size, and their blocks can be read.
fn read(filesystem: &Filesystem<&[u8]>, inode: &Inode, budget: &mut u64) {
    let Ok(content) = filesystem.content(inode) else { return };
    let mut position = 0;
    for chunk in content.chunks() {
        let (Chunk::Data { offset, length } | Chunk::Hole { offset, length }) = chunk;
        assert!(offset == position && length > 0, "chunks follow one another");
        position = offset.checked_add(length).expect("no number wraps");
        assert!(position <= content.size(), "a chunk beyond the file's end");
        if let Chunk::Data { .. } = chunk {
            let mut buffer = vec![0; usize::try_from(length.min(*budget)).unwrap_or_default()];
            let _ = content.read_at(&mut buffer, offset);
            *budget -= buffer.len() as u64;
        }
        if *budget == 0 {
            return;
        }
    }
    assert_eq!(position, content.size());
}

/// A filesystem, and the blocks of it that are not all zero.
struct Base {
    bytes: Vec<u8>,
    blocks: Vec<usize>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let bytes = made();
        let blocks: Vec<usize> = bytes
            .chunks(BLOCK)
            .enumerate()
            .filter(|(_, block)| block.iter().any(|&b| b != 0))
            .map(|(n, _)| n)
            .collect();
        assert!(blocks.contains(&(SUPERBLOCK / BLOCK)));
        Base { bytes, blocks }
    })
}

/// Makes a filesystem with e2fsprogs that has an inode of each form that the reader supports.
fn made() -> Vec<u8> {
    let place = tempfile::tempdir().expect("there is a temporary directory");
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir_all(at("root/directory/below")).expect("it is empty");
    for number in 0..40 {
        std::fs::write(at(&format!("root/directory/{number}-{}", "n".repeat(60))), "small").expect("it is empty");
    }
    std::fs::write(at("root/long"), vec![7; 60_000]).expect("it is empty");
    std::os::unix::fs::symlink("short", at("root/fast")).expect("it is empty");
    std::os::unix::fs::symlink("s".repeat(200), at("root/slow")).expect("it is empty");
    let holes = std::fs::File::create(at("root/holes")).expect("it is empty");
    for offset in (0..40).map(|n| n * 9000) {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"x", offset).expect("it is empty");
    }
    let options = "-q -F -b 1024 -I 256 -O ^metadata_csum,^resize_inode,inline_data -J size=1 -d root image 3M";
    run_tool(place.path(), "mkfs.ext4", &options.split(' ').collect::<Vec<_>>());
    std::fs::write(at("value"), vec![5; 300]).expect("it is empty");
    let script = "ea_set fast user.a b\nea_set -f value long user.long\nmknod device b 8 1\nmknod pipe p\n";
    std::fs::write(at("script"), script).expect("it is empty");
    run_tool(place.path(), "debugfs", &["-w", "-f", "script", "image"]);
    std::fs::read(at("image")).expect("it was made")
}

fn run_tool(directory: &Path, name: &str, arguments: &[&str]) {
    let path = format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(name);
    command.args(arguments).current_dir(directory).env("PATH", path).env("E2FSPROGS_FAKE_TIME", "1");
    let output = command.output().unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An empty change, and one for the beginning of every block that keeps its bytes.
pub fn seeds() -> Vec<Vec<u8>> {
    let Base { bytes, blocks } = base();
    let same = |(number, block): (usize, &usize)| {
        let [low, high] = u16::try_from(number).unwrap_or_default().to_le_bytes();
        let start = block * BLOCK;
        [&[low, high, 0, 0, 128][..], &bytes[start..start + 128]].concat()
    };
    let all: Vec<Vec<u8>> = blocks.iter().enumerate().map(|(n, block)| same((n, block))).collect();
    std::iter::once(Vec::new()).chain(all.into_iter().take(120)).collect()
}
