//! The inode that an entry describes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Model;
use crate::Mtime;
use crate::listing::{Contents, Kind, Node};
use crate::oddity::Oddity;
use crate::problem::Problem;
use crate::writer::{Entry, EntryType};

const OWNER_MAX: i64 = (1 << 32) - 2;
const MAJOR_MAX: i64 = (1 << 12) - 1;
const MINOR_MAX: i64 = (1 << 20) - 1;
const TARGET_MAX: usize = 4095;
pub(super) const EXT4_SECONDS: Range<i64> = -(1 << 31)..(1 << 34) - (1 << 31);

impl Model {
    /// Returns the inode of an entry; `None` for a hard link.
    pub(super) fn make(&mut self, entry: &Entry) -> Result<Option<Node>, Problem> {
        let kind = match entry.kind {
            EntryType::HardLink => return self.metadata(entry).map(|_| None),
            EntryType::Directory => Kind::Directory,
            EntryType::OldRegular if entry.name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::OldRegular | EntryType::Contiguous => {
                if entry.kind != EntryType::Regular || entry.sparse.is_some() {
                    self.note(Oddity::OddFile);
                }
                let bytes = entry.file_bytes();
                let contents = Contents::of(&bytes);
                self.contents.insert(contents.sha256(), bytes);
                Kind::File(contents)
            }
            EntryType::Symlink if entry.linkname.contains(&0) => return Err(Problem::Nul),
            EntryType::Symlink if (1..=TARGET_MAX).contains(&entry.linkname.len()) => {
                Kind::Symlink(entry.linkname.clone())
            }
            EntryType::Symlink => return Err(Problem::SymlinkTarget),
            EntryType::CharDevice => {
                let (major, minor) = device(entry)?;
                if (major, minor) == (0, 0) {
                    self.note(Oddity::OverlayDevice);
                }
                Kind::CharDevice { major, minor }
            }
            EntryType::BlockDevice => {
                let (major, minor) = device(entry)?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Raw(_) | EntryType::GlobalHeader => return Err(Problem::UnknownType),
        };
        Ok(Some(Node { kind, ..self.metadata(entry)? }))
    }

    /// Returns an inode with an entry's metadata; its type is arbitrary.
    pub(super) fn metadata(&mut self, entry: &Entry) -> Result<Node, Problem> {
        let (uid, gid) = (owner(entry.uid)?, owner(entry.gid)?);
        let symlink = entry.kind == EntryType::Symlink;
        let (mode, given) = self.records(entry)?;
        let mode = if symlink { 0o777 } else { mode & 0o7777 };
        let mtime = match entry.mtime {
            early if early.seconds < EXT4_SECONDS.start => Mtime { seconds: EXT4_SECONDS.start, nanos: 0 },
            late if late.seconds >= EXT4_SECONDS.end => Mtime { seconds: EXT4_SECONDS.end - 1, nanos: 0 },
            time => time,
        };
        if mtime.seconds < 0 || mtime != entry.mtime {
            self.note(Oddity::OddTime);
        }
        let mut xattrs = BTreeMap::new();
        for (name, value) in given {
            if symlink {
                self.note(Oddity::SymlinkXattr);
            }
            if value.is_empty() || name.starts_with(b"user.") && is_special(entry.kind) {
                self.note(Oddity::HardXattr);
            }
            if of_the_host(&name) {
                self.note(Oddity::HostXattr);
            } else if !(symlink && name.starts_with(b"user.")) {
                xattrs.insert(name, value);
            }
        }
        Ok(Node { mtime, uid, gid, xattrs, ..Node::new(Kind::Fifo, u16::try_from(mode).unwrap_or_default()) })
    }
}

fn owner(id: i64) -> Result<u32, Problem> {
    u32::try_from(id).ok().filter(|_| id <= OWNER_MAX).ok_or(Problem::OwnerRange)
}

fn device(entry: &Entry) -> Result<(u32, u32), Problem> {
    let number = |number: i64, max| u32::try_from(number).ok().filter(|_| number <= max).ok_or(Problem::DeviceRange);
    Ok((number(entry.major, MAJOR_MAX)?, number(entry.minor, MINOR_MAX)?))
}

fn is_special(kind: EntryType) -> bool {
    matches!(kind, EntryType::CharDevice | EntryType::BlockDevice | EntryType::Fifo)
}

fn of_the_host(xattr: &[u8]) -> bool {
    [&b"trusted.overlay."[..], b"user.overlay.", b"com.apple.", b"btrfs.", b"ceph.", b"lustre."]
        .iter()
        .any(|prefix| xattr.starts_with(prefix))
        || [&b"system.nfs4_acl"[..], b"system.cifs_acl", b"security.selinux"].contains(&xattr)
}
