//! What an applier can do wrong.

use std::fmt;

macro_rules! defects {
    ($($variant:ident $name:literal $summary:literal,)*) => {
        /// One thing that an applier does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = $summary] $variant,)*
        }

        impl Defect {
            /// All defects.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Returns the name, in kebab-case.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns what it does, in a sentence.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)*
                }
            }
        }
    };
}

defects! {
    SameLayerWhiteout "same-layer-whiteout" "A whiteout deletes what its own layer added before it.",
    OpaqueClearsSiblings "opaque-clears-siblings" "An opaque marker clears what its own layer added before it.",
    OldOpaqueMasksWhiteout "old-opaque-masks-whiteout" "Whiteouts in a directory that an older layer made opaque do nothing.",
    OldOpaqueMasksEntry "old-opaque-masks-entry" "Entries in a directory that an older layer made opaque do nothing.",
    DotMarkerErases "dot-marker-erases" "`.wh..` erases its directory, and `.wh...` the one above.",
    FirstDuplicateWins "first-duplicate-wins" "Of two entries of one name in a layer the first counts.",
    LinksByName "links-by-name" "A hard link is whatever has its target's name in the end.",
    LinksAreCopies "links-are-copies" "A hard link is a copy.",
    WhiteoutFollowsSymlink "whiteout-follows-symlink" "A whiteout of a symlink deletes what the symlink leads to.",
    LossyNames "lossy-names" "Names are made UTF-8.",
    XattrsMerge "xattrs-merge" "A directory's new entry adds its xattrs to the old ones.",
    ImpliedParentsLose "implied-parents-lose" "A whiteout of a directory deletes what its layer wrote below, if it has no entry for it.",
    WhiteoutMakesParents "whiteout-makes-parents" "A whiteout leaves its parents behind.",
    FirstGzipMember "first-gzip-member" "Only the first member of a gzip blob is read.",
    WhiteoutPersists "whiteout-persists" "A whiteout hides what later layers add.",
    WhiteoutReachesOneLayer "whiteout-reaches-one-layer" "A whiteout hides only what the next lower layer wrote.",
    WhiteoutSparesDirectories "whiteout-spares-directories" "A whiteout of a directory that is not empty does nothing.",
    OpaqueSparesDirectories "opaque-spares-directories" "An opaque marker hides only what is not a directory.",
    OpaqueRemovesDirectory "opaque-removes-directory" "An opaque marker makes its directory anew.",
    OpaqueIsAnyBookkeeping "opaque-is-any-bookkeeping" "Every name that begins with `.wh..wh.` is an opaque marker.",
    MarkerRemains "marker-remains" "Markers are files.",
    MarkerNeedsType "marker-needs-type" "Markers that are not regular files are entries.",
    DirectoryThroughSymlink "directory-through-symlink" "A directory over a symlink to one changes what the symlink leads to.",
    ReplacesSymlinkedParents "replaces-symlinked-parents" "A symlink among the parents is replaced by a directory.",
    ParentsReset "parents-reset" "A parent without an entry in the layer gets default metadata.",
    ReentryEmptiesDirectory "reentry-empties-directory" "A directory's new entry empties it.",
    WritesInPlace "writes-in-place" "A file over a file writes into the old inode.",
    LinkHeaderApplied "link-header-applied" "A hard link's header changes its inode.",
    LinkFollowsSymlink "link-follows-symlink" "A hard link to a symlink links what the symlink leads to.",
    FoldsCase "folds-case" "Names that differ in case are one.",
    IgnoresRootEntry "ignores-root-entry" "The root's entry does nothing.",
    WholeSeconds "whole-seconds" "Times have no fraction.",
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
