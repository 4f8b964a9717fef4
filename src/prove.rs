//! The proof alone: does a filesystem, whoever made it, equal an image?

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ext4::Filesystem;
use crate::fingerprint;
use crate::flatten::{ReadOptions, flatten};
use crate::program::Tools;
use crate::progress::{Progress, Stage};
use crate::report::{NoteReport, Verified};
use crate::source::SourceName;
use crate::verify::{self, Comparison, Mismatch};
use crate::work::WorkDir;

/// What the caller may choose about a proof.
#[derive(Debug, Clone)]
pub struct ProveOptions {
    /// How the image is read.
    pub read: ReadOptions,
    /// Whether the proof has the tree's digest.
    pub digests: bool,
    /// Where layers are kept while working.
    pub work_dir: PathBuf,
    /// Where programs are looked for first, as `PATH` spells it.
    pub search_path: OsString,
}

/// What was compared, and what differs; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// The image as it was named.
    pub source: String,
    /// The digest of the image's config.
    pub config_digest: Digest,
    /// The image's platform.
    pub platform: String,
    /// The digest of the flattened tree (see [`crate::fingerprint`]), if it was asked for.
    pub tree_digest: Option<Digest>,
    /// What was compared.
    pub compared: Verified,
    /// How many differences there are.
    pub mismatch_count: usize,
    /// The first ten thousand of them.
    pub mismatches: Vec<Mismatch>,
    /// What e2fsck finds to repair, escaped; `None`: nothing.
    pub fsck_found: Option<String>,
    /// What was adapted or dropped when the image was read.
    pub notes: Vec<NoteReport>,
}

impl Proof {
    /// Returns whether the filesystem equals the image and needs no repair.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.mismatch_count == 0 && self.fsck_found.is_none()
    }
}

/// Compares the filesystem in `file` with an image.
///
/// # Errors
///
/// The image or the file cannot be read; a stop was asked for. A difference is not an error.
pub fn prove(
    name: &SourceName,
    file: &Path,
    options: &ProveOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Proof> {
    let tools = Tools::find(&options.search_path, cancel)?;
    let path = file.canonicalize().map_err(Error::io("open", file))?;
    let opened = File::open(&path).map_err(Error::io("open", file))?;
    let filesystem = Filesystem::open(&opened)
        .map_err(|fault| Error::from(ErrorKind::NotAFilesystem { path: file.to_owned(), fault: fault.to_string() }))?;
    let work = WorkDir::create(&options.work_dir)?;
    work.adopt(&path)?;

    progress.begin(Stage::Open, None);
    let image = options.read.open(name, work.path(), progress, cancel)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let flattened = flatten(&image, work.path(), &options.read, progress, cancel)?;
    progress.begin(Stage::Verify, None);
    let compared = verify::compare(&filesystem, &flattened.tree, options.read.jobs, progress, cancel)?;
    progress.begin(Stage::Fsck, None);
    let fsck_found = match verify::fsck(&tools, &work, cancel) {
        Ok(verify::FsckResult) => None,
        Err(error) => match error.kind() {
            ErrorKind::Unsound { found } => Some(found.clone()),
            _ => return Err(error),
        },
    };
    let tree_digest = match options.digests {
        true => Some(fingerprint::of_tree(&flattened.tree, options.read.jobs, cancel)?),
        false => None,
    };
    let Comparison { names, inodes, xattrs, bytes, mismatches } = compared;
    Ok(Proof {
        source: image.source,
        config_digest: image.config_digest,
        platform: image.platform.to_string(),
        tree_digest,
        compared: Verified { names, inodes, xattrs, bytes, fsck: "e2fsck -fn" },
        mismatch_count: mismatches.count(),
        mismatches: mismatches.kept().to_vec(),
        fsck_found,
        notes: image.notes.iter().chain(&flattened.notes).map(NoteReport::of).collect(),
    })
}
