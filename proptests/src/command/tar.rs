//! Lists the content of a tar archive, for programs that write one.
//!
//! POSIX ustar, PAX and GNU's long names and numbers are supported: the forms that programs write. A file with holes is
//! refused, because no test makes one.

use std::collections::BTreeMap;

use crate::Mtime;
use crate::listing::{Contents, Kind, Listing, Node, escape};

const BLOCK: usize = 512;

/// An archive that cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the archive: {problem}")]
pub struct TarError {
    /// The offset of the header.
    pub offset: usize,
    /// The problem.
    pub problem: TarProblem,
}

/// The problem of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarProblem {
    /// The archive ends within an entry.
    #[error("the entry is cut short")]
    Short,
    /// The checksum is wrong.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A field is not a number, or is out of range.
    #[error("the {0} is no number in range")]
    Number(&'static str),
    /// A PAX header contains something other than records.
    #[error("a PAX record is malformed")]
    Record,
    /// The type is unknown, or that of a file with holes.
    #[error("the type {} is not understood", escape(&[*.0]))]
    Type(u8),
    /// A name leads out of the archive.
    #[error("the name {} holds ..", escape(.0))]
    Name(Vec<u8>),
    /// The target of a hard link is missing.
    #[error("the hard link's other name {} is not there", escape(.0))]
    Link(Vec<u8>),
}

impl Listing {
    /// Reads an uncompressed tar archive; the last of several entries with the same name is used.
    ///
    /// An implied directory, including the root, has mode 0755, belongs to root and has mtime 0.
    ///
    /// # Errors
    ///
    /// The archive is damaged, or contains something that [`TarProblem`] lists.
    pub fn read_tar(archive: &[u8]) -> Result<Self, TarError> {
        let mut listing = Self::new();
        listing.insert("/", Node::directory());
        let mut reader = Reader { archive, offset: 0 };
        let mut extensions = Extensions::default();
        loop {
            let offset = reader.offset;
            let at = |problem| TarError { offset, problem };
            let Some(header) = reader.header().map_err(at)? else { return Ok(listing) };
            // PAX sizes apply to the entry only, not to an extension header.
            let is_extension = matches!(header.typeflag(), b'x' | b'g' | b'L' | b'K');
            let size = match extensions.records.get(&b"size"[..]).filter(|_| !is_extension) {
                Some(size) => decimal(size, "size"),
                None => octal(header.field(124, 12), "size"),
            };
            let has_content = is_extension || matches!(header.typeflag(), b'0' | 0 | b'7');
            let content = reader.content(if has_content { size.map_err(at)? } else { 0 }).map_err(at)?;
            match header.typeflag() {
                b'x' => extensions.read_records(content).map_err(at)?,
                b'g' => {}
                b'L' => extensions.name = Some(until_nul(content).to_vec()),
                b'K' => extensions.link = Some(until_nul(content).to_vec()),
                _ => add(&mut listing, &header, std::mem::take(&mut extensions), content).map_err(at)?,
            }
        }
    }
}

struct Reader<'a> {
    archive: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Returns the next header; `None` at the end, marked by zeros or not.
    fn header(&mut self) -> Result<Option<Header<'a>>, TarProblem> {
        let Some(rest) = self.archive.get(self.offset..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let block = rest.get(..BLOCK).ok_or(TarProblem::Short)?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        self.offset += BLOCK;
        let header = Header(block);
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        let field: u64 = header.field(148, 8).iter().map(|&byte| u64::from(byte)).sum();
        let expected = octal(header.field(148, 8), "checksum")?;
        if i128::from(sum - field + 8 * u64::from(b' ')) == expected {
            Ok(Some(header))
        } else {
            Err(TarProblem::Checksum)
        }
    }

    fn content(&mut self, size: i128) -> Result<&'a [u8], TarProblem> {
        let size = usize::try_from(size).map_err(|_| TarProblem::Number("size"))?;
        let rest = self.archive.get(self.offset..).unwrap_or_default();
        let content = rest.get(..size).ok_or(TarProblem::Short)?;
        self.offset += size.next_multiple_of(BLOCK);
        Ok(content)
    }
}

struct Header<'a>(&'a [u8]);

