//! The flags that set the limits.

use planish::Limits;

/// One flag for each limit, named as [`planish::limits::Limit::flag`].
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Bytes of one manifest, index or config
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "4M", value_parser = super::size::bytes)]
    max_manifest_bytes: u64,
    /// Indexes nested below the first one
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().index_depth)]
    max_index_depth: u64,
    /// Layers of an image
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().layers)]
    max_layers: u64,
    /// Uncompressed bytes of all layers
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "64G", value_parser = super::size::bytes)]
    max_bytes: u64,
    /// Bytes of one file, holes not counted
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "16G", value_parser = super::size::bytes)]
    max_file_bytes: u64,
    /// Entries of all layers, and inodes that they create
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().entries)]
    max_entries: u64,
    /// Extents in the maps of all sparse files
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().sparse_extents)]
    max_sparse_extents: u64,
    /// Names that symlinks add to the paths of all entries
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().symlink_steps)]
    max_symlink_steps: u64,
    /// Bytes of metadata in memory
    ///
    /// Metadata are names, link targets, xattrs, maps of sparse files, and inodes.
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "240M", value_parser = super::size::bytes)]
    max_metadata_bytes: u64,
    /// Bytes of notes in the work directory
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "256M", value_parser = super::size::bytes)]
    max_note_bytes: u64,
    /// Names in one directory [default: 20000; 1000000 with direct]
    #[arg(long, hide_short_help = true, value_name = "N")]
    max_directory_entries: Option<u64>,
    /// Bytes of one entry's extension headers
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "1M", value_parser = super::size::bytes)]
    max_extension_bytes: u64,
    /// Base-2 logarithm of the largest zstd window
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().zstd_window_log,
          value_parser = clap::value_parser!(u32).range(10..=31))]
    max_zstd_window_log: u32,
    /// Bytes of a token, or of the text of an error
    #[arg(long, hide_short_help = true, value_name = "BYTES", default_value = "64K", value_parser = super::size::bytes)]
    max_token_bytes: u64,
    /// Redirects of one request to a registry
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = Limits::default().redirects)]
    max_redirects: u64,
}

impl LimitArguments {
    /// Returns the limits.
    pub fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            manifest_bytes: self.max_manifest_bytes,
            index_depth: self.max_index_depth,
            layers: self.max_layers,
            total_bytes: self.max_bytes,
            file_bytes: self.max_file_bytes,
            entries: self.max_entries,
            sparse_extents: self.max_sparse_extents,
            symlink_steps: self.max_symlink_steps,
            metadata_bytes: self.max_metadata_bytes,
            note_bytes: self.max_note_bytes,
            directory_entries: self.max_directory_entries.unwrap_or(defaults.directory_entries),
            directory_entries_direct: self.max_directory_entries.unwrap_or(defaults.directory_entries_direct),
            extension_bytes: self.max_extension_bytes,
            zstd_window_log: self.max_zstd_window_log,
            token_bytes: self.max_token_bytes,
            redirects: self.max_redirects,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Parser};
    use planish::limits::Limit;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        limits: super::LimitArguments,
    }

    #[test]
    fn every_limit_has_the_flag_that_its_error_names() {
        let command = super::LimitArguments::augment_args(clap::Command::new("x"));
        let flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let named: Vec<_> = Limit::ALL.iter().map(|limit| limit.flag()).collect();
        assert_eq!(flags, named);
    }

    #[test]
    fn the_defaults_are_the_librarys() {
        let parsed = Only::try_parse_from(["x"]).unwrap().limits.limits();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", planish::Limits::default()));
    }
}
