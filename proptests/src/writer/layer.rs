//! One layer: entries, their archive, and its compression.

use std::io::{self, Write as _};

use flate2::GzBuilder;

use super::entry::Entry;
use super::tar::encode;

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// No compression.
    None,
    /// One gzip member.
    #[default]
    Gzip,
    /// Two gzip members, cut in the middle of a tar block.
    GzipMulti,
    /// One gzip member and 100 NULs after it.
    GzipNulPad,
    /// One zstd frame with a checksum.
    Zstd,
    /// One zstd frame of stored blocks.
    ZstdRaw,
    /// A skippable zstd frame, then one of stored blocks.
    ZstdSkippable,
    /// A zstd frame, a skippable one, and another, cut in the middle of a tar block.
    ZstdMulti,
}

impl Compression {
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip | Self::GzipMulti | Self::GzipNulPad => "gzip",
            Self::Zstd | Self::ZstdRaw | Self::ZstdSkippable | Self::ZstdMulti => "zstd",
        }
    }

    fn apply(self, tar: &[u8]) -> Vec<u8> {
        let (first, second) = tar.split_at(tar.len().min(tar.len() / 3 + 7));
        match self {
            Self::None => tar.to_vec(),
            Self::Gzip => gzip(tar),
            Self::GzipMulti => [gzip(first), gzip(second)].concat(),
            Self::GzipNulPad => [gzip(tar), vec![0; 100]].concat(),
            Self::Zstd => zstd(tar),
            Self::ZstdRaw => zstd_raw(tar),
            Self::ZstdSkippable => [zstd_skippable(), zstd_raw(tar)].concat(),
            Self::ZstdMulti => [zstd(first), zstd_skippable(), zstd(second)].concat(),
        }
    }
}

/// The bytes after the last entry of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TarEnd {
    /// Two zero blocks.
    #[default]
    Normal,
    /// Nothing.
    None,
    /// One zero block.
    OneBlock,
    /// Two zero blocks and 1,600 bytes of garbage.
    Garbage,
    /// Two zero blocks and this many more zero bytes.
    Pad(usize),
}

/// One layer, in the order of its entries.
///
/// The methods after [`Layer::compression`] make the layer wrong or unusual.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The compression of the blob.
    pub compression: Compression,
    /// The media type of the descriptor, instead of that of the compression.
    pub media_type: Option<String>,
    /// The end of the archive.
    pub tar_end: TarEnd,
    /// The number of bytes cut from the end of the archive, before compression.
    pub cut_tar: usize,
    /// The number of bytes cut from the end of the blob.
    pub cut_blob: usize,
    /// The bytes added to the end of the blob, before it is cut.
    pub append_blob: Vec<u8>,
    /// True for a wrong diff ID in the config.
    pub wrong_diff_id: bool,
    /// True for a blob that does not match its digest.
    pub wrong_digest: bool,
    /// The error of the descriptor's size.
    pub size_error: i64,
    /// The URLs in the descriptor, as foreign layers have them.
    pub urls: Vec<String>,
}

impl Layer {
    /// Returns a layer of entries, in one gzip member.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: entries.into_iter().collect(), ..Self::default() }
    }

    /// Sets the compression of the blob.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Sets the descriptor's media type.
    #[must_use]
    pub fn media_type(self, media_type: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), ..self }
    }

    /// Sets the end of the archive.
    #[must_use]
    pub fn tar_end(self, tar_end: TarEnd) -> Self {
        Self { tar_end, ..self }
    }

    /// Cuts bytes from the end of the archive; the diff ID is that of the rest.
    #[must_use]
    pub fn cut_tar(self, bytes: usize) -> Self {
        Self { cut_tar: bytes, ..self }
    }

    /// Cuts bytes from the end of the blob; digest and size are those of the rest.
    #[must_use]
    pub fn cut_blob(self, bytes: usize) -> Self {
        Self { cut_blob: bytes, ..self }
    }

    /// Adds bytes to the end of the blob; digest and size include them.
    #[must_use]
    pub fn append_blob(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { append_blob: bytes.into(), ..self }
    }

    /// Gives the config another diff ID for this layer.
    #[must_use]
    pub fn wrong_diff_id(self) -> Self {
        Self { wrong_diff_id: true, ..self }
    }

    /// Changes the last byte of the blob after computing its digest.
    #[must_use]
    pub fn wrong_digest(self) -> Self {
        Self { wrong_digest: true, ..self }
    }

    /// Adds this to the descriptor's size.
    #[must_use]
    pub fn size_error(self, bytes: i64) -> Self {
        Self { size_error: bytes, ..self }
    }

    /// Adds a URL to the descriptor.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Returns the archive, uncompressed.
    #[must_use]
    pub fn tar(&self) -> Vec<u8> {
        let mut tar: Vec<u8> = self.entries.iter().flat_map(encode).collect();
        match self.tar_end {
            TarEnd::Normal => tar.extend([0; 1024]),
            TarEnd::None => {}
            TarEnd::OneBlock => tar.extend([0; 512]),
            TarEnd::Garbage => {
                tar.extend([0; 1024]);
                tar.extend(b"GARBAGE!".repeat(200));
            }
            TarEnd::Pad(bytes) => tar.extend(vec![0; 1024 + bytes]),
        }
        tar.truncate(tar.len().saturating_sub(self.cut_tar));
        tar
    }

    /// Returns the blob that matches its digest.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = self.compression.apply(&self.tar());
        blob.extend_from_slice(&self.append_blob);
        blob.truncate(blob.len().saturating_sub(self.cut_blob));
        blob
    }

    /// Returns the media type in the descriptor.
    pub(super) fn described_as(&self, docker: bool) -> String {
        let suffix = self.compression.suffix();
        match (&self.media_type, docker, suffix) {
            (Some(media_type), ..) => media_type.clone(),
            (None, true, "") => "application/vnd.docker.image.rootfs.diff.tar".to_owned(),
            (None, true, _) => format!("application/vnd.docker.image.rootfs.diff.tar.{suffix}"),
            (None, false, "") => "application/vnd.oci.image.layer.v1.tar".to_owned(),
            (None, false, _) => format!("application/vnd.oci.image.layer.v1.tar+{suffix}"),
        }
    }
}

