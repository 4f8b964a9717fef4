//! The directory of one run.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that no other user may enter, removed with its content.
pub(super) struct Private(tempfile::TempDir);

impl Private {
    pub(super) fn new() -> io::Result<Self> {
        // Tools of the containers/image family parse a layout's path as a name, which must not have capital letters.
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
        // Images have directories of mode 0, which only root can remove directly. The drop of the temporary directory
        // retries the removal, and its failure cannot be reported.
        if fs::remove_dir_all(self.0.path()).is_err() {
            let _ = open_all(self.0.path());
        }
    }
}

/// Makes every directory and file accessible to the owner; returns the previous modes by the paths of a listing.
pub(super) fn open_all(root: &Path) -> io::Result<BTreeMap<Vec<u8>, u16>> {
    let mut closed = BTreeMap::new();
    open(root, b"", &mut closed)?;
    Ok(closed)
}

fn open(here: &Path, path: &[u8], closed: &mut BTreeMap<Vec<u8>, u16>) -> io::Result<()> {
    let metadata = fs::symlink_metadata(here)?;
    let needed = match metadata.file_type() {
        kind if kind.is_dir() => 0o700,
        kind if kind.is_file() => 0o400,
        _ => return Ok(()),
    };
    let mode = metadata.mode() & 0o7777;
    if mode & needed != needed {
        fs::set_permissions(here, Permissions::from_mode(mode | needed))?;
        let path = if path.is_empty() { b"/" } else { path };
        closed.insert(path.to_vec(), u16::try_from(mode).map_err(io::Error::other)?);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(here)? {
            let name = entry?.file_name();
            open(&here.join(&name), &[path, b"/", name.as_encoded_bytes()].concat(), closed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_directory_is_removed_with_its_contents() {
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
    fn closed_modes_are_opened_and_recorded() {
        let private = Private::new().unwrap();
        let root = private.path("root");
        fs::create_dir_all(root.join("closed/inner")).unwrap();
        fs::write(root.join("closed/file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        for (path, mode) in [("closed/inner", 0o1000), ("closed/file", 0o200), ("closed", 0o055)] {
            fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        }
        let closed = open_all(&root).unwrap();
        let expected = [(&b"/closed"[..], 0o055), (b"/closed/file", 0o200), (b"/closed/inner", 0o1000)];
        assert_eq!(closed, expected.map(|(path, mode)| (path.to_vec(), mode)).into());
        assert_eq!(fs::metadata(root.join("closed/inner")).unwrap().mode() & 0o7777, 0o1700);
        assert_eq!(fs::metadata(root.join("closed/file")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(open_all(&root).unwrap(), BTreeMap::new());
    }
}
