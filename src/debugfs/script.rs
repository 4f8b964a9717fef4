//! The requests that give the inodes of a tree their metadata, in the order of inode numbers.

use std::fmt::Write as _;
use std::io::Write;

use super::dirent::BytePatch;
use super::request;
use crate::error::Error;
use crate::ext4::InodeNumber;
use crate::layer::entry::{Device, DeviceKind, Metadata, Xattr};
use crate::plan::xattr::{self, Writer};
use crate::plan::{Plan, StandIn};
use crate::time::Timestamp;
use crate::tree::{Inode, InodeId, Node, Tree};
use crate::work::WorkDir;

/// A value of up to so many bytes stands in the request itself, a longer one in a file of ours.
const INLINE_VALUE_MAX: usize = 500;

/// Why a script could not be written.
pub(super) enum ScriptFault {
    Write(std::io::Error),
    Unsafe,
    Stop(Error),
}

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

    /// Returns how many requests were written.
    pub fn len(&self) -> u64 {
        self.requests
    }

    /// Writes the requests for every inode of the tree, and for the `lost+found` that mkfs adds when there is none.
    pub fn inodes(&mut self, tree: &Tree, plan: &Plan) -> Result<(), ScriptFault> {
        let mut numbered: Vec<(InodeNumber, InodeId)> =
            tree.walk().filter_map(|visit| Some((plan.number(visit.inode)?, visit.inode))).collect();
        numbered.sort_unstable();
        numbered.dedup();
        if let Some(added) = plan.added_lost_found() {
            let time = Timestamp::from_seconds(plan.identity.clock.seconds().into());
            self.metadata(added, 0o40_000, &Metadata { mode: 0o700, ..Metadata::implied(time) })?;
        }
        for (number, id) in numbered {
            let inode = tree.inode(id);
            self.metadata(number, type_bits(&inode.node), &inode.metadata)?;
            self.body(number, inode, plan.stand_in(tree, id))?;
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

    /// Writes the requests that put what was staged under another name in the place of the filesystem's own `lost+found`.
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
        // debugfs reads numbers as C does, and writes the whole of i_mode.
        self.field(number, "mode", format_args!("0{:o}", type_bits | metadata.mode))?;
        for xattr in xattr::ordered(&metadata.xattrs).into_iter().filter(|x| xattr::writer(&x.name) == Writer::Debugfs)
        {
            self.xattr(number, xattr)?;
        }
        let (low, extra) = time_words(metadata.mtime);
        for time in ["atime", "ctime", "mtime"] {
            self.field(number, &format!("{time}_lo"), low)?;
            self.field(number, &format!("{time}_extra"), extra)?;
        }
        Ok(())
    }

    /// Writes what a stand-in lacks: a device's number, or the target of a short symlink with several names.
    fn body(&mut self, number: InodeNumber, inode: &Inode, stand_in: StandIn) -> Result<(), ScriptFault> {
        match (&inode.node, stand_in) {
            (Node::Device(device), _) => {
                let (old, new) = device_words(*device);
                self.field(number, "block[0]", old)?;
                self.field(number, "block[1]", new)
            }
            (Node::Symlink(target), StandIn::Fifo) => {
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

    fn xattr(&mut self, number: InodeNumber, xattr: &Xattr) -> Result<(), ScriptFault> {
        let name = std::str::from_utf8(&xattr.name).map_err(|_| ScriptFault::Unsafe)?;
        let number = number.get();
        if (1..=INLINE_VALUE_MAX).contains(&xattr.value.len()) {
            let mut value = String::with_capacity(4 * xattr.value.len());
            for byte in &xattr.value {
                // Writing to a string does not fail.
                let _ = write!(value, "\\x{byte:02x}");
            }
            return self.request(&format!("ea_set <{number}> {name} {value}"));
        }
        let file = format!("value{}", self.values);
        self.values += 1;
        let (mut out, path) = self.work.make_file(&file).map_err(ScriptFault::Stop)?;
        out.write_all(&xattr.value).map_err(|e| ScriptFault::Stop(Error::io("write", &path)(e)))?;
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

/// Returns the two words of a device's number: the old form where it fits, else the new.
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
    fn times_are_split_as_ext4_joins_them() {
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
