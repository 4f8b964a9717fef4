//! Every limit that planish sets on an image, with its default and the flag that raises it.
//!
//! What ext4 and Linux themselves cannot hold (a name of 256 bytes) is no limit of ours: the image is refused.

use std::fmt;

/// The bounds within which an image is taken.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one manifest, index or config.
    pub manifest_bytes: u64,
    /// Indexes nested below the first one.
    pub index_depth: u64,
    /// Layers of an image.
    pub layers: u64,
    /// Uncompressed bytes of all layers.
    pub total_bytes: u64,
    /// Bytes of one file, as allocated: a hole does not count.
    pub file_bytes: u64,
    /// Entries of all layers, and the inodes that they make: a name may imply directories.
    pub entries: u64,
    /// Names in one directory, as `mkfs.ext4 -d` can write them in time.
    pub directory_entries: u64,
    /// Names in one directory that the direct engine writes; the flag sets both.
    pub directory_entries_direct: u64,
    /// Bytes of one entry's extension headers.
    pub extension_bytes: u64,
    /// Base-two logarithm of the largest zstd window.
    pub zstd_window_log: u32,
    /// Bytes of a token, and of what a registry says to an error.
    pub token_bytes: u64,
    /// Redirects of one request.
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
            directory_entries: 20_000,
            directory_entries_direct: 1_000_000,
            extension_bytes: 1 << 20,
            zstd_window_log: 27,
            token_bytes: 64 << 10,
            redirects: 10,
        }
    }
}

/// The name of a limit, as errors say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub const ALL: [Self; 11] = [
        Self::ManifestBytes,
        Self::IndexDepth,
        Self::Layers,
        Self::TotalBytes,
        Self::FileBytes,
        Self::Entries,
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
            Self::DirectoryEntries => "names in one directory",
            Self::ExtensionBytes => "bytes of extension headers",
            Self::ZstdWindow => "as the logarithm of its zstd window",
            Self::Redirects => "redirects",
        })
    }
}
