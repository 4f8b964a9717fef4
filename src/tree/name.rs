//! One name of a directory, in as little memory as a tree of a million of them allows.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

/// How many bytes a name may have to need no memory of its own.
const SHORT_MAX: usize = 22;

/// The bytes of a name; those of most names stand in the value itself.
#[derive(Clone)]
pub(super) enum Name {
    Short { len: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<[u8]>),
}

impl Name {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        match u8::try_from(name.len()) {
            Ok(len) if name.len() <= SHORT_MAX => {
                let mut bytes = [0; SHORT_MAX];
                bytes[..name.len()].copy_from_slice(name);
                Self::Short { len, bytes }
            }
            _ => Self::Long(name.into()),
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::path::Quoted(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_bytes_whatever_its_length() {
        for len in [0, 1, 21, 22, 23, 255] {
            let bytes: Vec<u8> = (0..len).map(|n| n ^ 0x5a).collect();
            assert_eq!(Name::from(&*bytes).as_bytes(), bytes);
        }
        assert_ne!(Name::from(&b"a"[..]), Name::from(&b"a\0"[..]));
        assert_eq!(size_of::<Name>(), 24);
    }
}
