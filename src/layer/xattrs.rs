//! The xattrs of an inode, in one allocation that all inodes with the same xattrs share.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::octets::Octets;
use crate::tar;

/// Bytes of the two lengths before each xattr.
const HEADER: usize = 8;

/// Extended attributes, each name once, sorted by name; POSIX ACLs have the kernel's form (version 2).
#[derive(Clone, Default)]
pub struct Xattrs(Option<Arc<Octets>>);

/// An extended attribute, byte-exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// The whole name, with its namespace.
    pub name: &'a [u8],
    /// The value; may be empty.
    pub value: &'a [u8],
}

impl Xattrs {
    /// No xattrs.
    pub(crate) const NONE: Self = Self(None);

    /// Bytes of a shared value beyond its content: counters, the value, the allocation, and a slot in a set.
    pub const MEMORY: u64 = 16 + 24 + 16 + 24;

    pub(crate) fn of_encoded(encoded: Octets) -> Self {
        Self(Some(Arc::new(encoded)))
    }

    /// Returns the encoded xattrs; equal xattrs have equal bytes, no xattrs have none.
    pub(crate) fn encoded(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |octets| octets)
    }

    /// Returns the number of values that share the encoding; 0 if there are no xattrs.
    pub(crate) fn shares(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }

    /// Returns the memory of the shared value.
    pub(crate) fn memory(&self) -> u64 {
        self.0.as_ref().map_or(0, |octets| Self::MEMORY + octets.memory())
    }

    /// Returns true if there are no xattrs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of xattrs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns the xattrs in byte order of their names.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.encoded())
    }
}

/// An iterator over xattrs. See [`Xattrs::iter`].
#[derive(Debug)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = Xattr<'a>;

    fn next(&mut self) -> Option<Xattr<'a>> {
        let (header, rest) = self.0.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h] = *header;
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).ok();
        let (name, rest) = rest.split_at_checked(length([a, b, c, d])?)?;
        let (value, rest) = rest.split_at_checked(length([e, f, g, h])?)?;
        self.0 = rest;
        Some(Xattr { name, value })
    }
}

impl<'a> IntoIterator for &'a Xattrs {
    type Item = Xattr<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl FromIterator<tar::Xattr> for Xattrs {
    /// Sorts the xattrs; each name must occur once.
    fn from_iter<I: IntoIterator<Item = tar::Xattr>>(xattrs: I) -> Self {
        let mut sorted: Vec<tar::Xattr> = xattrs.into_iter().collect();
        sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut encoded = Vec::new();
        for tar::Xattr { name, value } in &sorted {
            for bytes in [name, value] {
                // Both lengths are bounded by the size of an extension header, far below 4 GiB.
                encoded.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
            encoded.extend_from_slice(name);
            encoded.extend_from_slice(value);
        }
        if encoded.is_empty() { Self::default() } else { Self::of_encoded((&*encoded).into()) }
    }
}

impl Borrow<[u8]> for Xattrs {
    fn borrow(&self) -> &[u8] {
        self.encoded()
    }
}

impl Hash for Xattrs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.encoded().hash(state);
    }
}

impl PartialEq for Xattrs {
    fn eq(&self, other: &Self) -> bool {
        self.encoded() == other.encoded()
    }
}

impl Eq for Xattrs {}

impl fmt::Debug for Xattrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(name: &str, value: &[u8]) -> tar::Xattr {
        tar::Xattr { name: name.as_bytes().into(), value: value.into() }
    }

    #[test]
    fn xattrs_are_sorted_and_byte_exact() {
        let xattrs: Xattrs =
            [xattr("user.b", b""), xattr("user.a", b"\0\n"), xattr("user.c", &[7; 5000])].into_iter().collect();
        let found: Vec<_> = xattrs.iter().map(|x| (x.name, x.value)).collect();
        assert_eq!(found, [(&b"user.a"[..], &b"\0\n"[..]), (b"user.b", b""), (b"user.c", &[7; 5000])]);
        assert_eq!(xattrs.len(), 3);
        let other: Xattrs =
            [xattr("user.a", b"\0\n"), xattr("user.c", &[7; 5000]), xattr("user.b", b"")].into_iter().collect();
        assert_eq!(xattrs, other);
        assert_ne!(xattrs, Xattrs::default());
    }

    #[test]
    fn none_take_no_memory() {
        let none: Xattrs = [].into_iter().collect();
        assert!(none.is_empty() && none == Xattrs::default());
        assert_eq!((none.len(), none.memory(), none.shares()), (0, 0, 0));
        assert_eq!(size_of::<Xattrs>(), 8);
    }
}
