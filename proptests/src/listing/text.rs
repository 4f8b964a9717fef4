//! The text of a listing: one line for each path.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::node::{Contents, Kind, Node};
use super::{Listing, Name};

/// A text that is not a listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: {text}")]
pub struct ListingSyntax {
    /// The number of the line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: &'static str,
    /// The line.
    pub text: String,
}

/// Returns bytes as printable ASCII: all others, the space, the backslash and the double quote become `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    escape_all_but(bytes, |byte| byte.is_ascii_graphic())
}

fn escape_all_but(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if plain(byte) && !matches!(byte, b'\\' | b'"') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", escape_all_but(bytes, |byte| byte == b' ' || byte.is_ascii_graphic()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, name) in &self.names {
            match name {
                Name::Carries(node) => writeln!(f, "{} {node}", escape(path))?,
                Name::Shares(first) => writeln!(f, "{} = {}", escape(path), escape(first))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:04o} {}:{} {}", self.kind.letter(), self.mode, self.uid, self.gid, self.mtime)?;
        match &self.kind {
            Kind::File(contents) => write!(f, " {contents}")?,
            Kind::Symlink(target) => write!(f, " -> {}", escape(target))?,
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                write!(f, " dev={major}:{minor}")?;
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
        for (name, value) in &self.xattrs {
            write!(f, " xattr.{}={}", escape_name(name), attribute_value(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "text={}", quote(text)),
            None => write!(f, "size={} sha256={}", self.size(), hex(&self.sha256())),
        }
    }
}

/// The first `=` ends a name.
fn escape_name(name: &[u8]) -> String {
    escape_all_but(name, |byte| byte != b'=' && byte.is_ascii_graphic())
}

pub(super) fn attribute_value(value: &[u8]) -> String {
    let readable = value.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    if readable { quote(value) } else { format!("0x{}", hex(value)) }
}

impl FromStr for Listing {
    type Err = ListingSyntax;

    fn from_str(text: &str) -> Result<Self, ListingSyntax> {
        let mut listing = Self::new();
        let mut links = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |problem| ListingSyntax { line: index + 1, problem, text: line.to_owned() };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let tokens = tokens(line).map_err(wrong)?;
            let path = path(tokens[0]).map_err(wrong)?;
            if listing.names.contains_key(&path) || links.iter().any(|(_, name, _)| *name == path) {
                return Err(wrong("the path is there already"));
            }
            match &tokens[1..] {
                ["=", existing] => links.push((index, path, self::path(existing).map_err(wrong)?)),
                [] | ["=", ..] => return Err(wrong("a path needs a node or another name")),
                words => listing.insert(path, node(words).map_err(wrong)?),
            }
        }
        // A name may come before the line that it refers to, so links are resolved in rounds.
        while !links.is_empty() {
            let before = links.len();
            links.retain(|(_, path, existing)| !listing.link(path.clone(), existing));
            if let Some((index, ..)) = links.first().filter(|_| links.len() == before) {
                let line = text.lines().nth(*index).unwrap_or_default().to_owned();
                return Err(ListingSyntax { line: index + 1, problem: "the other name does not exist", text: line });
            }
        }
        Ok(listing)
    }
}

type Parsed<T> = Result<T, &'static str>;

/// Splits at spaces outside quotes; there is at least one token.
fn tokens(line: &str) -> Parsed<Vec<&str>> {
    let mut tokens = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b' ' if !quoted => {
                tokens.push(&line[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    tokens.push(&line[start..]);
    tokens.retain(|token| !token.is_empty());
    Ok(tokens)
}

fn unescape(text: &str) -> Parsed<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'\\' => {
                let [b'x', high, low, tail @ ..] = tail else { return Err("a backslash begins \\xNN") };
                bytes.extend(unhex(&[*high, *low])?);
                rest = tail;
            }
            b' '..=b'~' if *first != b'"' => bytes.push(*first),
            _ => return Err("only printable ASCII stands for itself"),
        }
    }
    Ok(bytes)
}

