//! Entry points for the fuzz targets in `proptests/fuzz`, without any promise of stability.

pub use crate::cancel::Cancel;
pub use crate::image::{ImageReference, OpenImage, OpenOptions, Platform, open};
pub use crate::limits::Limits;
pub use crate::progress::NoProgress;
pub use crate::work::Scratch;

use std::path::Path;

use crate::compression::Compression;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, LayerPlace, Place, Result};
use crate::layer::{Budget, Layer};
use crate::note::Notes;
use crate::plan::{Plan, PlanOptions};
use crate::time::Timestamp;
use crate::tree::{ApplyFault, LayerId, Tree};
use crate::work::WorkDir;

/// The reader of tar streams.
pub mod tar {
    pub use crate::tar::{Reader, TarEntry};
}

/// The reader of filesystems.
pub mod ext4 {
    pub use crate::ext4::{Chunk, FileKind, Filesystem, Inode, InodeNumber};
}

/// A `Bearer` challenge.
#[derive(Debug)]
pub struct Bearer {
    /// The URL that issues tokens.
    pub realm: String,
    /// The service.
    pub service: Option<String>,
    /// The scope.
    pub scope: Option<String>,
}

/// Parses the `WWW-Authenticate` headers of a response; headers that HTTP does not allow are skipped.
#[must_use]
pub fn challenge(headers: &[&[u8]]) -> Option<Bearer> {
    crate::image::registry::fuzzed_challenge(headers).map(|(realm, service, scope)| Bearer { realm, service, scope })
}

/// Applies tar streams as the layers of an image, all in memory.
///
/// # Errors
///
/// A stream is invalid, or cannot be applied.
pub fn apply(streams: impl IntoIterator<Item = Vec<u8>>, limits: Limits) -> Result<Tree> {
    let mut tree = Tree::new(Timestamp::default()).with_inodes_max(limits.entries);
    let budget = Budget::new(limits);
    for (id, tar) in (0..).zip(streams) {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let place = LayerPlace { number: usize::from(id) + 1, count: usize::from(id) + 1, digest, injection: None };
        let blob_bytes = tar.len() as u64;
        let (tar_bytes, compression) = (tar.len() as u64, Some(Compression::None));
        let layer = Layer { place, tar: tar.into(), tar_bytes, absent: None, spool: None, compression, blob_bytes };
        let notes = Notes::default();
        let changes = layer.changes(&budget, false, &notes).map(|change| change.map_err(Fault));
        tree.apply(LayerId(id), changes, &notes, &|| Ok(())).map_err(|Fault(error)| error)?;
    }
    Ok(tree.finish())
}

struct Fault(Error);

impl From<ApplyFault> for Fault {
    fn from(fault: ApplyFault) -> Self {
        Self(Error::image(Place::Path(fault.path.as_bytes().into()), fault.problem))
    }
}

/// Returns the debugfs requests for a tree, or `None` if the tree cannot be planned; creates files in `directory` and
/// removes them.
#[must_use]
pub fn requests(tree: &Tree, directory: &Path) -> Option<Result<Vec<u8>>> {
    let digest = Digest::of(Algorithm::Sha256, b"");
    let plan = Plan::new(tree, &digest, None, &PlanOptions::default(), &Limits::default(), &Cancel::default()).ok()?;
    let work = WorkDir::create(directory, &Cancel::default());
    Some(work.and_then(|work| crate::engine::e2fsprogs::debugfs::fuzzed_requests(tree, &plan, &work)))
}
