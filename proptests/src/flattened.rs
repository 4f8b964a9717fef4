//! The meaning of a stack, and the parts that the specification leaves open.

use std::collections::{BTreeMap, BTreeSet};

use crate::listing::Listing;
use crate::oddity::Oddities;

/// A flattened stack, with facts about its layers.
#[derive(Debug, Clone, Default)]
pub struct Flattened {
    /// The filesystem.
    pub listing: Listing,
    /// The directories without an entry of their own, by absolute path.
    pub implied: BTreeMap<Vec<u8>, Origin>,
    /// Directories whose names were changed by a later layer than the one with their last entry, or in which their own
    /// layer implies another directory after their entry.
    ///
    /// Only a program that restores the mtime of such a directory keeps the mtime of its entry.
    pub disturbed: BTreeSet<Vec<u8>>,
    /// The oddities of each layer: features on which the specification is silent.
    pub oddities: Vec<Oddities>,
    /// The bytes of all files by their SHA-256, including those of files that are not in the filesystem any more.
    pub contents: BTreeMap<[u8; 32], Vec<u8>>,
}

/// The origin of a directory's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Its entry.
    Entry,
    /// No entry: it was created as a parent of an entry, or is a root that no layer describes.
    Parent,
    /// Its entry is hidden, and it stays because the layer that hides it wrote below it.
    Remains,
}

impl Flattened {
    /// Returns the oddities of all layers.
    #[must_use]
    pub fn all_oddities(&self) -> Oddities {
        self.oddities.iter().flatten().copied().collect()
    }
}
