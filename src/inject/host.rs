//! Reads files and directories of this machine, by descriptor.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::writer::{Attributes, StreamWriter, carried};
use super::{Injection, Source};
use crate::calls;
use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Amount, Error, ErrorKind, InjectionProblem, Place, Result, ShownPath};
use crate::layer::entry::{Device, DeviceKind};
use crate::layer::whiteout::is_reserved;
use crate::limits::{Limit, Limits};
use crate::path::ImagePath;

/// The mode of every symlink in Linux.
const SYMLINK_MODE: u16 = 0o777;

/// The kind of what was copied.
pub enum Copied {
    /// A file at this path, with the digest of its bytes.
    File(ImagePath, Digest),
    /// A directory.
    Tree,
}

/// Copies a file or directory of this machine, and all below it, into a tar stream.
pub struct HostCopy<'a, 'b> {
    pub injection: &'a Injection,
    pub stream: &'a mut StreamWriter<'b>,
    pub mtime: u64,
    pub limits: &'a Limits,
    pub cancel: &'a Cancel,
}

impl HostCopy<'_, '_> {
    /// Copies what is at `source`; a symlink there is followed.
    pub fn copy(&mut self, source: &Path) -> Result<Copied> {
        let file = calls::open(source, READ, Mode::empty()).map(File::from).map_err(|error| match error {
            rustix::io::Errno::NXIO => refused(source, InjectionProblem::Kind("a socket or a device")),
            error => Error::io("open", source)(error),
        })?;
        let metadata = file.metadata().map_err(Error::io("read", source))?;
        let kind = metadata.file_type();
        let destination = &self.injection.destination;
        if kind.is_dir() {
            if matches!(self.injection.source, Source::File(_)) {
                return Err(refused(source, InjectionProblem::Directory));
            }
            if !destination.is_root() {
                self.stream.directory(destination, self.attributes(metadata.mode(), true))?;
            }
            self.children(&file, source, &destination.clone())?;
            return Ok(Copied::Tree);
        }
        if !kind.is_file() {
            let is = match () {
                () if kind.is_fifo() => "a FIFO",
                () if kind.is_socket() => "a socket",
                () => "a device",
            };
            return Err(refused(source, InjectionProblem::Kind(is)));
        }
        let path = match self.injection.into {
            true => {
                let name = source.file_name().ok_or_else(|| refused(source, InjectionProblem::NoName))?;
                self.child(destination, name.as_bytes(), source)?
            }
            false if destination.is_root() => return Err(refused(source, InjectionProblem::Root)),
            false => destination.clone(),
        };
        let digest = self.file(&file, &metadata, source, &path)?;
        Ok(Copied::File(path, digest))
    }

