//! The differences between two listings.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::node::{Kind, Node};
use super::text::{attribute_value, escape};
use super::{Listing, Name};

/// A property that can differ at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The type.
    Type,
    /// The permission bits.
    Mode,
    /// The uid.
    Uid,
    /// The gid.
    Gid,
    /// The mtime.
    Mtime,
    /// The bytes of a regular file.
    Content,
    /// The target of a symlink.
    Target,
    /// The number of a device.
    Device,
    /// The xattrs.
    Xattrs,
    /// The set of paths that name the same inode.
    Links,
}

impl Field {
    /// All fields, in the order in which they are compared.
    pub const ALL: [Self; 10] = [
        Self::Type,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Mtime,
        Self::Content,
        Self::Target,
        Self::Device,
        Self::Xattrs,
        Self::Links,
    ];

    /// Returns the name of the field in messages and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Mtime => "mtime",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Xattrs => "xattrs",
            Self::Links => "links",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field is one of type, mode, uid, gid, mtime, content, target, device, xattrs, links")]
pub struct FieldSyntax;

impl FromStr for Field {
    type Err = FieldSyntax;

    fn from_str(name: &str) -> Result<Self, FieldSyntax> {
        Self::ALL.into_iter().find(|field| field.name() == name).ok_or(FieldSyntax)
    }
}

/// A set of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(BTreeSet<Field>);

impl Fields {
    /// Returns all fields.
    #[must_use]
    pub fn all() -> Self {
        Self(Field::ALL.into())
    }

    /// Returns the set without a field.
    #[must_use]
    pub fn without(mut self, field: Field) -> Self {
        self.0.remove(&field);
        self
    }

