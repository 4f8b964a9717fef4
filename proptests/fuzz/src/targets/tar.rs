//! Tar streams: whole ones, one extended header, one sparse map.

use planish::fuzzing::Limits;
use planish::fuzzing::tar::{Reader, TarEntry};
use planish_proptests::writer::{Entry as Written, Format, Layer};

const BLOCK: usize = 512;

/// The bytes are a stream.
pub fn stream(bytes: &[u8]) {
    let _ = members(bytes);
}

/// The bytes are the data of a member's extended header.
pub fn pax(bytes: &[u8]) {
    let stream = [&header(b'x', "PaxHeader", bytes.len())[..], &padded(bytes), &header(b'0', "plain", 0)].concat();
    let members = members(&stream);
    let records = records(bytes);
    let Some(records) = records else {
        assert!(members.is_err(), "records that are none are refused");
        return;
    };
    let Ok(members) = members else { return };
    let [member] = &members[..] else { panic!("{} members", members.len()) };
    // The last record is used, and an empty one removes an earlier one.
    let last = |key: &[u8]| records.iter().rev().find(|(found, _)| *found == key).map(|(_, value)| *value);
    let path = last(b"GNU.sparse.name").filter(|value| !value.is_empty()).or(last(b"path"));
    assert_eq!(&*member.name, path.filter(|value| !value.is_empty()).unwrap_or(b"plain"));
    for xattr in &member.xattrs {
        let known = |(key, _): &(&[u8], &[u8])| key.ends_with(&xattr.name) || key.starts_with(b"LIBARCHIVE.");
        assert!(records.iter().any(known), "an xattr that no record has");
    }
}

/// The first byte selects one of GNU's forms of a sparse map, the rest is map and data.
pub fn sparse(bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    let stream = match form % 3 {
        0 => {
            let records = [record("GNU.sparse.major", b"1"), record("GNU.sparse.minor", b"0"), size_record()].concat();
            with_records(&records, &header(b'0', "sparse", rest.len()), rest)
        }
        1 => {
            let (map, data) = rest.split_at(rest.len().min(64));
            let count = map.split(|&byte| byte == b',').count().div_ceil(2).to_string();
            let map = [record("GNU.sparse.map", map), record("GNU.sparse.numblocks", count.as_bytes())].concat();
            with_records(&[map, size_record()].concat(), &header(b'0', "sparse", data.len()), data)
        }
        _ => {
            let (map, data) = rest.split_at(rest.len().min(97));
            let mut block = header(b'S', "sparse", data.len());
            block[386..386 + map.len()].copy_from_slice(map);
            block[483..495].copy_from_slice(b"00004000000\0");
            checksum(&mut block);
            [&block[..], &padded(data)].concat()
        }
    };
    let _ = members(&stream);
}

/// Reads a stream to its end, and checks the reader's guarantees for each member.
fn members(bytes: &[u8]) -> Result<Vec<TarEntry>, String> {
    let limits = Limits { extension_bytes: 64 << 10, ..Limits::default() };
    let mut reader = Reader::new(bytes, &limits);
    let mut members = Vec::new();
    for member in reader.by_ref() {
        let member = member.map_err(|fault| format!("{fault:?}"))?;
        members.push(member);
        let member = members.last().expect("it was pushed");
        assert_eq!(member.number, members.len() as u64);
        assert!(members.len() <= bytes.len() / BLOCK, "each member has a header");
        within(member, bytes.len() as u64);
    }
    assert!(reader.next().is_none(), "nothing comes after the end");
    Ok(members)
}

/// A member's content is inside the stream, and its map is inside the file.
fn within(member: &TarEntry, length: u64) {
    let content = &member.content;
    let end = content.offset.checked_add(content.stored).expect("no number wraps");
    assert!(content.stored == 0 || end <= length, "content beyond the stream");
    assert!(!member.name.contains(&0) && !member.link.contains(&0));
    assert!(member.mode <= 0o7777);
    let Some(map) = &content.map else { return };
    let mut position = 0;
    let mut stored = 0;
    for extent in map {
        assert!(extent.len > 0 && extent.offset >= position, "extents ascend");
        position = extent.offset.checked_add(extent.len).expect("no number wraps");
        stored += extent.len;
    }
    assert!(position <= member.size && stored == content.stored);
}

/// Splits records as POSIX describes them; `None` if the bytes are not records.
fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|&byte| byte == b' ')?;
        let digits = std::str::from_utf8(&bytes[..space]).ok()?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let length: usize = digits.parse().ok().filter(|_| plain)?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

fn with_records(records: &[u8], header_block: &[u8], data: &[u8]) -> Vec<u8> {
    [&header(b'x', "PaxHeader", records.len())[..], &padded(records), header_block, &padded(data)].concat()
}

fn size_record() -> Vec<u8> {
    record("GNU.sparse.realsize", b"1048576")
}

/// Writes a record; its length includes its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    [length.to_string().as_bytes(), &rest].concat()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut padded = data.to_vec();
    padded.resize(data.len().next_multiple_of(BLOCK), 0);
    padded
}

fn header(typeflag: u8, name: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000"), (136, "00000000000")] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = typeflag;
    block[257..265].copy_from_slice(if typeflag == b'S' { b"ustar  \0" } else { b"ustar\x0000" });
    checksum(&mut block);
    block
}

fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Streams of the writer.
pub fn stream_seeds() -> Vec<Vec<u8>> {
    let odd = [
        Written::dir("d/").mode(0o1777).owner(5, 1 << 30).mtime(-1, 5),
        Written::file("d/f", "content").xattr("user.a", "1").pax("comment", "x"),
        Written::hardlink("d/g", "d/f"),
        Written::symlink("d/".to_owned() + &"l".repeat(120), "t".repeat(200)),
        Written::char_device("c", 1, 3),
        Written::fifo("p"),
        Written::whiteout("d/.wh.x"),
        Written::global([(b"path".to_vec(), b"no".to_vec())]),
    ];
    let plain = Layer::new([Written::file("a", "b").format(Format::Gnu), Written::dir("n".repeat(150))]).tar();
    vec![Layer::new(odd).tar(), plain, Vec::new()]
}

/// Records of every supported kind.
pub fn pax_seeds() -> Vec<Vec<u8>> {
    let one = |key: &str, value: &[u8]| record(key, value);
    vec![
        one("path", b"a/b"),
        [one("path", b"a"), one("path", b"")].concat(),
        [one("uid", b"1"), one("gid", b"2"), one("size", b"0"), one("mtime", b"-1.5")].concat(),
        [one("SCHILY.xattr.user.a", b"\n\0"), one("LIBARCHIVE.xattr.user.b", b"YQ"), one("linkpath", b"x")].concat(),
        [one("GNU.sparse.offset", b"0"), one("GNU.sparse.numbytes", b"0"), one("GNU.sparse.size", b"5")].concat(),
        one("SCHILY.acl.access", b"user::rwx,group::r-x,other::r--"),
    ]
}

/// A map of each form.
pub fn sparse_seeds() -> Vec<Vec<u8>> {
    let mut lines = b"\x002\n0\n5\n1000\n3\n".to_vec();
    lines.resize(1 + BLOCK, 0);
    lines.extend(b"helloend");
    let mut comma = b"\x010,5,1000,3".to_vec();
    comma.resize(1 + 64, b'0');
    let mut old = b"\x02".to_vec();
    for number in [0, 5, 1000, 3, 0, 0, 0, 0] {
        old.extend(format!("{number:011o}\0").as_bytes());
    }
    old.extend(b"\0helloend");
    vec![lines, comma, old]
}
