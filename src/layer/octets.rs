//! Compact byte strings for the names, link targets and values of a tree with millions of inodes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::spool::Spool;
use crate::memory::ALLOCATION;

/// The number of bytes that are stored inline.
const SHORT_MAX: usize = 22;

/// A byte string: inline if short, else in a box or in a mapped file.
#[derive(Clone)]
pub struct Octets(Form);

#[derive(Clone)]
enum Form {
    Short { len: u8, bytes: [u8; SHORT_MAX] },
    Boxed(Box<[u8]>),
    Stored(SpoolRange),
}

/// A part of a mapped file.
#[derive(Clone)]
pub(super) struct SpoolRange {
    pub spool: Arc<Spool>,
    pub offset: u32,
    pub len: u32,
}

impl Octets {
    pub(super) fn stored(stored: SpoolRange) -> Self {
        Self(Form::Stored(stored))
    }

    /// Returns the memory that the bytes take beyond the value itself.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match &self.0 {
            Form::Boxed(bytes) => bytes.len() as u64 + ALLOCATION,
            Form::Short { .. } | Form::Stored(_) => 0,
        }
    }

    /// Returns the memory that [`Octets`] of `len` bytes would take beyond the value itself.
    #[must_use]
    pub fn memory_of(len: usize) -> u64 {
        if len <= SHORT_MAX { 0 } else { len as u64 + ALLOCATION }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Boxed(bytes) => bytes,
            Form::Stored(SpoolRange { spool, offset, len }) => spool.part(*offset, *len),
        }
    }
}

impl Default for Octets {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl From<&[u8]> for Octets {
    fn from(from: &[u8]) -> Self {
        match u8::try_from(from.len()) {
            Ok(len) if from.len() <= SHORT_MAX => {
                let mut bytes = [0; SHORT_MAX];
                bytes[..from.len()].copy_from_slice(from);
                Self(Form::Short { len, bytes })
            }
            _ => Self(Form::Boxed(from.into())),
        }
    }
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Octets {}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::path::Quoted(self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_of_any_length_equal_their_bytes() {
        for len in [0, 1, 21, 22, 23, 255] {
            let bytes: Vec<u8> = (0..len).map(|n| n ^ 0x5a).collect();
            let octets = Octets::from(&*bytes);
            assert_eq!(*octets, *bytes);
            assert_eq!(octets.memory(), Octets::memory_of(bytes.len()));
        }
        assert_ne!(Octets::from(&b"a"[..]), Octets::from(&b"a\0"[..]));
        assert_eq!(size_of::<Octets>(), 24);
    }
}
