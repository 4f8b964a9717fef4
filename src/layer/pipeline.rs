//! Stages that work beside the decoder of a layer: one reads ahead, one takes what was decoded.
//!
//! Each has a thread of its own and a short queue. If no thread can be started, the decoder's thread does its work.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use crate::error::Result;
use crate::workers;

/// The number of blocks that wait in a queue.
const QUEUE: usize = 2;
/// Bytes that are read ahead at once.
const READ: usize = 128 << 10;

/// A reader that reads ahead.
pub(super) enum ReadAhead<'scope, R> {
    /// There is no thread.
    Own(R),
    Beside(Arrivals<'scope, R>),
}

/// The blocks of a reader on another thread.
pub(super) struct Arrivals<'scope, R> {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, R>,
    block: Vec<u8>,
    position: usize,
}

impl<'scope, R: Read + Send + 'scope> ReadAhead<'scope, R> {
    /// Returns a reader of the bytes of `make`'s reader, which another thread reads if it is `beside` this one.
    pub fn new(scope: &'scope Scope<'scope, '_>, beside: bool, make: impl Fn() -> R + Copy + Send + 'scope) -> Self {
        let start = || {
            let (put, full) = sync_channel(QUEUE);
            let (empty, take) = sync_channel(QUEUE + 2);
            let thread = workers::start(scope, move || read_all(make(), &put, &take))?;
            Some(Self::Beside(Arrivals { full, empty, thread, block: Vec::new(), position: 0 }))
        };
        beside.then(start).flatten().unwrap_or_else(|| Self::Own(make()))
    }

    /// Returns the underlying reader.
    pub fn into_inner(self) -> R {
        match self {
            Self::Own(reader) => reader,
            Self::Beside(Arrivals { full, thread, .. }) => {
                // The thread ends when nobody takes its blocks.
                drop(full);
                workers::join(thread)
            }
        }
    }
}

/// Reads to the end, to an error, or until nobody takes the blocks.
fn read_all<R: Read>(mut reader: R, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) -> R {
    loop {
        let mut block = empty.try_recv().unwrap_or_default();
        block.resize(READ, 0);
        let read = reader.read(&mut block).map(|count| {
            block.truncate(count);
            block
        });
        let is_last = !read.as_ref().is_ok_and(|block| !block.is_empty());
        if full.send(read).is_err() || is_last {
            return reader;
        }
    }
}

impl<R: Read> Read for ReadAhead<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(reader) => reader.read(buf),
            Self::Beside(arrivals) => arrivals.read(buf),
        }
    }
}

