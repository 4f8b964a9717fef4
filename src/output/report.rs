//! The report of a build.

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::inject::InjectionReport;
use crate::note::Notes;
use crate::plan::{Engine, TreeStats};
use crate::progress::StageSeconds;
use crate::tree::flatten::LayerReport;

/// The results of a build, in the form that `--json` prints.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of planish that built the filesystem.
    pub planish: String,
    /// The version of e2fsprogs; `None` if none of its programs was used.
    pub e2fsprogs: Option<String>,
    /// The image reference, as given.
    pub source: String,
    /// The digest of the manifest; docker archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The build key: builds with equal keys give equal bytes.
    pub key: Digest,
    /// True if the filesystem is that of an earlier build of the same key, copied from the cache or fetched from a
    /// registry, and hashed. What was verified, was verified by that build, unless `fetched` says more.
    #[serde(default)]
    pub reused: bool,
    /// The registry that the filesystem was fetched from; `None` if it was built on this machine.
    #[serde(default)]
    pub fetched: Option<FetchReport>,
    /// The layers, from the lowest.
    pub layers: Vec<LayerReport>,
    /// The injections, in order.
    pub injections: Vec<InjectionReport>,
    /// The number of entries of all layers, without markers.
    pub entries: u64,
    /// The number of markers of all layers.
    pub whiteouts: u64,
    /// The counts of the flattened tree.
    pub tree: TreeStats,
    /// The digest of the flattened tree (see `src/verify/fingerprint`), if digests were requested.
    pub tree_digest: Option<Digest>,
    /// The engine that wrote the filesystem.
    pub engine: EngineReport,
    /// The finished filesystem.
    pub filesystem: FilesystemReport,
    /// The dm-verity tree, if one was requested.
    #[serde(skip_deserializing)]
    pub verity: Option<VerityReport>,
    /// The published file, if it is not the filesystem itself.
    #[serde(skip_deserializing)]
    pub packed: Option<PackedReport>,
    /// The counts of the verification; `None` with `--verify=none`.
    pub verified: Option<VerifyReport>,
    /// The notes: what was adapted or dropped. In JSON a list of [`crate::note::NoteReport`].
    pub notes: Notes,
    /// The seconds of each stage, in order.
    #[serde(skip_deserializing)]
    pub seconds: Vec<StageSeconds>,
}

impl Report {
    /// Writes the report as JSON with a line feed at the end, in pieces: the list of notes may be larger than memory.
    ///
    /// # Errors
    ///
    /// The writer fails.
    pub fn write_json(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)?;
        out.flush()
    }
}

/// The format of the published file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub enum DiskFormat {
    /// The filesystem itself, as a sparse file.
    #[default]
    #[serde(rename = "raw")]
    Raw,
    /// A disk image of QEMU, made by `qemu-img`.
    #[serde(rename = "qcow2")]
    Qcow2,
    /// The filesystem as one zstd frame with a checksum.
    #[serde(rename = "raw.zst")]
    RawZst,
}

/// The published file, which holds the filesystem in another format.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PackedReport {
    /// The format.
    pub format: DiskFormat,
    /// The size in bytes.
    pub bytes: u64,
    /// The digest, if digests were requested.
    pub digest: Option<Digest>,
    /// The program that converted it, with its version; `None` if planish did.
    pub program: Option<String>,
}

/// The origin of a filesystem that was fetched from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FetchReport {
    /// The repository, or the reference that was pulled.
    pub repository: String,
    /// The digest of the artifact's manifest.
    pub manifest_digest: Digest,
    /// The proof of the filesystem.
    pub verification: FetchVerification,
    /// The public key whose signature was verified, as minisign prints it, if one was required.
    #[serde(default)]
    pub signed_by: Option<String>,
}

/// The proof of a filesystem that was fetched from a registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FetchVerification {
    /// The digests of its chunks and of the whole equal those in its manifest and report.
    #[default]
    Digest,
    /// It was also compared with the image on this machine.
    Full,
}

/// The engine that wrote a filesystem, and the reason for the choice.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EngineReport {
    /// The engine.
    pub name: Engine,
    /// The reason, as text.
    pub reason: String,
}

/// The figures of a filesystem, from its superblock.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilesystemReport {
    /// The path of the file, escaped.
    pub path: String,
    /// The size of the filesystem in bytes; an appended dm-verity tree is behind it.
    pub bytes: u64,
    /// The digest of the filesystem, without a dm-verity tree, if digests were requested.
    pub digest: Option<Digest>,
    /// The size of a block in bytes.
    pub block_bytes: u64,
    /// The number of blocks.
    pub blocks: u64,
    /// The number of free blocks.
    pub free_blocks: u64,
    /// The number of free bytes.
    pub free_bytes: u64,
    /// The number of inodes.
    pub inodes: u64,
    /// The number of free inodes.
    pub free_inodes: u64,
    /// The size of the journal in bytes.
    pub journal_bytes: u64,
    /// The UUID.
    pub uuid: String,
    /// The creation time, in seconds since 1970.
    pub clock: u32,
}

/// A dm-verity tree.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct VerityReport {
    /// The path of the file with the tree, escaped.
    pub path: String,
    /// The root hash in hexadecimal digits.
    pub root_hash: String,
    /// The hash algorithm.
    pub algorithm: &'static str,
    /// The salt in hexadecimal digits: the build key.
    pub salt: String,
    /// The UUID, derived from the build key.
    pub uuid: String,
    /// The size of a block of data or hashes in bytes.
    pub block_bytes: u64,
    /// The number of data blocks.
    pub data_blocks: u64,
    /// The offset of the superblock in its file: 0, or behind the filesystem.
    pub hash_offset: u64,
    /// The size of the superblock and the tree in bytes.
    pub hash_bytes: u64,
    /// The digest of the whole file with the tree, if digests were requested.
    pub digest: Option<Digest>,
    /// The arguments for a kernel that boots from the filesystem.
    pub kernel_arguments: KernelArguments,
}

/// Two ways of giving a root hash to a kernel.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct KernelArguments {
    /// Without an initramfs (`Documentation/admin-guide/device-mapper/dm-init.rst`): the filesystem is the disk
    /// `/dev/vda`, a tree in a file of its own `/dev/vdb`.
    pub dm_mod_create: String,
    /// For an initramfs with systemd (`systemd-veritysetup-generator`).
    pub roothash: String,
}

/// The counts of what was read back and compared equal.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of names.
    pub names: u64,
    /// The number of inodes, compared in every attribute.
    pub inodes: u64,
    /// The number of xattrs.
    pub xattrs: u64,
    /// The number of bytes of files, including holes.
    pub bytes: u64,
    /// The e2fsck command, which found no problem, if it was run.
    #[serde(skip_deserializing, default = "fsck_command")]
    pub fsck: Option<&'static str>,
}

/// Returns the command of every report that is kept.
fn fsck_command() -> Option<&'static str> {
    Some("e2fsck -fn")
}