    /// Copies the names of a directory in the order of their bytes.
    fn children(&mut self, directory: &File, source: &Path, destination: &ImagePath) -> Result<()> {
        let read = |error| Error::io("read", source)(error);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory).map_err(read)? {
            self.cancel.check()?;
            let entry = entry.map_err(read)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_owned());
            }
            let allowed = self.limits.entries;
            if names.len() as u64 > allowed {
                let (place, found) = (Place::Source(ShownPath(source).to_string()), Amount::MoreThan(allowed));
                return Err(ErrorKind::Limit { place, limit: Limit::Entries, allowed, found }.into());
            }
        }
        names.sort_unstable();
        for name in names {
            self.cancel.check()?;
            let source = source.join(std::ffi::OsStr::from_bytes(&name));
            let path = self.child(destination, &name, &source)?;
            self.entry(directory.as_fd(), &name, &source, &path)?;
        }
        Ok(())
    }

    fn child(&self, parent: &ImagePath, name: &[u8], source: &Path) -> Result<ImagePath> {
        if is_reserved(name) {
            return Err(refused(source, InjectionProblem::WhiteoutName));
        }
        let path = ImagePath::join(parent.as_bytes(), name);
        path.check_lengths().map_err(|fault| refused(source, InjectionProblem::Destination(fault)))?;
        Ok(path)
    }

    /// Copies one name of a directory; a symlink stays one.
    fn entry(&mut self, directory: BorrowedFd<'_>, name: &[u8], source: &PathBuf, path: &ImagePath) -> Result<()> {
        let read = |error| Error::io("read", source)(error);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(read)?;
        let attributes = self.attributes(stat.st_mode, false);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let child = self.open(directory, name, &stat, source)?;
                self.stream.directory(path, self.attributes(stat.st_mode, true))?;
                self.children(&child, source, path)
            }
            FileType::RegularFile => {
                let file = self.open(directory, name, &stat, source)?;
                let metadata = file.metadata().map_err(Error::io("read", source))?;
                self.file(&file, &metadata, source, path).map(drop)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(read)?;
                self.stream.symlink(path, Attributes { mode: SYMLINK_MODE, ..attributes }, target.to_bytes())
            }
            FileType::Fifo => self.stream.fifo(path, attributes),
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                let kind = if kind == FileType::BlockDevice { DeviceKind::Block } else { DeviceKind::Character };
                let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                self.stream.device(path, attributes, Device { kind, major, minor })
            }
            FileType::Socket | FileType::Unknown => Err(refused(source, InjectionProblem::Kind("a socket"))),
        }
    }

    /// Opens what was found, and nothing else that took its place.
    fn open(&self, directory: BorrowedFd<'_>, name: &[u8], found: &Stat, source: &Path) -> Result<File> {
        let file = calls::openat(directory, name, READ | OFlags::NOFOLLOW, Mode::empty())
            .map(File::from)
            .map_err(Error::io("open", source))?;
        let metadata = file.metadata().map_err(Error::io("read", source))?;
        let is_same = (metadata.dev(), metadata.ino()) == (found.st_dev, found.st_ino);
        if is_same { Ok(file) } else { Err(refused(source, InjectionProblem::Changed)) }
    }

    /// Copies the bytes of a file, which must not change meanwhile, and returns their digest.
    fn file(&mut self, file: &File, metadata: &Metadata, source: &Path, path: &ImagePath) -> Result<Digest> {
        let (size, allowed) = (metadata.len(), self.limits.file_bytes);
        if size > allowed {
            return Err(self.too_large(source, Amount::Exactly(size)));
        }
        // The files of procfs have content, and no size.
        let copied = if size == 0 { self.copy_unsized(file, source)? } else { None };
        let (from, size) = copied.as_ref().map_or((file, size), |(copy, size)| (copy, *size));
        let hasher = Hasher::new(Algorithm::Sha256);
        let mut content = Exactly { file: from, left: size, hasher, source, cancel: self.cancel };
        self.stream.file(path, self.attributes(metadata.mode(), false), size, &mut content)?;
        let mut rest = file;
        if rest.read(&mut [0]).map_err(Error::io("read", source))? > 0 {
            return Err(refused(source, InjectionProblem::Changed));
        }
        let after = file.metadata().map_err(Error::io("read", source))?;
        let state = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec());
        if state(metadata) != state(&after) {
            return Err(refused(source, InjectionProblem::Changed));
        }
        Ok(content.hasher.finish())
    }

    /// Copies a file whose size is said to be 0, and returns the copy and its size; `None` if it is empty indeed.
    fn copy_unsized(&self, mut file: &File, source: &Path) -> Result<Option<(File, u64)>> {
        let mut copy: Option<(File, u64)> = None;
        let mut bytes = vec![0; 1 << 16];
        loop {
            self.cancel.check()?;
            let count = file.read(&mut bytes).map_err(Error::io("read", source))?;
            if count == 0 {
                break;
            }
            let scratch = self.stream.scratch();
            let (mut to, written) = match copy.take() {
                Some(copy) => copy,
                None => (scratch.make().map_err(Error::io("make a file in", scratch.path()))?, 0),
            };
            let size = written + count as u64;
            if size > self.limits.file_bytes {
                return Err(self.too_large(source, Amount::MoreThan(self.limits.file_bytes)));
            }
            to.write_all(&bytes[..count]).map_err(|error| Error::write(scratch.path(), written, error))?;
            copy = Some((to, size));
        }
        if let Some((to, _)) = &mut copy {
            to.rewind().map_err(Error::io("read", source))?;
        }
        Ok(copy)
    }

    fn too_large(&self, source: &Path, found: Amount) -> Error {
        let (place, allowed) = (Place::Source(ShownPath(source).to_string()), self.limits.file_bytes);
        ErrorKind::Limit { place, limit: Limit::FileBytes, allowed, found }.into()
    }

    fn attributes(&self, mode: u32, is_directory: bool) -> Attributes {
        let own = u16::try_from(mode & 0o777).unwrap_or_default();
        let mode = match self.injection.mode {
            Some(mode) if is_directory => mode | (mode & 0o444) >> 2,
            Some(mode) => mode,
            None => own,
        };
        let (uid, gid) = self.injection.owner.unwrap_or_default();
        Attributes { mode, uid, gid, mtime: self.mtime }
    }
}

/// Flags that open anything for reading without waiting, and without effect on a terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn refused(source: &Path, problem: InjectionProblem) -> Error {
    ErrorKind::Injection { injected: ShownPath(source).to_string(), problem }.into()
}

/// Reads exactly the bytes that a file had when it was opened.
struct Exactly<'a> {
    file: &'a File,
    left: u64,
    hasher: Hasher,
    source: &'a Path,
    cancel: &'a Cancel,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(carried)?;
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if limit == 0 {
            return Ok(0);
        }
        let count =
            self.file.read(&mut buf[..limit]).map_err(|error| carried(Error::io("read", self.source)(error)))?;
        if count == 0 {
            return Err(carried(refused(self.source, InjectionProblem::Changed)));
        }
        self.hasher.update(&buf[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}
