//! PAX extended headers: records that replace fields of the next header.
//!
//! A record carries its own length, so values may contain any byte, including a newline. The last of several records
//! with the same key is used. An empty value cancels earlier records: the header's own value is used again (as in Go).

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use indexmap::{IndexMap, IndexSet};

use super::entry::{AclTexts, Xattr};
use super::number;
use super::record::{self, AclKind, Field, Record};
use super::sparse::PaxSparse;
use crate::error::ImageProblem;
use crate::time::Timestamp;

type Result<T> = std::result::Result<T, ImageProblem>;

/// The records of one extended header that this reader applies, and the names of the other ones.
#[derive(Default)]
pub(super) struct Pax<'a> {
    pub path: Option<&'a [u8]>,
    pub linkpath: Option<&'a [u8]>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub size: Option<u64>,
    pub mtime: Option<Timestamp>,
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub xattrs: Vec<Xattr>,
    /// Names of xattrs that have two values; `xattrs` has the one of the first family.
    pub ambiguous: Keys,
    pub acl: AclTexts,
    pub sparse: Option<PaxSparse<'a>>,
    /// Keys of records about the file that are not carried over.
    pub dropped: Keys,
}

/// Names of xattrs, or keys of records.
type Keys = Vec<Box<[u8]>>;

/// The last value of each record, before any is decoded.
#[derive(Default)]
struct Values<'a> {
    fields: [Option<&'a [u8]>; Field::COUNT],
    xattrs: IndexMap<&'a [u8], &'a [u8]>,
    encoded: IndexMap<&'a [u8], &'a [u8]>,
    label: Option<&'a [u8]>,
    acl: [Option<&'a [u8]>; 2],
    sparse: Option<PaxSparse<'a>>,
    /// The records that are not carried over, by key: true if the last value is not empty.
    dropped: IndexMap<&'a [u8], bool>,
}

impl<'a> Values<'a> {
    fn of(data: &'a [u8]) -> Result<Self> {
        let mut values = Self::default();
        for record in Records(data) {
            let (key, value) = record?;
            let set = Some(value).filter(|value| !value.is_empty());
            match record::meaning(key) {
                Record::Field(field) => values.fields[field as usize] = set,
                Record::Xattr(name) => drop(values.xattrs.insert(name, value)),
                Record::EncodedXattr(name) => drop(values.encoded.insert(name, value)),
                Record::Label => values.label = set,
                Record::Acl(AclKind::Access) => values.acl[0] = set,
                Record::Acl(AclKind::Default) => values.acl[1] = set,
                Record::Sparse(key) => values.sparse.get_or_insert_default().record(key, value)?,
                Record::FileType => drop(values.dropped.insert(key, set.is_some_and(|v| !record::is_plain_type(v)))),
                Record::Silent => {}
                Record::Dropped => drop(values.dropped.insert(key, set.is_some())),
            }
        }
        Ok(values)
    }

    fn number(&self, field: Field, name: &'static str) -> Result<Option<u64>> {
        self.fields[field as usize].map(|value| number::decimal(value, name)).transpose()
    }
}

impl<'a> Pax<'a> {
    /// Parses the records of a local extended header.
    pub(super) fn parse(data: &'a [u8]) -> Result<Self> {
        let values = Values::of(data)?;
        let (xattrs, ambiguous) = xattrs(&values)?;
        let mtime = values.fields[Field::Mtime as usize];
        Ok(Self {
            path: values.fields[Field::Path as usize],
            linkpath: values.fields[Field::Linkpath as usize],
            uid: values.number(Field::Uid, "PAX uid")?,
            gid: values.number(Field::Gid, "PAX gid")?,
            size: values.number(Field::Size, "PAX size")?,
            mtime: mtime.map(|value| number::time(value, "PAX mtime")).transpose()?,
            major: values.number(Field::Major, "PAX device number")?,
            minor: values.number(Field::Minor, "PAX device number")?,
            xattrs,
            ambiguous,
            acl: AclTexts { access: values.acl[0].map(Into::into), default: values.acl[1].map(Into::into) },
            dropped: values.dropped.iter().filter(|(_, stands)| **stands).map(|(key, _)| (*key).into()).collect(),
            sparse: values.sparse,
        })
    }

    /// Returns the name; a sparse file has a record of its own for it, because its `path` is a stand-in.
    pub(super) fn name(&self) -> Option<&'a [u8]> {
        self.sparse.as_ref().and_then(|sparse| sparse.name).or(self.path)
    }
}

