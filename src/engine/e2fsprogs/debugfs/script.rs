//! The requests that set the metadata of a tree's inodes, in the order of inode numbers.

use std::fmt::Write as _;
use std::io::Write;

use super::check::InheritedAttributes;
use super::dirent::BytePatch;
use super::request;
use super::request::ScriptFault;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::ext4::InodeNumber;
use crate::layer::entry::{Device, DeviceKind, Metadata, Xattr};
use crate::plan::xattr::{self, Writer};
use crate::plan::{LOST_FOUND_NAME, Plan, StagedKind};
use crate::time::Timestamp;
use crate::tree::{Inode, InodeId, Node, Tree};
use crate::work::WorkDir;

/// The longest value that is part of a request; a longer one is written to a file.
const INLINE_VALUE_MAX: usize = 500;

pub(super) struct Script<'a> {
    out: &'a mut dyn Write,
    work: &'a WorkDir,
    requests: u64,
    values: u64,
}

impl<'a> Script<'a> {
    pub fn new(out: &'a mut dyn Write, work: &'a WorkDir) -> Self {
        Self { out, work, requests: 0, values: 0 }
    }

    /// Returns the number of requests written.
    pub fn len(&self) -> u64 {
        self.requests
    }

    /// Writes the requests for every inode of the tree, and for the `lost+found` that mkfs adds if the tree has none.
    pub fn inodes(&mut self, tree: &Tree, plan: &Plan, cancel: &Cancel) -> Result<(), ScriptFault> {
        if let Some(added) = plan.added_lost_found() {
            let time = Timestamp::from_seconds(plan.identity.clock.seconds().into());
            self.metadata(added, 0o40_000, &Metadata { mode: 0o700, ..Metadata::implied(time) })?;
        }
        // The walk meets inodes in the order of their numbers, except for `lost+found`, which has the first one.
        let lost_found = tree.get(LOST_FOUND_NAME).filter(|id| tree.directory(*id).is_some());
        let mut last = None;
        let mut walk = tree.walk();
        let rest = std::iter::from_fn(|| walk.advance().map(|visit| visit.inode));
        for id in [InodeId::ROOT].into_iter().chain(lost_found).chain(rest) {
            let Some(number) = plan.number(id).filter(|number| last < Some(*number)) else { continue };
            last = Some(number);
            cancel.check().map_err(ScriptFault::Stop)?;
            let inode = tree.inode(id);
            self.metadata(number, type_bits(&inode.node), &inode.metadata)?;
            self.body(number, inode, plan.stand_in(tree, id))?;
        }
        Ok(())
    }

    /// Writes the requests that remove inherited attributes.
    pub fn inherited(&mut self, inherited: &[InheritedAttributes]) -> Result<(), ScriptFault> {
        for InheritedAttributes { inode, flags, xattrs } in inherited {
            if let Some(flags) = flags {
                self.field(*inode, "flags", flags)?;
            }
            for name in xattrs {
                let name = std::str::from_utf8(name).map_err(|_| ScriptFault::Unsafe)?;
                self.request(&format!("ea_rm <{}> {name}", inode.get()))?;
            }
        }
        Ok(())
    }

    /// Writes the requests that change single bytes of directory blocks.
    pub fn bytes(&mut self, patches: &[BytePatch]) -> Result<(), ScriptFault> {
        for BytePatch { block, offset, value } in patches {
            self.request(&format!("zap_block -o {offset} -l 1 -p {value} {block}"))?;
        }
        Ok(())
    }

    /// Writes the requests that replace the filesystem's own `lost+found` by the file staged under another name.
    pub fn replace_lost_found(&mut self, number: InodeNumber, stand_in: &str) -> Result<(), ScriptFault> {
        self.request("rmdir lost+found")?;
        self.request(&format!("ln <{}> lost+found", number.get()))?;
        self.request(&format!("unlink {stand_in}"))
    }

    fn request(&mut self, request: &str) -> Result<(), ScriptFault> {
        self.requests += 1;
        request::line(self.out, request)
    }

    fn field(&mut self, number: InodeNumber, field: &str, value: impl std::fmt::Display) -> Result<(), ScriptFault> {
        self.request(&format!("sif <{}> {field} {value}", number.get()))
    }

    fn metadata(&mut self, number: InodeNumber, type_bits: u16, metadata: &Metadata) -> Result<(), ScriptFault> {
        self.field(number, "uid", metadata.uid)?;
        self.field(number, "gid", metadata.gid)?;
        // debugfs parses numbers as C does, and sets the whole of i_mode.
        self.field(number, "mode", format_args!("0{:o}", type_bits | metadata.mode))?;
        for xattr in xattr::ordered(&metadata.xattrs).into_iter().filter(|x| xattr::writer(x.name) == Writer::Debugfs) {
            self.xattr(number, xattr)?;
        }
        let (low, extra) = time_words(metadata.mtime);
        for time in ["atime", "ctime", "mtime"] {
            self.field(number, &format!("{time}_lo"), low)?;
            self.field(number, &format!("{time}_extra"), extra)?;
        }
        Ok(())
    }

