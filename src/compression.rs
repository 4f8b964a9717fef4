//! How a layer or an archive is compressed, told by its bytes, and the stream without it.
//!
//! A media type decides nothing here. Everything that was compressed is read to its very end: all gzip members, all zstd
//! frames, the checksums behind them.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::zstd_safe;

use crate::error::{Error, ErrorKind, Found, ImageProblem, Place};
use crate::limits::Limit;

/// The ways of compression that planish reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The bytes are the content.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

impl Compression {
    /// How many of the first bytes [`Compression::of`] wants to see.
    pub const MAGIC_LEN: usize = 10;

    /// Tells the compression by a stream's first bytes; fewer than it wants are enough where the stream is shorter.
    ///
    /// # Errors
    ///
    /// bzip2 and xz, which nobody may use for layers, are named as what they are.
    pub fn of(head: &[u8]) -> Result<Self, ImageProblem> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one of the sixteen skippable ones.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => {
                Err(ImageProblem::UnknownCompression("bzip2"))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(ImageProblem::UnknownCompression("xz")),
            _ => Ok(Self::None),
        }
    }
}

impl Compression {
    /// Returns whether a layer's media type says this compression; types that say nothing of it agree with any.
    #[must_use]
    pub fn is_said_by(self, media_type: &str) -> bool {
        let says = |suffix: &str| media_type.ends_with(suffix);
        match self {
            Self::None => !says("gzip") && !says("zstd"),
            Self::Gzip => says("gzip"),
            Self::Zstd => says("zstd"),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Why compressed bytes cannot be read on; travels inside the [`io::Error`] of a [`Decoder`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The bytes are not what their beginning promised.
    #[error("not valid {format}: {detail}")]
    Damaged {
        /// The compression.
        format: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The stream wants a larger window than is allowed.
    #[error("the zstd window is larger than 2^{allowed} bytes")]
    Window {
        /// The limit in force.
        allowed: u32,
    },
}

impl DecodeFault {
    /// Returns the fault that an error of a [`Decoder`] carries; `None` when the reader below it failed.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the fault as an error about a part of an image.
    #[must_use]
    pub fn at(&self, place: Place) -> Error {
        match self {
            Self::Damaged { format, detail } => {
                Error::image(place, ImageProblem::Compression { format, detail: detail.clone() })
            }
            Self::Window { allowed } => {
                let allowed = u64::from(*allowed);
                let limit = Limit::ZstdWindow;
                ErrorKind::Limit { place, limit, allowed, found: Found::MoreThan(allowed) }.into()
            }
        }
    }
}

// The crate hands out nothing but the texts that belong to zstd's codes.
/// `ZSTD_error_frameParameter_windowTooLarge`.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();
/// `ZSTD_error_memory_allocation`.
const OUT_OF_MEMORY: usize = 64_usize.wrapping_neg();

/// How much is read at once: a decoder's calls should not become system calls.
const BUFFER: usize = 128 << 10;

/// Returns a reader of what `reader` compresses. `zstd_window_log` bounds the memory of a zstd stream.
///
/// Its errors carry a [`DecodeFault`] where the bytes are at fault; an error of `reader` comes out as it went in.
///
/// # Errors
///
/// The system's, when a decoder cannot be made.
pub fn decoder<R: Read>(compression: Compression, reader: R, zstd_window_log: u32) -> io::Result<Decoder<R>> {
    let source = BufReader::with_capacity(BUFFER, Source { reader, failed: false });
    let state = match compression {
        Compression::None => State::Plain(source),
        Compression::Gzip => State::Gzip(Box::new(GzDecoder::new(source))),
        Compression::Zstd => {
            let mut frames = zstd::Decoder::with_buffer(source)?;
            frames.window_log_max(zstd_window_log)?;
            State::Zstd(frames)
        }
    };
    Ok(Decoder { state, zstd_window_log })
}

/// Reads the content of compressed bytes, to their very end.
pub struct Decoder<R: Read> {
    state: State<R>,
    zstd_window_log: u32,
}

enum State<R: Read> {
    Plain(BufReader<Source<R>>),
    Gzip(Box<GzDecoder<BufReader<Source<R>>>>),
    /// Behind a member: another one may follow.
    GzipEnd(BufReader<Source<R>>),
    /// Behind the last member: only NULs may follow.
    GzipPadding(BufReader<Source<R>>),
    Zstd(zstd::Decoder<'static, BufReader<Source<R>>>),
    /// Only while one state becomes another.
    Lost,
}

/// Remembers whether it failed, so that its errors are not taken for the decoder's.
struct Source<R> {
    reader: R,
    failed: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.reader.read(buf);
        self.failed = result.is_err();
        result
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let result = match &mut self.state {
            State::Plain(bytes) => return bytes.read(buf),
            State::Zstd(frames) => frames.read(buf),
            _ => self.read_gzip(buf),
        };
        result.map_err(|error| match self.source() {
            Some(source) if source.get_ref().failed => error,
            _ if error.to_string() == zstd_safe::get_error_name(OUT_OF_MEMORY) => io::ErrorKind::OutOfMemory.into(),
            _ => io::Error::new(io::ErrorKind::InvalidData, self.fault(&error)),
        })
    }
}

impl<R: Read> Decoder<R> {
    /// Returns the reader below; `None` where the stream was lost.
    #[must_use]
    pub fn into_inner(self) -> Option<R> {
        let source = match self.state {
            State::Plain(source) | State::GzipEnd(source) | State::GzipPadding(source) => source,
            State::Gzip(member) => member.into_inner(),
            State::Zstd(frames) => frames.finish(),
            State::Lost => return None,
        };
        Some(source.into_inner().reader)
    }

    fn source(&self) -> Option<&BufReader<Source<R>>> {
        match &self.state {
            State::Plain(source) | State::GzipEnd(source) | State::GzipPadding(source) => Some(source),
            State::Gzip(member) => Some(member.get_ref()),
            State::Zstd(frames) => Some(frames.get_ref()),
            State::Lost => None,
        }
    }

    fn read_gzip(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Gzip(member) => match member.read(buf)? {
                    0 => self.go_on(State::GzipEnd),
                    count => return Ok(count),
                },
                State::GzipEnd(source) => match source.fill_buf()? {
                    [] => return Ok(0),
                    [0x1f, ..] => self.go_on(|source| State::Gzip(Box::new(GzDecoder::new(source)))),
                    _ => self.go_on(State::GzipPadding),
                },
                State::GzipPadding(source) => match source.fill_buf()? {
                    [] => return Ok(0),
                    padding if padding.iter().all(|&b| b == 0) => {
                        let count = padding.len();
                        source.consume(count);
                    }
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow its last member")),
                },
                State::Plain(_) | State::Zstd(_) | State::Lost => return Ok(0),
            }
        }
    }

    fn go_on(&mut self, next: impl FnOnce(BufReader<Source<R>>) -> State<R>) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Gzip(member) => next(member.into_inner()),
            State::GzipEnd(source) | State::GzipPadding(source) => next(source),
            other => other,
        };
    }

    fn fault(&self, error: &io::Error) -> DecodeFault {
        let format = if matches!(self.state, State::Zstd(_)) { "zstd" } else { "gzip" };
        let text = error.to_string();
        if format == "zstd" && text == zstd_safe::get_error_name(WINDOW_TOO_LARGE) {
            return DecodeFault::Window { allowed: self.zstd_window_log };
        }
        let detail = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends early".into(),
            _ => text,
        };
        DecodeFault::Damaged { format, detail }
    }
}

#[cfg(test)]
mod tests;