fn unhex(digits: &[u8]) -> Parsed<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err("hexadecimal digits are 0 to 9 and a to f"),
    };
    if !digits.len().is_multiple_of(2) {
        return Err("hexadecimal digits come in pairs");
    }
    digits.chunks(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn unquote(text: &str) -> Parsed<Vec<u8>> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    unescape(inner.ok_or("a text stands between quotes")?)
}

fn path(token: &str) -> Parsed<Vec<u8>> {
    if token != "/" && (!token.starts_with('/') || token.split('/').skip(1).any(|name| matches!(name, "" | "." | "..")))
    {
        return Err("a path is absolute and clean");
    }
    unescape(token)
}

fn number<T: FromStr>(text: &str) -> Parsed<T> {
    text.parse().map_err(|_| "a number is expected, in range")
}

fn pair(text: &str) -> Parsed<(u32, u32)> {
    let (left, right) = text.split_once(':').ok_or("two numbers are expected, N:N")?;
    Ok((number(left)?, number(right)?))
}

fn node(words: &[&str]) -> Parsed<Node> {
    let [letter, mode, owner, mtime, attributes @ ..] = words else {
        return Err("type, mode, owner and time are expected");
    };
    let mode = u16::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777).ok_or("a mode is 0 to 07777")?;
    let (uid, gid) = pair(owner)?;
    let mtime = mtime.parse().map_err(|_| "a time is [-]SECONDS[.FRACTION]")?;
    let mut words = attributes.iter();
    let kind = kind(letter, &mut words)?;
    let mut node = Node { uid, gid, mtime, ..Node::new(kind, mode) };
    for word in words {
        let attribute = word.strip_prefix("xattr.").and_then(|attribute| attribute.split_once('='));
        let (name, value) = attribute.ok_or("the type has no such attribute")?;
        let value = match value.strip_prefix("0x") {
            Some(digits) => unhex(digits.as_bytes())?,
            None => unquote(value)?,
        };
        if node.xattrs.insert(unescape(name)?, value).is_some() {
            return Err("an extended attribute is there twice");
        }
    }
    Ok(node)
}

