//! What a child writes, read by a thread while it runs.

use std::io::Read;
use std::thread::JoinHandle;

use super::Stdout;

/// How much is kept where only the end is: so many bytes at least, twice as many at most.
pub const END_KEPT: usize = 4096;

/// What was read.
pub enum Captured {
    /// What was to be kept.
    Bytes(Vec<u8>),
    /// There was more than this bound.
    TooMuch(usize),
}

/// A thread that reads one pipe to its end, or to its bound.
pub struct Reader(Option<JoinHandle<Captured>>);

impl Reader {
    /// Starts to read.
    pub fn start(stream: Option<impl Read + Send + 'static>, kept: Stdout) -> Self {
        Self(stream.map(|stream| {
            std::thread::spawn(move || match kept {
                Stdout::Discard | Stdout::End => Captured::Bytes(end(stream)),
                Stdout::All(max) => all(stream, max),
            })
        }))
    }

    /// Returns whether nothing more will come.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Returns what was read, once that is all.
    pub fn finish(self) -> Captured {
        self.0.and_then(|thread| thread.join().ok()).unwrap_or_else(|| Captured::Bytes(Vec::new()))
    }
}

fn end(mut stream: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut block = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut block) {
        kept.extend_from_slice(&block[..n]);
        if kept.len() > 2 * END_KEPT {
            kept.drain(..kept.len() - END_KEPT);
        }
    }
    kept
}

/// Closes the pipe at the bound: a child that goes on writing is ended by the system.
fn all(stream: impl Read, max: usize) -> Captured {
    let mut kept = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    // A pipe that breaks has said what it had to say.
    let _ = stream.take(bound).read_to_end(&mut kept);
    if kept.len() > max { Captured::TooMuch(max) } else { Captured::Bytes(kept) }
}
