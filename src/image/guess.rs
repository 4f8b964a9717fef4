//! Detects the kind of image at a path without a transport.

use std::path::Path;

use super::store;
use crate::compression::Compression;
use crate::limits::Limits;
use crate::read_at::ReadAt;
use crate::tar::Reader;

/// The kind of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The directory of an OCI layout.
    Layout,
    /// A directory that is not a layout.
    Directory,
    /// An archive, possibly compressed, or a pipe that may deliver one.
    Archive,
    /// A file that is not an archive.
    File,
}

/// Detects the kind from the file type and the first bytes; `None` if nothing exists at the path.
pub(crate) fn kind(path: &Path) -> Option<Kind> {
    let metadata = path.metadata().ok()?;
    if metadata.is_dir() {
        let layout = ["index.json", "oci-layout"].iter().any(|name| path.join(name).exists());
        return Some(if layout { Kind::Layout } else { Kind::Directory });
    }
    if !metadata.is_file() {
        return Some(Kind::Archive);
    }
    let Ok(Some(slice)) = store::open_regular(path) else { return Some(Kind::File) };
    let mut head = [0; Compression::MAGIC_LEN];
    let count = slice.read_at(0, &mut head).unwrap_or(0);
    let compressed = Compression::of(&head[..count]) != Ok(Compression::None);
    let tar = || Reader::new(&slice, &Limits::default()).next().is_some_and(|entry| entry.is_ok());
    Some(if compressed || tar() { Kind::Archive } else { Kind::File })
}

/// Returns true if a name ends like that of an archive, so that it is not taken for a registry reference.
pub(super) fn ends_like_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = [".tar", ".tgz", ".tzst", ".txz", ".tbz", ".tbz2", ".gz", ".zst", ".xz", ".bz2", ".oci"];
    ends.iter().any(|end| name.ends_with(end))
}
