//! Compressed streams and the tar streams in them: truncated, damaged, concatenated and oversized.

use std::io::Write;

use flate2::write::GzEncoder;
use planish_proptests::listing::{Contents, Kind};
use planish_proptests::writer::{Compression, Entry, Layer, TarEnd};

use crate::hostile::{Yard, paths};
use crate::support::raw::Raw;

fn file() -> Layer {
    Layer::new([Entry::file("f", "content")])
}

fn zstd() -> Raw {
    file().compression(Compression::Zstd).into()
}

/// Changes the byte at a distance from a blob's end.
fn from_end(back: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |blob| {
        let at = blob.len() - back;
        blob[at] ^= 1;
    }
}

fn cut(bytes: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |blob| blob.truncate(blob.len() - bytes)
}

/// Rows: L01, L02, L03, L04.
#[test]
fn damaged_compression_is_refused_by_layer() {
    let gzip = || Raw::from(file());
    let tar = file().tar();
    let bzip2 = b"BZh91AY&SY\0\0\0\0".to_vec();
    let xz = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46".to_vec();
    Yard::new().refuses([
        (gzip().change(from_end(8)), 5, "is not valid gzip: corrupt gzip stream does not have a matching checksum"),
        (gzip().change(from_end(1)), 5, "is not valid gzip: corrupt gzip stream does not have a matching checksum"),
        (gzip().change(|blob| blob.truncate(5)), 5, "is not valid gzip: it ends early"),
        (gzip().change(|blob| blob.truncate(2)), 5, "is not valid gzip: it ends early"),
        (gzip().change(|blob| blob.extend(b"\x1f\x8b")), 5, "is not valid gzip: it ends early"),
        (gzip().change(|blob| blob.extend([0, 0, 1])), 5, "is not valid gzip: bytes follow its last member"),
        (zstd().change(cut(9)), 5, "is not valid zstd: it ends early"),
        (zstd().change(cut(2)), 5, "is not valid zstd: it ends early"),
        (zstd().change(from_end(1)), 5, "is not valid zstd: Restored data doesn't match checksum"),
        (zstd().change(|blob| blob.extend(b"garbage")), 5, "is not valid zstd: Unknown frame descriptor"),
        (zstd().change(|blob| blob.truncate(3)), 5, "has diff ID sha256:, the config promises sha256:"),
        (Raw::gzip(bzip2, &tar), 5, "is compressed in a way that planish does not read (bzip2)"),
        (Raw::gzip(xz, &tar), 5, "is compressed in a way that planish does not read (xz)"),
        (Raw::gzip(Vec::new(), &tar), 5, "has diff ID sha256:, the config promises sha256:"),
        (
            Raw::tar(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 0, 0]),
            7,
            "has more than 27 as the logarithm of its zstd window, --max-zstd-window-log allows 27",
        ),
        (Raw::tar(b"#!/bin/sh\n".repeat(100)), 5, "is not a tar stream: it does not begin with a header"),
        (Raw::tar(vec![7; 300]), 5, "is not a tar stream: it ends within a header"),
    ]);
}

/// Rows: L04.
#[test]
fn an_empty_layer_is_accepted_when_size_and_digests_agree() {
    let found = Yard::new().made(&[file().into(), Raw::gzip(Vec::new(), b"")]);
    assert_eq!(paths(&found), "/f");
}

/// Rows: L09.
#[test]
fn every_archive_end_of_common_tools_is_accepted() {
    let yard = Yard::new();
    let end = |end| Raw::tar(file().tar_end(end).tar());
    let unpadded = Raw::tar(file().tar_end(TarEnd::None).cut_tar(512 - "content".len()).tar());
    for layer in [end(TarEnd::None), end(TarEnd::OneBlock), end(TarEnd::Pad(20 << 10)), end(TarEnd::Garbage), unpadded]
    {
        let found = yard.made(&[layer]);
        assert_eq!(paths(&found), "/f");
        assert_eq!(found.get(b"/f").unwrap().kind, Kind::File(Contents::of(b"content")));
    }
}

/// Rows: L09.
#[test]
fn a_second_archive_after_the_first_is_not_applied() {
    let second = Layer::new([Entry::file("smuggled", ""), Entry::whiteout(".wh.f")]).tar();
    let found = Yard::new().made(&[Raw::tar([file().tar(), second].concat())]);
    assert_eq!(paths(&found), "/f");
}

/// Rows: L08, L09.
#[test]
fn truncated_streams_are_refused() {
    let open = || file().tar_end(TarEnd::None);
    let one_block = [file().tar_end(TarEnd::OneBlock).tar(), file().tar()].concat();
    Yard::new().refuses([
        (Raw::tar(open().cut_tar(512 - 6).tar()), 5, r#"entry 1 "f" ends 1 bytes short"#),
        (Raw::tar(open().cut_tar(512 + 100).tar()), 5, "is not a tar stream: it ends within a header"),
        (Raw::tar(one_block), 5, "is not a tar stream: data follows a single zero block"),
        (
            Raw::tar(Layer::new([Entry::file("f", "").size(1 << 62)]).tar()),
            5,
            r#"entry 1 "f" ends 4611686018427386880 bytes short"#,
        ),
    ]);
}

/// A stream of one file of `bytes` bytes 7, compressed while it is made.
fn bomb<W: Write>(mut compressed: W, bytes: usize) -> W {
    const PIECE: usize = 1 << 20;
    let header = Layer::new([Entry::file("bomb", "").size(bytes as u64)]).tar_end(TarEnd::None).tar();
    compressed.write_all(&header).unwrap();
    for _ in 0..bytes / PIECE {
        compressed.write_all(&[7; PIECE]).unwrap();
    }
    compressed
}

/// Rows: L05.
#[test]
fn bombs_stop_at_the_limit() {
    let yard = Yard::new();
    let gzip = bomb(GzEncoder::new(Vec::new(), flate2::Compression::fast()), 200 << 20).finish().unwrap();
    let zstd = bomb(zstd::Encoder::new(Vec::new(), 1).unwrap(), 200 << 20).finish().unwrap();
    for blob in [gzip, zstd] {
        assert!(blob.len() < 2 << 20, "{}", blob.len());
        let bomb = Raw::gzip(blob, b"never read to its end");
        let text = yard.refused(&[bomb], &["--max-bytes", "64M"], 7);
        assert_eq!(
            text,
            "the image has more than 67108864 uncompressed bytes in all layers, --max-bytes allows 67108864"
        );
    }
}
