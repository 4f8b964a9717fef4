//! Bodies of manifests and blobs, and their faults.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;

use super::answer::Exchange;
use super::log::Ending;
use super::plan::{Fault, Kind};

const BLOCK: u64 = 64 << 10;

/// The body to send: a part of a file, or bytes instead, with bytes after it.
struct Body {
    file: File,
    /// The offset of the correct part in the blob, and its length.
    start: u64,
    length: u64,
    /// The distance by which the bytes sent are shifted.
    shift: u64,
    instead: Option<Vec<u8>>,
    tail: Tail,
}

struct Tail {
    byte: u8,
    length: u64,
}

impl Body {
    fn total(&self) -> u64 {
        self.instead.as_ref().map_or(self.length + self.tail.length, |bytes| bytes.len() as u64)
    }

    /// Returns bytes of the body up to the end of their part.
    fn at(&self, position: u64, count: u64, fault: &Fault) -> io::Result<Vec<u8>> {
        if let Some(bytes) = &self.instead {
            let start = usize::try_from(position).unwrap();
            let end = bytes.len().min(start + usize::try_from(count).unwrap());
            return Ok(bytes[start..end].to_vec());
        }
        if position >= self.length {
            return Ok(vec![self.tail.byte; usize::try_from(count).unwrap()]);
        }
        let mut bytes = vec![0; usize::try_from(count.min(self.length - position)).unwrap()];
        if !fault.zeros {
            // A shifted body ends early in the file and continues with zeros.
            let _ = self.file.read_at(&mut bytes, self.start + self.shift + position)?;
        }
        let offset = fault.flip_byte.and_then(|offset| offset.checked_sub(self.start + position));
        if let Some(byte) = offset.and_then(|offset| bytes.get_mut(usize::try_from(offset).unwrap())) {
            *byte ^= 1;
        }
        Ok(bytes)
    }
}

impl Exchange<'_> {
    pub fn body(&mut self, file: File) -> io::Result<()> {
        let fault = self.fault.clone();
        let size = file.metadata()?.len();
        let manifest = self.record.kind == Kind::Manifest;
        let range = self.request.range().filter(|_| !manifest && !fault.ignore_range);
        let (start, end) = match range {
            Some((first, _)) if first >= size => {
                let all = [("Content-Range", format!("bytes */{size}")), ("Content-Length", "0".to_owned())];
                return self.head(416, &all);
            }
            Some((first, last)) => (first, last.map_or(size, |last| size.min(last.saturating_add(1)))),
            None => (0, size),
        };
        let honest = if fault.empty { 0 } else { end.saturating_sub(start) };
        let length = fault.short_body.map_or(honest, |short| short.min(honest));
        let tail = match fault.pad_json {
            0 => Tail { byte: b'X', length: fault.extra_bytes },
            spaces => Tail { byte: b' ', length: spaces },
        };
        let shift = if range.is_some() { fault.bad_range } else { 0 };
        let mut body = Body { file, start, length, shift, instead: None, tail };
        if fault.gzip {
            body.instead = Some(gzip(&body.at(0, length, &fault)?));
        }
        let status = if range.is_some() { 206 } else { 200 };
        let headers = self.headers(&fault, &body, range.map(|_| format!("bytes {start}-{}/{size}", end - 1)));
        self.head(status, &headers)?;
        if self.request.method == "HEAD" {
            return if fault.drop_content_length { self.close() } else { self.wire.flush() };
        }
        self.send(&fault, &body)
    }

    fn headers(&self, fault: &Fault, body: &Body, content_range: Option<String>) -> Vec<(&'static str, String)> {
        let manifest = self.record.kind == Kind::Manifest;
        let digest = self.record.digest.clone().unwrap_or_default();
        let repository = &self.shared.repositories[self.record.repository.as_ref().unwrap()];
        let honest = if manifest { repository.media_type(&digest) } else { "application/octet-stream" };
        let content_type = fault.content_type.unwrap_or(Some(honest)).map(str::to_owned);
        let chunked = fault.chunked || fault.chunked_truncated.is_some();
        let length = (!chunked && !fault.drop_content_length).then(|| body.total().to_string());
        let ranges = (!manifest && !fault.no_accept_ranges).then(|| "bytes".to_owned());
        let headers = [
            ("Content-Length", length),
            ("Content-Type", content_type),
            ("Docker-Content-Digest", fault.digest_header.clone().unwrap_or(Some(digest))),
            ("Content-Encoding", fault.gzip.then(|| "gzip".to_owned())),
            ("Accept-Ranges", ranges),
            ("Content-Range", content_range),
            ("Transfer-Encoding", chunked.then(|| "chunked".to_owned())),
            ("Connection", fault.drop_content_length.then(|| "close".to_owned())),
        ];
        let given = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.chain(fault.headers.iter().cloned()).collect()
    }

    fn send(&mut self, fault: &Fault, body: &Body) -> io::Result<()> {
        let chunked = fault.chunked || fault.chunked_truncated.is_some();
        let cut = fault.reset_after.or(fault.close_after).or(fault.chunked_truncated);
        let mut stall = fault.stall_at;
        let mut position = 0;
        while position < body.total() && cut.is_none_or(|cut| position < cut) {
            if let Some((_, wait)) = stall.take_if(|(at, _)| *at <= position) {
                self.wire.flush()?;
                self.shared.sleep(wait);
            }
            let edges = [Some(body.total()), cut, stall.map(|(at, _)| at), Some(body.length).filter(|l| *l > position)];
            let most = fault.drip.map_or(BLOCK, |(bytes, _)| bytes);
            let count = edges.into_iter().flatten().map(|edge| edge - position).fold(most, u64::min);
            let mut bytes = body.at(position, count, fault)?;
            if chunked {
                self.wire.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
            }
            position += bytes.len() as u64;
            if position == body.total() {
                // In one write with the end of the body: a client sees them before its next request.
                bytes.resize(bytes.len() + usize::try_from(fault.extra_unannounced).unwrap(), b'X');
            }
            self.wire.write_all(&bytes)?;
            if chunked {
                self.wire.write_all(b"\r\n")?;
            }
            self.record.sent = position;
            if let Some((_, wait)) = fault.drip {
                self.wire.flush()?;
                self.shared.sleep(wait);
            }
            if self.shared.ended() {
                return self.close();
            }
        }
        self.end(fault, cut.is_some(), chunked)
    }

    fn end(&mut self, fault: &Fault, cut: bool, chunked: bool) -> io::Result<()> {
        if cut {
            return if fault.reset_after.is_some() { self.reset() } else { self.close() };
        }
        if chunked {
            self.wire.write_all(b"0\r\n\r\n")?;
        }
        if fault.drop_content_length {
            self.record.ending = Ending::Closed;
            return self.wire.close();
        }
        self.wire.flush()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut compressed).unwrap();
    compressed
}