fn kind<'a>(letter: &str, words: &mut impl Iterator<Item = &'a &'a str>) -> Parsed<Kind> {
    let mut value = |key: &str| words.next().and_then(|word| word.strip_prefix(key));
    Ok(match letter {
        "f" => Kind::File(match value("") {
            Some(word) if word.starts_with("text=") => Contents::of(&unquote(&word["text=".len()..])?),
            Some(word) if word.starts_with("size=") => {
                let digest = value("sha256=").ok_or("size= is followed by sha256=")?;
                let digest = unhex(digest.as_bytes())?.try_into().map_err(|_| "a SHA-256 has 64 digits")?;
                Contents::known_by(number(&word["size=".len()..])?, digest)
            }
            _ => return Err("a file has text= or size= and sha256="),
        }),
        "d" => Kind::Directory,
        "l" => match (value(""), value("")) {
            (Some("->"), Some(target)) => Kind::Symlink(unescape(target)?),
            _ => return Err("a symlink has -> and its target"),
        },
        "c" | "b" => {
            let (major, minor) = pair(value("dev=").ok_or("a device has dev=MAJOR:MINOR")?)?;
            if letter == "c" { Kind::CharDevice { major, minor } } else { Kind::BlockDevice { major, minor } }
        }
        "p" => Kind::Fifo,
        "s" => Kind::Socket,
        _ => return Err("a type is one of f d l c b p s"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mtime;

    const TEXT: &str = r#"/ d 0755 0:0 0
/a\x20b f 0640 5:6 -0.5 text="all users\x0a\x22" xattr.security.capability=0x0100000a xattr.user.a="1 2" xattr.user.e\x3d=""
/b b 0600 0:6 0 dev=8:1048575
/c c 0666 0:0 0 dev=1:3
/d d 1777 4294967294:4294967294 15032385535.999999999
/d/-> l 0777 0:0 0 -> ../\xff\x5c
/f = /a\x20b
/p p 0644 0:0 0
/s s 0755 0:0 0
/z f 4755 0:0 1000 size=70000 sha256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
"#;

    #[test]
    fn every_type_reads_and_prints_the_same() {
        assert_eq!(TEXT.parse::<Listing>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn every_field_of_a_line_is_read() {
        let listing: Listing = TEXT.parse().unwrap();
        let mut expected = Node { mode: 0o640, uid: 5, gid: 6, ..Node::file("all users\n\"") };
        expected.mtime = Mtime { seconds: -1, nanos: 500_000_000 };
        for (name, value) in [("security.capability", &b"\x01\0\0\n"[..]), ("user.a", b"1 2"), ("user.e=", b"")] {
            expected.xattrs.insert(name.into(), value.into());
        }
        assert_eq!(listing.get(b"/a b"), Some(&expected));
        assert_eq!(listing.names(b"/f"), [&b"/a b"[..], b"/f"]);
        assert_eq!(listing.get(b"/d/->"), Some(&Node::symlink(*b"../\xff\\")));
    }

    #[test]
    fn comments_blank_lines_and_extra_spaces_are_ignored() {
        let listing: Listing = "# two\n\n/a = /b\n/b   f 0644  0:0 0  text=\"\"\n".parse().unwrap();
        assert_eq!(listing.to_string(), "/a f 0644 0:0 0 text=\"\"\n/b = /a\n");
    }

    #[test]
    fn malformed_lines_are_refused_with_their_number() {
        for (line, problem) in [
            ("a d 0755 0:0 0", "a path is absolute and clean"),
            ("/a/../b d 0755 0:0 0", "a path is absolute and clean"),
            ("/a/ d 0755 0:0 0", "a path is absolute and clean"),
            ("/a", "a path needs a node or another name"),
            ("/a = /b /c", "a path needs a node or another name"),
            ("/a = /a", "the other name does not exist"),
            ("/a d 10000 0:0 0", "a mode is 0 to 07777"),
            ("/a d 0755 0 0", "two numbers are expected, N:N"),
            ("/a d 0755 0:4294967296 0", "a number is expected, in range"),
            ("/a d 0755 0:0 1.", "a time is [-]SECONDS[.FRACTION]"),
            ("/a x 0755 0:0 0", "a type is one of f d l c b p s"),
            ("/a d 0755 0:0 0 dev=1:3", "the type has no such attribute"),
            ("/a f 0644 0:0 0", "a file has text= or size= and sha256="),
            ("/a f 0644 0:0 0 size=3", "size= is followed by sha256="),
            ("/a f 0644 0:0 0 size=3 sha256=00", "a SHA-256 has 64 digits"),
            ("/a f 0644 0:0 0 text=\"a", "a quote is not closed"),
            ("/a l 0777 0:0 0 b", "a symlink has -> and its target"),
            ("/a\\y d 0755 0:0 0", "a backslash begins \\xNN"),
            ("/é d 0755 0:0 0", "only printable ASCII stands for itself"),
            ("/a d 0755 0:0 0 xattr.a=0x0", "hexadecimal digits come in pairs"),
            ("/a d 0755 0:0 0 xattr.a=0x0A", "hexadecimal digits are 0 to 9 and a to f"),
            ("/a d 0755 0:0 0 xattr.a=0x00 xattr.a=\"\"", "an extended attribute is there twice"),
        ] {
            let expected = ListingSyntax { line: 2, problem, text: line.to_owned() };
            assert_eq!(format!("# first\n{line}").parse::<Listing>(), Err(expected));
        }
        let twice = "/a p 0644 0:0 0\n/a p 0644 0:0 0".parse::<Listing>().unwrap_err();
        assert_eq!(twice.to_string(), "line 2: the path is there already: /a p 0644 0:0 0");
    }
}