/// The level affects the bytes, so it is fixed, and so are the header's time and system.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), flate2::Compression::new(6));
    in_memory(encoder.write_all(bytes));
    in_memory(encoder.finish())
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = in_memory(zstd::Encoder::new(Vec::new(), 3));
    in_memory(encoder.include_checksum(true));
    in_memory(encoder.write_all(bytes));
    in_memory(encoder.finish())
}

/// Returns a frame as in RFC 8878 section 3.1.1: single segment, a content size of four bytes, no checksum.
fn zstd_raw(bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 1 << 16;
    let field = |number: usize| u32::try_from(number).expect("a layer of a test is under 4 GiB").to_le_bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(field(bytes.len()));
    let count = bytes.len().div_ceil(BLOCK).max(1);
    for index in 0..count {
        let block = &bytes[index * BLOCK..bytes.len().min((index + 1) * BLOCK)];
        let last = usize::from(index + 1 == count);
        frame.extend(&field(block.len() << 3 | last)[..3]);
        frame.extend(block);
    }
    frame
}

fn zstd_skippable() -> Vec<u8> {
    b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec()
}

fn in_memory<T>(result: io::Result<T>) -> T {
    result.expect("a write to memory cannot fail")
}

#[cfg(test)]
mod tests {
    use flate2::read::{GzDecoder, MultiGzDecoder};

    use super::*;

    fn layer() -> Layer {
        Layer::new([Entry::dir("a"), Entry::file("a/b", "content")])
    }

    fn gunzip(mut reader: impl io::Read) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_compression_decodes_to_the_archive() {
        let tar = layer().tar();
        let blob = |compression| layer().compression(compression).blob();
        assert_eq!(blob(Compression::None), tar);
        for compression in [Compression::Gzip, Compression::GzipMulti] {
            assert_eq!(gunzip(MultiGzDecoder::new(&blob(compression)[..])).unwrap(), tar, "{compression:?}");
        }
        let padded = blob(Compression::GzipNulPad);
        assert_eq!(gunzip(MultiGzDecoder::new(&padded[..padded.len() - 100])).unwrap(), tar);
        for compression in [Compression::Zstd, Compression::ZstdRaw, Compression::ZstdSkippable, Compression::ZstdMulti]
        {
            assert_eq!(zstd::decode_all(&blob(compression)[..]).unwrap(), tar, "{compression:?}");
        }
    }

    #[test]
    fn several_members_are_decoded_after_the_first() {
        let blob = layer().compression(Compression::GzipMulti).blob();
        assert!(gunzip(GzDecoder::new(&blob[..])).unwrap().len() < layer().tar().len());
    }

    #[test]
    fn a_large_archive_is_stored_in_several_zstd_blocks() {
        let large = Layer::new([Entry::file("a", super::super::Content::Repeat { byte: 7, count: 200_000 })]);
        let blob = large.clone().compression(Compression::ZstdRaw).blob();
        assert_eq!(zstd::decode_all(&blob[..]).unwrap(), large.tar());
    }

    #[test]
    fn archives_have_the_requested_end() {
        let length = |end| layer().tar_end(end).tar().len();
        let entries = length(TarEnd::None);
        assert_eq!(entries, 3 * 512);
        assert_eq!(length(TarEnd::OneBlock), entries + 512);
        assert_eq!(length(TarEnd::Normal), entries + 1024);
        assert_eq!(length(TarEnd::Pad(512)), entries + 1536);
        assert_eq!(length(TarEnd::Garbage), entries + 2624);
        assert_eq!(layer().cut_tar(10).tar().len(), entries + 1014);
    }

    #[test]
    fn blobs_are_extended_before_they_are_truncated() {
        let blob = layer().blob();
        assert_eq!(layer().append_blob(*b"xyz").cut_blob(1).blob(), [&blob[..], b"xy"].concat());
    }
}