    /// Writes the body that a stand-in lacks: the number of a device, or the target of a short symlink with several
    /// names.
    fn body(&mut self, number: InodeNumber, inode: &Inode, stand_in: StagedKind) -> Result<(), ScriptFault> {
        match (&inode.node, stand_in) {
            (Node::Device(device), _) => {
                let (old, new) = device_words(*device);
                self.field(number, "block[0]", old)?;
                self.field(number, "block[1]", new)
            }
            (Node::Symlink(target), StagedKind::Fifo) => {
                self.field(number, "size", target.len())?;
                for (name, word) in BLOCK_WORDS.iter().zip(target.chunks(4)) {
                    let mut bytes = [0; 4];
                    bytes[..word.len()].copy_from_slice(word);
                    self.field(number, &format!("block[{name}]"), u32::from_le_bytes(bytes))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn xattr(&mut self, number: InodeNumber, xattr: Xattr<'_>) -> Result<(), ScriptFault> {
        let name = std::str::from_utf8(xattr.name).map_err(|_| ScriptFault::Unsafe)?;
        let number = number.get();
        if (1..=INLINE_VALUE_MAX).contains(&xattr.value.len()) {
            let mut value = String::with_capacity(4 * xattr.value.len());
            for byte in xattr.value {
                // Writing to a string cannot fail.
                let _ = write!(value, "\\x{byte:02x}");
            }
            return self.request(&format!("ea_set <{number}> {name} {value}"));
        }
        let file = format!("value{}", self.values);
        self.values += 1;
        let (mut out, path) = self.work.make_file(&file).map_err(ScriptFault::Stop)?;
        out.write_all(xattr.value).map_err(|e| ScriptFault::Stop(Error::io("write", &path)(e)))?;
        self.request(&format!("ea_set -f {file} <{number}> {name}"))
    }
}

/// The names of the fifteen words of `i_block`.
const BLOCK_WORDS: [&str; 15] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "IND", "DIND", "TIND"];

fn type_bits(node: &Node) -> u16 {
    match node {
        Node::Directory(_) => 0o40_000,
        Node::File(_) => 0o100_000,
        Node::Symlink(_) => 0o120_000,
        Node::Device(Device { kind: DeviceKind::Character, .. }) => 0o20_000,
        Node::Device(Device { kind: DeviceKind::Block, .. }) => 0o60_000,
        Node::Fifo => 0o10_000,
    }
}

/// Returns the 32 bits of seconds, and the word with nanoseconds and the two bits that extend the seconds.
fn time_words(time: Timestamp) -> (u32, u32) {
    let low = u32::try_from(time.seconds & 0xffff_ffff).unwrap_or_default();
    let signed = i64::from(low.cast_signed());
    let epoch = u32::try_from((time.seconds - signed) >> 32 & 3).unwrap_or_default();
    (low, time.nanos << 2 | epoch)
}

/// Returns the two words of a device number: in the old form if it fits, else in the new form.
fn device_words(device: Device) -> (u32, u32) {
    let Device { major, minor, .. } = device;
    if major < 256 && minor < 256 && (major, minor) != (0, 0) {
        (major << 8 | minor, 0)
    } else {
        (0, minor & 0xff | major << 8 | (minor & !0xff) << 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_split_into_seconds_and_extra_bits() {
        // The kernel's ext4_decode_extra_time: the signed low word, plus the epoch bits times 2^32.
        let joined =
            |(low, extra): (u32, u32)| (i64::from(low.cast_signed()) + (i64::from(extra & 3) << 32), extra >> 2);
        for seconds in [Timestamp::MIN_SECONDS, -1, 0, 1, (1 << 31) - 1, 1 << 31, 1 << 32, Timestamp::MAX_SECONDS] {
            for nanos in [0, 1, 999_999_999] {
                assert_eq!(joined(time_words(Timestamp { seconds, nanos })), (seconds, nanos));
            }
        }
    }

    #[test]
    fn device_numbers_are_encoded_as_the_kernel_does() {
        let words = |major, minor| device_words(Device { kind: DeviceKind::Character, major, minor });
        assert_eq!(words(1, 3), (0x103, 0));
        assert_eq!(words(0, 0), (0, 0));
        assert_eq!(words(255, 255), (0xffff, 0));
        assert_eq!(words(8, 256), (0, 0x0010_0800));
        assert_eq!(words(4095, 1_048_575), (0, 0xffff_ffff));
    }
}
