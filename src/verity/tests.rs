//! Trees against the format's description; the integration tests compare with `veritysetup`.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::check::WrongBlock;
use super::*;
use crate::cancel::Cancel;
use crate::progress::NoProgress;

/// A file of blocks that differ, but for every third, which is zero.
fn data(blocks: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    for number in 0..blocks {
        let byte = if number % 3 == 0 { [0; 8] } else { number.to_le_bytes() };
        file.write_all(&byte.repeat(512)).unwrap();
    }
    file
}

fn superblock(data_blocks: u64) -> Superblock {
    Superblock { uuid: [7; 16], data_blocks, salt: vec![1, 2, 3] }
}

fn files<'a>(data: &'a File, tree: &'a File, offset: u64) -> Files<'a> {
    Files { data, tree, offset, data_path: Path::new("data"), tree_path: Path::new("tree") }
}

/// The definition, one level at a time in memory.
fn root_of(mut level: Vec<u8>) -> String {
    let hash = |block: &[u8]| Sha256::new_with_prefix([1, 2, 3]).chain_update(block).finalize().to_vec();
    loop {
        let mut above: Vec<u8> = level.chunks(4096).flat_map(hash).collect();
        above.resize(above.len().next_multiple_of(4096), 0);
        level = above;
        if level.len() == 4096 {
            return hash(&level).iter().map(|byte| format!("{byte:02x}")).collect();
        }
    }
}

#[test]
fn a_hash_tree_has_the_defined_root_and_is_verified() {
    for blocks in [1, 2, 127, 128, 129, 1000, 128 * 128, 128 * 128 + 1] {
        let data = data(blocks);
        let mut bytes = vec![0; usize::try_from(blocks * BLOCK).unwrap()];
        data.read_exact_at(&mut bytes, 0).unwrap();
        for (offset, jobs) in [(0, 1), (blocks * BLOCK, 3)] {
            let other = tempfile::tempfile().unwrap();
            let files = files(&data, if offset == 0 { &other } else { &data }, offset);
            let cancel = Cancel::default();
            let root = write(files, &superblock(blocks), jobs, &NoProgress, &cancel).unwrap();
            assert_eq!(root.to_string(), root_of(bytes.clone()), "{blocks}");
            assert_eq!(RootHash::parse(&root.to_string()), Some(root));
            assert_eq!(files.tree.metadata().unwrap().len(), offset + tree_bytes(blocks));
            if offset > 0 {
                assert_eq!(appended_data_blocks(data.metadata().unwrap().len()), Some(blocks));
            }
            assert_eq!(Superblock::read(files).unwrap(), Ok(superblock(blocks)));
            let checked = check(files, &superblock(blocks), jobs, &NoProgress, &cancel).unwrap();
            assert_eq!(checked, TreeCheck { root, wrong: 0, first: None });
        }
    }
}

#[test]
fn the_highest_level_follows_the_superblock() {
    let level = |offset, blocks| Level { offset, blocks };
    assert_eq!(levels(1), [level(4096, 1)]);
    assert_eq!(levels(128), [level(4096, 1)]);
    assert_eq!(levels(129), [level(8192, 2), level(4096, 1)]);
    assert_eq!(levels(128 * 128 + 1), [level(4 * 4096, 129), level(2 * 4096, 2), level(4096, 1)]);
    for bytes in [0, 4096, 8192, 12_287, 3 * 4096 + 1] {
        assert_eq!(appended_data_blocks(bytes), None, "{bytes}");
    }
    assert_eq!(appended_data_blocks(3 * 4096), Some(1));
}

#[test]
fn a_wrong_bit_of_data_or_tree_is_located() {
    let (data, tree) = (data(1000), tempfile::tempfile().unwrap());
    let (files, cancel) = (files(&data, &tree, 0), Cancel::default());
    let root = write(files, &superblock(1000), 2, &NoProgress, &cancel).unwrap();
    let flip = |file: &File, at: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    let wrong = |level, block| Some(WrongBlock { level, block });
    // The root is 4096 bytes after the superblock, the eight blocks of the lowest level follow.
    for (file, at, expected) in [
        (&data, 500 * 4096 + 77, (1, wrong(0, 500))),
        (&data, 999 * 4096 + 4095, (1, wrong(0, 999))),
        (&tree, 2 * 4096 + 3 * 4096 + 32, (2, wrong(0, 3 * 128 + 1))),
        (&tree, 4096 + 64, (1, wrong(1, 2))),
    ] {
        flip(file, at);
        let found = check(files, &superblock(1000), 2, &NoProgress, &cancel).unwrap();
        assert_eq!((found.wrong, found.first), expected, "{at}");
        assert_eq!(found.root == root, at != 4096 + 64, "{at}");
        flip(file, at);
    }
}

#[test]
fn invalid_superblocks_are_refused() {
    let good = superblock(9).to_bytes();
    assert_eq!(Superblock::parse(&good), Ok(superblock(9)));
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = good;
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Superblock::parse(&changed).unwrap_err().to_string()
    };
    assert_eq!(changed(0, b"V"), "it has no superblock of dm-verity");
    assert_eq!(changed(8, &[2]), "its superblock has version 2, planish reads version 1");
    assert_eq!(changed(12, &[0]), "its hash type is 0, planish reads type 1");
    assert_eq!(changed(32, b"sha512"), "its hash algorithm is not sha256");
    assert_eq!(changed(64, &[0, 2]), "its blocks have 512 and 4096 bytes, planish reads those of 4096");
    assert_eq!(changed(80, &[1, 1]), "its salt has 257 bytes, and there is room for 256");
    assert_eq!(changed(72, &[0]), "it covers 0 blocks, more than its files have");
    assert_eq!(changed(79, &[1]), format!("it covers {} blocks, more than its files have", (1_u64 << 56) + 9));
    let file = data(8);
    assert_eq!(Superblock::read(files(&file, &file, 8 * 4096)).unwrap(), Err(Refusal::Signature));
    let tree = tempfile::tempfile().unwrap();
    tree.write_all_at(&good, 0).unwrap();
    tree.set_len(1 << 20).unwrap();
    assert_eq!(Superblock::read(files(&file, &tree, 0)).unwrap(), Err(Refusal::Blocks(9)));
}

#[test]
fn a_root_hash_is_64_digits() {
    for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(RootHash::parse(bad), None, "{bad}");
    }
    assert_eq!(RootHash::parse(&"aB".repeat(32)).unwrap().to_string(), "ab".repeat(32));
}
