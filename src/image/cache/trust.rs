//! Detects other users that can write a cache: its references depend on trust, while a blob is verified by its digest.

use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::Cache;
use super::index::INDEX;
use crate::error::{Error, Result, ShownPath};

/// The number of symlinks that the kernel follows in one path.
const SYMLINKS_MAX: usize = 40;
/// The owner of a file whose own is not mapped into the user namespace.
const UNMAPPED: u32 = 65_534;

/// A user other than this one and root who can write a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherWriter {
    /// The cache or its index belongs to another user.
    Owner {
        /// The directory or the file.
        path: PathBuf,
        /// The uid of the owner.
        uid: u32,
    },
    /// A parent directory of the cache belongs to another user, who can replace the cache.
    OwnerAbove {
        /// The directory or the symlink.
        path: PathBuf,
        /// The uid of the owner.
        uid: u32,
    },
    /// Others may write the cache, its index, or a parent directory.
    Mode {
        /// The directory or the file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
}

impl fmt::Display for OtherWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { path, uid } | Self::OwnerAbove { path, uid } => {
                write!(f, "{} belongs to another user (uid {uid})", ShownPath(path))
            }
            Self::Mode { path, mode } => write!(f, "{} may be written by others (mode {mode:04o})", ShownPath(path)),
        }
    }
}

impl Cache {
    /// Returns the first other user found who can write the cache; `None` if there is none, or no cache yet.
    ///
    /// Every parent directory is checked, from the root on and through symlinks: a user who may write it can replace
    /// what is below, unless its sticky bit is set.
    ///
    /// # Errors
    ///
    /// The working directory does not exist.
    pub fn other_writer(&self) -> Result<Option<OtherWriter>> {
        let path = std::path::absolute(&self.directory).map_err(Error::io("examine", &self.directory))?;
        Ok(Walk::to(&path).run())
    }
}

/// A walk from the root to a directory, in the way the kernel resolves its path.
struct Walk {
    here: PathBuf,
    /// The names still to be resolved, the next one last.
    names: Vec<OsString>,
    symlinks: usize,
    user: User,
}

impl Walk {
    fn to(path: &Path) -> Self {
        let mut walk = Self { here: "/".into(), names: Vec::new(), symlinks: 0, user: User::of_process() };
        walk.push(path);
        walk
    }

    fn push(&mut self, path: &Path) {
        if path.is_absolute() {
            self.here = "/".into();
        }
        let names = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
        self.names.extend(names.map(|part| part.as_os_str().to_owned()));
    }

    /// A path that is missing or cannot be examined has no other writer: opening it reports the error.
    fn run(mut self) -> Option<OtherWriter> {
        let root = self.here.metadata().ok()?;
        if let Some(writer) = self.user.other_above(&self.here, &root) {
            return Some(writer);
        }
        while let Some(name) = self.names.pop() {
            if name == ".." {
                self.here.pop();
                continue;
            }
            let path = self.here.join(name);
            let metadata = path.symlink_metadata().ok()?;
            if metadata.is_symlink() {
                self.symlinks += 1;
                if self.symlinks > SYMLINKS_MAX {
                    return None;
                }
                if !self.user.trusts(&metadata, true) {
                    return Some(OtherWriter::OwnerAbove { path, uid: metadata.uid() });
                }
                self.push(&std::fs::read_link(&path).ok()?);
                continue;
            }
            self.here = path;
            // The cache itself is examined last: `..` may lead to it.
            if !self.names.is_empty()
                && let Some(writer) = self.user.other_above(&self.here, &metadata)
            {
                return Some(writer);
            }
        }
        [self.here.clone(), self.here.join(INDEX)].iter().find_map(|path| {
            let metadata = path.symlink_metadata().ok()?;
            self.user.other(path, &metadata)
        })
    }
}

/// The user of this process, for the decision whom to trust.
struct User {
    uid: u32,
    gid: u32,
    /// True if there are users who are not mapped into this user namespace.
    partial: bool,
}

impl User {
    fn of_process() -> Self {
        let map = std::fs::read_to_string("/proc/self/uid_map");
        let whole = |map: io::Result<String>| map.is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            partial: !whole(map),
        }
    }

    /// Returns true if the owner is this user or root. In a user namespace that does not map root, the owner of a
    /// parent of the cache cannot be distinguished from root.
    fn trusts(&self, metadata: &Metadata, above: bool) -> bool {
        let uid = metadata.uid();
        uid == self.uid || uid == 0 || (above && self.partial && uid == UNMAPPED)
    }

    /// Returns true if others may write: everyone, or a group that is neither root's nor the user's own (which many
    /// systems create for each user, with the same number).
    fn lets_others_write(&self, metadata: &Metadata) -> bool {
        let private = metadata.gid() == 0 || (metadata.gid() == self.gid && self.gid == self.uid);
        metadata.mode() & if private { 0o002 } else { 0o022 } != 0
    }

    /// Returns the other writer of a parent directory of a cache.
    fn other_above(&self, path: &Path, metadata: &Metadata) -> Option<OtherWriter> {
        let path = path.to_owned();
        if !self.trusts(metadata, true) {
            return Some(OtherWriter::OwnerAbove { path, uid: metadata.uid() });
        }
        let sticky = metadata.mode() & 0o1000 != 0;
        let mode = metadata.mode() & 0o7777;
        (self.lets_others_write(metadata) && !sticky).then_some(OtherWriter::Mode { path, mode })
    }

    /// Returns the other writer of a cache or of its index.
    fn other(&self, path: &Path, metadata: &Metadata) -> Option<OtherWriter> {
        let path = path.to_owned();
        if !self.trusts(metadata, false) {
            return Some(OtherWriter::Owner { path, uid: metadata.uid() });
        }
        let mode = metadata.mode() & 0o7777;
        self.lets_others_write(metadata).then_some(OtherWriter::Mode { path, mode })
    }
}
