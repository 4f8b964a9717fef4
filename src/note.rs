//! What planish adapted or dropped while it carried an image over.

use std::fmt;

use serde::Serialize;

use crate::path::Escaped;

/// One thing that is not in the filesystem as the image spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What happened, and why.
    pub kind: NoteKind,
    /// The layer's number from 1; `None` for the image as a whole.
    pub layer: Option<usize>,
    /// The path it happened to, or what else it is about, as bytes.
    pub path: Box<[u8]>,
    /// A name that tells more (the xattr), as bytes; often empty.
    pub detail: Box<[u8]>,
}

/// The kinds of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoteKind {
    /// An xattr that only makes sense on the machine that made the layer was dropped.
    XattrDropped,
    /// An mtime outside ext4's range was set to the nearest one inside.
    TimeClamped,
    /// A file that stood where an entry needs a parent directory was replaced by one.
    ParentReplaced,
    /// One layer wrote a path twice; the last entry won.
    Duplicate,
    /// A name in the middle of a path begins like a whiteout and was taken as an ordinary name.
    MarkerInPath,
    /// A hard link's header has other metadata than the inode it links to; the inode's stay.
    LinkMetadata,
    /// A character device 0:0, which overlayfs takes for a whiteout, was kept.
    OverlayDevice,
    /// A layer's bytes are compressed in another way than its media type says.
    MediaType,
    /// The image is for a lower variant of the architecture than was asked for.
    LowerVariant,
    /// A layer's blob may not be redistributed; it was there and was used.
    ForeignLayer,
}

impl NoteKind {
    /// Returns whether information of the image is lost: what `--strict` refuses.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(self, Self::XattrDropped | Self::TimeClamped | Self::ParentReplaced)
    }

    /// Returns the fact as the end of a sentence that begins with the path.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::XattrDropped => "xattr dropped",
            Self::TimeClamped => "mtime clamped to what ext4 can hold",
            Self::ParentReplaced => "not a directory, replaced by one for an entry below it",
            Self::Duplicate => "written twice in one layer, the last entry wins",
            Self::MarkerInPath => "a parent's name begins with the whiteout prefix, taken as an ordinary name",
            Self::LinkMetadata => "hard link header ignored, the inode keeps its metadata",
            Self::OverlayDevice => "character device 0:0 kept",
            Self::MediaType => "bytes decide the compression, the media type says",
            Self::LowerVariant => "the image is for a lower variant of the platform, which runs on it",
            Self::ForeignLayer => "foreign layer used from the image, its URLs are not followed",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "layer {layer}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "/{}: ", Escaped(&self.path))?;
        }
        f.write_str(self.kind.text())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", Escaped(&self.detail))?;
        }
        Ok(())
    }
}
