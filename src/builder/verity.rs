//! Adds a dm-verity tree to a finished filesystem, and checks one.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest};
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, OutputFile, OutputProblem, Result, ShownPath};
use crate::output::publish::{Output, SyncedFile};
use crate::output::report::{KernelArguments, VerityReport};
use crate::patient;
use crate::plan::Uuid;
use crate::progress::{Progress, Stage};
use crate::verify::fingerprint;
use crate::verity::{self, BLOCK, Files, Hex, RootHash, Superblock, TreeCheck};
use crate::work::PartialFile;

/// The place of a dm-verity tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerityPlace {
    /// Behind the filesystem, in the same file.
    Append,
    /// A file of its own.
    File(PathBuf),
}

/// The file for a tree that is not yet written.
#[derive(Debug)]
pub(crate) enum VerityOutput {
    Append,
    File { output: Output, partial: PartialFile },
}

impl VerityOutput {
    /// Checks the place; `others` are the results of the same run.
    pub fn prepare(
        place: &VerityPlace,
        replace: bool,
        read: (&[&Path], &[&Path]),
        others: &[&Path],
        cancel: &Cancel,
    ) -> Result<Self> {
        let VerityPlace::File(path) = place else { return Ok(Self::Append) };
        let of_tree = |error: Error| error.of_output(OutputFile::Verity);
        let output = Output::check(path, replace, read.0).map_err(of_tree)?.with_role(OutputFile::Verity);
        output.require_unread(read.1)?;
        if others.contains(&output.path()) {
            return Err(of_tree(Error::output(path, OutputProblem::SamePath)));
        }
        let partial = output.begin(cancel)?;
        Ok(Self::File { output, partial })
    }

    /// Writes the tree over a filesystem of `bytes` bytes in `filesystem`, and describes it.
    pub fn write(&self, made: &Finished<'_>, timer: &mut StageTimer<'_>, cancel: &Cancel) -> Result<VerityReport> {
        let &Finished { filesystem, output, bytes, key, digests, jobs } = made;
        let (tree, data_blocks, offset, path) = match self {
            // The rest of a block belongs to no one, and reads as zeros.
            Self::Append => (filesystem, bytes.div_ceil(BLOCK), bytes.next_multiple_of(BLOCK), output),
            Self::File { output, partial } => (partial, bytes / BLOCK, 0, output),
        };
        let role = if matches!(self, Self::Append) { OutputFile::Filesystem } else { OutputFile::Verity };
        let uuid = Uuid::of(&Digest::of(Algorithm::Sha256, format!("planish verity {key}").as_bytes()));
        let superblock = Superblock { uuid: uuid.bytes(), data_blocks, salt: key.bytes() };
        let (data_path, tree_path) = (filesystem.path(), tree.path());
        let files = Files { data: filesystem.file(), tree: tree.file(), offset, data_path, tree_path };
        let progress = timer.progress();
        let (root, digest) = timer.run(Stage::Verity, Some(data_blocks), || {
            let root = verity::write(files, &superblock, jobs, progress, cancel);
            let root = root.map_err(|error| error.of_output(role))?;
            let digest = digests.then(|| fingerprint::of_file(tree.file(), tree_path, cancel)).transpose()?;
            Ok((root, digest))
        })?;
        Ok(describe(&superblock, root, offset, ShownPath(path.path()).to_string(), digest))
    }

    /// Returns the absolute path of the tree's own file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Append => None,
            Self::File { output, .. } => Some(output.path()),
        }
    }

    /// Syncs the file of the tree, if it has one of its own.
    pub fn settle(self, cancel: &Cancel) -> Result<Option<SyncedFile>> {
        match self {
            Self::Append => Ok(None),
            Self::File { output, partial } => SyncedFile::settle(output, partial, cancel).map(Some),
        }
    }
}

/// A finished filesystem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished<'a> {
    /// The file.
    pub filesystem: &'a PartialFile,
    /// The path that it will have.
    pub output: &'a Output,
    /// The size of the filesystem in bytes.
    pub bytes: u64,
    /// The build key.
    pub key: &'a Digest,
    /// True to hash the file with the tree.
    pub digests: bool,
    /// The number of threads.
    pub jobs: usize,
}