/// Returns all xattrs, each once, and the names of those that have two values.
///
/// An xattr of the first family (`SCHILY.xattr.`, a raw value) takes precedence over one of the second
/// (`LIBARCHIVE.xattr.`): bsdtar writes each in both. The other value is not decoded, and may be damaged.
///
/// Names of the first family are used unchanged, as in Go, with two exceptions, which the second family reveals: bsdtar
/// URL-encodes them, and older ones contain a `=`, at which the record is cut.
fn xattrs(values: &Values<'_>) -> Result<(Vec<Xattr>, Keys)> {
    let mut xattrs: IndexMap<Box<[u8]>, Box<[u8]>> = IndexMap::new();
    for (name, value) in &values.xattrs {
        let name = if values.encoded.contains_key(name) { decoded_name(name) } else { (*name).into() };
        xattrs.insert(name, (*value).into());
    }
    // libarchive passes over line breaks, and base64(1) writes them.
    let unbroken = |value: &[u8]| -> Vec<u8> {
        value.trim_ascii().iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
    };
    let encoded = values.encoded.iter().map(|(name, value)| (decoded_name(name), BASE64.decode(unbroken(value))));
    let encoded: Vec<(Box<[u8]>, _)> = encoded.collect();
    for (name, value) in &encoded {
        let Some(equals) = name.iter().position(|&b| b == b'=') else { continue };
        let (cut, rest) = (&name[..equals], &name[equals + 1..]);
        let same = |value: &Vec<u8>| xattrs.get(cut).is_some_and(|other| **other == *[rest, b"=", value].concat());
        if value.as_ref().is_ok_and(same) {
            xattrs.swap_remove(cut);
        }
    }
    let mut ambiguous = IndexSet::new();
    for (name, value) in encoded {
        match xattrs.get(&name) {
            Some(stands) if value.as_ref().is_ok_and(|value| **value == **stands) => {}
            Some(_) => drop(ambiguous.insert(name)),
            None => {
                let damaged = |_| ImageProblem::Extension("the value of a LIBARCHIVE.xattr record is not base64");
                xattrs.insert(name, value.map_err(damaged)?.into());
            }
        }
    }
    if let Some(label) = values.label {
        let label = label.strip_suffix(b"\0").unwrap_or(label);
        xattrs.entry((*b"security.selinux").into()).or_insert_with(|| [label, b"\0"].concat().into());
    }
    let xattrs = xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect();
    Ok((xattrs, ambiguous.into_iter().collect()))
}

/// libarchive writes no `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes a URL-encoded name. A `%` without two hexadecimal digits after it is literal, as in libarchive.
fn decoded_name(name: &[u8]) -> Box<[u8]> {
    let digit =
        |at: usize| name.get(at).and_then(|&byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        match (digit(at + 1), digit(at + 2)) {
            (Some(high), Some(low)) if byte == b'%' => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded.into()
}

/// Checks that the data of an extended header is a sequence of records, even if they are not used.
pub(super) fn check(data: &[u8]) -> Result<()> {
    let mut sparse = PaxSparse::default();
    for record in Records(data) {
        let (key, value) = record?;
        if let Record::Sparse(key) = record::meaning(key) {
            sparse.record(key, value)?;
        }
    }
    Ok(())
}

/// Returns the keys of a global header's records about files, which are ignored.
pub(super) fn global(data: &[u8]) -> Result<Keys> {
    let mut keys = IndexSet::new();
    for record in Records(data) {
        let (key, value) = record?;
        if !value.is_empty() && record::meaning(key) != Record::Silent {
            keys.insert(key);
        }
    }
    Ok(keys.into_iter().map(Into::into).collect())
}

/// The records of an extended header, `LENGTH KEY=VALUE\n` each, as key and value.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        self.0 = record.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(record.map(|(key, value, _)| (key, value)))
    }
}

/// The most digits of a length, which counts its own digits; a longer one exceeds any limit.
const LENGTH_DIGITS: usize = 20;

