//! Collects metadata blocks, written in ascending order, into larger writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mkext4::RegionSink;

use crate::cancel::Cancel;
use crate::error::Error;

const BUFFER: usize = 1 << 20;

/// A writer to a new file, in which zeros need not be written.
pub(super) struct Sink<'a> {
    file: &'a File,
    cancel: &'a Cancel,
    start: u64,
    buffer: Vec<u8>,
    stopped: Option<Error>,
}

impl<'a> Sink<'a> {
    pub fn new(file: &'a File, cancel: &'a Cancel) -> Self {
        Self { file, cancel, start: 0, buffer: Vec::with_capacity(BUFFER), stopped: None }
    }

    /// Writes the buffered bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.start)?;
        self.buffer.clear();
        Ok(())
    }

    /// Returns the cancellation that made a call fail.
    pub fn stopped(self) -> Option<Error> {
        self.stopped
    }
}

impl RegionSink for Sink<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = self.start + self.buffer.len() as u64;
        if offset != end || self.buffer.len() + bytes.len() > BUFFER {
            if let Err(stop) = self.cancel.check() {
                self.stopped = Some(stop);
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.flush()?;
            self.start = offset;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn zeros(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Signal;

    #[test]
    fn every_byte_is_written_at_its_offset() {
        let file = tempfile::tempfile().unwrap();
        let cancel = Cancel::default();
        let mut sink = Sink::new(&file, &cancel);
        let big = vec![3; BUFFER + 5];
        for (offset, bytes) in [(0, &b"ab"[..]), (2, b"c"), (10, b"d"), (11, &big), (11 + big.len() as u64, b"e")] {
            sink.data(offset, bytes).unwrap();
        }
        sink.flush().unwrap();
        let mut read = vec![0; 12 + big.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read[..11], *b"abc\0\0\0\0\0\0\0d");
        assert!(read[11..11 + big.len()] == big && read[11 + big.len()] == b'e');
    }

    #[test]
    fn a_stop_ends_the_write() {
        let cancel = Cancel::default();
        cancel.raise(Signal::Interrupt);
        let file = tempfile::tempfile().unwrap();
        let mut sink = Sink::new(&file, &cancel);
        assert!(sink.data(4096, b"x").is_err());
        assert_eq!(sink.stopped().unwrap().to_string(), "stopped by SIGINT");
    }
}
