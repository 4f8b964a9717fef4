use std::io::Write;

use super::*;

const TEXT: &[u8] = b"the content of a layer, the content of a layer, the content of a layer";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18], &length[..], content].concat()
}

/// Returns one byte for each call of `read`.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let end = buf.len().min(1);
        self.0.read(&mut buf[..end])
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, DecodeFault> {
    let read = |reader: Box<dyn Read + '_>| {
        let mut content = Vec::new();
        let compression = Compression::of(bytes).unwrap();
        match decoder(compression, reader, 22).unwrap().read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) => Err(DecodeFault::of(&error).expect("a fault of the bytes").clone()),
        }
    };
    let at_once = read(Box::new(bytes));
    assert_eq!(read(Box::new(Trickle(bytes))), at_once, "the same by single bytes");
    at_once
}

#[test]
fn the_first_bytes_tell_the_compression() {
    let table: &[(&[u8], Compression)] = &[
        (b"", Compression::None),
        (b"\x1f", Compression::None),
        (b"BZh etc/passwd", Compression::None),
        (b"]\0\0\0\0\0\0\0\0\0", Compression::None),
        (b"etc/passwd", Compression::None),
        (b"\x1f\x8b", Compression::Gzip),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"\x50\x2a\x4d\x18", Compression::Zstd),
        (b"\x5f\x2a\x4d\x18", Compression::Zstd),
        (b"\x60\x2a\x4d\x18", Compression::None),
    ];
    for (head, expected) in table {
        assert_eq!(Compression::of(head), Ok(*expected), "{head:?}");
    }
    for (head, name) in [
        (&b"BZh91AY&SYxx"[..], "bzip2"),
        (b"\xfd7zXZ\0\0\0\0\0", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"LZIP\x01", "lzip"),
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x9d\x90", "compress"),
    ] {
        assert_eq!(Compression::of(head), Err(ImageProblem::UnknownCompression(name)));
    }
}

#[test]
fn a_media_type_without_a_compression_agrees_with_all() {
    const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
    for (compression, media_type, consistent) in [
        (Compression::None, OCI.to_owned(), true),
        (Compression::Gzip, format!("{OCI}+gzip"), true),
        (Compression::Gzip, format!("{OCI}+GZIP; charset=utf-8"), true),
        (Compression::Gzip, "application/vnd.docker.image.rootfs.diff.tar.gzip".into(), true),
        (Compression::Zstd, format!("{OCI}+zstd"), true),
        (Compression::Gzip, "application/octet-stream".into(), true),
        (Compression::Zstd, "application/x-tar".into(), true),
        (Compression::None, "application/gzip".into(), false),
        (Compression::Gzip, OCI.into(), false),
        (Compression::Zstd, format!("{OCI}+gzip"), false),
        (Compression::None, format!("{OCI}+zstd"), false),
    ] {
        assert_eq!(compression.is_consistent_with(&media_type), consistent, "{compression} {media_type}");
    }
}

#[test]
fn all_members_and_frames_are_decoded() {
    let twice = [TEXT, TEXT].concat();
    let table = [
        (TEXT.to_vec(), TEXT),
        (gzip(TEXT), TEXT),
        ([gzip(TEXT), gzip(b""), gzip(TEXT)].concat(), &twice),
        ([gzip(TEXT), vec![0; 300_000]].concat(), TEXT),
        (gzip(b""), b""),
        (zstd(TEXT), TEXT),
        ([zstd(TEXT), skippable(b"xx"), zstd(TEXT)].concat(), &twice),
        ([skippable(b"xx"), zstd(TEXT), skippable(b"")].concat(), TEXT),
        (zstd(b""), b""),
    ];
    for (bytes, expected) in table {
        assert_eq!(decode(&bytes).unwrap(), expected);
    }
}

#[test]
fn damage_is_detected_in_every_byte() {
    let cut = |bytes: Vec<u8>, by: usize| bytes[..bytes.len() - by].to_vec();
    let flip = |mut bytes: Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        bytes
    };
    let early = "it ends early";
    let table = [
        (cut(gzip(TEXT), 20), "gzip", early),
        (cut(gzip(TEXT), 8), "gzip", early),
        (cut(gzip(TEXT), 1), "gzip", early),
        (gzip(TEXT)[..5].to_vec(), "gzip", early),
        ([gzip(TEXT), gzip(TEXT)[..5].to_vec()].concat(), "gzip", early),
        (flip(gzip(TEXT), 8), "gzip", "corrupt gzip stream does not have a matching checksum"),
        (flip(gzip(TEXT), 1), "gzip", "corrupt gzip stream does not have a matching checksum"),
        ([gzip(TEXT), b"x".to_vec()].concat(), "gzip", "bytes follow its last member"),
        ([gzip(TEXT), b"\0\0x".to_vec()].concat(), "gzip", "bytes follow its last member"),
        ([gzip(TEXT), b"\0".to_vec(), gzip(TEXT)].concat(), "gzip", "bytes follow its last member"),
        (b"\x1f\x8bxxxxxxxxxxxx".to_vec(), "gzip", "invalid gzip header"),
        (cut(zstd(TEXT), 20), "zstd", early),
        (cut(zstd(TEXT), 1), "zstd", early),
        (cut(skippable(b"xx"), 1), "zstd", early),
        (flip(zstd(TEXT), 1), "zstd", "Restored data doesn't match checksum"),
        ([zstd(TEXT), b"garbage!".to_vec()].concat(), "zstd", "Unknown frame descriptor"),
        ([zstd(TEXT), b"\0".to_vec()].concat(), "zstd", "Unknown frame descriptor"),
    ];
    for (bytes, format, detail) in table {
        let fault = decode(&bytes).unwrap_err();
        assert_eq!(fault, DecodeFault::Damaged { format, detail: detail.into() }, "{bytes:x?}");
    }
}

#[test]
fn a_window_over_the_limit_breaks_a_limit() {
    let frame = |window_log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(TEXT).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(decode(&frame(22)).unwrap(), TEXT);
    let fault = decode(&frame(23)).unwrap_err();
    assert_eq!(
        fault.at(Place::Layers).to_string(),
        "the image has more than 22 as the logarithm of its zstd window, --max-zstd-window-log allows 22",
    );
}

#[test]
fn a_read_error_is_not_an_image_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    for bytes in [TEXT.to_vec(), gzip(TEXT), zstd(TEXT)] {
        let compression = Compression::of(&bytes).unwrap();
        let mut decoder = decoder(compression, (&bytes[..bytes.len() - 9]).chain(Broken), 27).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!((error.to_string().as_str(), DecodeFault::of(&error)), ("disk on fire", None));
    }
}
