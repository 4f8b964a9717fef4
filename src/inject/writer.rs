//! The tar stream of an injection, in an unlinked file.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Amount, Error, ErrorKind, Place, Result};
use crate::layer::Budget;
use crate::layer::entry::{Device, DeviceKind};
use crate::limits::Limit;
use crate::path::ImagePath;
use crate::work::Scratch;

/// Mode, owner and mtime of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
}

/// Writes entries and counts them against the limits of the image.
pub struct StreamWriter<'a> {
    tar: Builder<SpoolWriter<'a>>,
    budget: &'a Budget,
    entries: u64,
}

/// A finished stream.
pub struct Stream {
    pub file: File,
    pub digest: Digest,
    pub bytes: u64,
    pub entries: u64,
}

impl<'a> StreamWriter<'a> {
    pub fn new(scratch: &'a Scratch, budget: &'a Budget) -> Result<Self> {
        let file = scratch.make().map_err(Error::io("make a file in", scratch.path()))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        let spool = SpoolWriter { file: BufWriter::with_capacity(1 << 16, file), hasher, bytes: 0, scratch, budget };
        Ok(Self { tar: Builder::new(spool), budget, entries: 0 })
    }

    /// Returns the place for temporary files.
    pub fn scratch(&self) -> &'a Scratch {
        self.tar.get_ref().scratch
    }

    pub fn directory(&mut self, path: &ImagePath, attributes: Attributes) -> Result<()> {
        self.append(path, EntryType::Directory, attributes, |_| {})
    }

    pub fn fifo(&mut self, path: &ImagePath, attributes: Attributes) -> Result<()> {
        self.append(path, EntryType::Fifo, attributes, |_| {})
    }

    pub fn device(&mut self, path: &ImagePath, attributes: Attributes, device: Device) -> Result<()> {
        let kind = match device.kind {
            DeviceKind::Character => EntryType::Char,
            DeviceKind::Block => EntryType::Block,
        };
        self.append(path, kind, attributes, |header| {
            // The header is of a kind that has both fields.
            let _ = header.set_device_major(device.major);
            let _ = header.set_device_minor(device.minor);
        })
    }

    pub fn symlink(&mut self, path: &ImagePath, attributes: Attributes, target: &[u8]) -> Result<()> {
        self.spend()?;
        let mut header = header(EntryType::Symlink, attributes, 0);
        self.tar.append_link(&mut header, os_path(path), bytes_path(target)).map_err(ours)
    }

    /// Writes a file of `size` bytes; `content` must give exactly these.
    pub fn file(&mut self, path: &ImagePath, attributes: Attributes, size: u64, content: impl Read) -> Result<()> {
        self.spend()?;
        let mut header = header(EntryType::Regular, attributes, size);
        self.tar.append_data(&mut header, os_path(path), content).map_err(ours)
    }

    fn append(
        &mut self,
        path: &ImagePath,
        kind: EntryType,
        attributes: Attributes,
        set: impl FnOnce(&mut Header),
    ) -> Result<()> {
        self.spend()?;
        let mut header = header(kind, attributes, 0);
        set(&mut header);
        self.tar.append_data(&mut header, os_path(path), io::empty()).map_err(ours)
    }

    /// Counts an entry. The budget of the image counts it when it is applied.
    fn spend(&mut self) -> Result<()> {
        self.entries += 1;
        let allowed = self.budget.limits().entries;
        if self.entries > allowed {
            let (place, limit, found) = (Place::Layers, Limit::Entries, Amount::MoreThan(allowed));
            return Err(ErrorKind::Limit { place, limit, allowed, found }.into());
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Stream> {
        let SpoolWriter { file, hasher, bytes, scratch, .. } = self.tar.into_inner().map_err(ours)?;
        let file = file.into_inner().map_err(|error| Error::write(scratch.path(), bytes, error.into_error()))?;
        scratch.note_written(&file);
        Ok(Stream { file, digest: hasher.finish(), bytes, entries: self.entries })
    }
}

fn header(kind: EntryType, attributes: Attributes, size: u64) -> Header {
    let Attributes { mode, uid, gid, mtime } = attributes;
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode.into());
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(mtime);
    header.set_size(size);
    header
}

fn os_path(path: &ImagePath) -> &Path {
    bytes_path(path.as_bytes())
}

fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// Carries an error through a call that takes and returns those of the system.
pub fn carried(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Returns the carried error.
fn ours(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::io("write a tar stream in", "the work directory")(error))
}

/// Writes to the spool, hashes, and takes the bytes from the budget.
struct SpoolWriter<'a> {
    file: BufWriter<File>,
    hasher: Hasher,
    bytes: u64,
    scratch: &'a Scratch,
    budget: &'a Budget,
}

impl Write for SpoolWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.budget.spend_bytes(bytes.len() as u64).map_err(carried)?;
        self.file.write_all(bytes).map_err(|error| carried(Error::write(self.scratch.path(), self.bytes, error)))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| carried(Error::write(self.scratch.path(), self.bytes, error)))
    }
}