fn describe(
    superblock: &Superblock,
    root: RootHash,
    offset: u64,
    path: String,
    digest: Option<Digest>,
) -> VerityReport {
    let Superblock { uuid, data_blocks, salt } = superblock;
    let salt = Hex(salt).to_string();
    let appended = offset > 0;
    let (sectors, first_hash_block) = (data_blocks * (BLOCK / 512), offset / BLOCK + 1);
    let hash_device = if appended { "/dev/vda" } else { "/dev/vdb" };
    let dm_mod_create = format!(
        "dm-mod.create=\"rootfs,,,ro,0 {sectors} verity 1 /dev/vda {hash_device} {BLOCK} {BLOCK} {data_blocks} \
         {first_hash_block} sha256 {root} {salt}\" root=/dev/dm-0"
    );
    VerityReport {
        path,
        root_hash: root.to_string(),
        algorithm: "sha256",
        salt,
        uuid: Uuid::from_bytes(*uuid).to_string(),
        block_bytes: BLOCK,
        data_blocks: *data_blocks,
        hash_offset: offset,
        hash_bytes: verity::tree_bytes(*data_blocks),
        digest,
        kernel_arguments: KernelArguments { dm_mod_create, roothash: format!("roothash={root}") },
    }
}

/// The result of checking a filesystem against a root hash, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct VerityVerification {
    /// The root hash that was expected.
    pub expected: String,
    /// The root hash of the tree.
    pub root_hash: String,
    /// The salt in hexadecimal digits.
    pub salt: String,
    /// The number of data blocks that the tree says it covers.
    pub data_blocks: u64,
    /// The number of data blocks that it has to cover: all of the filesystem, and all before a tree behind it.
    pub filesystem_blocks: u64,
    /// The number of blocks, of data or of the tree, that differ from their hash.
    pub wrong_blocks: u64,
    /// The first of these blocks.
    pub first_wrong: Option<String>,
}

impl VerityVerification {
    /// Returns true if the tree has the expected root hash and covers the filesystem, and every block has the hash that the
    /// tree has for it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.expected == self.root_hash && self.covers() && self.wrong_blocks == 0
    }

    /// Returns true if the tree covers all blocks that it has to. The root hash does not say how many these are.
    #[must_use]
    pub fn covers(&self) -> bool {
        self.data_blocks == self.filesystem_blocks
    }
}

/// The tree of a filesystem that is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerityCheck<'a> {
    pub place: &'a VerityPlace,
    pub root: RootHash,
    pub jobs: usize,
}

impl VerityCheck<'_> {
    /// Checks the filesystem of `bytes` bytes in a file.
    ///
    /// # Errors
    ///
    /// There is no tree, or one of another kind; a file cannot be read; the run was cancelled.
    pub fn run(
        self,
        (data, bytes): (&File, u64),
        data_path: &Path,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<VerityVerification> {
        let opened = match self.place {
            VerityPlace::Append => None,
            VerityPlace::File(path) => Some((patient::open(path).map_err(Error::io("open", path))?, path.as_path())),
        };
        let (tree, tree_path) = opened.as_ref().map_or((data, data_path), |(file, path)| (file, *path));
        let refused = |found: String| Error::from(ErrorKind::NotVerity { path: tree_path.to_owned(), found });
        let offset = match self.place {
            VerityPlace::File(_) => 0,
            VerityPlace::Append => {
                let length = data.metadata().map_err(Error::io("examine", data_path))?.len();
                let blocks = verity::appended_data_blocks(length);
                blocks.ok_or_else(|| refused("nothing of the size of a tree follows the filesystem".into()))? * BLOCK
            }
        };
        let files = Files { data, tree, offset, data_path, tree_path };
        let superblock = Superblock::read(files)?.map_err(|refusal| refused(refusal.to_string()))?;
        let filesystem_blocks = match self.place {
            VerityPlace::Append => bytes.div_ceil(BLOCK).max(offset / BLOCK),
            // A tree may cover what follows the filesystem, too; less than a block at the end is on no device.
            VerityPlace::File(_) => (bytes / BLOCK).max(superblock.data_blocks),
        };
        progress.begin(Stage::Verity, Some(superblock.data_blocks));
        let TreeCheck { root, wrong, first } = verity::check(files, &superblock, self.jobs, progress, cancel)?;
        progress.end();
        Ok(VerityVerification {
            expected: self.root.to_string(),
            root_hash: root.to_string(),
            salt: Hex(&superblock.salt).to_string(),
            data_blocks: superblock.data_blocks,
            filesystem_blocks,
            wrong_blocks: wrong,
            first_wrong: first.map(|block| block.to_string()),
        })
    }
}
