//! Compares a filesystem from any builder with an image.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde::Serialize;

use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::builder::verity::{VerityCheck, VerityVerification};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, NotExt4, Result};
use crate::ext4::{Filesystem, ReadError};
use crate::inject::InjectionReport;
use crate::magic;
use crate::note::Notes;
use crate::output::report::VerifyReport;
use crate::patient;
use crate::program::{Tasks, Tools};
use crate::progress::Stage;
use crate::read_at::FileSlice;
use crate::verify::fingerprint;
use crate::verify::{self, Comparison, Mismatch};

/// The result of comparing a filesystem with an image, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The image reference, as given.
    pub source: String,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The injections, in order.
    pub injections: Vec<InjectionReport>,
    /// The digest of the flattened tree (see `src/verify/fingerprint`), if it was requested.
    pub tree_digest: Option<Digest>,
    /// The counts of what was compared.
    pub compared: VerifyReport,
    /// The number of differences.
    pub mismatch_count: usize,
    /// The first ten thousand differences.
    pub mismatches: Vec<Mismatch>,
    /// The output of e2fsck if it finds something to repair, escaped.
    pub fsck_found: Option<String>,
    /// The comparison with the root hash, if one was given.
    pub verity: Option<VerityVerification>,
    /// The notes: what was adapted or dropped while reading the image.
    pub notes: Notes,
}

impl Verification {
    /// Returns true if the filesystem equals the image, needs no repair, and has the root hash, if one was given.
    #[must_use]
    pub fn holds(&self) -> bool {
        let verity = self.verity.as_ref().is_none_or(VerityVerification::holds);
        self.mismatch_count == 0 && self.fsck_found.is_none() && verity
    }
}

/// Compares the filesystem in `file` with an image.
///
/// # Errors
///
/// The image or the file cannot be read; the run was cancelled. A difference is not an error.
pub(crate) fn verify(
    input: &Input,
    file: &Path,
    (additions, clock): (&Additions, Option<i64>),
    verity: Option<VerityCheck<'_>>,
    digests: bool,
    search_path: &OsStr,
) -> Result<Verification> {
    let ImageOptions { read, progress, cancel, .. } = input.options();
    let progress = &**progress;
    let tools = Tools::find(search_path, Tasks { make: false, check: true }, progress, cancel)?;
    let path = file.canonicalize().map_err(Error::io("open", file))?;
    let opened = patient::open(&path).map_err(Error::io("open", file))?;
    let filesystem = open_ext4(&opened, file)?;
    let work = input.options().make_work_dir()?;
    work.adopt(&path)?;
    let superblock = filesystem.superblock();
    let bytes = superblock.block_count.saturating_mul(superblock.block_size.into());
    let verity = verity.map(|verity| verity.run((&opened, bytes), file, progress, cancel)).transpose()?;

    progress.begin(Stage::Open, None);
    let image = input.open(&work)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let (flattened, injections) = additions.read(&image, clock, &work, input.options())?.flatten()?;
    progress.begin(Stage::Verify, None);
    let compared = verify::compare(&filesystem, &flattened.tree, read.jobs, progress, cancel)?;
    progress.begin(Stage::Fsck, None);
    let fsck_found = match verify::fsck(&tools, &opened, &work, cancel) {
        Ok(verify::FsckResult) => None,
        Err(error) => match error.kind() {
            ErrorKind::Unsound { found } => Some(found.clone()),
            _ => return Err(error),
        },
    };
    let tree_digest = match digests {
        true => Some(fingerprint::of_tree(&flattened.tree, read.jobs, cancel)?),
        false => None,
    };
    progress.end();
    let Comparison { names, inodes, xattrs, bytes, mismatches } = compared;
    Ok(Verification {
        source: image.source.clone(),
        config_digest: image.config_digest.clone(),
        platform: image.platform.to_string(),
        injections,
        tree_digest,
        compared: VerifyReport { names, inodes, xattrs, bytes, fsck: Some("e2fsck -fn") },
        mismatch_count: mismatches.count(),
        mismatches: mismatches.kept().to_vec(),
        fsck_found,
        verity,
        notes: flattened.notes,
    })
}

/// The end of the first superblock in a file.
const SUPERBLOCK_END: u64 = 2048;

/// Opens the filesystem in a file, whose path is for messages.
pub(super) fn open_ext4<'a>(opened: &'a File, path: &Path) -> Result<Filesystem<&'a File>> {
    ext4(opened).map_err(|found| ErrorKind::NotAFilesystem { path: path.to_owned(), found }.into())
}

/// Opens the filesystem in a file, or returns the actual kind of the file.
fn ext4(file: &File) -> std::result::Result<Filesystem<&File>, NotExt4> {
    let unreadable = |fault: ReadError| NotExt4::Unreadable(fault.to_string());
    let metadata = file.metadata().map_err(|source| unreadable(ReadError::Io { offset: 0, length: 0, source }))?;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => return Err(NotExt4::Directory),
        () if kind.is_fifo() => return Err(NotExt4::Special("a FIFO")),
        () if kind.is_char_device() => return Err(NotExt4::Special("a character device")),
        () if kind.is_socket() => return Err(NotExt4::Special("a socket")),
        () => {}
    }
    let slice = || file.try_clone().and_then(FileSlice::whole).ok();
    match Filesystem::open(file) {
        Ok(filesystem) => match filesystem.superblock().features.older_than_ext4() {
            Some(older) => Err(NotExt4::Filesystem(older)),
            None => {
                let superblock = filesystem.superblock();
                let promised = superblock.block_count.saturating_mul(superblock.block_size.into());
                let bytes = metadata.len();
                if kind.is_file() && bytes < promised {
                    Err(NotExt4::CutOff { bytes, promised })
                } else {
                    Ok(filesystem)
                }
            }
        },
        Err(fault @ (ReadError::Magic(_) | ReadError::Io { .. })) => {
            let short = kind.is_file() && metadata.len() < SUPERBLOCK_END;
            let found = slice().and_then(|slice| magic::kind(&slice));
            Err(found.unwrap_or_else(|| if short { NotExt4::Short(metadata.len()) } else { unreadable(fault) }))
        }
        Err(fault) => Err(unreadable(fault)),
    }
}
