//! Encodes entries as tar: POSIX ustar and PAX, GNU's extensions, and forms that neither allows.

use super::entry::{Entry, EntryType, Format};
use super::header::{GNU, Header, POSIX, PaxRecords, SHORT, number};
use super::sparse::SparseFormat;

const PREFIX: usize = 155;

/// Returns the bytes of an entry: extension headers, header, content, padding.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    if entry.kind == EntryType::GlobalHeader {
        let mut records = PaxRecords::default();
        records.add_all(&entry.pax);
        return extension(b'g', b"pax_global_header", 0o644, POSIX, records.bytes());
    }
    let mut records = common_records(entry);
    let mut name = entry.name.clone();
    let mut before_data = Vec::new();
    if let Some(sparse) = &entry.sparse {
        (name, before_data) = sparse.pax(&entry.name, &mut records);
    }
    let old_gnu = entry.sparse.as_ref().filter(|sparse| sparse.format == SparseFormat::OldGnu);
    let magic = if old_gnu.is_some() || entry.format == Format::Gnu { GNU } else { POSIX };

    let mut out = Vec::new();
    if entry.pax_first && !records.is_empty() {
        let records = std::mem::take(&mut records);
        out.extend(extension(b'x', b"PaxHeaders.0/x", 0o644, POSIX, records.bytes()));
    }
    let mut prefix = Vec::new();
    let (mut uid, mut gid, mut seconds) = (entry.uid, entry.gid, entry.mtime.seconds);
    match entry.format {
        Format::Gnu => {
            for (typeflag, value) in [(b'K', &entry.linkname), (b'L', &name)] {
                if value.len() > SHORT {
                    out.extend(extension(typeflag, b"././@LongLink", 0, magic, &[value, &b"\0"[..]].concat()));
                }
            }
        }
        Format::Ustar => (prefix, name) = split_name(name),
        Format::Auto | Format::Pax => {
            if name.len() > SHORT {
                records.add("path", &name);
            }
            if entry.linkname.len() > SHORT {
                records.add("linkpath", &entry.linkname);
            }
        }
    }
    if entry.format == Format::Pax {
        numbers_to_records(entry, &mut records, (&mut uid, &mut gid, &mut seconds));
    }
    if !records.is_empty() {
        let short = [b"PaxHeaders.0/", &name[..name.len().min(80)]].concat();
        out.extend(extension(b'x', &short, 0o644, POSIX, records.bytes()));
    }
    let content = [before_data, entry.content.to_vec()].concat();
    let typeflag = if old_gnu.is_some() { b'S' } else { entry.kind.typeflag() };
    let mut header = Header::new(typeflag, &name, entry.mode, entry.size.unwrap_or(content.len() as u64));
    header.put(108, &number::<8>(uid.into()));
    header.put(116, &number::<8>(gid.into()));
    header.put(136, &number::<12>(seconds.into()));
    header.put(157, &entry.linkname[..entry.linkname.len().min(SHORT)]);
    header.put(257, magic);
    header.put(329, &number::<8>(entry.major.into()));
    header.put(337, &number::<8>(entry.minor.into()));
    header.put(345, &prefix);
    let extensions = old_gnu.map(|sparse| sparse.old_gnu(&mut header)).unwrap_or_default();
    out.extend(header.finish(entry.bad_checksum));
    out.extend(extensions);
    out.extend(padded(&content));
    out
}

