//! The flags that raise or lower the limits.

use planish::Limits;

/// One flag a limit; their names are those of [`planish::limits::Limit::flag`].
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Bytes of one manifest, index or config
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = super::size::bytes)]
    max_manifest_bytes: u64,
    /// Indexes nested below the first one
    #[arg(long, value_name = "N", default_value_t = Limits::default().index_depth)]
    max_index_depth: u64,
    /// Layers of an image
    #[arg(long, value_name = "N", default_value_t = Limits::default().layers)]
    max_layers: u64,
    /// Uncompressed bytes of all layers
    #[arg(long, value_name = "BYTES", default_value = "64G", value_parser = super::size::bytes)]
    max_bytes: u64,
    /// Bytes of one file, holes not counted
    #[arg(long, value_name = "BYTES", default_value = "16G", value_parser = super::size::bytes)]
    max_file_bytes: u64,
    /// Entries of all layers, and inodes that they make with the directories that they imply
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    max_entries: u64,
    /// Names in one directory [default: 20000 with e2fsprogs, 1000000 with the direct engine]
    #[arg(long, value_name = "N")]
    max_directory_entries: Option<u64>,
    /// Bytes of one entry's extension headers
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = super::size::bytes)]
    max_extension_bytes: u64,
    /// Logarithm of the largest zstd window: 27 is 128 MiB
    #[arg(long, value_name = "N", default_value_t = Limits::default().zstd_window_log,
          value_parser = clap::value_parser!(u32).range(10..=31))]
    max_zstd_window_log: u32,
    /// Bytes of a token, and of what a registry says to an error
    #[arg(long, value_name = "BYTES", default_value = "64K", value_parser = super::size::bytes)]
    max_token_bytes: u64,
    /// Redirects of one request to a registry
    #[arg(long, value_name = "N", default_value_t = Limits::default().redirects)]
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
