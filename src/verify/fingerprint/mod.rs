//! Digests of the flattened tree and of the finished file.
//!
//! The digest of a tree is the SHA-256 of one line for each name, the root's first: a directory before its names,
//! siblings in the byte order of their names. The same lines can be written from an image or from a mounted filesystem.
//! The fields of a line are separated by single spaces. The first ones are path, type (`d`, `f`, `l`, `c`, `b`, `p`),
//! mode in octal without leading zeros, `UID:GID`, and mtime in seconds, rounded down, with a `.` and nine digits of
//! nanoseconds. They are followed by
//!
//! - for a file: its size and `sha256:` with the digest of its bytes. If a block of 4 KiB (the last may be shorter) is
//!   all zero, so that a filesystem may have a hole there, `sparse:` instead, and the digest covers the longest runs of
//!   other blocks, in order, each as offset and length (64 bits, little-endian) and bytes;
//! - for a symlink: its target; for a device: `MAJOR:MINOR`;
//! - for each xattr, in the byte order of their names: `NAME=` and the value in hexadecimal; ACLs have the form in
//!   which Linux passes them to programs.
//!
//! A further name of an inode has the line `PATH = FIRST`. In paths, targets and xattr names every byte except
//! printable ASCII (0x21 to 0x7e), and the backslash, is written as `\xNN`. Each line ends with a line feed.

mod content;

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use crate::cancel::Cancel;
use crate::copy::{self, OpenFile};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Result;
use crate::layer::entry::DeviceKind;
use crate::progress::NoProgress;
use crate::tree::{Inode, InodeId, NameId, Node, Tree};

use content::Sum;

/// The number of names that are visited before the contents of their files are hashed.
const AT_ONCE: usize = 4096;

/// Returns the digest of a tree; the contents of `jobs` files are hashed at a time.
///
/// # Errors
///
/// The run was cancelled.
pub fn of_tree(tree: &Tree, jobs: usize, cancel: &Cancel) -> Result<Digest> {
    let mut first_names: HashMap<InodeId, NameId> = HashMap::new();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut line = String::new();
    // One walk is ahead of the other by the number of names whose files are hashed together.
    let (mut ahead, mut walk) = (tree.walk(), tree.walk());
    loop {
        let mut count = 0;
        let mut files = Vec::new();
        while let Some(visit) = ahead.advance() {
            if matches!(tree.inode(visit.inode).node, Node::File(_)) && !first_names.contains_key(&visit.inode) {
                files.push(visit.inode);
            }
            count += 1;
            if count == AT_ONCE {
                break;
            }
        }
        if count == 0 {
            return Ok(hasher.finish());
        }
        files.sort_unstable();
        files.dedup();
        let sums = content::sums(tree, &files, jobs, cancel)?;
        for _ in 0..count {
            let Some(visit) = walk.advance() else { break };
            cancel.check()?;
            line.clear();
            path(&mut line, visit.path);
            if let Some(first) = first_names.get(&visit.inode) {
                line.push_str(" = ");
                path(&mut line, &tree.path(*first));
            } else {
                let sum = files.binary_search(&visit.inode).ok().map(|index| sums[index]);
                // Writing to a string cannot fail.
                let _ = attributes(&mut line, tree.inode(visit.inode), sum);
                if let Some(name) = visit.name_id().filter(|_| tree.links(visit.inode) > 1) {
                    first_names.insert(visit.inode, name);
                }
            }
            line.push('\n');
            hasher.update(line.as_bytes());
        }
    }
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
        escape(line, xattr.name);
        line.push('=');
        xattr.value.iter().try_for_each(|byte| write!(line, "{byte:02x}"))?;
    }
    Ok(())
}

/// Returns the digest of a file's bytes, including holes.
///
/// # Errors
///
/// The file cannot be read; the run was cancelled.
pub fn of_file(file: &File, path: &Path, cancel: &Cancel) -> Result<Digest> {
    copy::hash(OpenFile { file, path }, &NoProgress, cancel)
}
