//! Returns the plain bytes of an archive from a file, a pipe or standard input.
//!
//! A plain file is read in place. Input that is compressed or comes through a pipe is copied once into an unlinked file
//! in the work directory, which is removed with the process, however that ends.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::makedev;

use super::OpenOptions;
use crate::compression::{Compression, DecodeFault, decoder};
use crate::error::{Amount, Error, ErrorKind, ImageProblem, Place, Result};
use crate::limits::Limit;
use crate::patient::{self, PatientReader};
use crate::read_at::{FileSlice, ReadAt};
use crate::tar::Extent;

/// Returns the plain bytes of the archive at `path`, which may be a pipe, or `-` for standard input; `name` is its name
/// in messages.
pub(super) fn file(path: &Path, name: &str, options: &OpenOptions<'_>) -> Result<FileSlice> {
    if path == Path::new(STDIN) {
        return stdin(name, options);
    }
    let file = patient::open(path).map_err(Error::io("open", path))?;
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::io("read", path)(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Spool { path, name, options }.plain(file, metadata.is_file())
}

/// Returns the plain bytes of the archive on standard input.
pub(super) fn stdin(name: &str, options: &OpenOptions<'_>) -> Result<FileSlice> {
    let path = Path::new(STDIN_SHOWN);
    let place = || Place::Source(STDIN_SHOWN.to_owned());
    let file = patient::stdin().map_err(Error::io("read", path))?;
    // What was closed is /dev/null by now, as for every program.
    let device = file.metadata().map_err(Error::io("read", path))?;
    if device.file_type().is_char_device() && device.rdev() == makedev(1, 3) {
        return Err(Error::image(place(), ImageProblem::NoInput));
    }
    // Whatever it is, it is read from where it stands; a file there may be half read already.
    let data = Spool { path, name, options }.plain(file, false)?;
    if data.size() == 0 { Err(Error::image(place(), ImageProblem::EmptyInput)) } else { Ok(data) }
}

/// Returns the plain bytes of the archive from a reader.
pub(super) fn stream(reader: impl Read, name: &str, options: &OpenOptions<'_>) -> Result<FileSlice> {
    Spool { path: Path::new(name), name, options }.stream(reader)
}

/// Returns bytes in memory as an unlinked file.
pub(super) fn bytes(bytes: &[u8], options: &OpenOptions<'_>) -> Result<FileSlice> {
    Spool { path: options.scratch.path(), name: "", options }.copy(Compression::None, bytes)
}

/// Returns the content of a sparse member of an archive with its holes. `name` is its name in messages.
pub(super) fn sparse(
    data: &FileSlice,
    map: &[Extent],
    size: u64,
    name: &str,
    options: &OpenOptions<'_>,
) -> Result<FileSlice> {
    let (directory, allowed) = (options.scratch.path(), options.limits.total_bytes);
    if size > allowed {
        let (place, found) = (Place::File(name.to_owned()), Amount::Exactly(size));
        return Err(ErrorKind::Limit { place, limit: Limit::TotalBytes, allowed, found }.into());
    }
    let mut file = make(options)?;
    file.set_len(size).map_err(|error| Error::write(directory, 0, error))?;
    let (mut buf, mut stored) = (vec![0; 256 << 10], 0);
    for &Extent { offset, len } in map {
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("write a temporary file in", directory))?;
        let mut left = len;
        while left > 0 {
            options.cancel.check()?;
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
            let count = data.read_at(stored, &mut buf[..part]).map_err(Error::io("read", name))?;
            if count == 0 {
                let problem = ImageProblem::Truncated { missing: left };
                return Err(Error::image(Place::File(name.to_owned()), problem));
            }
            file.write_all(&buf[..count]).map_err(|error| Error::write(directory, stored, error))?;
            (left, stored) = (left - count as u64, stored + count as u64);
        }
    }
    options.scratch.note_written(&file);
    FileSlice::whole(file).map_err(Error::io("read", directory))
}

fn make(options: &OpenOptions<'_>) -> Result<File> {
    options.scratch.make().map_err(Error::io("create a temporary file in", options.scratch.path()))
}

/// The path of standard input; an image in it is named as in `docker-archive:-:REF`.
pub(super) const STDIN: &str = "-";

/// The name of standard input in messages.
const STDIN_SHOWN: &str = "standard input";

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
        if regular {
            let mut head = [0; Compression::MAGIC_LEN];
            let slice = FileSlice::whole(file).map_err(Error::io("read", self.path))?;
            let count = slice.read_at(0, &mut head).map_err(Error::io("read", self.path))?;
            return match self.compression(&head[..count])? {
                Compression::None => Ok(slice),
                compression => self.copy(compression, slice.reader()),
            };
        }
        self.stream(PatientReader::new(file, self.options.cancel))
    }

    fn stream(&self, mut pipe: impl Read) -> Result<FileSlice> {
        let mut head = [0; Compression::MAGIC_LEN];
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
        let (directory, limits) = (self.options.scratch.path(), self.options.limits);
        let mut spool = make(self.options)?;
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
                let found = Amount::MoreThan(allowed);
                return Err(ErrorKind::Limit { place: self.place(), limit, allowed, found }.into());
            }
            spool.write_all(&buf[..count]).map_err(|error| Error::write(directory, written, error))?;
            written += count as u64;
        }
        self.options.scratch.note_written(&spool);
        FileSlice::whole(spool).map_err(Error::io("read", self.path))
    }

    fn read_error(&self, error: io::Error) -> Error {
        if let Some(fault) = DecodeFault::of(&error) {
            return fault.at(self.place());
        }
        patient::cancelled_or(error, Error::io("read", self.path))
    }
}
