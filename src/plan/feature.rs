//! The features of the filesystem: the selectable ones, and their names in `mke2fs`.

use std::fmt;

use super::journal::Journal;

/// The selectable features of a filesystem.
///
/// Only features that the plan, the reader and e2fsck all support are selectable, so that the verification stays
/// complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features(u8);

/// A selectable feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    MetadataCsum = 1,
    MetadataCsumSeed = 2,
    Wide = 4,
    FlexBg = 8,
    DirIndex = 16,
    ResizeInode = 32,
}

/// The names of the features, in the order in which they are passed to `mke2fs`.
const CHOICES: [(Feature, &str); 6] = [
    (Feature::DirIndex, "dir_index"),
    (Feature::ResizeInode, "resize_inode"),
    (Feature::FlexBg, "flex_bg"),
    (Feature::Wide, "64bit"),
    (Feature::MetadataCsum, "metadata_csum"),
    (Feature::MetadataCsumSeed, "metadata_csum_seed"),
];
const JOURNAL: &str = "has_journal";
/// The features of every filesystem, which the tree or the verification needs.
const FIXED: [&str; 8] =
    ["ext_attr", "filetype", "extent", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"];

/// The reason why a list of features is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum FeatureFault {
    #[error("names no feature between two commas")]
    Empty,
    #[error("{0} is not among the features that planish can verify; it supports {list}", list = choices())]
    Unsupported(String),
    #[error("{0} cannot be left out: every filesystem of planish has it")]
    Fixed(&'static str),
    #[error("metadata_csum_seed needs metadata_csum")]
    SeedAlone,
}

fn choices() -> String {
    let names: Vec<&str> = [JOURNAL].into_iter().chain(CHOICES.map(|(_, name)| name)).collect();
    names.join(", ")
}

impl Default for Features {
    fn default() -> Self {
        Self(Feature::MetadataCsum as u8 | Feature::FlexBg as u8 | Feature::DirIndex as u8)
    }
}

impl Features {
    /// Parses a list in the form of `mke2fs -O`, which changes the default: names are added, names after `^` are
    /// removed. The journal is returned separately: `Some` if the list has it.
    ///
    /// # Errors
    ///
    /// A feature is unknown, or cannot be removed.
    pub fn parse(list: &str) -> Result<(Self, Option<bool>), FeatureFault> {
        let (mut features, mut journal) = (Self::default(), None);
        for item in list.split(',').map(str::trim) {
            let (name, enabled) = item.strip_prefix('^').map_or((item, true), |name| (name, false));
            if name.is_empty() {
                return Err(FeatureFault::Empty);
            } else if name == JOURNAL {
                journal = Some(enabled);
            } else if let Some((feature, _)) = CHOICES.iter().find(|(_, known)| *known == name) {
                features.set(*feature, enabled);
            } else if let Some(fixed) = FIXED.iter().find(|fixed| **fixed == name) {
                if !enabled {
                    return Err(FeatureFault::Fixed(fixed));
                }
            } else {
                return Err(FeatureFault::Unsupported(crate::path::Escaped(item.as_bytes()).to_string()));
            }
        }
        if features.has(Feature::MetadataCsumSeed) && !features.metadata_csum() {
            return Err(FeatureFault::SeedAlone);
        }
        Ok((features, journal))
    }

    fn set(&mut self, feature: Feature, enabled: bool) {
        if enabled {
            self.0 |= feature as u8;
        } else {
            self.0 &= !(feature as u8);
        }
    }

    fn has(self, feature: Feature) -> bool {
        self.0 & feature as u8 != 0
    }

    /// Returns true if directory blocks end in a checksum.
    #[must_use]
    pub fn metadata_csum(self) -> bool {
        self.has(Feature::MetadataCsum)
    }

    /// Returns true if group descriptors have 64 bytes.
    #[must_use]
    pub fn wide(self) -> bool {
        self.has(Feature::Wide)
    }

    /// Returns true if the bitmaps and inode tables of 16 groups lie together.
    #[must_use]
    pub fn flex_bg(self) -> bool {
        self.has(Feature::FlexBg)
    }

    /// Returns true if blocks are reserved for the group descriptors of a larger filesystem.
    #[must_use]
    pub fn resize_inode(self) -> bool {
        self.has(Feature::ResizeInode)
    }

    /// Returns the complete list for `mke2fs -O`, so that the configuration of a distribution adds nothing.
    #[must_use]
    pub fn for_mke2fs(self, has_journal: bool) -> String {
        let chosen = CHOICES.into_iter().filter(|(feature, _)| self.has(*feature)).map(|(_, name)| name);
        let journal = has_journal.then_some(JOURNAL);
        let list: Vec<&str> = ["none"].into_iter().chain(journal).chain(FIXED).chain(chosen).collect();
        list.join(",")
    }

    /// Returns the first feature that the direct engine, which writes only the default, does not support.
    #[must_use]
    pub fn beyond_direct(self, journal: Journal) -> Option<String> {
        if journal == Journal::None {
            return Some(format!("^{JOURNAL}"));
        }
        let default = Self::default();
        let other = CHOICES.into_iter().find(|(feature, _)| self.has(*feature) != default.has(*feature));
        other.map(|(feature, name)| if self.has(feature) { name.into() } else { format!("^{name}") })
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_mke2fs(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_changes_the_default() {
        let list = |text: &str| Features::parse(text).map(|(features, journal)| (features.to_string(), journal));
        let fixed = "none,ext_attr,filetype,extent,sparse_super,large_file,huge_file,dir_nlink,extra_isize";
        let plain = format!("{fixed},dir_index,flex_bg,metadata_csum");
        assert_eq!(list("extent"), Ok((plain.clone(), None)));
        assert_eq!(list("has_journal,dir_index"), Ok((plain, Some(true))));
        let other = format!("{fixed},resize_inode,64bit");
        assert_eq!(
            list("^metadata_csum,64bit, ^flex_bg,^dir_index,resize_inode,^has_journal"),
            Ok((other, Some(false)))
        );
        let seed = format!("{fixed},dir_index,flex_bg,metadata_csum,metadata_csum_seed");
        assert_eq!(list("metadata_csum_seed"), Ok((seed, None)));
    }

    #[test]
    fn unverifiable_features_are_refused_by_name() {
        let text = |list: &str| Features::parse(list).unwrap_err().to_string();
        let choices = "has_journal, dir_index, resize_inode, flex_bg, 64bit, metadata_csum, metadata_csum_seed";
        for name in ["bigalloc", "inline_data", "encrypt", "casefold", "^uninit_bg", "orphan_file", "none", "a\x1b"] {
            let shown = name.replace('\x1b', "\\x1b");
            let expected = format!("{shown} is not among the features that planish can verify; it supports {choices}");
            assert_eq!(text(name), expected);
        }
        assert_eq!(text("64bit,^extent"), "extent cannot be left out: every filesystem of planish has it");
        assert_eq!(text("64bit,,dir_index"), "names no feature between two commas");
        assert_eq!(text(""), "names no feature between two commas");
        assert_eq!(text("metadata_csum_seed,^metadata_csum"), "metadata_csum_seed needs metadata_csum");
    }

    #[test]
    fn the_direct_engine_makes_the_default_only() {
        let beyond = |list: &str| Features::parse(list).unwrap().0.beyond_direct(Journal::Default);
        assert_eq!(beyond("extent"), None);
        assert_eq!(beyond("64bit").as_deref(), Some("64bit"));
        assert_eq!(beyond("^metadata_csum").as_deref(), Some("^metadata_csum"));
        assert_eq!(Features::default().beyond_direct(Journal::None).as_deref(), Some("^has_journal"));
    }
}
