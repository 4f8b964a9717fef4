//! Gets at the plain bytes of an archive, wherever it comes from.
//!
//! A plain file is read where it is. What is compressed, or comes through a pipe, is copied once into a file without a
//! name in the work directory, which is gone with the process, however that ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::OpenOptions;
use crate::cancel::Cancel;
use crate::compression::{Compression, DecodeFault, decoder};
use crate::error::{Error, ErrorKind, Found, Place, Result};
use crate::limits::Limit;
use crate::read_at::{FileSlice, ReadAt};

/// Returns the plain bytes of the archive at `path`, which may be a pipe; `name` is what messages call it.
pub(super) fn file(path: &Path, name: &str, options: &OpenOptions<'_>) -> Result<FileSlice> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::io("read", path)(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Spool { path, name, options }.plain(file, metadata.is_file())
}

/// Returns the plain bytes of the archive on standard input.
pub(super) fn stdin(name: &str, options: &OpenOptions<'_>) -> Result<FileSlice> {
    let path = Path::new("standard input");
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(Error::io("read", path))?);
    // Whatever it is, it is read from where it stands; a file there may be half read already.
    Spool { path, name, options }.plain(file, false)
}

/// Opens a file without waiting: a pipe that nobody writes to would hold the program for ever.
pub(super) fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(Error::io("open", path))
}

struct Spool<'a> {
    path: &'a Path,
    name: &'a str,
    options: &'a OpenOptions<'a>,
}

impl Spool<'_> {
    fn place(&self) -> Place {
        Place::Source(self.name.to_owned())
    }

    fn plain(&self, file: File, regular: bool) -> Result<FileSlice> {
        let mut head = [0; Compression::MAGIC_LEN];
        if regular {
            let slice = FileSlice::whole(file).map_err(Error::io("read", self.path))?;
            let count = slice.read_at(0, &mut head).map_err(Error::io("read", self.path))?;
            return match self.compression(&head[..count])? {
                Compression::None => Ok(slice),
                compression => self.copy(compression, slice.reader()),
            };
        }
        let mut pipe = Pipe { file, cancel: self.options.cancel };
        let mut count = 0;
        while count < head.len() {
            match pipe.read(&mut head[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) => return Err(self.read_error(error)),
            }
        }
        let head = &head[..count];
        self.copy(self.compression(head)?, head.chain(pipe))
    }

    fn compression(&self, head: &[u8]) -> Result<Compression> {
        Compression::of(head).map_err(|problem| Error::image(self.place(), problem))
    }

    fn copy(&self, compression: Compression, reader: impl Read) -> Result<FileSlice> {
        let (directory, limits) = (self.options.work_dir, self.options.limits);
        let mut spool = tempfile::tempfile_in(directory).map_err(Error::io("create a temporary file in", directory))?;
        let mut bytes = decoder(compression, reader, limits.zstd_window_log).map_err(Error::io("read", self.path))?;
        let (mut buf, mut written) = (vec![0; 256 << 10], 0_u64);
        loop {
            self.options.cancel.check()?;
            let count = match bytes.read(&mut buf) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_error(error)),
            };
            if count as u64 > limits.total_bytes - written {
                let (limit, allowed) = (Limit::TotalBytes, limits.total_bytes);
                let found = Found::MoreThan(allowed);
                return Err(ErrorKind::Limit { place: self.place(), limit, allowed, found }.into());
            }
            spool.write_all(&buf[..count]).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => ErrorKind::NoSpace { path: directory.to_owned(), written }.into(),
                _ => Error::io("write a temporary file in", directory)(error),
            })?;
            written += count as u64;
        }
        FileSlice::whole(spool).map_err(Error::io("read", self.path))
    }

    fn read_error(&self, error: io::Error) -> Error {
        if let Some(fault) = DecodeFault::of(&error) {
            return fault.at(self.place());
        }
        error.downcast::<Error>().unwrap_or_else(Error::io("read", self.path))
    }
}

/// Reads what may let it wait, and gives up once a stop was asked for.
struct Pipe<'a> {
    file: File,
    cancel: &'a Cancel,
}

/// How often a waiting reader looks whether it should stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            let ready = match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&PATIENCE)) {
                Ok(ready) => ready > 0,
                Err(rustix::io::Errno::INTR) => false,
                Err(error) => return Err(error.into()),
            };
            if !ready {
                continue;
            }
            match self.file.read(buf) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }
}
