//! What the filesystem is to be, as `build` and `plan` take it.

use planish::plan::{
    Engine, EngineChoice, Features, FreeInodes, Headroom, Journal, JournalBlocks, Label, PlanOptions, Uuid,
};

use super::exit::Failure;
use super::size;

/// What the filesystem is to be.
#[derive(Debug, clap::Args)]
pub struct ShapeArguments {
    /// Exact size of the filesystem: bytes, or with K, M, G, T
    #[arg(long, value_name = "N", value_parser = size::bytes, conflicts_with = "free")]
    size: Option<u64>,
    /// Space that stays free: bytes, or a percentage of what the tree needs
    #[arg(long, value_name = "N|N%", default_value = "256M", value_parser = size::headroom)]
    free: Headroom,
    /// Inodes that stay free: a number, or a percentage of those in use [default: 20%, and less if --size leaves less]
    #[arg(long, value_name = "N|N%", value_parser = size::free_inodes)]
    free_inodes: Option<FreeInodes>,
    /// Size of the journal in whole MiB, from 4M on, or none [default: as mke2fs chooses it by the filesystem's size]
    #[arg(long, value_name = "N|none", value_parser = journal)]
    journal_size: Option<Journal>,
    /// Label: at most 16 bytes
    #[arg(long, value_name = "LABEL", value_parser = label, allow_hyphen_values = true)]
    label: Option<Label>,
    /// UUID [default: one that follows from the image and the options]
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    uuid: Option<Uuid>,
    /// Bytes of a block: 4096 is the only size in which ext4 holds every symlink that Linux allows
    #[arg(long, value_name = "N", default_value = "4096", value_parser = block_size)]
    block_size: BlockSize,
    /// Features to add, and with ^ to take away, as mke2fs names them: has_journal, dir_index, resize_inode, flex_bg,
    /// 64bit, metadata_csum, metadata_csum_seed
    #[arg(long, value_name = "LIST", value_parser = features)]
    features: Option<FeatureList>,
    /// What writes the filesystem
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: EngineArgument,
}

impl ShapeArguments {
    /// Returns them with the filesystem's clock, if that is set.
    pub fn options(&self, clock: Option<i64>) -> Result<PlanOptions, Failure> {
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
        Ok(PlanOptions {
            size: self.size,
            free: self.free,
            free_inodes: self.free_inodes,
            journal,
            label: self.label.clone(),
            uuid: self.uuid,
            features: list.features,
            clock,
            engine: self.engine.into(),
        })
    }
}

/// What `--features` says.
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

/// The one block size there is.
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
    /// e2fsprogs; direct where the image holds what e2fsprogs cannot write, or not in time
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
