//! PAX extended headers: records that replace what the header after them says.
//!
//! A record carries its own length, so values may hold any byte, a newline too. Of duplicates the last counts, and an
//! empty value takes back what was said before: the header counts again (as in Go).

use indexmap::IndexMap;

use super::entry::Xattr;
use super::number;
use super::sparse::PaxSparse;
use crate::error::ImageProblem;
use crate::time::Timestamp;

type Result<T> = std::result::Result<T, ImageProblem>;

/// What the keys of sparse files begin with.
const SPARSE: &[u8] = b"GNU.sparse.";

/// The records of one extended header that this reader applies.
#[derive(Default)]
pub(super) struct Pax<'a> {
    pub path: Option<&'a [u8]>,
    pub linkpath: Option<&'a [u8]>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub size: Option<u64>,
    pub mtime: Option<Timestamp>,
    pub xattrs: Vec<Xattr>,
    pub sparse: Option<PaxSparse<'a>>,
}

impl<'a> Pax<'a> {
    /// Reads the records of a local extended header.
    pub(super) fn parse(data: &'a [u8]) -> Result<Self> {
        let mut pax = Self::default();
        let (mut uid, mut gid, mut size, mut mtime) = (None, None, None, None);
        let mut xattrs: IndexMap<&[u8], &[u8]> = IndexMap::new();
        for record in Records(data) {
            let (key, value) = record?;
            let set = Some(value).filter(|value| !value.is_empty());
            match key {
                b"path" => pax.path = set,
                b"linkpath" => pax.linkpath = set,
                b"uid" => uid = set,
                b"gid" => gid = set,
                b"size" => size = set,
                b"mtime" => mtime = set,
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        xattrs.insert(name, value);
                    } else if let Some(key) = key.strip_prefix(SPARSE) {
                        pax.sparse.get_or_insert_default().record(key, value)?;
                    }
                }
            }
        }
        pax.uid = uid.map(|value| number::decimal(value, "PAX uid")).transpose()?;
        pax.gid = gid.map(|value| number::decimal(value, "PAX gid")).transpose()?;
        pax.size = size.map(|value| number::decimal(value, "PAX size")).transpose()?;
        pax.mtime = mtime.map(|value| number::time(value, "PAX mtime")).transpose()?;
        pax.xattrs = xattrs.into_iter().map(|(name, value)| Xattr { name: name.into(), value: value.into() }).collect();
        Ok(pax)
    }

    /// Returns the name; that of a sparse file stands in a record of its own, because `path` names a stand-in.
    pub(super) fn name(&self) -> Option<&'a [u8]> {
        self.sparse.as_ref().and_then(|sparse| sparse.name).or(self.path)
    }
}

/// Checks that extended header data is a sequence of records, whether or not anything will be made of them.
pub(super) fn check(data: &[u8]) -> Result<()> {
    let mut sparse = PaxSparse::default();
    for record in Records(data) {
        let (key, value) = record?;
        if let Some(key) = key.strip_prefix(SPARSE) {
            sparse.record(key, value)?;
        }
    }
    Ok(())
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

/// A record's length counts its own digits; a length of more cannot be true within any limit.
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
    fn the_length_of_a_record_decides_where_it_ends() {
        let pax = parse(b"26 comment=x\n13 path=evil\n13 path=real\n");
        assert_eq!(pax.path, Some(&b"real"[..]));
        let data = record(b"SCHILY.xattr.user.a", b"\n12 path=b\n");
        assert_eq!(&*parse(&data).xattrs[0].value, b"\n12 path=b\n");
    }

    #[test]
    fn the_last_duplicate_wins_and_an_empty_value_takes_it_back() {
        assert_eq!(parse(b"10 size=1\n10 size=2\n").size, Some(2));
        assert_eq!(parse(b"10 size=1\n8 size=\n").size, None);
        assert_eq!(parse(b"10 size=x\n10 size=1\n").size, Some(1), "junk that does not count");
        let xattr = |name: &str, value| record(format!("SCHILY.xattr.{name}").as_bytes(), value);
        let data = [xattr("b", b"1"), xattr("a", b"2"), xattr("b", b"")].concat();
        let xattrs = parse(&data).xattrs;
        let xattrs: Vec<_> = xattrs.iter().map(|xattr| (&*xattr.name, &*xattr.value)).collect();
        assert_eq!(xattrs, [(&b"b"[..], &b""[..]), (b"a", b"2")]);
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
        for (data, want) in table {
            let text = check(data).unwrap_err().to_string();
            assert_eq!(text, format!("has a damaged extension header: {want}"), "{data:?}");
        }
    }
}
