//! Writes headers of PAX tar streams: what the POSIX header cannot hold is in records.

use tar_core::builder::{EntryBuilder, ExtensionMode, HeaderBuilder};
use tar_core::{EntryType, SparseEntry};

use crate::time::Timestamp;

/// The end of a stream: two blocks of zeros.
pub(crate) const END: [u8; 1024] = [0; 1024];
/// The latest second that a POSIX header holds.
const SECONDS_MAX: i64 = 0o777_7777_7777;
/// The size from which a file is not written with its holes: the header of a sparse one has a smaller field.
const SPARSE_MAX: u64 = 4 << 30;

/// A member that is about to be written.
pub(crate) struct Member<'a> {
    /// The name as it is written.
    pub name: &'a [u8],
    /// The type.
    pub kind: MemberKind<'a>,
    /// The permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The mtime.
    pub mtime: Timestamp,
    /// Names and values of xattrs.
    pub xattrs: Vec<(&'a [u8], &'a [u8])>,
}

/// The type of a member.
pub(crate) enum MemberKind<'a> {
    Directory,
    /// A file of this size, with the offsets and lengths of its data if it has holes.
    File(u64, Option<&'a [(u64, u64)]>),
    Symlink(&'a [u8]),
    HardLink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Returns true if a file of so many stored bytes can be written with its holes.
pub(crate) fn may_be_sparse(stored: u64) -> bool {
    stored < SPARSE_MAX
}

impl Member<'_> {
    /// Returns the header with its records and, for a sparse file, the map before the data; `None` if a value does not fit.
    pub(crate) fn header(&self) -> Option<Vec<u8>> {
        let mut entry = EntryBuilder::with_mode(HeaderBuilder::new_ustar(), ExtensionMode::Pax);
        let link = match self.kind {
            MemberKind::Symlink(target) | MemberKind::HardLink(target) => target,
            _ => &[],
        };
        let is_long = |bytes: &[u8]| bytes.len() > 100 && std::str::from_utf8(bytes).is_err();
        let is_sparse = matches!(self.kind, MemberKind::File(_, Some(_)));
        if is_long(self.name) || is_long(link) || is_sparse && std::str::from_utf8(self.name).is_err() {
            // Records are UTF-8 unless this one says otherwise (POSIX pax).
            entry.add_pax("hdrcharset", "BINARY");
        }
        entry.path(self.name).mode(self.mode.into()).ok()?;
        entry.uid(self.uid.into()).ok()?.gid(self.gid.into()).ok()?;
        match self.mtime {
            Timestamp { seconds: seconds @ 0..=SECONDS_MAX, nanos: 0 } => {
                entry.mtime(seconds.unsigned_abs()).ok()?;
            }
            Timestamp { seconds, nanos } => {
                entry.mtime(seconds.clamp(0, SECONDS_MAX).unsigned_abs()).ok()?;
                let text = if nanos == 0 { seconds.to_string() } else { self.mtime.to_string() };
                entry.add_pax("mtime", text);
            }
        }
        for (name, value) in &self.xattrs {
            match std::str::from_utf8(name) {
                // A record's key ends at its first `=`.
                Ok(name) if !name.contains('=') => entry.add_pax(&format!("SCHILY.xattr.{name}"), value),
                _ => entry.add_pax(&format!("LIBARCHIVE.xattr.{}", url_encoded(name)), base64(value)),
            };
        }
        let kind = match &self.kind {
            MemberKind::Directory => EntryType::Directory,
            MemberKind::File(size, map) => {
                let stored = map.map_or(*size, |map| map.iter().map(|(_, length)| length).sum());
                entry.size(stored).ok()?;
                if let Some(map) = map {
                    let extents: Vec<SparseEntry> =
                        map.iter().map(|(offset, length)| SparseEntry { offset: *offset, length: *length }).collect();
                    entry.sparse(&extents, *size);
                }
                EntryType::Regular
            }
            MemberKind::Symlink(_) => EntryType::Symlink,
            MemberKind::HardLink(_) => EntryType::Link,
            MemberKind::CharDevice(major, minor) => {
                entry.device(*major, *minor).ok()?;
                EntryType::Char
            }
            MemberKind::BlockDevice(major, minor) => {
                entry.device(*major, *minor).ok()?;
                EntryType::Block
            }
            MemberKind::Fifo => EntryType::Fifo,
        };
        if !link.is_empty() {
            entry.link_name(link);
        }
        Some(entry.entry_type(kind).finish_bytes())
    }
}

/// Encodes a name as libarchive does.
fn url_encoded(name: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn base64(value: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(value)
}
