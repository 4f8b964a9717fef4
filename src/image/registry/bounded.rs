//! Reads small local files, completely or not at all.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::patient;

/// The time limit for data from a pipe, such as a shell's `<(command)`, which may never be written to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a file, or a pipe, of at most `max` bytes; `None` if there are more.
///
/// # Errors
///
/// The file cannot be opened or read; a pipe has no data for five seconds.
pub fn read(path: &Path, max: u64) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    let file = patient::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    let mut bounded = Patient { file: &file, waits: !metadata.is_file() }.take(max.saturating_add(1));
    bounded.read_to_end(&mut bytes)?;
    let whole = u64::try_from(bytes.len()).is_ok_and(|len| len <= max);
    Ok(whole.then_some((bytes, metadata)))
}

/// A non-blocking file, read with a time limit.
struct Patient<'a> {
    file: &'a File,
    waits: bool,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waits {
            let mut file = [PollFd::new(self.file, PollFlags::IN)];
            if poll(&mut file, Timespec::try_from(PATIENCE).ok().as_ref())? == 0 {
                return Err(io::Error::new(ErrorKind::TimedOut, "no data within the time limit"));
            }
        }
        self.file.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    #[test]
    fn waiting_for_a_pipe_is_limited() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let started = Instant::now();
        assert_eq!(read(&path, 10).unwrap_err().to_string(), "no data within the time limit");
        assert!(started.elapsed() < 3 * PATIENCE);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                let mut pipe = File::options().write(true).open(&path).unwrap();
                pipe.write_all(b"ab").unwrap();
                std::thread::sleep(Duration::from_millis(200));
                pipe.write_all(b"c").unwrap();
            });
            assert_eq!(read(&path, 10).unwrap().unwrap().0, b"abc");
        });
    }

    #[test]
    fn endless_files_and_directories_are_refused() {
        assert!(read(Path::new("/dev/zero"), 1 << 16).unwrap().is_none());
        assert_eq!(read(Path::new("/dev/null"), 10).unwrap().unwrap().0, b"");
        assert_eq!(read(Path::new("/"), 10).unwrap_err().kind(), ErrorKind::IsADirectory);
    }
}
