//! The expectation of a case, and its comparison with a listing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use super::{Mode, Time, from_base64, from_hex, name};
use crate::Mtime;
use crate::listing::{Field, Kind, Listing, Node, escape};

/// The expected result of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A filesystem.
    Tree(ExpectedTree),
    /// A failure, with a word for its kind. Any clean failure is accepted.
    Error(String),
}

/// The expected paths of a filesystem, with their known properties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedTree {
    /// The expectation for each path; absolute paths, the root only if something is expected of it.
    pub nodes: BTreeMap<Vec<u8>, ExpectedNode>,
}

/// The expectation for one path; properties that are `None` are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedNode {
    /// The type, by its letter in a listing.
    pub letter: Option<char>,
    /// The permission bits.
    pub mode: Option<u32>,
    /// The uid.
    pub uid: Option<u32>,
    /// The gid.
    pub gid: Option<u32>,
    /// The mtime.
    pub mtime: Option<Mtime>,
    /// The size of a regular file in bytes.
    pub size: Option<u64>,
    /// The digest of a regular file.
    pub sha256: Option<Vec<u8>>,
    /// The target of a symlink.
    pub target: Option<Vec<u8>>,
    /// The major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// The xattrs that must be present, by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// True if no other xattrs may be present.
    pub xattrs_exact: bool,
    /// The link count.
    pub nlink: Option<usize>,
    /// Another name of the same inode.
    pub same_inode_as: Option<Vec<u8>>,
    /// True if it is an implied directory: without an entry, with the mtime of implied directories and no xattrs.
    pub implied: bool,
}

/// One difference between a listing and the expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// A path is missing.
    Missing(Vec<u8>),
    /// A path is present that was not expected.
    Unexpected(Vec<u8>, Node),
    /// A field has another value.
    Field {
        /// The path.
        path: Vec<u8>,
        /// The field.
        field: Field,
        /// The expected value, as text.
        expected: String,
        /// The actual value, as text.
        actual: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "{} is missing", escape(path)),
            Self::Unexpected(path, node) => write!(f, "{} is not expected: {node}", escape(path)),
            Self::Field { path, field, expected, actual } => {
                write!(f, "{} has {field} {actual}, expected {expected}", escape(path))
            }
        }
    }
}

impl ExpectedTree {
    /// Returns the differences between a listing and the expectation, in the order of paths.
    ///
    /// `implied` is the mtime of directories without an entry. An empty `lost+found` is ignored on either side.
    #[must_use]
    pub fn check(&self, actual: &Listing, implied: Mtime) -> Vec<Mismatch> {
        let mut mismatches = Vec::new();
        let expected = self.nodes.keys().map(Vec::as_slice);
        let paths: BTreeSet<&[u8]> = expected.chain(actual.iter().map(|(path, _)| path)).collect();
        for path in paths {
            match (self.nodes.get(path), actual.get(path)) {
                (Some(expected), Some(node)) => {
                    let mut judge = Judge { path, node, mismatches: &mut mismatches };
                    judge.metadata(expected, implied);
                    judge.content(expected);
                    judge.links(expected, actual);
                }
                (Some(_), None) if !self.is_empty_lost_found(path) => {
                    mismatches.push(Mismatch::Missing(path.to_vec()));
                }
                (None, Some(_)) if path == b"/" => {}
                (None, Some(_)) if path == b"/lost+found" && actual.has_empty_lost_found() => {}
                (None, Some(node)) => mismatches.push(Mismatch::Unexpected(path.to_vec(), node.clone())),
                (_, None) => {}
            }
        }
        if actual.get(b"/").is_none_or(|root| root.kind != Kind::Directory) {
            mismatches.push(Mismatch::Missing(b"/".to_vec()));
        }
        mismatches
    }

    fn is_empty_lost_found(&self, path: &[u8]) -> bool {
        let below = |other: &Vec<u8>| other.starts_with(b"/lost+found/");
        let directory = self.nodes.get(path).is_some_and(|node| node.letter == Some('d'));
        path == b"/lost+found" && directory && !self.nodes.keys().any(below)
    }
}

struct Judge<'a> {
    path: &'a [u8],
    node: &'a Node,
    mismatches: &'a mut Vec<Mismatch>,
}