fn split_record(data: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    const NO_LENGTH: ImageProblem = ImageProblem::Extension("a PAX record has no length");
    let head = &data[..data.len().min(LENGTH_DIGITS)];
    let space = head.iter().position(|&b| b == b' ').ok_or(NO_LENGTH)?;
    let length = number::decimal(&data[..space], "PAX record").map_err(|_| NO_LENGTH)?;
    let length = usize::try_from(length).ok().filter(|&length| length > space + 1 && length <= data.len());
    let length = length.ok_or(ImageProblem::Extension("a PAX record has a wrong length"))?;
    let (record, rest) = data.split_at(length);
    let Some((b'\n', body)) = record[space + 1..].split_last() else {
        return Err(ImageProblem::Extension("a PAX record does not end with a newline"));
    };
    let equals = body.iter().position(|&b| b == b'=').ok_or(ImageProblem::Extension("a PAX record has no value"))?;
    Ok((&body[..equals], &body[equals + 1..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::build::record;

    fn parse(data: &[u8]) -> Pax<'_> {
        Pax::parse(data).unwrap()
    }

    #[test]
    fn the_length_field_ends_a_record() {
        let pax = parse(b"26 comment=x\n13 path=evil\n13 path=real\n");
        assert_eq!(pax.path, Some(&b"real"[..]));
        let data = record(b"SCHILY.xattr.user.a", b"\n12 path=b\n");
        assert_eq!(&*parse(&data).xattrs[0].value, b"\n12 path=b\n");
    }

    #[test]
    fn the_last_duplicate_wins_and_an_empty_value_removes_it() {
        assert_eq!(parse(b"10 size=1\n10 size=2\n").size, Some(2));
        assert_eq!(parse(b"10 size=1\n8 size=\n").size, None);
        assert_eq!(parse(b"10 size=x\n10 size=1\n").size, Some(1), "junk that does not count");
        let xattr = |name: &str, value| record(format!("SCHILY.xattr.{name}").as_bytes(), value);
        let data = [xattr("b", b"1"), xattr("a", b"2"), xattr("b", b"")].concat();
        let xattrs = parse(&data).xattrs;
        let xattrs: Vec<_> = xattrs.iter().map(|xattr| (&*xattr.name, &*xattr.value)).collect();
        assert_eq!(xattrs, [(&b"b"[..], &b""[..]), (b"a", b"2")]);
    }

    /// The xattrs of records, by name.
    fn xattrs(records: &[(&[u8], &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let mut xattrs: Vec<_> =
            parse(&data).xattrs.iter().map(|xattr| (xattr.name.to_vec(), xattr.value.to_vec())).collect();
        xattrs.sort();
        xattrs
    }

    fn pair(name: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (name.into(), value.into())
    }

    #[test]
    fn xattrs_of_libarchive_are_decoded() {
        let table: &[[&[u8]; 4]] = &[
            [b"user.a", b"", b"user.a", b""],
            [b"user.a", b"cmVk", b"user.a", b"red"],
            [b"user.a", b"cg", b"user.a", b"r"],
            [b"user.a", b"cg==", b"user.a", b"r"],
            [b"user.a", b"cmU", b"user.a", b"re"],
            [b"user.a", b"+/8=\n", b"user.a", b"\xfb\xff"],
            [b"user.a%20b%3D%3d", b"cg", b"user.a b==", b"r"],
            [b"%75ser.%ff%00", b"cg", b"user.\xff\0", b"r"],
            [b"user.%", b"cg", b"user.%", b"r"],
            [b"user.%2", b"cg", b"user.%2", b"r"],
            [b"user.%zz%252", b"cg", b"user.%zz%2", b"r"],
            [b"user.\xff", b"cg", b"user.\xff", b"r"],
        ];
        for [key, value, name, expected] in table {
            let key = [b"LIBARCHIVE.xattr.", *key].concat();
            assert_eq!(xattrs(&[(&key, value)]), [pair(name, expected)], "{}", key.escape_ascii());
        }
    }

    #[test]
    fn line_breaks_in_base64_are_ignored() {
        for value in [&b"cmVk\n"[..], b"cm\nVk", b"c\r\nm\nV\nk\r\n", b"\ncmVk"] {
            assert_eq!(xattrs(&[(b"LIBARCHIVE.xattr.user.a", value)]), [pair(b"user.a", b"red")]);
        }
    }

    #[test]
    fn raw_xattr_records_win_over_encoded_ones() {
        const RAW: &[u8] = b"SCHILY.xattr.user.a";
        const ENCODED: &[u8] = b"LIBARCHIVE.xattr.user.a";
        let red = [pair(b"user.a", b"red")];
        for records in [
            [(RAW, &b"red"[..]), (ENCODED, b"cmVk")],
            [(ENCODED, b"cmVk"), (RAW, b"red")],
            [(ENCODED, b"Ymx1ZQ"), (RAW, b"red")],
            [(ENCODED, b"damaged!"), (RAW, b"red")],
            [(ENCODED, b"damaged!"), (ENCODED, b"cmVk")],
            [(RAW, b"blue"), (RAW, b"red")],
        ] {
            assert_eq!(xattrs(&records), red, "{records:?}");
        }
        assert_eq!(xattrs(&[(RAW, b""), (ENCODED, b"cmVk")]), [pair(b"user.a", b"")], "empty is a value");
        let other = (&b"LIBARCHIVE.xattr.user.b"[..], &b"Ymx1ZQ"[..]);
        assert_eq!(xattrs(&[other, (RAW, b"red")]), [pair(b"user.a", b"red"), pair(b"user.b", b"blue")]);
        let differing = [record(RAW, b"red"), record(ENCODED, b"Ymx1ZQ")].concat();
        assert_eq!(parse(&differing).ambiguous, [Box::from(*b"user.a")]);
        let equal = [record(RAW, b"red"), record(ENCODED, b"cmVk")].concat();
        assert!(parse(&equal).ambiguous.is_empty());
    }

    #[test]
    fn the_other_family_gives_names_with_an_equals_sign() {
        let raw = (&b"SCHILY.xattr.user.a=b"[..], &b"c"[..]);
        let encoded = (&b"LIBARCHIVE.xattr.user.a%3Db"[..], &b"Yw"[..]);
        assert_eq!(xattrs(&[raw, encoded]), [pair(b"user.a=b", b"c")]);
        assert_eq!(xattrs(&[raw]), [pair(b"user.a", b"b=c")]);
        let both_encoded = (&b"SCHILY.xattr.user.a%3Db"[..], &b"c"[..]);
        assert_eq!(xattrs(&[both_encoded, encoded]), [pair(b"user.a=b", b"c")]);
        assert_eq!(xattrs(&[both_encoded]), [pair(b"user.a%3Db", b"c")], "as Go reads it");
        let plain = (&b"LIBARCHIVE.xattr.user.a"[..], &b"MQ"[..]);
        assert_eq!(xattrs(&[raw, encoded, plain]), [pair(b"user.a", b"1"), pair(b"user.a=b", b"c")]);
    }

    #[test]
    fn the_label_ends_with_a_nul() {
        let expected = [pair(b"security.selinux", b"u:r:t:s0\0")];
        for records in [
            &[(&b"RHT.security.selinux"[..], &b"u:r:t:s0"[..])][..],
            &[(b"RHT.security.selinux", b"u:r:t:s0\0")],
            &[(b"RHT.security.selinux", b"other"), (b"SCHILY.xattr.security.selinux", b"u:r:t:s0\0")],
        ] {
            assert_eq!(xattrs(records), expected);
        }
        assert_eq!(xattrs(&[(b"RHT.security.selinux", b"a"), (b"RHT.security.selinux", b"")]), []);
    }

    #[test]
    fn a_dropped_record_is_noted_once_unless_an_empty_value_cancels_it() {
        let records: &[(&[u8], &[u8])] = &[
            (b"SCHILY.fflags", b"nodump"),
            (b"comment", b"c"),
            (b"ACME.colour", b"red"),
            (b"SCHILY.fflags", b"sappnd"),
            (b"ACME.size", b"1"),
            (b"ACME.size", b""),
            (b"SCHILY.filetype", b"regular"),
        ];
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        assert_eq!(parse(&data).dropped, [Box::from(&b"SCHILY.fflags"[..]), Box::from(&b"ACME.colour"[..])]);
        assert_eq!(parse(&record(b"SCHILY.filetype", b"socket")).dropped, [Box::from(&b"SCHILY.filetype"[..])]);
        let skipped = global(&[record(b"comment", b"c"), record(b"uid", b"1"), record(b"gid", b"")].concat());
        assert_eq!(skipped.unwrap(), [Box::from(&b"uid"[..])]);
    }

    #[test]
    fn damaged_records_are_refused() {
        let table: &[(&[u8], &str)] = &[
            (b"x", "a PAX record has no length"),
            (b" path=a\n", "a PAX record has no length"),
            (b"-9 path=a\n", "a PAX record has no length"),
            (b"000000000000000000010 path=a\n", "a PAX record has no length"),
            (b"99999999999999999999 path=a\n", "a PAX record has no length"),
            (b"0 path=a\n", "a PAX record has a wrong length"),
            (b"2 path=a\n", "a PAX record has a wrong length"),
            (b"11 path=a\n", "a PAX record has a wrong length"),
            (b"9 path=ab\n", "a PAX record does not end with a newline"),
            (b"7 path\n", "a PAX record has no value"),
            (b"9 path=a\nx", "a PAX record has no length"),
        ];
        for (data, expected) in table {
            let text = check(data).unwrap_err().to_string();
            assert_eq!(text, format!("has a damaged extension header: {expected}"), "{data:?}");
        }
        for value in [&b"r"[..], b"cmV!", b"cm Vk", b"cmVk=cmVk"] {
            let text = Pax::parse(&record(b"LIBARCHIVE.xattr.user.a", value)).err().unwrap().to_string();
            let expected = "has a damaged extension header: the value of a LIBARCHIVE.xattr record is not base64";
            assert_eq!(text, expected, "{}", value.escape_ascii());
        }
    }
}
