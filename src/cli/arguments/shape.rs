//! The options of the filesystem, for `build` and `plan`.

use planish::Builder;
use planish::plan::{Engine, EngineChoice, Features, FreeInodes, Headroom, Journal, JournalBlocks, Label, Uuid};

use super::size;
use crate::cli::exit::Failure;

/// The options of the filesystem.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filesystem")]
pub struct ShapeArguments {
    /// Exact size of the filesystem: bytes, or with K, M, G, T
    #[arg(long, value_name = "N", value_parser = size::bytes, conflicts_with = "free")]
    size: Option<u64>,
    /// Free space: bytes, or a percentage of what the tree needs
    #[arg(long, value_name = "N|N%", default_value = "256M", value_parser = size::headroom)]
    free: Headroom,
    /// Free inodes: a number, or a percentage of those in use [default: 20%, or what --size leaves]
    #[arg(long, value_name = "N|N%", value_parser = size::free_inodes)]
    free_inodes: Option<FreeInodes>,
    /// Size of the journal in whole MiB, from 4M on, or none [default: that of mke2fs]
    #[arg(long, value_name = "N|none", value_parser = journal)]
    journal_size: Option<Journal>,
    /// Label: at most 16 bytes
    #[arg(long, value_name = "LABEL", value_parser = label, allow_hyphen_values = true)]
    label: Option<Label>,
    /// UUID [default: derived from the image and the options]
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    uuid: Option<Uuid>,
    /// Bytes of a block: ext4 stores long symlinks only with 4096
    #[arg(long, hide_short_help = true, value_name = "N", default_value = "4096", value_parser = block_size)]
    block_size: BlockSize,
    /// Features to add, or to remove with ^, by their names in mke2fs
    ///
    /// They are has_journal, dir_index, resize_inode, flex_bg, 64bit, metadata_csum and metadata_csum_seed.
    #[arg(long, value_name = "LIST", value_parser = features)]
    features: Option<FeatureList>,
    /// Engine that writes the filesystem
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: EngineArgument,
}

impl ShapeArguments {
    /// Applies these options to a builder, with the filesystem's clock if there is one.
    pub fn apply(&self, mut builder: Builder, clock: Option<i64>) -> Result<Builder, Failure> {
        let list = self.features.unwrap_or_default();
        let journal = match (self.journal_size, list.journal) {
            (Some(Journal::None), Some(true)) => {
                return Err(Failure::Usage("--journal-size none contradicts --features has_journal".into()));
            }
            (Some(Journal::Blocks(_)), Some(false)) => {
                return Err(Failure::Usage("--journal-size contradicts --features ^has_journal".into()));
            }
            (_, Some(false)) => Journal::None,
            (chosen, _) => chosen.unwrap_or_default(),
        };
        let BlockSize = self.block_size;
        builder = builder.free(self.free).journal(journal).features(list.features).engine(self.engine.into());
        if let Some(bytes) = self.size {
            builder = builder.size_bytes(bytes);
        }
        if let Some(free) = self.free_inodes {
            builder = builder.free_inodes(free);
        }
        if let Some(label) = &self.label {
            builder = builder.label(label.clone());
        }
        if let Some(uuid) = self.uuid {
            builder = builder.uuid(uuid);
        }
        if let Some(seconds) = clock {
            builder = builder.clock(seconds);
        }
        Ok(builder)
    }
}

/// The value of `--features`.
#[derive(Debug, Clone, Copy, Default)]
struct FeatureList {
    features: Features,
    journal: Option<bool>,
}

fn features(text: &str) -> Result<FeatureList, String> {
    let parsed = Features::parse(text).map_err(|fault| fault.to_string())?;
    Ok(FeatureList { features: parsed.0, journal: parsed.1 })
}

fn journal(text: &str) -> Result<Journal, String> {
    if text == "none" {
        return Ok(Journal::None);
    }
    let blocks = JournalBlocks::of_bytes(size::bytes(text)?);
    blocks.map(Journal::Blocks).ok_or_else(|| "a journal has whole MiB, 4M to 40000M".into())
}

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|fault| fault.to_string())
}

fn uuid(text: &str) -> Result<Uuid, String> {
    let form = "not of the form 01234567-89ab-cdef-0123-456789abcdef, or all zeros, which means none";
    Uuid::parse(text).ok_or_else(|| form.into())
}

/// The only block size.
#[derive(Debug, Clone, Copy)]
struct BlockSize;

fn block_size(text: &str) -> Result<BlockSize, String> {
    match size::bytes(text)? {
        4096 => Ok(BlockSize),
        1024 | 2048 => Err("ext4 keeps a symlink's target in one block, and Linux allows targets of 4095 bytes".into()),
        _ => {
            Err("Linux on machines with pages of 4 KiB mounts no larger blocks, and ext4 has no other smaller ones"
                .into())
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EngineArgument {
    /// e2fsprogs; direct if e2fsprogs cannot write the image, or not in acceptable time
    Auto,
    /// mkfs.ext4 and debugfs: the reference
    E2fsprogs,
    /// planish itself, in one pass and with indexed directories
    Direct,
}

impl From<EngineArgument> for EngineChoice {
    fn from(argument: EngineArgument) -> Self {
        match argument {
            EngineArgument::Auto => Self::Auto,
            EngineArgument::E2fsprogs => Self::Only(Engine::E2fsprogs),
            EngineArgument::Direct => Self::Only(Engine::Direct),
        }
    }
}
