//! Headers with wrong sizes, and extension headers that are damaged, oversized or unused.

use planish_proptests::listing::{Contents, Kind};
use planish_proptests::writer::{Content, Entry, EntryType, Format, Layer, TarEnd};

use crate::hostile::{Yard, paths};
use crate::support::raw::Raw;

/// One entry whose header has other bytes at an offset, and a matching checksum.
fn poked(entry: Entry, offset: usize, bytes: &[u8]) -> Raw {
    let mut tar = Layer::new([Entry::file("first", ""), entry]).tar();
    let header = &mut tar[512..1024];
    header[offset..offset + bytes.len()].copy_from_slice(bytes);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Raw::tar(tar)
}

/// An extension header with any body, before a file.
fn extension(typeflag: u8, body: impl Into<Content>) -> Layer {
    let extension = Entry { content: body.into(), ..Entry::new(EntryType::Raw(typeflag), "extension") };
    Layer::new([extension, Entry::file("f", "content")])
}

/// Rows: L07.
#[test]
fn damaged_headers_are_refused_by_entry() {
    let file = || Entry::file("f", "content");
    let checksum = Layer::new([Entry::file("first", ""), file().bad_checksum()]);
    let mut wide = [0xff; 12];
    wide[..4].copy_from_slice(&[0x80, 0, 0, 0]);
    Yard::new().refuses([
        (checksum.into(), 5, "entry 2 has a damaged header: its checksum does not match"),
        (poked(file(), 124, b"junk"), 5, r#"entry 2 "f" has an unreadable size: it is not a number"#),
        (poked(file(), 124, &[0xff; 12]), 5, r#"entry 2 "f" has an unreadable size: it is negative"#),
        (poked(file(), 124, &wide), 5, r#"entry 2 "f" ends 18446744073709550079 bytes short"#),
        (poked(file(), 124, &[0xbf; 12]), 5, r#"entry 2 "f" has an unreadable size: it is too large"#),
        (poked(file(), 124, b"77777777777\0"), 5, r#"entry 2 "f" ends 8589933055 bytes short"#),
        (poked(file(), 100, b"rwxr-xr\0"), 5, r#"entry 2 "f" has an unreadable mode: it is not a number"#),
        (poked(file(), 108, b"root\0\0\0\0"), 5, r#"entry 2 "f" has an unreadable uid: it is not a number"#),
        (poked(file(), 136, b"yesterday\0"), 5, r#"entry 2 "f" has an unreadable mtime: it is not a number"#),
        (
            poked(Entry::char_device("c", 1, 1), 329, b"99999999"),
            5,
            r#"entry 2 "c" has an unreadable device number: it is not a number"#,
        ),
    ]);
}

/// An archive as a file's content: a reader with a wrong offset takes its entries for the layer's.
fn inner() -> Vec<u8> {
    Layer::new([Entry::file("smuggled", ""), Entry::whiteout(".wh.outer")]).tar_end(TarEnd::None).tar()
}

/// Rows: L10.
#[test]
fn tar_headers_inside_a_file_are_content() {
    let yard = Yard::new();
    let outer = || Entry::file("outer", inner());
    let length = inner().len().to_string();
    let long = "n".repeat(120);
    let family = [
        outer(),
        outer().size(0).pax("size", &*length),
        outer().size(512).pax("size", &*length),
        outer().size(1 << 40).pax("size", &*length),
        outer().size(0).pax("size", "0").pax("size", &*length),
        Entry { kind: EntryType::Contiguous, ..outer() }.size(0).pax("size", &*length),
        Entry { name: long.clone().into(), format: Format::Gnu, ..outer() }.size(0).pax("size", &*length).pax_first(),
        Entry { name: long.into(), format: Format::Gnu, ..outer() }.size(0).pax("size", &*length),
    ];
    for entry in family {
        let found = yard.made(&[Layer::new([entry.clone(), Entry::file("z", "z")]).into()]);
        let name = [b"/", &*entry.name].concat();
        assert_eq!(paths(&found), format!("{} /z", name.escape_ascii()));
        assert_eq!(found.get(&name).unwrap().kind, Kind::File(Contents::of(&inner())));
        assert_eq!(found.get(b"/z").unwrap().kind, Kind::File(Contents::of(b"z")));
    }
}

/// Rows: L10, L26.
#[test]
fn size_records_apply_to_one_entry_and_only_to_files() {
    let yard = Yard::new();
    let found = yard.made(&[Layer::new([Entry::file("a", inner()).pax("size", "0"), Entry::file("z", "z")]).into()]);
    assert_eq!(paths(&found), "/a /smuggled /z");
    let directory = Entry { content: inner().into(), ..Entry::dir("d") };
    let symlink = Entry { content: inner().into(), ..Entry::symlink("s", "t") };
    for entry in [directory, symlink] {
        let found = yard.made(&[Layer::new([Entry::file("outer", ""), entry]).into()]);
        assert!(found.get(b"/smuggled").is_some(), "as Go: such an entry has no content");
    }
}

/// Rows: L11, L12, L24.
#[test]
fn damaged_extensions_are_refused() {
    let x = |body: &str| Raw::from(extension(b'x', body));
    let huge = Entry::new(EntryType::Raw(b'x'), "extension").size(4 << 30);
    let long_name = Entry::new(EntryType::Raw(b'L'), "extension").size(2 << 30);
    let short = Entry::new(EntryType::Raw(b'x'), "extension").size(100_000);
    Yard::new().refuses([
        (x("12 path=aa\n"), 5, "entry 1 has a damaged extension header: a PAX record has a wrong length"),
        (x("5 path=a\n"), 5, "entry 1 has a damaged extension header: a PAX record does not end with a newline"),
        (x("path=a\n"), 5, "entry 1 has a damaged extension header: a PAX record has no length"),
        (x("0 path=a\n"), 5, "entry 1 has a damaged extension header: a PAX record has a wrong length"),
        (x("7 path\n"), 5, "entry 1 has a damaged extension header: a PAX record has no value"),
        (x("99999999999999999999 a=b\n"), 5, "entry 1 has a damaged extension header: a PAX record has no length"),
        (x("10 size=x\n"), 5, r#"entry 1 "f" has an unreadable PAX size: it is not a number"#),
        (x("11 size=-1\n"), 5, r#"entry 1 "f" has an unreadable PAX size: it is not a number"#),
        (x("29 size=18446744073709551615\n"), 5, r#"entry 1 "f" ends 18446744073709550079 bytes short"#),
        (
            x("30 LIBARCHIVE.xattr.user.a=!!\n"),
            5,
            "entry 1 \"f\" has a damaged extension header: the value of a LIBARCHIVE.xattr record is not base64",
        ),
        (
            x("30 SCHILY.acl.access=u::rwx,m\n"),
            5,
            r#"entry 1 "f" has the record SCHILY.acl.access, which is no POSIX ACL: the entry "m" is not of its form"#,
        ),
        (
            x("32 SCHILY.acl.default=u::r,\x1b\u{202e}\n"),
            5,
            r#"entry 1 "f" has the record SCHILY.acl.default, which is no POSIX ACL: the entry "\x1b\xe2\x80\xae" is not of its form"#,
        ),
        (x("10 uid=-1\n"), 5, r#"entry 1 "f" has an unreadable PAX uid: it is not a number"#),
        (x("18 uid=4294967295\n"), 5, r#"entry 1 "f" has uid 4294967295, the largest in ext4 is 4294967294"#),
        (
            x("22 GNU.sparse.major=9\n21 GNU.sparse.size=1\n"),
            5,
            r#"entry 1 "f" has a damaged sparse map: its version is unknown"#,
        ),
        (
            Layer::new([huge]).into(),
            7,
            "entry 1 has 4294967296 bytes of extension headers, --max-extension-bytes allows 1048576",
        ),
        (
            Layer::new([long_name]).into(),
            7,
            "entry 1 has 2147483648 bytes of extension headers, --max-extension-bytes allows 1048576",
        ),
        (Layer::new([short]).into(), 5, "entry 1 ends 98976 bytes short"),
        (
            extension(b'L', vec![b'n'; (1 << 20) - 512]).into(),
            5,
            r#"entry 1 "[190 n]nnnnnnnnnn"… (1048064 bytes) has a name of 1048064 bytes, Linux allows 255"#,
        ),
        (
            extension(b'L', vec![b'n'; (1 << 20) + 1]).into(),
            7,
            "entry 1 has 1048577 bytes of extension headers, --max-extension-bytes allows 1048576",
        ),
    ]);
}

/// Rows: L11.
#[test]
fn extensions_without_an_entry_are_skipped() {
    let yard = Yard::new();
    let global = Entry::global([(b"path".to_vec(), b"evil".to_vec()), (b"size".to_vec(), b"0".to_vec())]);
    let dangling = Entry { content: "13 path=evil\n".into(), ..Entry::new(EntryType::Raw(b'x'), "extension") };
    let file = Entry::file("f", "content");
    for entries in
        [vec![global, file.clone()], vec![file.clone(), dangling.clone()], vec![dangling, file.pax("path", "f")]]
    {
        let found = yard.made(&[Layer::new(entries).into()]);
        assert_eq!(paths(&found), "/f");
        assert_eq!(found.get(b"/f").unwrap().kind, Kind::File(Contents::of(b"content")));
    }
}
