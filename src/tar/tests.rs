//! Streams as programs write them, and damaged or hostile ones.

use std::io::Read as _;

use super::build::{Member, Stream};
use super::fault::TarProblem;
use super::*;
use crate::limits::Limits;
use crate::time::Timestamp;

/// Reads all members; an error has the form `ENTRY: TEXT`, with `-` for the stream as a whole.
fn read(stream: &[u8]) -> Result<Vec<TarEntry>, String> {
    Reader::new(stream, &Limits::default()).collect::<Result<_, _>>().map_err(|fault| {
        let entry = fault.entry.map_or("-".to_owned(), |entry| entry.to_string());
        match fault.problem {
            TarProblem::Image(problem) => format!("{entry}: {problem}"),
            TarProblem::Extension { allowed, found } => format!("{entry}: {found} over {allowed}"),
            TarProblem::SparseExtents { allowed } => format!("{entry}: more than {allowed} extents"),
            TarProblem::Io(error) => format!("{entry}: {error}"),
        }
    })
}

fn only(stream: &[u8]) -> TarEntry {
    let mut entries = read(stream).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn names(stream: &[u8]) -> Vec<String> {
    read(stream).unwrap().iter().map(|entry| entry.name.escape_ascii().to_string()).collect()
}

fn content<'a>(stream: &'a [u8], entry: &TarEntry) -> &'a [u8] {
    let start = usize::try_from(entry.content.offset).unwrap();
    &stream[start..start + usize::try_from(entry.content.stored).unwrap()]
}

