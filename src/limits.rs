//! The limits on an image, each with its default and the flag that raises it.
//!
//! Restrictions of ext4 and Linux themselves (a name of 256 bytes) are not limits: such an image is refused.

use std::fmt;

/// The unit in which the space of a sparse file is counted: a block of the filesystem.
pub(crate) const SPACE_UNIT: u64 = 4096;

/// The limits on an image.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The bytes of one manifest, index or config.
    pub manifest_bytes: u64,
    /// The number of indexes nested below the first one.
    pub index_depth: u64,
    /// The number of layers.
    pub layers: u64,
    /// The uncompressed bytes of all layers.
    pub total_bytes: u64,
    /// The allocated bytes of one file: holes do not count.
    pub file_bytes: u64,
    /// The entries of all layers, and the inodes created for them: an entry may imply directories.
    pub entries: u64,
    /// The number of extents in the maps of all sparse files, including empty ones.
    pub sparse_extents: u64,
    /// The number of names that the paths of all entries take from symlink targets.
    pub symlink_steps: u64,
    /// The bytes of names, link targets, xattrs, maps of sparse files and inodes in memory at a time.
    pub metadata_bytes: u64,
    /// The bytes of notes, which are stored in a file.
    pub note_bytes: u64,
    /// The number of names in a directory that `mkfs.ext4 -d` can write in acceptable time.
    pub directory_entries: u64,
    /// The number of names in a directory that the direct engine writes; the flag sets both limits.
    pub directory_entries_direct: u64,
    /// The bytes of one entry's extension headers.
    pub extension_bytes: u64,
    /// The base-2 logarithm of the largest zstd window.
    pub zstd_window_log: u32,
    /// The bytes of a token response, and of the body of an error response.
    pub token_bytes: u64,
    /// The number of redirects of one request.
    pub redirects: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            index_depth: 2,
            layers: 1000,
            total_bytes: 64 << 30,
            file_bytes: 16 << 30,
            entries: 2_000_000,
            sparse_extents: 1_000_000,
            symlink_steps: 20_000_000,
            metadata_bytes: 240 << 20,
            note_bytes: 256 << 20,
            directory_entries: 20_000,
            directory_entries_direct: 1_000_000,
            extension_bytes: 1 << 20,
            zstd_window_log: 27,
            token_bytes: 64 << 10,
            redirects: 10,
        }
    }
}

/// The name of a limit in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::manifest_bytes`].
    ManifestBytes,
    /// [`Limits::index_depth`].
    IndexDepth,
    /// [`Limits::layers`].
    Layers,
    /// [`Limits::total_bytes`].
    TotalBytes,
    /// [`Limits::file_bytes`].
    FileBytes,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::sparse_extents`].
    SparseExtents,
    /// [`Limits::symlink_steps`].
    SymlinkSteps,
    /// [`Limits::metadata_bytes`].
    MetadataBytes,
    /// [`Limits::note_bytes`].
    NoteBytes,
    /// [`Limits::directory_entries`] and [`Limits::directory_entries_direct`].
    DirectoryEntries,
    /// [`Limits::extension_bytes`].
    ExtensionBytes,
    /// [`Limits::zstd_window_log`].
    ZstdWindow,
    /// [`Limits::token_bytes`].
    TokenBytes,
    /// [`Limits::redirects`].
    Redirects,
}

impl Limit {
    /// Every limit, for documentation and tests.
    pub const ALL: [Self; 15] = [
        Self::ManifestBytes,
        Self::IndexDepth,
        Self::Layers,
        Self::TotalBytes,
        Self::FileBytes,
        Self::Entries,
        Self::SparseExtents,
        Self::SymlinkSteps,
        Self::MetadataBytes,
        Self::NoteBytes,
        Self::DirectoryEntries,
        Self::ExtensionBytes,
        Self::ZstdWindow,
        Self::TokenBytes,
        Self::Redirects,
    ];

    /// Returns the command-line flag that sets the limit, without its dashes.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::ManifestBytes => "max-manifest-bytes",
            Self::IndexDepth => "max-index-depth",
            Self::Layers => "max-layers",
            Self::TotalBytes => "max-bytes",
            Self::FileBytes => "max-file-bytes",
            Self::Entries => "max-entries",
            Self::SparseExtents => "max-sparse-extents",
            Self::SymlinkSteps => "max-symlink-steps",
            Self::MetadataBytes => "max-metadata-bytes",
            Self::NoteBytes => "max-note-bytes",
            Self::DirectoryEntries => "max-directory-entries",
            Self::ExtensionBytes => "max-extension-bytes",
            Self::ZstdWindow => "max-zstd-window-log",
            Self::TokenBytes => "max-token-bytes",
            Self::Redirects => "max-redirects",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManifestBytes | Self::TokenBytes => "bytes",
            Self::IndexDepth => "levels of nested indexes",
            Self::Layers => "layers",
            Self::TotalBytes => "uncompressed bytes in all layers",
            Self::FileBytes => "bytes in one file",
            Self::Entries => "entries in all layers",
            Self::SparseExtents => "extents of sparse files",
            Self::SymlinkSteps => "names in the targets of symlinks on the way of its paths",
            Self::MetadataBytes => "bytes of metadata in memory",
            Self::NoteBytes => "bytes of notes",
            Self::DirectoryEntries => "names in one directory",
            Self::ExtensionBytes => "bytes of extension headers",
            Self::ZstdWindow => "as the logarithm of its zstd window",
            Self::Redirects => "redirects",
        })
    }
}
