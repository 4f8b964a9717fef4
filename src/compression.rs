//! Compression formats of layers and archives, detected by their magic numbers, and decoding streams.
//!
//! The media type is not used. A compressed stream is read to its end: all gzip members, all zstd frames, and the
//! checksums after them.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::zstd_safe;

use crate::error::{Amount, Error, ErrorKind, ImageProblem, Place};
use crate::limits::Limit;

/// The compression formats that planish reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

impl Compression {
    /// The number of leading bytes that [`Compression::of`] needs.
    pub const MAGIC_LEN: usize = 10;

    /// Detects the compression from the first bytes of a stream, all of them if the stream is shorter than
    /// [`Compression::MAGIC_LEN`].
    ///
    /// # Errors
    ///
    /// The format is not allowed for layers; the error names it.
    pub fn of(head: &[u8]) -> Result<Self, ImageProblem> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one of the sixteen kinds of skippable frames.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => {
                Err(ImageProblem::UnknownCompression("bzip2"))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(ImageProblem::UnknownCompression("xz")),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(ImageProblem::UnknownCompression("lz4")),
            [b'L', b'Z', b'I', b'P', 1, ..] => Err(ImageProblem::UnknownCompression("lzip")),
            [b'P', b'K', 3, 4, ..] => Err(ImageProblem::UnknownCompression("zip")),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Err(ImageProblem::UnknownCompression("7z")),
            // lzma has no magic: these are the properties and the dictionary sizes of all its levels. In a tar stream the
            // name `]` would be followed by NULs.
            [0x5d, 0, 0, low, high, ..] if (*low, *high) != (0, 0) => Err(ImageProblem::UnknownCompression("lzma")),
            [0x1f, 0x9d, ..] => Err(ImageProblem::UnknownCompression("compress")),
            _ => Ok(Self::None),
        }
    }
}

impl Compression {
    /// Returns true if the media type of a layer is consistent with this compression; types that name none are
    /// consistent with all.
    #[must_use]
    pub fn is_consistent_with(self, media_type: &str) -> bool {
        let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let says = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        let (gzip, zstd) = (says(&["gzip", "+gz", ".gz"]), says(&["zstd", "+zst", ".zst"]));
        match self {
            Self::None => !gzip && !zstd,
            Self::Gzip => gzip || !name.starts_with("application/vnd."),
            Self::Zstd => zstd || !name.starts_with("application/vnd."),
        }
    }
}

/// Returns the format in which bytes are compressed that were expected to be none, as the end of a sentence.
pub(crate) fn compressed_twice(head: &[u8]) -> Option<&'static str> {
    Some(match Compression::of(head) {
        Ok(Compression::None) => return None,
        Ok(Compression::Gzip) => "it is compressed once more, with gzip",
        Ok(Compression::Zstd) => "it is compressed once more, with zstd",
        Err(ImageProblem::UnknownCompression("xz")) => "it is compressed once more, with xz",
        Err(ImageProblem::UnknownCompression("bzip2")) => "it is compressed once more, with bzip2",
        Err(_) => "it is compressed once more, in a way that planish does not read",
    })
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

/// The fault of a compressed stream; the [`io::Error`] of a [`Decoder`] carries it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The stream is damaged.
    #[error("not valid {format}: {detail}")]
    Damaged {
        /// The compression.
        format: &'static str,
        /// The defect.
        detail: String,
    },
    /// The stream needs a larger window than is allowed.
    #[error("the zstd window is larger than 2^{allowed} bytes")]
    Window {
        /// The limit in force.
        allowed: u32,
    },
}

impl DecodeFault {
    /// Returns the fault that an error of a [`Decoder`] carries; `None` if the underlying reader failed.
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
                ErrorKind::Limit { place, limit, allowed, found: Amount::MoreThan(allowed) }.into()
            }
        }
    }
}

// The crate returns only the texts of zstd's error codes.
/// `ZSTD_error_frameParameter_windowTooLarge`.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();
/// `ZSTD_error_memory_allocation`.
const OUT_OF_MEMORY: usize = 64_usize.wrapping_neg();

/// Bytes that are read at once, so that small reads of a decoder do not become system calls.
const BUFFER: usize = 128 << 10;

/// Returns a reader of the decompressed bytes of `reader`. `zstd_window_log` limits the memory of a zstd stream.
///
/// Its errors carry a [`DecodeFault`] if the stream is damaged; an error of `reader` is returned unchanged.
///
/// # Errors
///
/// The decoder cannot be created.
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

/// Decompresses a stream and reads it to its end.
pub struct Decoder<R: Read> {
    state: State<R>,
    zstd_window_log: u32,
}

enum State<R: Read> {
    Plain(BufReader<Source<R>>),
    Gzip(Box<GzDecoder<BufReader<Source<R>>>>),
    /// After a member: another one may follow.
    GzipEnd(BufReader<Source<R>>),
    /// After the last member: only NULs may follow.
    GzipPadding(BufReader<Source<R>>),
    Zstd(zstd::Decoder<'static, BufReader<Source<R>>>),
    /// The state during a transition.
    Lost,
}

/// A reader that records whether it failed, so that its errors are told from the decoder's.
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
    /// Returns the underlying reader; `None` after a failed transition.
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
