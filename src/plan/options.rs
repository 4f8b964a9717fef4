//! Options of the filesystem.

use super::choice::EngineChoice;
use super::constants::BLOCK_SIZE;
use super::feature::Features;
use super::identity::{Clock, Uuid};
use super::journal::Journal;
use crate::digest::Digest;
use crate::program::KnownFault;

/// Options of the filesystem.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// The exact size in bytes; `None` lets the plan choose.
    pub size: Option<u64>,
    /// The free space if the plan chooses the size.
    pub free: Headroom,
    /// The free inodes; `None`: a fifth of those in use, or as many as fit a given size.
    pub free_inodes: Option<FreeInodes>,
    /// The journal.
    pub journal: Journal,
    /// The label.
    pub label: Option<Label>,
    /// The UUID, if it is not derived from the image.
    pub uuid: Option<Uuid>,
    /// The features.
    pub features: Features,
    /// The creation time, if it is not that of the image.
    pub clock: Option<i64>,
    /// The choice of the engine.
    pub engine: EngineChoice,
    /// The digest of what is injected into the tree.
    pub injected: Option<Digest>,
    /// The known fault of the available `mkfs.ext4`.
    pub mkfs_fault: Option<KnownFault>,
}

impl PlanOptions {
    /// Returns the wanted creation time: the given one, else that in the image's config, else 1.
    pub(super) fn seconds(&self, created: Option<i64>) -> i64 {
        self.clock.or(created).unwrap_or(1)
    }

    /// Returns the creation time that the filesystem gets.
    pub(super) fn clock(&self, created: Option<i64>) -> Clock {
        Clock::nearest(self.seconds(created))
    }

    /// Returns the options that change bytes, each as `name=value`. The engine and the clock are not among them: both
    /// engines give a filesystem the same UUID, and the clock is used separately.
    pub(super) fn derivation(&self) -> Vec<String> {
        let shape = match (self.size, self.free) {
            (Some(size), _) => format!("size={size}"),
            (None, Headroom::Bytes(bytes)) => format!("free={bytes}"),
            (None, Headroom::Percent(percent)) => format!("free={percent}%"),
        };
        let inodes = match self.free_inodes {
            None => "default".into(),
            Some(FreeInodes::Count(count)) => count.to_string(),
            Some(FreeInodes::Percent(percent)) => format!("{percent}%"),
        };
        let journal = match self.journal {
            Journal::Default => "default".into(),
            Journal::Blocks(blocks) => blocks.get().to_string(),
            Journal::None => "none".into(),
        };
        let mut options = vec![
            shape,
            format!("free-inodes={inodes}"),
            format!("journal={journal}"),
            format!("features={}", self.features),
        ];
        options.extend(self.label.as_ref().map(|label| format!("label={}", label.as_str())));
        options.extend(self.injected.as_ref().map(|digest| format!("injected={digest}")));
        options.extend(self.uuid.map(|uuid| format!("uuid={uuid}")));
        options
    }
}

/// The free space of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Headroom {
    /// This number of bytes.
    Bytes(u64),
    /// This percentage of what the tree needs.
    Percent(u64),
}

impl Default for Headroom {
    /// Returns 256 MiB: space for a booted system; the file is sparse.
    fn default() -> Self {
        Self::Bytes(256 << 20)
    }
}

impl Headroom {
    pub(super) fn blocks(self, needed: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.div_ceil(BLOCK_SIZE),
            Self::Percent(percent) => needed.saturating_mul(percent).div_ceil(100),
        }
    }
}

/// The free inodes of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreeInodes {
    /// This number, or slightly more to fill the last block of an inode table.
    Count(u64),
    /// This percentage of the inodes in use.
    Percent(u64),
}

impl Default for FreeInodes {
    fn default() -> Self {
        Self::Percent(20)
    }
}

impl FreeInodes {
    pub(super) fn count(self, used: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => used.saturating_mul(percent).div_ceil(100),
        }
    }
}

/// A label: 1 to 16 bytes of text without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

/// The reason why a text is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum LabelFault {
    #[error("is empty: a filesystem without a label needs no option")]
    Empty,
    #[error("has {0} bytes, ext4 has room for 16")]
    Long(usize),
    #[error("holds a control character, which would end or break the lines of other tools")]
    Control,
}

impl Label {
    const MAX: usize = 16;

    /// Returns the label.
    ///
    /// # Errors
    ///
    /// The text is empty or too long, or contains a control character.
    pub fn new(text: &str) -> Result<Self, LabelFault> {
        match text {
            "" => Err(LabelFault::Empty),
            _ if text.chars().any(char::is_control) => Err(LabelFault::Control),
            _ if text.len() > Self::MAX => Err(LabelFault::Long(text.len())),
            _ => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::journal::JournalBlocks;

    #[test]
    fn labels_are_short_lines_of_text() {
        let fault = |text: &str| Label::new(text).map(|_| ()).map_err(|fault| fault.to_string());
        assert_eq!(fault("a"), Ok(()));
        assert_eq!(fault("0123456789abcdef"), Ok(()));
        assert_eq!(fault("wurzel-größe ä"), Err("has 17 bytes, ext4 has room for 16".into()));
        assert_eq!(fault("0123456789abcdefg"), Err("has 17 bytes, ext4 has room for 16".into()));
        assert_eq!(fault(""), Err("is empty: a filesystem without a label needs no option".into()));
        for bad in ["a\nb", "a\0", "\u{1b}[31m", "\u{85}"] {
            assert_eq!(Label::new(bad), Err(LabelFault::Control), "{bad:?}");
        }
    }

    #[test]
    fn journal_sizes_are_whole_mebibytes_that_jbd2_accepts() {
        let blocks = |bytes| JournalBlocks::of_bytes(bytes).map(JournalBlocks::get);
        assert_eq!(blocks(4 << 20), Some(1024));
        assert_eq!(blocks(64 << 20), Some(16_384));
        assert_eq!(blocks(40_000 << 20), Some(10_240_000));
        for bad in [0, 3 << 20, (4 << 20) + 4096, 40_001 << 20] {
            assert_eq!(blocks(bad), None, "{bad}");
        }
    }
}