    /// Returns true if the field is in the set.
    #[must_use]
    pub fn contains(&self, field: Field) -> bool {
        self.0.contains(&field)
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// Parses names of fields between commas, such as `type,mode`.
impl FromStr for Fields {
    type Err = FieldSyntax;

    fn from_str(names: &str) -> Result<Self, FieldSyntax> {
        names.split(',').map(str::parse).collect()
    }
}

/// One difference between the expected and the actual filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An expected path is missing.
    Missing {
        /// The path.
        path: Vec<u8>,
        /// The expected inode.
        expected: Node,
    },
    /// A path is present that was not expected.
    Unexpected {
        /// The path.
        path: Vec<u8>,
        /// The inode.
        actual: Node,
    },
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

impl Difference {
    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Missing { path, .. } | Self::Unexpected { path, .. } | Self::Field { path, .. } => path,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escape(self.path());
        match self {
            Self::Missing { expected, .. } => write!(f, "{path} is missing, expected {expected}"),
            Self::Unexpected { actual, .. } => write!(f, "{path} is not expected: {actual}"),
            Self::Field { field, expected, actual, .. } => {
                write!(f, "{path} has {field} {actual}, expected {expected}")
            }
        }
    }
}

/// Returns the differences between a listing and the expected one, in the order of paths and fields.
///
/// An empty `lost+found` counts as absent in both. If the types differ, fields of a single type are not compared.
#[must_use]
pub fn diff(expected: &Listing, actual: &Listing, fields: &Fields) -> Vec<Difference> {
    let mut differences = Vec::new();
    let paths: BTreeSet<&Vec<u8>> = expected.names.keys().chain(actual.names.keys()).collect();
    let there = |listing: &Listing, path: &[u8]| path != b"/lost+found" || !listing.has_empty_lost_found();
    for path in paths {
        let get = |listing: &'_ Listing| listing.get(path).filter(|_| there(listing, path)).cloned();
        match (get(expected), get(actual)) {
            (Some(expected), None) => differences.push(Difference::Missing { path: path.clone(), expected }),
            (None, Some(actual)) => differences.push(Difference::Unexpected { path: path.clone(), actual }),
            (None, None) => {}
            (Some(old), Some(new)) => {
                let found = Field::ALL.into_iter().filter(|field| fields.contains(*field)).filter_map(|field| {
                    let (expected, actual) = match field {
                        Field::Links => (links(expected, path), links(actual, path)),
                        _ => (value(&old, field)?, value(&new, field)?),
                    };
                    let same = if field == Field::Content { old.kind == new.kind } else { expected == actual };
                    (!same).then(|| Difference::Field { path: path.clone(), field, expected, actual })
                });
                differences.extend(found);
            }
        }
    }
    differences
}

/// Returns a field as text; `None` if the type has no such field.
fn value(node: &Node, field: Field) -> Option<String> {
    Some(match (field, &node.kind) {
        (Field::Type, kind) => kind.letter().to_string(),
        (Field::Mode, _) => format!("{:04o}", node.mode),
        (Field::Uid, _) => node.uid.to_string(),
        (Field::Gid, _) => node.gid.to_string(),
        (Field::Mtime, _) => node.mtime.to_string(),
        (Field::Content, Kind::File(contents)) => format!("{contents}"),
        (Field::Target, Kind::Symlink(target)) => escape(target),
        (Field::Device, Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }) => {
            format!("{major}:{minor}")
        }
        (Field::Xattrs, _) => {
            let values = node.xattrs.iter().map(|(name, value)| format!("{}={}", escape(name), attribute_value(value)));
            format!("{{{}}}", values.collect::<Vec<_>>().join(" "))
        }
        (Field::Content | Field::Target | Field::Device | Field::Links, _) => return None,
    })
}

fn links(listing: &Listing, path: &[u8]) -> String {
    match listing.names.get(path) {
        Some(Name::Shares(first)) => format!("= {}", escape(first)),
        _ => "of its own".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str) -> Listing {
        text.parse().unwrap()
    }

    fn compare(expected: &str, actual: &str, fields: &Fields) -> Vec<String> {
        diff(&listing(expected), &listing(actual), fields).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_is_compared_and_named() {
        let base = "/a f 0644 1:2 3 text=\"x\"\n";
        for (actual, expected) in [
            ("/a p 0644 1:2 3\n", "/a has type p, expected f"),
            ("/a f 4644 1:2 3 text=\"x\"\n", "/a has mode 4644, expected 0644"),
            ("/a f 0644 9:2 3 text=\"x\"\n", "/a has uid 9, expected 1"),
            ("/a f 0644 1:9 3 text=\"x\"\n", "/a has gid 9, expected 2"),
            ("/a f 0644 1:2 3.5 text=\"x\"\n", "/a has mtime 3.5, expected 3"),
            ("/a f 0644 1:2 3 text=\"y z\"\n", "/a has content text=\"y z\", expected text=\"x\""),
            ("/a f 0644 1:2 3 text=\"x\" xattr.user.a=\"1\"\n", "/a has xattrs {user.a=\"1\"}, expected {}"),
        ] {
            assert_eq!(compare(base, actual, &Fields::all()), [expected]);
        }
        let pairs = [
            ("/l l 0777 0:0 0 -> a", "/l l 0777 0:0 0 -> b", "/l has target b, expected a"),
            ("/c c 0644 0:0 0 dev=1:3", "/c c 0644 0:0 0 dev=1:5", "/c has device 1:5, expected 1:3"),
        ];
        for (expected, actual, difference) in pairs {
            assert_eq!(compare(expected, actual, &Fields::all()), [difference]);
        }
    }

    #[test]
    fn long_contents_differ_by_digest() {
        let line = |text: &str| Listing::from_iter([("/a", Node::file(text.repeat(100)))]);
        let found = diff(&line("a"), &line("b"), &Fields::all());
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("/a has content size=100 sha256="), "{}", found[0]);
    }

    #[test]
    fn digests_equal_the_contents_read() {
        let read = listing("/a f 0644 0:0 0 text=\"abc\"");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let known = listing(&format!("/a f 0644 0:0 0 size=3 sha256={digest}"));
        assert_eq!(diff(&read, &known, &Fields::all()), []);
    }

    #[test]
    fn paths_on_one_side_only_are_missing_or_unexpected() {
        let found = compare("/a d 0755 0:0 0\n/b d 0755 0:0 0", "/b d 0755 0:0 0\n/c d 0700 0:0 0", &Fields::all());
        assert_eq!(found, ["/a is missing, expected d 0755 0:0 0", "/c is not expected: d 0700 0:0 0"]);
    }

    #[test]
    fn a_copy_is_not_a_link() {
        let linked = "/a f 0644 0:0 0 text=\"\"\n/b = /a";
        let copied = "/a f 0644 0:0 0 text=\"\"\n/b f 0644 0:0 0 text=\"\"";
        assert_eq!(compare(linked, copied, &Fields::all()), ["/b has links of its own, expected = /a"]);
        assert_eq!(compare(linked, copied, &Fields::all().without(Field::Links)), [""; 0]);
    }

    #[test]
    fn only_requested_fields_are_compared() {
        let fields: Fields = "type,mode".parse().unwrap();
        assert_eq!(compare("/a d 0755 0:0 0", "/a d 0755 7:7 7", &fields), [""; 0]);
        assert_eq!(compare("/a d 0755 0:0 0", "/a d 0700 7:7 7", &fields), ["/a has mode 0700, expected 0755"]);
        assert_eq!("type,size".parse::<Fields>(), Err(FieldSyntax));
        for field in Field::ALL {
            assert_eq!(field.name().parse(), Ok(field));
        }
    }

    #[test]
    fn only_an_empty_lost_found_is_ignored() {
        let full = "/lost+found d 0700 0:0 0\n/lost+found/a p 0644 0:0 0";
        assert_eq!(compare("", "/lost+found d 0700 0:0 0", &Fields::all()), [""; 0]);
        assert_eq!(compare("/lost+found d 0755 0:0 0", "/lost+found d 0700 0:0 0", &Fields::all()), [""; 0]);
        assert_eq!(compare("", full, &Fields::all()).len(), 2);
    }
}
