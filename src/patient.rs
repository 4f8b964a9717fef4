//! Opens files that a user names, and reads them without waiting longer than the run may last. Ground floor.
//!
//! A name may lead to a pipe (`<(command)`, `/dev/stdin`), which nobody may ever write to.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::calls;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// The interval at which a blocked reader checks for cancellation.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Opens a file without waiting: a pipe without a writer would block the program forever.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(calls::open(path, flags, Mode::empty())?.into())
}

/// Opens a regular file without waiting; `None` if it is of another kind.
pub(crate) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Returns a descriptor of standard input.
pub(crate) fn stdin() -> io::Result<File> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Reads a whole file or pipe of at most `max` bytes; `None` if there are more.
///
/// # Errors
///
/// The file cannot be opened or read; the run was cancelled.
pub fn read_all(path: &Path, max: u64, cancel: &Cancel) -> Result<Option<Vec<u8>>> {
    let file = open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    let read = PatientReader::new(file, cancel).take(max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| cancelled_or(error, Error::io("read", path)))?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

/// Returns the error of a cancelled run that a [`PatientReader`] passes on, or that of `other`.
pub(crate) fn cancelled_or(error: io::Error, other: impl FnOnce(io::Error) -> Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(other)
}

/// A reader of a source that may block; it gives up if the run is cancelled.
pub struct PatientReader<'a> {
    file: File,
    cancel: &'a Cancel,
}

impl<'a> PatientReader<'a> {
    /// Returns a reader.
    pub fn new(file: File, cancel: &'a Cancel) -> Self {
        Self { file, cancel }
    }

    /// Returns a reader of standard input from its present position.
    ///
    /// # Errors
    ///
    /// No descriptors are available.
    pub fn stdin(cancel: &'a Cancel) -> io::Result<Self> {
        Ok(Self::new(stdin()?, cancel))
    }
}

impl Read for PatientReader<'_> {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn fifo(directory: &Path) -> std::path::PathBuf {
        let path = directory.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        path
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        std::thread::scope(|scope| {
            // It waits for the reader to open the pipe.
            scope.spawn(|| File::options().write(true).open(&path).unwrap().write_all(b"abc").unwrap());
            let read = read_all(&path, 3, &Cancel::default());
            assert_eq!(read.unwrap().as_deref(), Some(&b"abc"[..]));
        });
    }

    #[test]
    fn waiting_for_a_pipe_ends_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let path = fifo(directory.path());
        let error = read_all(&path, 3, &Cancel::default().within(1)).unwrap_err();
        assert_eq!(error.fault().exit_code(), 7, "{error}");
        assert!(open_regular(&path).unwrap().is_none());
    }

    #[test]
    fn endless_files_and_directories_are_refused() {
        let read = |path: &str| read_all(Path::new(path), 10, &Cancel::default());
        assert_eq!(read("/dev/zero").unwrap(), None);
        assert_eq!(read("/dev/null").unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(read("/").unwrap_err().to_string(), "read /");
    }
}
