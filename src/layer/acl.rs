//! POSIX ACLs as text in PAX records of star and GNU tar, and as values of the kernel's xattrs.
//!
//! The text is a list of entries, `user::rwx,user:lisa:r-x:1000,group::r-x,mask::r-x,other::---`, separated by commas
//! or newlines. The forms of all writers are read: star and libarchive append the numeric id after the permissions, GNU
//! tar writes a name or a number; tags may be one letter; `default:` marks entries of the default ACL; `#` begins a
//! comment. An id takes precedence over a name. A name can be resolved only when the whole image has been applied: see
//! [`crate::tree::Tree::resolve_acls`].

use crate::path::Quoted;

/// The reason why a text is not a POSIX ACL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclTextError {
    #[error("the entry {0} is not of its form")]
    Entry(String),
    #[error("the entry {0} has an id that no user can have")]
    Id(String),
    #[error("it has not just one entry for the owner, one for the group and one for others")]
    Base,
    #[error("it has two masks")]
    Masks,
    #[error("it names users or groups and has no mask")]
    NoMask,
    #[error("it names one user or group twice")]
    Twice,
}

type Result<T> = std::result::Result<T, AclTextError>;

/// The PAX records that hold the access ACL and the default ACL as text.
pub const TEXTS: [&str; 2] = ["SCHILY.acl.access", "SCHILY.acl.default"];
/// The kernel's xattr name of the access ACL.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The kernel's xattr name of the default ACL.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";
/// The xattr name of an access ACL that is still text ([`Acl::to_text`]) because it contains names of users or groups.
/// No image has such a name: [`super::changeset::Changeset`] accepts none with a NUL byte.
pub const UNRESOLVED_ACCESS: &[u8] = b"\0acl_access";
/// The xattr name of a default ACL that is still text.
pub const UNRESOLVED_DEFAULT: &[u8] = b"\0acl_default";

/// The largest id; -1 is not a valid id.
const ID_MAX: u32 = u32::MAX - 1;
const XATTR_VERSION: u32 = 2;
const UNDEFINED_ID: u32 = u32::MAX;

/// The kind of a principal: user or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A user, from `etc/passwd`.
    User,
    /// A group, from `etc/group`.
    Group,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// A numeric id.
    Id(u32),
    /// A name.
    Name(Box<[u8]>),
}

/// An ACL entry for one named user or group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedEntry {
    /// The kind of the principal.
    pub class: Class,
    /// The user or group.
    pub who: Principal,
    /// The permissions, 7 at most.
    pub permissions: u8,
}

/// A POSIX ACL that the kernel accepts once its names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    owner: u8,
    group: u8,
    other: u8,
    mask: Option<u8>,
    named: Vec<NamedEntry>,
}

/// The access ACL and the default ACL of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acls {
    /// The access ACL.
    pub access: Option<Acl>,
    /// The default ACL, inherited by files created in the directory.
    pub default: Option<Acl>,
}

impl Acls {
    /// Parses the text of an access ACL, which may contain entries of the default ACL, and the text of a default ACL.
    ///
    /// # Errors
    ///
    /// The text is not an ACL, or the kernel would refuse it.
    pub fn parse(access: Option<&[u8]>, default: Option<&[u8]>) -> Result<Self> {
        let (mut for_access, mut for_default) = (Vec::new(), Vec::new());
        for (text, is_default) in [(access, false), (default, true)] {
            for entry in entries(text.unwrap_or_default()) {
                let (marked, entry) = Entry::parse(entry)?;
                if is_default || marked { &mut for_default } else { &mut for_access }.push(entry);
            }
        }
        let acl = |entries: Vec<Entry>| if entries.is_empty() { Ok(None) } else { Acl::of(entries).map(Some) };
        Ok(Self { access: acl(for_access)?, default: acl(for_default)? })
    }
}

