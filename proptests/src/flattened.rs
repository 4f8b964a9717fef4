//! What a stack means, and how much of that the specification says.

use std::collections::{BTreeMap, BTreeSet};

use crate::listing::Listing;
use crate::oddity::Oddities;

/// A flattened stack, with what is known of its making.
#[derive(Debug, Clone, Default)]
pub struct Flattened {
    /// The filesystem.
    pub listing: Listing,
    /// Directories without an entry of their own, by absolute path.
    pub implied: BTreeMap<Vec<u8>, Origin>,
    /// Directories whose names a later layer changed than the one that last had an entry for them, or in which their own
    /// layer implies another one after their entry.
    ///
    /// Only a program that restores the time of such a directory keeps the time that its entry gave it.
    pub disturbed: BTreeSet<Vec<u8>>,
    /// What each layer does on which the specification is silent.
    pub oddities: Vec<Oddities>,
    /// The bytes of all files by their SHA-256, those included that are not in the filesystem any more.
    pub contents: BTreeMap<[u8; 32], Vec<u8>>,
}

/// Where a directory's metadata comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Its entry.
    Entry,
    /// It has none: it was made because an entry below it needed it, or is a root that no layer describes.
    Parent,
    /// Its entry is hidden, and it stays because the layer that hides it wrote below it.
    Remains,
}

impl Flattened {
    /// Returns what all layers do on which the specification is silent.
    #[must_use]
    pub fn all_oddities(&self) -> Oddities {
        self.oddities.iter().flatten().copied().collect()
    }
}
