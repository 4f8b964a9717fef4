//! What a path that was named without a transport probably is, for a suggestion.

use std::path::Path;

use super::store;
use crate::limits::Limits;
use crate::path::ImagePath;
use crate::tar::Reader;

/// The transports that a path can have.
pub(super) enum Kind {
    Layout,
    OciArchive,
    DockerArchive,
}

/// How many members are looked at: an archive of an image has a few for each layer.
const MEMBERS: usize = 10_000;

/// Looks at a path. A compressed archive is not unpacked for a suggestion: docker's are the ones that people compress.
pub(super) fn kind(path: &Path) -> Kind {
    if path.is_dir() {
        return Kind::Layout;
    }
    if holds(path, b"index.json") && !holds(path, b"manifest.json") { Kind::OciArchive } else { Kind::DockerArchive }
}

fn holds(path: &Path, name: &[u8]) -> bool {
    let Ok(Some(slice)) = store::open_regular(path) else { return false };
    let members = Reader::new(&slice, Limits::default().extension_bytes).take(MEMBERS);
    members.flatten().any(|entry| ImagePath::of_entry(&entry.name).is_ok_and(|path| path.as_bytes() == name))
}