impl<'a> Header<'a> {
    fn field(&self, offset: usize, length: usize) -> &'a [u8] {
        &self.0[offset..offset + length]
    }

    fn typeflag(&self) -> u8 {
        self.0[156]
    }

    fn name(&self) -> Vec<u8> {
        let name = until_nul(self.field(0, 100));
        let prefix = if self.field(257, 6) == b"ustar\0" { until_nul(self.field(345, 155)) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

/// The extension headers of the next entry.
#[derive(Default)]
struct Extensions {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Extensions {
    /// Parses `LENGTH KEY=VALUE\n`; a value may contain any byte, only the length ends it.
    fn read_records(&mut self, mut rest: &[u8]) -> Result<(), TarProblem> {
        while !rest.is_empty() {
            let space = rest.iter().position(|&byte| byte == b' ').ok_or(TarProblem::Record)?;
            let length = decimal(&rest[..space], "length of a PAX record")?;
            let length = usize::try_from(length).map_err(|_| TarProblem::Record)?;
            let (record, tail) = rest.split_at_checked(length).ok_or(TarProblem::Record)?;
            let body = record.get(space + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(TarProblem::Record)?;
            let equals = body.iter().position(|&byte| byte == b'=').ok_or(TarProblem::Record)?;
            self.records.insert(body[..equals].to_vec(), body[equals + 1..].to_vec());
            rest = tail;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.records.remove(key)
    }
}

fn add(
    listing: &mut Listing,
    header: &Header<'_>,
    mut extensions: Extensions,
    content: &[u8],
) -> Result<(), TarProblem> {
    let name = extensions.take(b"path").or(extensions.name.take()).unwrap_or_else(|| header.name());
    let link = extensions.take(b"linkpath").or(extensions.link.take());
    let link = link.unwrap_or_else(|| until_nul(header.field(157, 100)).to_vec());
    let path = clean(&name)?;
    imply_parents(listing, &path);
    if header.typeflag() == b'1' {
        let existing = clean(&link)?;
        // A name that is linked to itself exists already.
        if existing != path && !listing.link(path, &existing) {
            return Err(TarProblem::Link(existing));
        }
        return Ok(());
    }
    let device = |offset, what| {
        let number = octal(header.field(offset, 8), what)?;
        u32::try_from(number).map_err(|_| TarProblem::Number(what))
    };
    let kind = match header.typeflag() {
        b'0' | 0 | b'7' => Kind::File(Contents::of(content)),
        b'2' => Kind::Symlink(link),
        b'3' => Kind::CharDevice { major: device(329, "major number")?, minor: device(337, "minor number")? },
        b'4' => Kind::BlockDevice { major: device(329, "major number")?, minor: device(337, "minor number")? },
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(TarProblem::Type(other)),
    };
    if extensions.records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
        return Err(TarProblem::Type(b'S'));
    }
    let node = node(kind, header, extensions)?;
    if node.kind != Kind::Directory {
        remove_below(listing, &path);
    }
    listing.insert(path, node);
    Ok(())
}

fn node(kind: Kind, header: &Header<'_>, mut extensions: Extensions) -> Result<Node, TarProblem> {
    let mut id = |key: &[u8], offset, what| {
        let number = match extensions.take(key) {
            Some(text) => decimal(&text, what)?,
            None => octal(header.field(offset, 8), what)?,
        };
        u32::try_from(number).map_err(|_| TarProblem::Number(what))
    };
    let (uid, gid) = (id(b"uid", 108, "owner")?, id(b"gid", 116, "group")?);
    let mode = octal(header.field(100, 8), "mode")? & 0o7777;
    let mtime = match extensions.take(b"mtime") {
        Some(text) => time(&text)?,
        None => {
            let seconds = octal(header.field(136, 12), "mtime")?;
            Mtime { seconds: i64::try_from(seconds).map_err(|_| TarProblem::Number("mtime"))?, nanos: 0 }
        }
    };
    let xattrs = extensions.records.into_iter();
    let xattrs = xattrs.filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value)));
    let mode = u16::try_from(mode).map_err(|_| TarProblem::Number("mode"))?;
    Ok(Node { uid, gid, mtime, xattrs: xattrs.collect(), ..Node::new(kind, mode) })
}

/// Returns the absolute path of a name.
fn clean(name: &[u8]) -> Result<Vec<u8>, TarProblem> {
    let names = name.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let mut path = Vec::new();
    for part in names {
        if part == b".." {
            return Err(TarProblem::Name(name.to_vec()));
        }
        path.push(b'/');
        path.extend_from_slice(part);
    }
    Ok(if path.is_empty() { b"/".to_vec() } else { path })
}

fn imply_parents(listing: &mut Listing, path: &[u8]) {
    for (index, _) in path.iter().enumerate().skip(1).filter(|&(_, &byte)| byte == b'/') {
        if listing.get(&path[..index]).is_none() {
            listing.insert(&path[..index], Node::directory());
        }
    }
}

fn remove_below(listing: &mut Listing, path: &[u8]) {
    let prefix = [path, b"/"].concat();
    let below: Vec<_> =
        listing.iter().map(|(path, _)| path.to_vec()).filter(|path| path.starts_with(&prefix)).collect();
    for path in below {
        listing.remove(&path);
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn decimal(text: &[u8], what: &'static str) -> Result<i128, TarProblem> {
    let text = str::from_utf8(text).map_err(|_| TarProblem::Number(what))?;
    text.parse::<i64>().map(i128::from).map_err(|_| TarProblem::Number(what))
}

/// Parses octal digits among spaces and NULs, or base-256, which GNU tar writes for numbers beyond them.
fn octal(field: &[u8], what: &'static str) -> Result<i128, TarProblem> {
    let wrong = TarProblem::Number(what);
    if let [first @ (0x80 | 0xff), rest @ ..] = field {
        let sign = if *first == 0xff { -1 } else { 0 };
        return Ok(rest.iter().fold(sign, |number, &byte| number << 8 | i128::from(byte)));
    }
    let field = until_nul(field).trim_ascii();
    let digits = str::from_utf8(field).map_err(|_| wrong.clone())?;
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map(i128::from).map_err(|_| wrong)
}

fn time(text: &[u8]) -> Result<Mtime, TarProblem> {
    let wrong = TarProblem::Number("mtime");
    let text = str::from_utf8(text).map_err(|_| wrong.clone())?;
    // POSIX allows any number of digits; no filesystem stores more than nine.
    let longest = text.find('.').map_or(text.len(), |point| text.len().min(point + 10));
    text[..longest].parse().map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::{Entry, EntryType, Format, Layer, TarEnd};

    fn read(entries: impl IntoIterator<Item = Entry>) -> Result<String, TarError> {
        Listing::read_tar(&Layer::new(entries).tar()).map(|listing| listing.to_string())
    }

    #[test]
    fn every_type_and_field_is_read() {
        let text = read([
            Entry::dir("./").mode(0o711).owner(1, 2).mtime(3, 0),
            Entry::file("f", "data").mode(0o4755).owner(70_000, 4_294_967_294).mtime(-1, 500_000_000),
            Entry::hardlink("d/a", "./f"),
            Entry::symlink("/l", "../t arget"),
            Entry::char_device("c", 1, 3).mtime(1, 1),
            Entry::block_device("b", 4095, 1_048_575),
            Entry::fifo("p"),
            Entry::file("x", "").xattr("security.capability", *b"\x01\x0apath=y\n").xattr("user.e", ""),
        ]);
        let expected = r#"/ d 0711 1:2 3
/b b 0644 0:0 0 dev=4095:1048575
/c c 0644 0:0 1.000000001 dev=1:3
/d d 0755 0:0 0
/d/a f 4755 70000:4294967294 -0.5 text="data"
/f = /d/a
/l l 0777 0:0 0 -> ../t\x20arget
/p p 0644 0:0 0
/x f 0644 0:0 0 text="" xattr.security.capability=0x010a706174683d790a xattr.user.e=""
"#;
        assert_eq!(text.unwrap(), expected);
    }

    #[test]
    fn long_names_are_read_in_every_format() {
        let directory = "d".repeat(90);
        let name = format!("{directory}/{}", "n".repeat(90));
        let target = "t".repeat(200);
        for format in [Format::Auto, Format::Gnu, Format::Pax, Format::Ustar] {
            let text = read([Entry::file(&*name, "1").format(format)]).unwrap();
            assert!(text.contains(&format!("/{name} f 0644 0:0 0 text=\"1\"\n")), "{format:?}: {text}");
        }
        for format in [Format::Auto, Format::Gnu] {
            let text = read([Entry::symlink("l", &*target).format(format)]).unwrap();
            assert!(text.contains(&target), "{format:?}: {text}");
        }
    }

    #[test]
    fn the_last_of_duplicates_wins_and_replaces_what_is_below() {
        let text = read([Entry::file("a/b", ""), Entry::file("c", "1"), Entry::fifo("a"), Entry::file("c", "2")]);
        assert_eq!(text.unwrap(), "/ d 0755 0:0 0\n/a p 0644 0:0 0\n/c f 0644 0:0 0 text=\"2\"\n");
        let pax = Entry::file("a", "").pax("comment", "one").pax("path", "b").pax("path", "c");
        assert_eq!(read([pax]).unwrap(), "/ d 0755 0:0 0\n/c f 0644 0:0 0 text=\"\"\n");
    }

    #[test]
    fn an_archive_needs_no_end() {
        let layer = Layer::new([Entry::file("a", "1")]).tar_end(TarEnd::None);
        assert_eq!(Listing::read_tar(&layer.tar()).unwrap().len(), 2);
    }

    #[test]
    fn errors_name_their_offset() {
        let first = Entry::dir("d");
        for (entry, message) in [
            (Entry::file("a", "").bad_checksum(), "the header's checksum is wrong"),
            (Entry::file("a", "").size(5000), "the entry is cut short"),
            (Entry::file("a", "").owner(-1, 0), "the owner is no number in range"),
            (Entry::new(EntryType::Raw(b'S'), "a"), "the type S is not understood"),
            (Entry::file("a/../b", ""), "the name a/../b holds .."),
            (Entry::hardlink("a", "b"), "the hard link's other name /b is not there"),
        ] {
            let error = read([first.clone(), entry]).unwrap_err();
            assert_eq!(error.to_string(), format!("at byte 512 of the archive: {message}"));
        }
        let error = Listing::read_tar(&[b'x'; 700]).unwrap_err();
        assert_eq!(error.to_string(), "at byte 0 of the archive: the checksum is no number in range");
    }

    #[test]
    fn times_keep_nine_digits() {
        assert_eq!(time(b"1.1234567899"), Ok(Mtime { seconds: 1, nanos: 123_456_789 }));
        assert_eq!(time(b"-2"), Ok(Mtime { seconds: -2, nanos: 0 }));
        assert_eq!(time(b"x"), Err(TarProblem::Number("mtime")));
    }
}