impl Acl {
    /// Sorts entries into the kernel's order and checks them as the kernel and libacl do.
    fn of(entries: Vec<Entry>) -> Result<Self> {
        let (mut owner, mut group, mut other, mut masks, mut named) = (vec![], vec![], vec![], vec![], vec![]);
        for entry in entries {
            match entry {
                Entry::Owner(permissions) => owner.push(permissions),
                Entry::Group(permissions) => group.push(permissions),
                Entry::Other(permissions) => other.push(permissions),
                Entry::Mask(permissions) => masks.push(permissions),
                Entry::Named(entry) => named.push(entry),
            }
        }
        let ([owner], [group], [other]) = (&*owner, &*group, &*other) else { return Err(AclTextError::Base) };
        let mask = match *masks {
            [] if !named.is_empty() => return Err(AclTextError::NoMask),
            [] => None,
            [mask] => Some(mask),
            _ => return Err(AclTextError::Masks),
        };
        let mut acl = Self { owner: *owner, group: *group, other: *other, mask, named };
        acl.sort()?;
        Ok(acl)
    }

    fn sort(&mut self) -> Result<()> {
        self.named.sort_unstable();
        let twice = self.named.windows(2).any(|pair| (pair[0].class, &pair[0].who) == (pair[1].class, &pair[1].who));
        if twice { Err(AclTextError::Twice) } else { Ok(()) }
    }

    /// Returns the permission bits of a file with this ACL, as `chmod` and `stat` use them: if there is a mask, it is
    /// the group's.
    #[must_use]
    pub fn mode(&self) -> u16 {
        u16::from(self.owner) << 6 | u16::from(self.mask.unwrap_or(self.group)) << 3 | u16::from(self.other)
    }

    /// Returns true if the permission bits alone express the ACL.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        self.mask.is_none()
    }

    /// Returns the users and groups that have a name but no id.
    pub fn names(&self) -> impl Iterator<Item = (Class, &[u8])> {
        self.named.iter().filter_map(|entry| match &entry.who {
            Principal::Name(name) => Some((entry.class, &**name)),
            Principal::Id(_) => None,
        })
    }

    /// Replaces names with ids, and returns the removed entries: those whose name has no id.
    ///
    /// # Errors
    ///
    /// Two entries are for the same user or group.
    pub fn resolve(&mut self, id: impl Fn(Class, &[u8]) -> Option<u32>) -> Result<Vec<NamedEntry>> {
        let (mut resolved, mut lost) = (Vec::new(), Vec::new());
        for NamedEntry { class, who, permissions } in std::mem::take(&mut self.named) {
            let found = match &who {
                Principal::Id(id) => Some(*id),
                Principal::Name(name) => id(class, name).filter(|id| *id <= ID_MAX),
            };
            match found {
                Some(id) => resolved.push(NamedEntry { class, who: Principal::Id(id), permissions }),
                None => lost.push(NamedEntry { class, who, permissions }),
            }
        }
        self.named = resolved;
        self.sort()?;
        Ok(lost)
    }

    /// Returns the value of the kernel's xattr; `None` if names are not resolved.
    #[must_use]
    pub fn to_xattr(&self) -> Option<Box<[u8]>> {
        const TAGS: [(Class, u16); 2] = [(Class::User, 0x02), (Class::Group, 0x08)];
        let mut xattr = XATTR_VERSION.to_le_bytes().to_vec();
        let mut put = |tag: u16, permissions: u8, id: u32| {
            xattr.extend(tag.to_le_bytes());
            xattr.extend(u16::from(permissions).to_le_bytes());
            xattr.extend(id.to_le_bytes());
        };
        put(0x01, self.owner, UNDEFINED_ID);
        for (class, tag) in TAGS {
            for entry in self.named.iter().filter(|entry| entry.class == class) {
                let Principal::Id(id) = entry.who else { return None };
                put(tag, entry.permissions, id);
            }
            if class == Class::User {
                put(0x04, self.group, UNDEFINED_ID);
            }
        }
        if let Some(mask) = self.mask {
            put(0x10, mask, UNDEFINED_ID);
        }
        put(0x20, self.other, UNDEFINED_ID);
        Some(xattr.into())
    }

    /// Returns the ACL as text that [`Acls::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> Box<[u8]> {
        let mut text = format!("u::{},g::{},o::{}", Rwx(self.owner), Rwx(self.group), Rwx(self.other));
        if let Some(mask) = self.mask {
            text += &format!(",m::{}", Rwx(mask));
        }
        let mut text = text.into_bytes();
        for entry in &self.named {
            text.push(b',');
            text.extend(entry.to_text());
        }
        text.into()
    }
}

