//! Writes metadata blocks, given in ascending order.

use std::io;

use mkext4::RegionSink;

use super::buffer::{ImageFile, WriteBuffer};
use crate::cancel::Cancel;
use crate::error::Error;

/// A writer to a new file, in which zeros need not be written.
pub(super) struct Sink<'a> {
    buffer: WriteBuffer<'a>,
    cancel: &'a Cancel,
    stopped: Option<Error>,
}

impl<'a> Sink<'a> {
    pub fn new(file: &'a ImageFile<'a>, cancel: &'a Cancel) -> Self {
        Self { buffer: WriteBuffer::new(file), cancel, stopped: None }
    }

    /// Writes the buffered bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        self.buffer.flush()
    }

    /// Returns the cancellation that made a call fail.
    pub fn stopped(self) -> Option<Error> {
        self.stopped
    }
}

impl RegionSink for Sink<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(stop) = self.cancel.check() {
            self.stopped = Some(stop);
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.buffer.add(offset, bytes)
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
    fn a_stop_ends_the_write() {
        let cancel = Cancel::default();
        cancel.raise(Signal::Interrupt);
        let file = tempfile::tempfile().unwrap();
        let image = ImageFile::new(&file);
        let mut sink = Sink::new(&image, &cancel);
        assert!(sink.data(4096, b"x").is_err());
        assert_eq!(sink.stopped().unwrap().to_string(), "stopped by SIGINT");
    }
}
