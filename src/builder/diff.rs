//! Compares two images at the level of their flattened trees.

use serde::Serialize;

use crate::builder::image::Image;
use crate::builder::list::{FileType, NameReport};
use crate::error::Result;
use crate::tree::change::Change;
use crate::tree::difference::{Difference, compare};

/// A difference of two images at one path, in the form that `--json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DifferenceReport {
    /// The path, escaped, with a leading `/`.
    pub path: String,
    /// The kind of difference.
    pub difference: DifferenceKind,
    /// The type of the file; of a changed one, in the second image.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// The attributes that changed.
    pub changes: Vec<Change>,
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Only the second image has the path.
    Added,
    /// Only the first image has the path.
    Removed,
    /// Both have it.
    Changed,
}

/// The numbers of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DifferenceCounts {
    /// The number of paths of the second image only.
    pub added: u64,
    /// The number of paths of the first image only.
    pub removed: u64,
    /// The number of paths with other attributes.
    pub changed: u64,
}

impl DifferenceCounts {
    /// Returns true if there are none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Image {
    /// Compares the flattened trees of this image and another one, and calls `visit` with each difference: a directory
    /// before what is in it, siblings in byte order. Contents are compared by their bytes.
    ///
    /// # Errors
    ///
    /// An image cannot be read; an error of `visit`; the run was cancelled.
    pub fn diff(
        &self,
        other: &Self,
        visit: &mut dyn FnMut(&DifferenceReport) -> Result<()>,
    ) -> Result<DifferenceCounts> {
        let (before, after) = (self.flatten()?.tree, other.flatten()?.tree);
        let mut counts = DifferenceCounts::default();
        compare(&before, &after, &self.opened_with().cancel, &mut |difference| {
            let (tree, name, kind, changes) = match difference {
                Difference::Added(name) => (&after, name, DifferenceKind::Added, Vec::new()),
                Difference::Removed(name) => (&before, name, DifferenceKind::Removed, Vec::new()),
                Difference::Changed(name, changes) => (&after, name, DifferenceKind::Changed, changes),
            };
            *match kind {
                DifferenceKind::Added => &mut counts.added,
                DifferenceKind::Removed => &mut counts.removed,
                DifferenceKind::Changed => &mut counts.changed,
            } += 1;
            let NameReport { path, kind: file_type, .. } = NameReport::of(tree, &name);
            visit(&DifferenceReport { path, difference: kind, kind: file_type, changes })
        })?;
        Ok(counts)
    }
}