impl Judge<'_> {
    fn require<T: PartialEq>(&mut self, field: Field, expected: Option<&T>, actual: &T, show: impl Fn(&T) -> String) {
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            let (expected, actual) = (show(expected), show(actual));
            self.mismatches.push(Mismatch::Field { path: self.path.to_vec(), field, expected, actual });
        }
    }

    fn metadata(&mut self, expected: &ExpectedNode, implied: Mtime) {
        let node = self.node;
        self.require(Field::Type, expected.letter.as_ref(), &node.kind.letter(), char::to_string);
        self.require(Field::Mode, expected.mode.as_ref(), &u32::from(node.mode), |mode| format!("{mode:04o}"));
        self.require(Field::Uid, expected.uid.as_ref(), &node.uid, u32::to_string);
        self.require(Field::Gid, expected.gid.as_ref(), &node.gid, u32::to_string);
        let mtime = expected.mtime.or(expected.implied.then_some(implied));
        self.require(Field::Mtime, mtime.as_ref(), &node.mtime, Mtime::to_string);
        let exact = expected.xattrs_exact || expected.implied;
        let judged: BTreeMap<_, _> = node
            .xattrs
            .iter()
            .filter(|(name, _)| exact || expected.xattrs.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.require(Field::Xattrs, Some(&expected.xattrs), &judged, |xattrs| {
            let values = xattrs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
            format!("{{{}}}", values.collect::<Vec<_>>().join(" "))
        });
    }

    fn content(&mut self, expected: &ExpectedNode) {
        match &self.node.kind {
            Kind::File(contents) => {
                self.require(Field::Content, expected.size.as_ref(), &contents.size(), |size| format!("size={size}"));
                let digest = contents.sha256().to_vec();
                self.require(Field::Content, expected.sha256.as_ref(), &digest, |digest| {
                    digest.iter().map(|byte| format!("{byte:02x}")).collect()
                });
            }
            Kind::Symlink(target) => {
                self.require(Field::Target, expected.target.as_ref(), target, |target| escape(target));
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                self.require(Field::Device, expected.device.as_ref(), &(*major, *minor), |(major, minor)| {
                    format!("{major}:{minor}")
                });
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
    }

    fn links(&mut self, expected: &ExpectedNode, actual: &Listing) {
        let names = actual.names(self.path);
        self.require(Field::Links, expected.nlink.as_ref(), &names.len(), |count| format!("{count} names"));
        if let Some(other) = &expected.same_inode_as {
            let shared = names.contains(&&other[..]);
            self.require(Field::Links, Some(&true), &shared, |shared| {
                let relation = if *shared { "of" } else { "other than that of" };
                format!("the inode {relation} {}", escape(other))
            });
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    tree: Option<Vec<RawNode>>,
    error: Option<String>,
}

impl RawExpect {
    pub(super) fn read(self) -> Result<Expect, String> {
        match (self.tree, self.error) {
            (Some(tree), None) => {
                let mut nodes = BTreeMap::new();
                for node in tree {
                    let (path, node) = node.read()?;
                    if nodes.insert(path.clone(), node).is_some() {
                        return Err(format!("{} is expected twice", escape(&path)));
                    }
                }
                Ok(Expect::Tree(ExpectedTree { nodes }))
            }
            (None, Some(error)) => Ok(Expect::Error(error)),
            _ => Err("a tree or an error is expected".to_owned()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    path: Option<String>,
    path_hex: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    mode: Option<Mode>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    size: Option<u64>,
    sha256: Option<String>,
    linkname: Option<String>,
    linkname_hex: Option<String>,
    devmajor: Option<u32>,
    devminor: Option<u32>,
    #[serde(default)]
    xattrs_b64: BTreeMap<String, String>,
    #[serde(default)]
    xattrs_exact: bool,
    nlink: Option<usize>,
    same_inode_as: Option<String>,
    #[serde(default)]
    implied: bool,
}

impl RawNode {
    fn read(self) -> Result<(Vec<u8>, ExpectedNode), String> {
        let path = absolute(&name(self.path, self.path_hex)?);
        let letter = match self.kind.as_deref() {
            None => None,
            Some("reg") => Some('f'),
            Some("dir") => Some('d'),
            Some("symlink") => Some('l'),
            Some("char") => Some('c'),
            Some("block") => Some('b'),
            Some("fifo") => Some('p'),
            Some(other) => return Err(format!("unknown type {other:?}")),
        };
        let target = match (self.linkname, self.linkname_hex) {
            (None, None) => None,
            (text, hex) => Some(name(text, hex)?),
        };
        let decode = |(name, value): (String, String)| Ok::<_, String>((name.into_bytes(), from_base64(&value)?));
        let node = ExpectedNode {
            letter,
            mode: self.mode.map(|mode| mode.read()).transpose()?,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime.map(|time| time.read()).transpose()?,
            size: self.size,
            sha256: self.sha256.as_deref().map(from_hex).transpose()?,
            target,
            device: self.devmajor.zip(self.devminor),
            xattrs: self.xattrs_b64.into_iter().map(decode).collect::<Result<_, _>>()?,
            xattrs_exact: self.xattrs_exact,
            nlink: self.nlink,
            same_inode_as: self.same_inode_as.map(|other| absolute(other.as_bytes())),
            implied: self.implied,
        };
        Ok((path, node))
    }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    if path == b"." { b"/".to_vec() } else { [b"/", path].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(nodes: &str) -> ExpectedTree {
        let raw: RawExpect = serde_json::from_str(&format!(r#"{{"tree": [{nodes}]}}"#)).unwrap();
        match raw.read().unwrap() {
            Expect::Tree(tree) => tree,
            Expect::Error(error) => panic!("{error}"),
        }
    }

    fn check(nodes: &str, listing: &str) -> Vec<String> {
        let listing: Listing = format!("/ d 0755 0:0 0\n{listing}").parse().unwrap();
        tree(nodes).check(&listing, Mtime::default()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_expected_field_is_compared() {
        let file = "/a f 0644 1:2 3 text=\"x\" xattr.user.a=\"1\"";
        for (expected, listing, mismatch) in [
            (r#""type": "dir""#, file, "/a has type f, expected d"),
            (r#""mode": "0o600""#, file, "/a has mode 0644, expected 0600"),
            (r#""uid": 9"#, file, "/a has uid 1, expected 9"),
            (r#""gid": 9"#, file, "/a has gid 2, expected 9"),
            (r#""mtime": "2.5""#, file, "/a has mtime 3, expected 2.5"),
            (r#""size": 9"#, file, "/a has content size=1, expected size=9"),
            (r#""xattrs_b64": {"user.a": "Mg=="}"#, file, "/a has xattrs {user.a=1}, expected {user.a=2}"),
            (r#""xattrs_b64": {"user.b": "Mg=="}"#, file, "/a has xattrs {}, expected {user.b=2}"),
            (r#""xattrs_exact": true"#, file, "/a has xattrs {user.a=1}, expected {}"),
            (r#""nlink": 2"#, file, "/a has links 1 names, expected 2 names"),
            (r#""same_inode_as": "b""#, file, "/a has links the inode other than that of /b, expected the inode of /b"),
            (r#""linkname": "y""#, "/a l 0777 0:0 0 -> x", "/a has target x, expected y"),
            (r#""devmajor": 1, "devminor": 5"#, "/a c 0644 0:0 0 dev=1:3", "/a has device 1:3, expected 1:5"),
            (r#""implied": true"#, "/a d 0755 0:0 5", "/a has mtime 5, expected 0"),
            (r#""implied": true"#, "/a d 0755 0:0 0 xattr.user.a=\"1\"", "/a has xattrs {user.a=1}, expected {}"),
        ] {
            assert_eq!(check(&format!(r#"{{"path": "a", {expected}}}"#), listing), [mismatch]);
        }
    }

    #[test]
    fn an_expected_digest_is_compared() {
        let expected = format!(r#"{{"path": "a", "sha256": "{}"}}"#, "00".repeat(32));
        assert_eq!(check(&expected, "/a f 0644 0:0 0 text=\"x\"").len(), 1);
    }

    #[test]
    fn unexpected_fields_are_not_compared() {
        assert_eq!(check(r#"{"path": "a"}"#, "/a f 4644 1:2 3 text=\"x\" xattr.user.a=\"1\""), [""; 0]);
        let links = "/a p 0644 0:0 0\n/b = /a";
        assert_eq!(check(r#"{"path": "a", "nlink": 2}, {"path": "b", "same_inode_as": "a"}"#, links), [""; 0]);
    }

    #[test]
    fn every_path_is_expected_but_the_root() {
        assert_eq!(check(r#"{"path": "a"}"#, "/b p 0644 0:0 0"), ["/a is missing", "/b is not expected: p 0644 0:0 0"]);
        assert_eq!(check(r#"{"path": ".", "mode": "0o700"}"#, ""), ["/ has mode 0755, expected 0700"]);
        assert_eq!(tree("").check(&Listing::new(), Mtime::default()), [Mismatch::Missing(b"/".to_vec())]);
    }

    #[test]
    fn an_empty_lost_found_is_allowed() {
        assert_eq!(check("", "/lost+found d 0700 0:0 0"), [""; 0]);
        assert_eq!(check(r#"{"path": "lost+found", "type": "dir"}"#, ""), [""; 0]);
        assert_eq!(check("", "/lost+found d 0700 0:0 0\n/lost+found/a p 0644 0:0 0").len(), 2);
        assert_eq!(check(r#"{"path": "lost+found", "type": "reg"}"#, ""), ["/lost+found is missing"]);
    }
}
