//! The directory of one run.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that nobody else may enter, removed with all that is in it.
pub(super) struct Private(tempfile::TempDir);

impl Private {
    pub(super) fn new() -> io::Result<Self> {
        // Tools of the containers/image family take a layout's path for a name, which has no capital letters.
        let name = format!("whiteout-check-{:016x}", RandomState::new().build_hasher().finish());
        let owner_only = Permissions::from_mode(0o700);
        Ok(Self(tempfile::Builder::new().prefix(&name).rand_bytes(0).permissions(owner_only).tempdir()?))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Images have directories of mode 0, which only root removes as they are. What is still left then, the
        // temporary directory's own end tries again, and nobody can be told.
        if fs::remove_dir_all(self.0.path()).is_err() {
            let _ = open_all(self.0.path());
        }
    }
}

/// Lets the owner into every directory.
fn open_all(directory: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(directory)?.mode() & 0o7777;
    fs::set_permissions(directory, Permissions::from_mode(mode | 0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_all(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_it_is_removed() {
        let private = Private::new().unwrap();
        let path = private.path("");
        assert!(!path.file_name().unwrap().as_encoded_bytes().iter().any(u8::is_ascii_uppercase), "{path:?}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::create_dir_all(path.join("out/closed/inner")).unwrap();
        fs::set_permissions(path.join("out/closed"), Permissions::from_mode(0o0)).unwrap();
        drop(private);
        assert!(!path.exists());
    }

    #[test]
    fn closed_directories_are_opened_for_their_owner() {
        let private = Private::new().unwrap();
        let closed = private.path("closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        for path in [closed.join("inner"), closed.clone()] {
            fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
        }
        open_all(&private.path("")).unwrap();
        assert_eq!(fs::metadata(&closed).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(closed.join("inner")).unwrap().mode() & 0o777, 0o700);
    }
}