impl<R> Read for Arrivals<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position == self.block.len() {
            // After the end or an error, the thread has sent all that it ever sends.
            let Ok(arrived) = self.full.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.block, arrived?);
            self.position = 0;
            let _ = self.empty.try_send(used);
        }
        let count = buf.len().min(self.block.len() - self.position);
        buf[..count].copy_from_slice(&self.block[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// The last stage: it takes blocks in order.
pub(super) trait Sink {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A sink that works behind the caller.
pub(super) enum WriteBehind<'scope, S> {
    /// There is no thread.
    Own(S),
    Beside(Departures<'scope, S>),
}

/// The blocks for a sink on another thread.
pub(super) struct Departures<'scope, S> {
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, Result<S>>,
}

impl<'scope, S: Sink + Send + 'scope> WriteBehind<'scope, S> {
    /// Returns the sink that `make` makes; it works on another thread if it is `beside` this one.
    pub fn new(scope: &'scope Scope<'scope, '_>, beside: bool, make: impl Fn() -> S + Copy + Send + 'scope) -> Self {
        let start = || {
            let (full, take) = sync_channel(QUEUE);
            let (put, empty) = sync_channel(QUEUE + 2);
            let thread = workers::start(scope, move || take_all(make(), &take, &put))?;
            Some(Self::Beside(Departures { full, empty, thread }))
        };
        beside.then(start).flatten().unwrap_or_else(|| Self::Own(make()))
    }

    /// Passes the first `count` bytes of a block to the sink, and gives another block of its length in return.
    /// Returns false if the sink has failed and takes no more; [`Self::finish`] says why.
    pub fn pass(&mut self, block: &mut Vec<u8>, count: usize) -> Result<bool> {
        let Departures { full, empty, .. } = match self {
            Self::Own(sink) => return sink.take(&block[..count]).map(|()| true),
            Self::Beside(departures) => departures,
        };
        let next = empty.try_recv().unwrap_or_else(|_| vec![0; block.len()]);
        Ok(full.send((std::mem::replace(block, next), count)).is_ok())
    }

    /// Waits until the sink has taken everything.
    ///
    /// # Errors
    ///
    /// The sink has failed.
    pub fn finish(self) -> Result<S> {
        match self {
            Self::Own(sink) => Ok(sink),
            Self::Beside(Departures { full, thread, .. }) => {
                drop(full);
                workers::join(thread)
            }
        }
    }
}

fn take_all<S: Sink>(mut sink: S, full: &Receiver<(Vec<u8>, usize)>, empty: &SyncSender<Vec<u8>>) -> Result<S> {
    for (block, count) in full {
        sink.take(&block[..count])?;
        let _ = empty.try_send(block);
    }
    Ok(sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Gives some bytes at a time, and then an end or an error.
    struct Source {
        left: usize,
        fails: bool,
    }

    impl Read for Source {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 && self.fails {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let count = self.left.min(buf.len()).min(100_003);
            buf[..count].fill(7);
            self.left -= count;
            Ok(count)
        }
    }

    struct Counter {
        taken: usize,
        most: usize,
    }

    impl Sink for Counter {
        fn take(&mut self, bytes: &[u8]) -> Result<()> {
            assert!(bytes.iter().all(|byte| *byte == 7));
            self.taken += bytes.len();
            if self.taken > self.most { Err(ErrorKind::Bug("full").into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_reader_gives_the_same_bytes_beside_and_alone() {
        for beside in [true, false] {
            for (left, fails) in [(0, false), (1, true), (2_000_000, false), (500_000, true)] {
                std::thread::scope(|scope| {
                    let mut ahead = ReadAhead::new(scope, beside, || Source { left, fails });
                    let mut bytes = Vec::new();
                    assert_eq!(ahead.read_to_end(&mut bytes).is_err(), fails);
                    assert_eq!(bytes, vec![7; left]);
                    assert_eq!(ahead.into_inner().left, 0);
                });
            }
        }
    }

    #[test]
    fn a_reader_that_is_given_up_ends() {
        std::thread::scope(|scope| {
            let ahead = ReadAhead::new(scope, true, || Source { left: 1 << 30, fails: false });
            assert!(ahead.into_inner().left > 0);
            drop(ReadAhead::new(scope, true, || Source { left: 1 << 30, fails: false }));
        });
    }

    #[test]
    fn a_sink_takes_all_or_fails() {
        for beside in [true, false] {
            for most in [usize::MAX, 0, 25_000] {
                std::thread::scope(|scope| {
                    let mut behind = WriteBehind::new(scope, beside, || Counter { taken: 0, most });
                    let mut block = vec![7; 1000];
                    let mut passed = 0;
                    let failed = loop {
                        block.fill(7);
                        match behind.pass(&mut block, 10 + passed % 900) {
                            Ok(true) if passed < 100_000 => passed += 10 + passed % 900,
                            Ok(true) => break behind.finish().map(|sink| assert!(sink.taken >= passed)),
                            Ok(false) => break behind.finish().map(drop),
                            Err(error) => break Err(error),
                        }
                        assert_eq!(block.len(), 1000);
                    };
                    assert_eq!(failed.is_err(), most < usize::MAX, "{beside} {most}");
                });
            }
        }
    }
}
