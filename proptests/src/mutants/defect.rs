//! The defects of appliers.

use std::fmt;

macro_rules! defects {
    ($($variant:ident $name:literal $summary:literal,)*) => {
        /// A defect of an applier.
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

            /// Returns a sentence about the defect.
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
    SameLayerWhiteout "same-layer-whiteout" "A whiteout deletes earlier entries of its own layer.",
    OpaqueClearsSiblings "opaque-clears-siblings" "An opaque marker deletes earlier entries of its own layer.",
    OldOpaqueMasksWhiteout "old-opaque-masks-whiteout" "Whiteouts in a directory that an older layer made opaque have no effect.",
    OldOpaqueMasksEntry "old-opaque-masks-entry" "Entries in a directory that an older layer made opaque have no effect.",
    DotMarkerErases "dot-marker-erases" "`.wh..` erases its directory, and `.wh...` the one above.",
    FirstDuplicateWins "first-duplicate-wins" "The first of two entries of one name in a layer is used.",
    LinksByName "links-by-name" "A hard link resolves its target's name after all layers.",
    LinksAreCopies "links-are-copies" "A hard link is a copy.",
    WhiteoutFollowsSymlink "whiteout-follows-symlink" "A whiteout of a symlink deletes the symlink's target.",
    LossyNames "lossy-names" "Names are converted to UTF-8 with losses.",
    XattrsMerge "xattrs-merge" "A directory's new entry adds its xattrs to the old ones.",
    ImpliedParentsLose "implied-parents-lose" "A whiteout of a directory also deletes its layer's own files below it, if the directory has no entry.",
    WhiteoutMakesParents "whiteout-makes-parents" "A whiteout creates its missing parents.",
    FirstGzipMember "first-gzip-member" "Only the first member of a gzip blob is read.",
    WhiteoutPersists "whiteout-persists" "A whiteout hides names that later layers add.",
    WhiteoutReachesOneLayer "whiteout-reaches-one-layer" "A whiteout hides only names of the next lower layer.",
    WhiteoutSparesDirectories "whiteout-spares-directories" "A whiteout of a directory that is not empty has no effect.",
    OpaqueSparesDirectories "opaque-spares-directories" "An opaque marker hides only children that are not directories.",
    OpaqueRemovesDirectory "opaque-removes-directory" "An opaque marker replaces its directory.",
    OpaqueIsAnyBookkeeping "opaque-is-any-bookkeeping" "Every name that begins with `.wh..wh.` is an opaque marker.",
    MarkerRemains "marker-remains" "Markers are files.",
    MarkerNeedsType "marker-needs-type" "Markers that are not regular files are entries.",
    DirectoryThroughSymlink "directory-through-symlink" "A directory over a symlink to a directory changes the symlink's target.",
    ReplacesSymlinkedParents "replaces-symlinked-parents" "A symlink among the parents is replaced by a directory.",
    ParentsReset "parents-reset" "A parent without an entry in the layer gets default metadata.",
    ReentryEmptiesDirectory "reentry-empties-directory" "A directory's new entry empties it.",
    WritesInPlace "writes-in-place" "A file over a file writes into the old inode.",
    LinkHeaderApplied "link-header-applied" "A hard link's header changes its inode.",
    LinkFollowsSymlink "link-follows-symlink" "A hard link to a symlink links the symlink's target.",
    FoldsCase "folds-case" "Names that differ only in case are equal.",
    IgnoresRootEntry "ignores-root-entry" "The root's entry has no effect.",
    WholeSeconds "whole-seconds" "Times have no fraction.",
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
