//! Digests that name a proof: of the flattened tree, and of the finished file.
//!
//! The digest of a tree is the SHA-256 of one line for each name, the root's first: a directory before what is in it,
//! siblings in the byte order of their names. Whoever has the tree, from an image or from a mounted filesystem, can write
//! the same lines. Of a line's fields, which single spaces separate, the first are path, type (`d`, `f`, `l`, `c`, `b`,
//! `p`), mode in octal without leading zeros, `UID:GID`, and mtime in seconds, rounded down, with a `.` and nine digits of
//! nanoseconds. Then come
//!
//! - for a file its size and `sha256:` with the digest of its bytes; when a block of 4 KiB (the last may be shorter) is all
//!   zero, so that a filesystem may keep a hole there, `sparse:` instead, and the digest is of the longest runs of other
//!   blocks, in order, each as offset and length (64 bits, little-endian) and bytes;
//! - for a symlink its target, for a device `MAJOR:MINOR`;
//! - for each xattr, in the byte order of their names, `NAME=` and the value in hexadecimal; ACLs have the form in which
//!   Linux shows them to programs.
//!
//! A further name of an inode has the line `PATH = FIRST`. In paths, targets and xattr names every byte but printable
//! ASCII (0x21 to 0x7e) and the backslash are `\xNN`. Each line ends with a line feed.

mod content;

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::layer::entry::DeviceKind;
use crate::tree::{Inode, InodeId, Node, Tree};

use content::Sum;

const BUFFER: usize = 1 << 20;

/// Returns the digest of a tree; the contents of `jobs` files are hashed at a time.
///
/// # Errors
///
/// A stop was asked for.
pub fn of_tree(tree: &Tree, jobs: usize, cancel: &Cancel) -> Result<Digest> {
    let mut names = vec![0_u32; tree.arena_len()];
    let mut files = Vec::new();
    for visit in tree.walk() {
        let count = &mut names[visit.inode.index()];
        *count += 1;
        if *count == 1 && matches!(tree.inode(visit.inode).node, Node::File(_)) {
            files.push(visit.inode);
        }
    }
    let sums = content::sums(tree, &files, jobs, cancel)?;
    // The walk meets the files in the same order again.
    let mut sums = sums.into_iter();
    let mut first_names: HashMap<InodeId, Box<[u8]>> = HashMap::new();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut line = String::new();
    for visit in tree.walk() {
        cancel.check()?;
        line.clear();
        path(&mut line, &visit.path);
        if let Some(first) = first_names.get(&visit.inode) {
            line.push_str(" = ");
            path(&mut line, first);
        } else {
            let inode = tree.inode(visit.inode);
            let sum = if matches!(inode.node, Node::File(_)) { sums.next() } else { None };
            // Writing to a string does not fail.
            let _ = attributes(&mut line, inode, sum);
            if names[visit.inode.index()] > 1 {
                first_names.insert(visit.inode, visit.path);
            }
        }
        line.push('\n');
        hasher.update(line.as_bytes());
    }
    Ok(hasher.finish())
}

fn path(line: &mut String, path: &[u8]) {
    line.push('/');
    escape(line, path);
}

fn escape(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'\\' {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
}

fn attributes(line: &mut String, inode: &Inode, sum: Option<Sum>) -> std::fmt::Result {
    let kind = match &inode.node {
        Node::Directory(_) => 'd',
        Node::File(_) => 'f',
        Node::Symlink(_) => 'l',
        Node::Device(device) => match device.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        },
        Node::Fifo => 'p',
    };
    let metadata = &inode.metadata;
    write!(line, " {kind} {:o} {}:{}", metadata.mode, metadata.uid, metadata.gid)?;
    write!(line, " {}.{:09}", metadata.mtime.seconds, metadata.mtime.nanos)?;
    match (&inode.node, sum) {
        (Node::File(content), Some(sum)) => write!(line, " {} {sum}", content.size())?,
        (Node::Symlink(target), _) => {
            line.push(' ');
            escape(line, target);
        }
        (Node::Device(device), _) => write!(line, " {}:{}", device.major, device.minor)?,
        _ => {}
    }
    for xattr in &metadata.xattrs {
        line.push(' ');
        escape(line, &xattr.name);
        line.push('=');
        xattr.value.iter().try_for_each(|byte| write!(line, "{byte:02x}"))?;
    }
    Ok(())
}

/// Returns the digest of a file's bytes, holes included.
///
/// # Errors
///
/// The file cannot be read; a stop was asked for.
pub fn of_file(file: &File, path: &Path, cancel: &Cancel) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    loop {
        cancel.check()?;
        match file.read_at(&mut buffer, at).map_err(Error::io("read", path))? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buffer[..count]);
                at += count as u64;
            }
        }
    }
}
