//! Lists a directory on this machine, for programs that unpack.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr, major, minor};

use super::node::{Contents, Kind, Node};
use super::text::escape;
use super::{Listing, ReadError};
use crate::Mtime;

/// The most bytes that the kernel returns for a list of names, and for one value.
const XATTR_MAX: usize = 1 << 16;

impl Listing {
    /// Reads a directory, which becomes the root. Symlinks are not followed.
    ///
    /// The result depends on the reader's permissions: `trusted.` xattrs need root.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn read_directory(directory: &Path) -> Result<Self, ReadError> {
        let mut walk = Walk::default();
        walk.directory(directory, b"/")?;
        let mut listing = Self::new();
        let mut first_names: BTreeMap<(u64, u64), &[u8]> = BTreeMap::new();
        for (path, (identity, node)) in &walk.found {
            match first_names.get(identity) {
                Some(first) if node.kind != Kind::Directory => {
                    listing.link(path.clone(), first);
                }
                _ => {
                    first_names.insert(*identity, path);
                    listing.insert(path.clone(), node.clone());
                }
            }
        }
        Ok(listing)
    }
}

#[derive(Default)]
struct Walk {
    /// Device and inode number, and the inode, by path.
    found: BTreeMap<Vec<u8>, ((u64, u64), Node)>,
}

impl Walk {
    /// Lists a directory under the name `path` in the listing.
    ///
    /// Relative to its descriptor in `/proc`, paths stay short at any depth: the kernel accepts no path of over 4,095
    /// bytes.
    fn directory(&mut self, here: &Path, path: &[u8]) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io { path: escape(path), source };
        self.found.insert(path.to_vec(), node(here).map_err(failed)?);
        let descriptor = File::open(here).map_err(failed)?;
        let here = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        for entry in fs::read_dir(&here).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_vec();
            let separator: &[u8] = if path == b"/" { b"" } else { b"/" };
            let path = [path, separator, &name].concat();
            let here = here.join(OsStr::from_bytes(&name));
            let failed = |source| ReadError::Io { path: escape(&path), source };
            if fs::symlink_metadata(&here).map_err(failed)?.is_dir() {
                self.directory(&here, &path)?;
            } else {
                let node = node(&here).map_err(failed)?;
                self.found.insert(path, node);
            }
        }
        Ok(())
    }
}

fn node(here: &Path) -> io::Result<((u64, u64), Node)> {
    let metadata = fs::symlink_metadata(here)?;
    let file_type = metadata.file_type();
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Symlink(fs::read_link(here)?.into_os_string().into_vec())
    } else if file_type.is_char_device() {
        Kind::CharDevice { major, minor }
    } else if file_type.is_block_device() {
        Kind::BlockDevice { major, minor }
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else {
        Kind::File(Contents::read(File::open(here)?)?)
    };
    let node = Node {
        kind,
        mode: u16::try_from(metadata.mode() & 0o7777).map_err(io::Error::other)?,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Mtime {
            seconds: metadata.mtime(),
            nanos: u32::try_from(metadata.mtime_nsec()).map_err(io::Error::other)?,
        },
        xattrs: xattrs(here)?,
    };
    Ok(((metadata.dev(), metadata.ino()), node))
}

fn xattrs(here: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut buffer = vec![0; XATTR_MAX];
    let length = match llistxattr(here, &mut buffer[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = buffer[..length].to_vec();
    let mut xattrs = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let length = lgetxattr(here, name, &mut buffer[..])?;
        xattrs.insert(name.to_vec(), buffer[..length].to_vec());
    }
    Ok(xattrs)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

    use super::*;

    #[test]
    fn a_directory_is_listed_with_links_and_times() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("d")).unwrap();
        let odd = OsStr::from_bytes(b"\xff \n");
        fs::write(root.join(odd), "data").unwrap();
        fs::hard_link(root.join(odd), root.join("d/z")).unwrap();
        symlink("../nowhere", root.join("d/l")).unwrap();
        mknodat(CWD, root.join("p"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o1711)).unwrap();
        let time = SystemTime::UNIX_EPOCH - Duration::from_millis(500);
        File::options().write(true).open(root.join(odd)).unwrap().set_modified(time).unwrap();
        let listing = Listing::read_directory(root).unwrap();
        assert_eq!(listing.len(), 6);
        assert_eq!(listing.get(b"/d").unwrap().mode, 0o1711);
        assert_eq!(listing.names(b"/d/z"), [&b"/\xff \n"[..], b"/d/z"].iter().copied().rev().collect::<Vec<_>>());
        assert_eq!(listing.get(b"/d/z").unwrap().mtime, Mtime { seconds: -1, nanos: 500_000_000 });
        assert_eq!(listing.get(b"/d/z").unwrap().kind, Kind::File(Contents::of(b"data")));
        assert_eq!(listing.get(b"/d/l").unwrap().kind, Kind::Symlink(b"../nowhere".to_vec()));
        assert_eq!(listing.get(b"/p").unwrap().kind, Kind::Fifo);
        assert_eq!(listing.get(b"/d").unwrap().uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn extended_attributes_are_listed_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        fs::write(&file, "").unwrap();
        lsetxattr(&file, "user.b", b"\x0a", XattrFlags::empty()).unwrap();
        lsetxattr(&file, "user.a", b"", XattrFlags::empty()).unwrap();
        let listing = Listing::read_directory(directory.path()).unwrap();
        let xattrs: Vec<(&[u8], &[u8])> =
            listing.get(b"/f").unwrap().xattrs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let ours: Vec<_> = xattrs.into_iter().filter(|(name, _)| name.starts_with(b"user.")).collect();
        assert_eq!(ours, [(&b"user.a"[..], &b""[..]), (b"user.b", b"\n")]);
    }

    #[test]
    fn paths_longer_than_the_kernel_takes_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let name = "n".repeat(250);
        let mut here = directory.path().to_owned();
        let mut descriptors = Vec::new();
        for _ in 0..20 {
            fs::create_dir(here.join(&name)).unwrap();
            descriptors.push(File::open(here.join(&name)).unwrap());
            here = PathBuf::from(format!("/proc/self/fd/{}", descriptors.last().unwrap().as_raw_fd()));
        }
        let listing = Listing::read_directory(directory.path()).unwrap();
        assert_eq!(listing.iter().map(|(path, _)| path.len()).max(), Some(20 * 251));
    }
}
