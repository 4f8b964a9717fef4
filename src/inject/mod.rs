//! Files, directories, texts and tar archives of the caller that are put into an image's tree.
//!
//! An injection becomes a tar stream of its own (the spool of a [`Layer`]), and goes through the same code as a layer of the
//! image: limits, notes and semantics are the same. It is a layer above those of the image, so that an image and a list of
//! injections give one tree, whoever applies them. The module knows neither the tree nor ext4.

mod host;
mod read;
mod system;
mod writer;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, ErrorKind, InjectionProblem, Result};
use crate::layer::Layer;
use crate::layer::whiteout::is_reserved;
use crate::path::{Escaped, ImagePath};

pub(crate) use read::{InjectOptions, read};

/// A file, directory, text or tar archive that is put into the tree of an image, as a layer above the image's.
///
/// Parents are resolved in the image as in a chroot, symlinks included: `/sbin/init` goes where `/sbin` leads. A directory
/// that exists stays as it is, and a file replaces a file or a symlink, but no directory. The mtime is the time of the
/// filesystem. Xattrs of this machine's files are not taken along, and each name becomes a file of its own.
#[derive(Debug, Clone)]
pub struct Injection {
    source: Source,
    destination: ImagePath,
    /// True if the destination is the directory that a file is put into.
    into: bool,
    mode: Option<u16>,
    owner: Option<(u32, u32)>,
}

#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    /// A file, not a directory.
    File(PathBuf),
    Tar(PathBuf),
    Text(Vec<u8>),
    Directory,
    MountPoints,
}

/// The largest uid and gid: -1 means "leave it unchanged" to `chown`.
const ID_MAX: u32 = 0xffff_fffe;

impl Injection {
    /// Returns the injection of a file, or of a directory with all below it, at `destination`.
    ///
    /// A file whose destination ends with `/` keeps its name. A directory's content is put into the destination. The owner
    /// is 0:0, the mode the permission bits of the source without setuid, setgid and sticky bits.
    ///
    /// # Errors
    ///
    /// The destination is not a path of an image.
    pub fn path(source: impl Into<PathBuf>, destination: impl AsRef<[u8]>) -> Result<Self> {
        Self::of(Source::Path(source.into()), destination.as_ref())
    }

    /// Returns the injection of a file with these bytes, mode 0644.
    ///
    /// # Errors
    ///
    /// The destination is not a path of an image.
    pub fn text(destination: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) -> Result<Self> {
        Self::of(Source::Text(bytes.into()), destination.as_ref())
    }

    /// Returns the injection of an empty directory, mode 0755. One that exists is changed only by [`Injection::mode`] and
    /// [`Injection::owner`].
    ///
    /// # Errors
    ///
    /// The destination is not a path of an image, or is its root.
    pub fn directory(destination: impl AsRef<[u8]>) -> Result<Self> {
        Self::of(Source::Directory, destination.as_ref())
    }

    /// Returns the injection of a tar archive, plain or compressed, with the full semantics of a layer: directories of the
    /// archive set the metadata of those that exist, and whiteout markers hide names of the image.
    #[must_use]
    pub fn tar(file: impl Into<PathBuf>) -> Self {
        let source = Source::Tar(file.into());
        Self { source, destination: ImagePath::default(), into: false, mode: None, owner: None }
    }

    /// Returns the injection of the directories that a boot mounts on, where they are missing: `/dev`, `/proc`, `/sys`,
    /// `/run` and `/tmp`. Each that is made is a note.
    #[must_use]
    pub fn mount_points() -> Self {
        let source = Source::MountPoints;
        Self { source, destination: ImagePath::default(), into: false, mode: None, owner: None }
    }

    /// Sets the mode of files, 07777 at most. A directory below an injected one also gets an execute bit for each read bit.
    #[must_use]
    pub fn mode(mut self, mode: u16) -> Self {
        self.mode = Some(mode & 0o7777);
        self
    }

    /// Sets the owner.
    ///
    /// # Errors
    ///
    /// An ID is 2^32-1, which no file can have.
    pub fn owner(mut self, uid: u32, gid: u32) -> Result<Self> {
        if uid.max(gid) > ID_MAX {
            return Err(self.refused(InjectionProblem::Owner));
        }
        self.owner = Some((uid, gid));
        Ok(self)
    }

    fn of(source: Source, destination: &[u8]) -> Result<Self> {
        let into = destination.last() == Some(&b'/');
        let cleaned = ImagePath::of_link_target(destination).and_then(|path| path.check_lengths().map(|()| path));
        let injection = Self { source, destination: ImagePath::default(), into, mode: None, owner: None };
        let refused = |problem| Err(ErrorKind::Injection { injected: shown(destination), problem }.into());
        match cleaned {
            Err(fault) => refused(InjectionProblem::Destination(fault)),
            Ok(path) if path.names().any(is_reserved) => refused(InjectionProblem::WhiteoutName),
            Ok(path) if path.is_root() && !matches!(injection.source, Source::Path(_)) => {
                refused(InjectionProblem::Root)
            }
            Ok(destination) => Ok(Self { destination, ..injection }),
        }
    }

    /// Returns the paths of this machine that it reads.
    pub(crate) fn reads(&self) -> Option<&std::path::Path> {
        match &self.source {
            Source::Path(path) | Source::File(path) | Source::Tar(path) => Some(path),
            Source::Text(_) | Source::Directory | Source::MountPoints => None,
        }
    }

    /// Returns the path in the image.
    pub(crate) fn into_destination(self) -> ImagePath {
        self.destination
    }

    /// Returns its name in messages, escaped.
    fn shown(&self) -> String {
        match self.reads() {
            Some(path) => crate::error::ShownPath(path).to_string(),
            None if matches!(self.source, Source::MountPoints) => "mount points".into(),
            None => format!("/{}", shown(self.destination.as_bytes())),
        }
    }

    pub(crate) fn refused(&self, problem: InjectionProblem) -> Error {
        ErrorKind::Injection { injected: self.shown(), problem }.into()
    }
}

fn shown(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}

/// The report of an injection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InjectionReport {
    /// The file, directory or archive on this machine, or the path in the image, escaped.
    pub source: String,
    /// The kind: `file`, `text`, `directory`, `tree`, `tar` or `mount-points`.
    pub kind: String,
    /// The path in the image, escaped; archives and mount points have none.
    pub path: Option<String>,
    /// The digest of a file's or text's bytes; of others, the digest of the uncompressed tar stream.
    pub digest: Digest,
    /// The number of entries.
    pub entries: u64,
    /// The bytes of its tar stream.
    pub bytes: u64,
}

/// An injection that was read.
#[derive(Debug)]
pub(crate) struct InjectedLayer {
    /// The tar stream.
    pub layer: Layer,
    /// The way in which its entries change the tree.
    pub placing: Placing,
    /// The digest of the tar stream.
    pub stream: Digest,
    /// The report.
    pub report: InjectionReport,
}

/// The way in which the entries of an injection change the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placing {
    /// As those of a layer.
    Layer,
    /// Existing directories stay as they are.
    Keep,
    /// Existing directories get the metadata of the entry.
    Set,
    /// Missing directories are made, with a note; whatever exists stays as it is.
    Fill,
}

/// Returns the digest of all that is injected, for identities and keys of builds; `None` without injections.
///
/// It covers paths, kinds, modes, owners, times and contents, in order.
pub(crate) fn digest(layers: &[InjectedLayer]) -> Option<Digest> {
    if layers.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for InjectedLayer { placing, stream, .. } in layers {
        hasher.update(format!("{placing:?} {stream}\n").as_bytes());
    }
    Some(hasher.finish())
}
