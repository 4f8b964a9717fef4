//! What the caller may choose about the filesystem.

use super::engine::EngineChoice;
use super::feature::Features;
use super::geometry::BLOCK_SIZE;
use super::identity::Uuid;

/// What the caller may choose about the filesystem.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Its exact size in bytes; `None` lets the plan choose.
    pub size: Option<u64>,
    /// The space that stays free when the plan chooses the size.
    pub free: Headroom,
    /// The inodes that stay free; `None`: a fifth of those in use, or as many as a given size has room for.
    pub free_inodes: Option<FreeInodes>,
    /// Its journal.
    pub journal: Journal,
    /// Its label.
    pub label: Option<Label>,
    /// Its UUID, if it does not follow from the image.
    pub uuid: Option<Uuid>,
    /// Its features.
    pub features: Features,
    /// The time of its making, if not the image's.
    pub clock: Option<i64>,
    /// What writes it.
    pub engine: EngineChoice,
}

impl PlanOptions {
    /// Returns the options that change bytes, each as `name=value`. The engine and the clock are not among them: both
    /// engines give a filesystem the same UUID, and the clock enters it by itself.
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
        options.extend(self.uuid.map(|uuid| format!("uuid={uuid}")));
        options
    }
}

/// Space that stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headroom {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of what the tree needs.
    Percent(u64),
}

impl Default for Headroom {
    /// 256 MiB: room for a booted system to work; the file is sparse.
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

/// Inodes that stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeInodes {
    /// So many, or a few more: the last block of an inode table is filled.
    Count(u64),
    /// So many hundredths of those in use.
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

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journal {
    /// As large as `mke2fs` makes it for a filesystem of the size; where only a smaller one leaves the tree room, that.
    #[default]
    Default,
    /// Of so many blocks.
    Blocks(JournalBlocks),
    /// There is none.
    None,
}

/// The size of a journal that both engines can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBlocks(u64);

impl JournalBlocks {
    const MIN: u64 = 1024;
    const MAX: u64 = 10_240_000;

    /// Returns the size, if it is whole MiB, as `mke2fs` wants it, and within what jbd2 allows: 4 to 40,000 MiB.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        let blocks = bytes / BLOCK_SIZE;
        (bytes.is_multiple_of(1 << 20) && (Self::MIN..=Self::MAX).contains(&blocks)).then_some(Self(blocks))
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// A label: 1 to 16 bytes of text without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

/// Why a text cannot be a label.
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
    /// The text is empty or too long, or holds a control character.
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
    fn journals_are_whole_mebibytes_of_what_jbd2_takes() {
        let blocks = |bytes| JournalBlocks::of_bytes(bytes).map(JournalBlocks::get);
        assert_eq!(blocks(4 << 20), Some(1024));
        assert_eq!(blocks(64 << 20), Some(16_384));
        assert_eq!(blocks(40_000 << 20), Some(10_240_000));
        for bad in [0, 3 << 20, (4 << 20) + 4096, 40_001 << 20] {
            assert_eq!(blocks(bad), None, "{bad}");
        }
    }
}