#[test]
fn every_header_field_is_decoded() {
    let file = Member::new(b'0', b"usr/bin/su")
        .at(100, b"0104755\0")
        .at(108, b"\x80\0\0\0\0\x01\0\0")
        .at(116, b"0000012\0")
        .at(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe")
        .data(b"hello");
    let stream = Stream::new().member(file).end();
    let entry = only(&stream);
    assert_eq!((entry.number, entry.header_offset), (1, 0));
    assert_eq!((&*entry.name, entry.kind, entry.typeflag), (&b"usr/bin/su"[..], Kind::File, b'0'));
    assert_eq!((entry.mode, entry.uid, entry.gid), (0o4755, 65536, 10));
    assert_eq!(entry.mtime, Timestamp::from_seconds(-2));
    assert_eq!((entry.size, content(&stream, &entry)), (5, &b"hello"[..]));
    assert_eq!(entry.content.map, None);
}

#[test]
fn typeflags_become_kinds() {
    let table = [
        (b'0', Kind::File),
        (0, Kind::File),
        (b'7', Kind::File),
        (b'1', Kind::HardLink),
        (b'2', Kind::Symlink),
        (b'3', Kind::CharDevice),
        (b'4', Kind::BlockDevice),
        (b'5', Kind::Directory),
        (b'6', Kind::Fifo),
        (b'Z', Kind::Unknown(b'Z')),
    ];
    for (typeflag, kind) in table {
        let stream = Stream::new().member(Member::new(typeflag, b"n").link(b"target")).end();
        let entry = only(&stream);
        assert_eq!((entry.kind, &*entry.link), (kind, &b"target"[..]));
    }
    assert_eq!(only(&Stream::new().member(Member::new(0, b"d/")).end()).kind, Kind::Directory);
    assert_eq!(only(&Stream::new().member(Member::new(b'0', b"d/")).end()).kind, Kind::File);
}

#[test]
fn device_numbers_may_be_base_256_and_count_for_devices_only() {
    let numbers = |typeflag| {
        let member = Member::new(typeflag, b"n").at(329, b"\x80\0\0\0\0\x01\0\0").at(337, b"0000007\0");
        let entry = only(&Stream::new().member(member).end());
        (entry.major, entry.minor)
    };
    assert_eq!(numbers(b'3'), (65536, 7));
    assert_eq!(numbers(b'4'), (65536, 7));
    assert_eq!(numbers(b'6'), (0, 0));
}

#[test]
fn size_field_is_ignored_for_types_without_content() {
    for typeflag in b'1'..=b'6' {
        let stream = Stream::new().member(Member::new(typeflag, b"n").size(5)).file(b"next", b"x").end();
        let entries = read(&stream).unwrap();
        assert_eq!((entries[0].size, entries[0].content.stored), (0, 0));
        assert_eq!(&*entries[1].name, b"next");
    }
    let stream = Stream::new().pax(&[(b"size", b"512")]).member(Member::new(0, b"d/")).file(b"next", b"").end();
    assert_eq!(names(&stream), ["d/", "next"]);
    let stream = Stream::new().member(Member::new(b'Z', b"odd").data(b"skipped")).file(b"next", b"").end();
    assert_eq!(names(&stream), ["odd", "next"]);
}

#[test]
fn names_come_from_pax_then_gnu_then_the_header_with_its_prefix() {
    let long = |kind, value: &'static [u8]| Member::new(kind, b"././@LongLink").gnu().data(value);
    let prefixed = || Member::new(b'2', b"name").at(345, b"pre/fix").link(b"target");
    let name_and_link = |stream: Stream| {
        let entry = only(&stream.end());
        (entry.name.to_vec(), entry.link.to_vec())
    };
    let pair = |name: &str, link: &str| (name.as_bytes().to_vec(), link.as_bytes().to_vec());
    let new = Stream::new;
    let table = [
        (new().member(prefixed()), pair("pre/fix/name", "target")),
        (new().member(Member::new(b'2', b"name").at(345, b"pre").at(257, b"\0\0\0\0\0\0\0\0")), pair("name", "")),
        (new().member(prefixed().gnu()), pair("name", "target")),
        (
            new().member(long(b'L', b"long\0junk")).member(long(b'K', b"link\0")).member(prefixed()),
            pair("long", "link"),
        ),
        (new().member(long(b'L', b"one\0")).member(long(b'L', b"two\0")).member(prefixed()), pair("two", "target")),
        (new().member(long(b'L', b"\0")).member(prefixed()), pair("pre/fix/name", "target")),
        (new().pax(&[(b"path", b"pax")]).member(long(b'L', b"long\0")).member(prefixed()), pair("pax", "target")),
        (
            new().member(long(b'K', b"link\0")).pax(&[(b"linkpath", b"pax")]).member(prefixed()),
            pair("pre/fix/name", "pax"),
        ),
        (new().pax(&[(b"path", b"one"), (b"path", b"")]).member(prefixed()), pair("pre/fix/name", "target")),
        (
            new().pax(&[(b"path", b"one")]).pax(&[(b"comment", b"two")]).member(prefixed()),
            pair("pre/fix/name", "target"),
        ),
    ];
    for (stream, expected) in table {
        assert_eq!(name_and_link(stream), expected);
    }
}

#[test]
fn an_extension_header_applies_to_one_member() {
    let stream = Stream::new()
        .pax(&[(b"uid", b"7"), (b"SCHILY.xattr.user.a", b"1")])
        .member(Member::new(b'L', b"l").gnu().data(b"long\0"))
        .file(b"first", b"")
        .file(b"second", b"")
        .end();
    let entries = read(&stream).unwrap();
    assert_eq!((&*entries[0].name, entries[0].uid, entries[0].xattrs.len()), (&b"long"[..], 7, 1));
    assert_eq!((&*entries[1].name, entries[1].uid, entries[1].xattrs.len()), (&b"second"[..], 0, 0));
    assert_eq!((entries[0].header_offset, entries[0].number, entries[1].number), (4 * 512, 1, 2));
}

#[test]
fn pax_values_win_over_the_header() {
    let stream = Stream::new()
        .pax(&[(b"uid", b"4294967294"), (b"gid", b"70000"), (b"size", b"3"), (b"mtime", b"-1.25")])
        .member(Member::new(b'0', b"f").size(0))
        .raw(b"abc")
        .raw(&[0; 509])
        .file(b"next", b"")
        .end();
    let entries = read(&stream).unwrap();
    let entry = &entries[0];
    assert_eq!((entry.uid, entry.gid, entry.size), (4_294_967_294, 70000, 3));
    assert_eq!(entry.mtime, Timestamp { seconds: -2, nanos: 750_000_000 });
    assert_eq!(content(&stream, entry), b"abc");
    assert_eq!(entries.len(), 2);
}

#[test]
fn global_headers_are_checked_and_skipped() {
    let global = |data| Member::new(b'g', b"g").data(data);
    let stream = Stream::new().member(global(b"9 uid=42\n")).file(b"f", b"").end();
    assert_eq!(only(&stream).uid, 0);
    let stream = Stream::new().member(global(b"11 uid=42\n")).file(b"f", b"").end();
    assert_eq!(read(&stream).unwrap_err(), "entry 1: has a damaged extension header: a PAX record has a wrong length");
}

#[test]
fn missing_end_padding_and_extended_member_are_accepted() {
    let file = Stream::new().file(b"f", b"x").0;
    let with = |more: &[u8]| [&file, more].concat();
    let table = [
        ("an end marker", with(&[0; 1024])),
        ("no end marker", file.clone()),
        ("no padding either", file[..513].to_vec()),
        ("a lone zero block at the very end", with(&[0; 512])),
        ("a piece of the second one", with(&[0; 700])),
        ("record padding", with(&[0; 10240])),
        ("a second archive", with(&Stream::new().raw(&[0; 1024]).file(b"g", b"").0)),
        ("a dangling extension header", with(&Stream::new().pax(&[(b"path", b"g")]).0)),
    ];
    for (case, stream) in table {
        assert_eq!(names(&stream), ["f"], "{case}");
    }
    assert_eq!(names(b""), [""; 0]);
}

#[test]
fn truncated_and_damaged_archives_are_refused() {
    let file = || Stream::new().file(b"f", b"hello");
    let member = |member| Stream::new().member(member).0;
    let pax = |key: &'static [u8], value: &'static [u8]| Stream::new().pax(&[(key, value)]).file(b"f", b"").0;
    let sum = |bytes: &[u8; 8]| {
        let mut header = Member::new(b'0', b"f").header();
        header[148..156].copy_from_slice(bytes);
        file().raw(&header).0
    };
    let huge = Member::new(b'0', b"f").at(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    let table = [
        (file().0[..516].to_vec(), r#"entry 1 "f": ends 1 bytes short"#),
        (file().0[..512].to_vec(), r#"entry 1 "f": ends 5 bytes short"#),
        (file().raw(&[0; 100]).0, "-: is not a tar stream: it ends within a header"),
        (file().raw(&[0; 512]).file(b"g", b"").0, "-: is not a tar stream: data follows a single zero block"),
        (b"<html>".repeat(200), "-: is not a tar stream: it does not begin with a header"),
        (
            [b"\x1f\x8b\x08".to_vec(), vec![1; 600]].concat(),
            "-: is not a tar stream: it is compressed once more, with gzip",
        ),
        (
            [b"\xfd7zXZ\0".to_vec(), vec![1; 600]].concat(),
            "-: is not a tar stream: it is compressed once more, with xz",
        ),
        (sum(b"0000000\0"), "entry 2: has a damaged header: its checksum does not match"),
        (sum(b"junkjunk"), "entry 2: has a damaged header: its checksum does not match"),
        (member(Member::new(b'0', b"f").at(124, b"-1")), r#"entry 1 "f": has an unreadable size: it is not a number"#),
        (member(Member::new(b'0', b"f").at(108, &[0xff; 8])), r#"entry 1 "f": has an unreadable uid: it is negative"#),
        (member(huge), r#"entry 1 "f": ends 18446744073709551615 bytes short"#),
        (pax(b"size", b"9223372036854775807"), r#"entry 1 "f": ends 9223372036854775807 bytes short"#),
        (pax(b"size", b"-1"), r#"entry 1 "f": has an unreadable PAX size: it is not a number"#),
        (pax(b"uid", b"0x7"), r#"entry 1 "f": has an unreadable PAX uid: it is not a number"#),
        (pax(b"mtime", b"NaN"), r#"entry 1 "f": has an unreadable PAX mtime: it is not a number"#),
        (pax(b"path", b"a\0b"), r#"entry 1 "a\x00b": has a NUL byte in a name"#),
        (pax(b"linkpath", b"a\0b"), r#"entry 1 "f": has a NUL byte in a name"#),
        (member(Member::new(b'x', b"x").size(100)), "entry 1: ends 100 bytes short"),
        (member(Member::new(b'x', b"x").size(4 << 30)), "entry 1: 4294967296 over 1048576"),
        (member(Member::new(b'L', b"x").data(&[b'n'; (1 << 20) + 1])), "entry 1: 1048577 over 1048576"),
    ];
    for (stream, expected) in table {
        assert_eq!(read(&stream).unwrap_err(), expected);
    }
}

#[test]
fn stacked_extension_headers_share_one_limit() {
    let half = vec![b'n'; 600 << 10];
    let stream = Stream::new()
        .member(Member::new(b'L', b"l").data(&half))
        .file(b"f", b"")
        .member(Member::new(b'L', b"l").data(&half))
        .member(Member::new(b'L', b"l").data(&half))
        .file(b"f", b"");
    assert_eq!(read(&stream.0).unwrap_err(), "entry 2: 1228800 over 1048576");
}

#[test]
fn the_reader_ends_after_an_error() {
    let stream = Stream::new().raw(&Member::new(b'0', b"f").at(124, b"x").header()).file(b"g", b"").end();
    let mut reader = Reader::new(&stream[..], &Limits::default());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn signed_checksums_are_accepted() {
    let mut header = Member::new(b'0', b"\xff\xfe").header();
    let sum: i32 = header[..148].iter().chain(&header[156..]).map(|&b| i32::from(b.cast_signed())).sum();
    header[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
    assert_eq!(names(&header), ["\\xff\\xfe"]);
}

/// Three ways to store `aaa`, 1021 bytes of hole, `bb`, and a hole up to 4096.
const MAP: [Extent; 2] = [Extent { offset: 0, len: 3 }, Extent { offset: 1024, len: 2 }];

fn assert_sparse(stream: &[u8], name: &[u8]) {
    let entries = read(stream).unwrap();
    assert_eq!(entries.len(), 2);
    let entry = &entries[0];
    assert_eq!((&*entry.name, entry.kind, entry.size), (name, Kind::File, 4096));
    assert_eq!(entry.content.map.as_deref(), Some(&MAP[..]));
    assert_eq!(content(stream, entry), b"aaabb");
    assert_eq!(&*entries[1].name, b"next");
}

#[test]
fn every_sparse_format_is_decoded() {
    let run = |offset: u64, len: u64| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let old = || Member::new(b'S', b"old").gnu().at(483, b"00000010000\0");
    let runs = [run(0, 3), run(1024, 2), run(4096, 0)].concat();
    assert_sparse(&Stream::new().member(old().data(b"aaabb").at(386, &runs)).file(b"next", b"").end(), b"old");

    let mut block = [0; 512];
    block[..24].copy_from_slice(&run(0, 3));
    block[504] = 1;
    let mut last = [0; 512];
    last[24..48].copy_from_slice(&run(1024, 2));
    let data = [b"aaabb".as_slice(), &[0; 507]].concat();
    let stream = Stream::new().raw(&old().size(5).at(482, &[1]).header()).raw(&block).raw(&last).raw(&data);
    assert_sparse(&stream.file(b"next", b"").end(), b"old");

    let file = || Member::new(b'0', b"GNUSparseFile.1/x");
    let v00: [(&[u8], &[u8]); 6] = [
        (b"GNU.sparse.size", b"4096"),
        (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.offset", b"0"),
        (b"GNU.sparse.numbytes", b"3"),
        (b"GNU.sparse.offset", b"1024"),
        (b"GNU.sparse.numbytes", b"2"),
    ];
    assert_sparse(
        &Stream::new().pax(&v00).member(file().data(b"aaabb")).file(b"next", b"").end(),
        b"GNUSparseFile.1/x",
    );
    let v01: [(&[u8], &[u8]); 4] = [
        (b"GNU.sparse.name", b"x"),
        (b"GNU.sparse.size", b"4096"),
        (b"GNU.sparse.numblocks", b"2"),
        (b"GNU.sparse.map", b"0,3,1024,2"),
    ];
    assert_sparse(&Stream::new().pax(&v01).member(file().data(b"aaabb")).file(b"next", b"").end(), b"x");
    let v10: [(&[u8], &[u8]); 4] = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"x"),
        (b"GNU.sparse.realsize", b"4096"),
    ];
    let mut data = b"2\n0\n3\n1024\n2\n".to_vec();
    data.resize(512, 0);
    data.extend(b"aaabb");
    assert_sparse(&Stream::new().pax(&v10).member(file().data(&data)).file(b"next", b"").end(), b"x");
}

#[test]
fn damaged_sparse_maps_are_refused() {
    let file = || Member::new(b'0', b"f").data(b"aaabb");
    let v10 = || {
        Stream::new().pax(&[(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")])
    };
    let v01 = |blocks: &'static [u8], map: &'static [u8]| {
        Stream::new()
            .pax(&[(b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", blocks), (b"GNU.sparse.map", map)])
            .member(file())
    };
    let endless = [&b"999999999\n"[..], &b"0\n".repeat(1 << 20)].concat();
    let sparse = |what| format!(r#"entry 1 "f": has a damaged sparse map: {what}"#);
    let table = [
        (v01(b"1", b"0,5,9,0"), sparse("it has fewer runs than it says")),
        (v01(b"1", b"0"), sparse("it has fewer runs than it says")),
        (v01(b"1", b"0,6"), sparse("its runs are not as long as the data")),
        (v01(b"1", b"5,5"), sparse("its runs overlap or leave the file")),
        (v01(b"1", b"0,x"), r#"entry 1 "f": has an unreadable sparse map: it is not a number"#.into()),
        (v10().member(file()), sparse("it is longer than the data")),
        (v10().member(Member::new(b'0', b"f").data(&endless)), r#"entry 1 "f": more than 1000000 extents"#.into()),
        (v10().member(Member::new(b'5', b"f")), sparse("only a regular file can have one")),
        (Stream::new().member(Member::new(b'S', b"f")), sparse("its header is not GNU's")),
        (
            Stream::new().pax(&[(b"GNU.sparse.major", b"2"), (b"GNU.sparse.size", b"1")]).member(file()),
            sparse("its version is unknown"),
        ),
        (
            Stream::new().pax(&[(b"GNU.sparse.numbytes", b"2")]).member(file()),
            "entry 1: has a damaged sparse map: its offsets and lengths do not take turns".into(),
        ),
    ];
    for (stream, expected) in table {
        assert_eq!(read(&stream.0).unwrap_err(), expected);
    }
}

#[test]
fn the_reader_agrees_with_the_tar_crate() {
    let mut builder = tar::Builder::new(Vec::new());
    let names: Vec<String> = [1, 99, 100, 101, 155, 256, 5000].map(|n| "n".repeat(n)).into();
    for (name, i) in names.iter().zip(1..) {
        let mut header = tar::Header::new_gnu();
        header.set_size(i * 300);
        header.set_mode(0o640);
        header.set_uid(i << 30);
        header.set_mtime(i << 40);
        let records = [("SCHILY.xattr.user.i", &b"\n\0="[..])];
        builder.append_pax_extensions(records).unwrap();
        builder.append_data(&mut header, name, std::io::repeat(b'c').take(i * 300)).unwrap();
    }
    let stream = builder.into_inner().unwrap();
    let mut archive = tar::Archive::new(&stream[..]);
    let theirs: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let name = entry.path_bytes().into_owned();
            (name, header.uid().unwrap(), header.mtime().unwrap(), entry.size(), entry.raw_file_position())
        })
        .collect();
    let ours: Vec<_> = read(&stream)
        .unwrap()
        .iter()
        .map(|entry| {
            assert_eq!(&*entry.xattrs[0].value, b"\n\0=");
            let seconds = u64::try_from(entry.mtime.seconds).unwrap();
            (entry.name.to_vec(), entry.uid, seconds, entry.size, entry.content.offset)
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn extents_of_all_members_are_bounded_while_their_maps_are_read() {
    let run = |offset: u64, len: u64| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let old = |name: &[u8]| Member::new(b'S', name).gnu().at(483, b"00000010000\0");
    let mut more = [0; 512];
    more[..48].copy_from_slice(&[run(8, 1), run(9, 0)].concat());
    let mut data = b"2\n0\n1\n9\n0\n".to_vec();
    data.resize(512, 0);
    data.extend(b"c");
    let v01: [(&[u8], &[u8]); 3] =
        [(b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"3"), (b"GNU.sparse.map", b"0,1,3,0,4,0")];
    let v10: [(&[u8], &[u8]); 3] =
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"4096")];
    // One extent in the header and two in a block after it, three in records, two in the data; empty ones count, too.
    let stream = Stream::new()
        .raw(&old(b"a").size(2).at(386, &run(0, 1)).at(482, &[1]).header())
        .raw(&more)
        .raw(&[b'a'; 2])
        .raw(&[0; 510])
        .pax(&v01)
        .file(b"b", b"b")
        .pax(&v10)
        .file(b"c", &data)
        .end();
    let read = |sparse_extents| {
        let mut reader = Reader::new(&stream[..], &Limits { sparse_extents, ..Limits::default() });
        let fault = reader.by_ref().find_map(Result::err);
        (fault.map(|fault| fault.entry.unwrap().number), reader.extents_left())
    };
    assert_eq!(read(9), (None, 1));
    assert_eq!(read(8), (None, 0));
    assert_eq!([7, 5, 3, 2, 0].map(|most| read(most).0), [Some(3), Some(2), Some(2), Some(1), Some(1)]);
    let left = Reader::new(&stream[..], &Limits::default()).with_extents_left(7).find_map(Result::err);
    assert!(matches!(left.unwrap().problem, TarProblem::SparseExtents { allowed: 1_000_000 }));
}

#[test]
fn extension_headers_are_bounded_even_without_data() {
    let headers =
        |count: usize| Stream::new().raw(&Member::new(b'g', b"g").header().repeat(count)).file(b"f", b"").end();
    assert_eq!(names(&headers(2049)), ["f"]);
    assert_eq!(read(&headers(2050)).unwrap_err(), "entry 1: 1049088 over 1048576");
}