impl NamedEntry {
    /// Returns the entry as text.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let class = if self.class == Class::User { "user" } else { "group" };
        let mut text = format!("{class}:").into_bytes();
        match &self.who {
            Principal::Id(id) => text.extend(id.to_string().bytes()),
            Principal::Name(name) => quote(name, &mut text),
        }
        text.extend(format!(":{}", Rwx(self.permissions)).bytes());
        text
    }
}

/// Displays permissions as three letters.
struct Rwx(u8);

impl std::fmt::Display for Rwx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = |bit, letter| if self.0 & bit == 0 { '-' } else { letter };
        write!(f, "{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x'))
    }
}

/// One entry of the text.
enum Entry {
    Owner(u8),
    Group(u8),
    Mask(u8),
    Other(u8),
    Named(NamedEntry),
}

/// Splits text into entries at newlines and commas; drops comment lines and comments after entries.
fn entries(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#"));
    lines
        .flat_map(|line| line.split(|&b| b == b','))
        .map(|entry| entry.split(|&b| b == b'#').next().unwrap_or_default().trim_ascii())
        .filter(|entry| !entry.is_empty())
}

impl Entry {
    /// Parses an entry, and returns true if it is marked as one of the default ACL.
    fn parse(entry: &[u8]) -> Result<(bool, Self)> {
        let wrong = || AclTextError::Entry(Quoted(entry).to_string());
        let mut fields: Vec<&[u8]> = entry.splitn(6, |&b| b == b':').map(<[u8]>::trim_ascii).collect();
        let mut marked = matches!(fields[0], b"default" | b"d");
        if marked {
            fields.remove(0);
        } else if let Some(tag) = fields[0].strip_prefix(b"default") {
            // The spelling of Solaris: `defaultuser::rwx`.
            (marked, fields[0]) = (true, tag);
        }
        let Some((tag, rest)) = fields.split_first() else { return Err(wrong()) };
        let class = match (*tag, rest) {
            (b"user" | b"u", _) => Class::User,
            (b"group" | b"g", _) => Class::Group,
            (b"mask" | b"m", [bits] | [b"", bits] | [b"", bits, b""]) => {
                return Ok((marked, Self::Mask(permissions(bits).ok_or_else(wrong)?)));
            }
            (b"other" | b"o", [bits] | [b"", bits] | [b"", bits, b""]) => {
                return Ok((marked, Self::Other(permissions(bits).ok_or_else(wrong)?)));
            }
            _ => return Err(wrong()),
        };
        let (name, bits, id) = match *rest {
            [name, bits] => (name, bits, &b""[..]),
            [name, bits, id] => (name, bits, id),
            _ => return Err(wrong()),
        };
        let permissions = permissions(bits).ok_or_else(wrong)?;
        let number = if id.is_empty() { name } else { id };
        let who = if number.is_empty() {
            return Ok((
                marked,
                if class == Class::User { Self::Owner(permissions) } else { Self::Group(permissions) },
            ));
        } else if number.iter().all(u8::is_ascii_digit) {
            let id = std::str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
            Principal::Id(id.filter(|id| *id <= ID_MAX).ok_or_else(|| AclTextError::Id(Quoted(entry).to_string()))?)
        } else if id.is_empty() {
            Principal::Name(unquoted(name))
        } else {
            return Err(wrong());
        };
        Ok((marked, Self::Named(NamedEntry { class, who, permissions })))
    }
}

/// Parses permissions: the letters `rwx`, each at most once, and dashes.
fn permissions(letters: &[u8]) -> Option<u8> {
    let mut permissions = 0;
    for letter in letters {
        let bit = match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
        if permissions & bit != 0 {
            return None;
        }
        permissions |= bit;
    }
    (1..=3).contains(&letters.len()).then_some(permissions)
}

/// Decodes a name in which libacl has escaped bytes as `\` and three octal digits.
fn unquoted(name: &[u8]) -> Box<[u8]> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] if byte == b'\\' => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain.into()
}

fn quote(name: &[u8], text: &mut Vec<u8>) {
    for (n, &byte) in name.iter().enumerate() {
        // Escapes a leading digit, so that the name is not read as an id.
        if n == 0 && byte.is_ascii_digit() {
            text.extend(format!("\\{byte:03o}").bytes());
        } else if byte.is_ascii_graphic() && !b"\\:,#=".contains(&byte) || byte > 0x7f {
            text.push(byte);
        } else {
            text.extend(format!("\\{byte:03o}").bytes());
        }
    }
}

#[cfg(test)]
mod tests;