fn common_records(entry: &Entry) -> PaxRecords {
    let mut records = PaxRecords::default();
    records.add_all(&entry.pax);
    for (name, value) in &entry.xattrs {
        records.add([b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    if entry.mtime.nanos != 0 {
        records.add("mtime", entry.mtime.to_string());
    }
    records
}

/// Moves the numbers that have no octal form from the header's fields to records.
fn numbers_to_records(entry: &Entry, records: &mut PaxRecords, fields: (&mut i64, &mut i64, &mut i64)) {
    let (uid, gid, seconds) = fields;
    for (key, field) in [("uid", uid), ("gid", gid)] {
        if !(0..1 << 21).contains(field) {
            records.add(key, field.to_string());
            *field = 0;
        }
    }
    if !(0..1 << 33).contains(seconds) && entry.mtime.nanos == 0 {
        records.add("mtime", seconds.to_string());
        *seconds = 0;
    }
}

fn split_name(name: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if name.len() <= SHORT {
        return (Vec::new(), name);
    }
    let window = &name[..name.len().min(PREFIX + 1)];
    match window.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (name[..slash].to_vec(), name[slash + 1..].to_vec()),
        None => (Vec::new(), name),
    }
}

fn extension(typeflag: u8, name: &[u8], mode: u32, magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let mut header = Header::new(typeflag, name, mode, body.len() as u64);
    header.put(257, magic);
    [&header.finish(false)[..], &padded(body)].concat()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(512), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Content;

    fn text(field: &[u8]) -> &str {
        std::str::from_utf8(field).unwrap().trim_end_matches('\0')
    }

    #[test]
    fn a_plain_file_is_one_header_and_its_padded_content() {
        let bytes = encode(&Entry::file("etc/passwd", "root").mode(0o640).owner(5, 6).mtime(1000, 0));
        assert_eq!(bytes.len(), 1024);
        assert_eq!(text(&bytes[..100]), "etc/passwd");
        assert_eq!(text(&bytes[100..108]), "0000640");
        assert_eq!((text(&bytes[108..116]), text(&bytes[116..124])), ("0000005", "0000006"));
        assert_eq!((text(&bytes[124..136]), text(&bytes[136..148])), ("00000000004", "00000001750"));
        assert_eq!(&bytes[257..265], POSIX);
        assert_eq!(&bytes[512..517], b"root\0");
        let mut blank = bytes[..512].to_vec();
        blank[148..156].fill(b' ');
        let sum: u32 = blank.iter().copied().map(u32::from).sum();
        assert_eq!(text(&bytes[148..154]), format!("{sum:06o}"));
    }

    #[test]
    fn a_bad_checksum_is_off_by_one() {
        let sum = |entry: &Entry| u32::from_str_radix(text(&encode(entry)[148..154]), 8).unwrap();
        let entry = Entry::file("a", "");
        assert_eq!(sum(&entry.clone().bad_checksum()), sum(&entry) + 1);
    }

    #[test]
    fn long_names_are_stored_by_format() {
        let long = format!("{}/{}", "d".repeat(120), "n".repeat(90));
        let flags = |format| {
            let bytes = encode(&Entry::file(long.as_str(), "").format(format));
            (bytes[156], bytes.len(), text(&bytes[345..500]).to_owned())
        };
        assert_eq!(flags(Format::Auto), (b'x', 3 * 512, String::new()));
        assert_eq!(flags(Format::Pax), (b'x', 3 * 512, String::new()));
        assert_eq!(flags(Format::Gnu), (b'L', 3 * 512, String::new()));
        assert_eq!(flags(Format::Ustar), (b'0', 512, "d".repeat(120)));
    }

    #[test]
    fn pax_first_puts_the_records_before_the_long_name() {
        let entry = Entry::file("n".repeat(120), "").format(Format::Gnu).xattr("user.a", "1");
        let flags = |entry: &Entry| encode(entry).chunks(512).map(|block| block[156]).collect::<Vec<_>>();
        assert_eq!(flags(&entry)[0], b'L');
        assert_eq!(flags(&entry.pax_first())[0], b'x');
    }

    #[test]
    fn pax_carries_ids_and_times_that_have_no_octal_form() {
        let entry = Entry::file("a", "").owner(1 << 21, 7).mtime(-1, 0).format(Format::Pax);
        let bytes = encode(&entry);
        let body = PaxRecords::of(&[("uid", "2097152"), ("mtime", "-1")]);
        assert_eq!(bytes[512..512 + body.len()], body);
        assert_eq!(text(&bytes[1024 + 108..1024 + 116]), "0000000");
        assert_eq!(text(&bytes[1024 + 116..1024 + 124]), "0000007");
        assert_eq!(encode(&entry.format(Format::Auto))[108..116], number::<8>(1 << 21));
    }

    #[test]
    fn an_old_gnu_map_of_more_than_four_segments_has_extension_blocks() {
        let segments = |count| (0..count).map(|i| (i * 4096, 1));
        let data = |count| Content::Repeat { byte: b'x', count };
        let blocks = |count: u64| {
            let data = data(usize::try_from(count).unwrap());
            let bytes = encode(&Entry::sparse("s", SparseFormat::OldGnu, segments(count), 1 << 20, data));
            (bytes[156], bytes[482], bytes.len() / 512)
        };
        assert_eq!(blocks(4), (b'S', 0, 2));
        assert_eq!(blocks(5), (b'S', 1, 3));
        assert_eq!(blocks(25), (b'S', 1, 3));
        assert_eq!(blocks(26), (b'S', 1, 4));
    }

    #[test]
    fn a_pax_1_0_map_precedes_the_data() {
        let bytes = encode(&Entry::sparse("s", SparseFormat::Pax10, [(512, 2)], 1024, "xy"));
        assert_eq!(bytes[156], b'x');
        let body = &bytes[1024..];
        assert_eq!(text(&body[..100]), "GNUSparseFile.0/s");
        assert_eq!(text(&body[124..136]), format!("{:011o}", 514));
        assert_eq!(&body[512..520], b"1\n512\n2\n");
        assert_eq!(&body[1024..1026], b"xy");
    }
}
