//! The engines: each writes the filesystem of a plan to a file.

pub mod direct;
pub mod e2fsprogs;
pub(crate) mod timing;

use crate::cancel::Cancel;
use crate::engine::direct::Direct;
use crate::engine::e2fsprogs::E2fsprogs;
use crate::engine::timing::StageTimer;
use crate::error::Result;
use crate::plan::{self, Plan};
use crate::program::Tools;
use crate::tree::Tree;
use crate::work::{PartialFile, WorkDir};

/// A way to write a filesystem.
pub(crate) trait Engine {
    /// Writes the planned filesystem of a tree to `output`, whose old content is discarded.
    ///
    /// # Errors
    ///
    /// The disk is full; a program fails; the run was cancelled.
    fn write(
        &self,
        tree: &Tree,
        plan: &Plan,
        output: &PartialFile,
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<()>;
}

/// Returns the engine chosen by a plan.
pub(crate) fn chosen<'a>(plan: &Plan, tools: &'a Tools, work: &'a WorkDir, jobs: usize) -> Box<dyn Engine + 'a> {
    match plan.engine {
        plan::Engine::E2fsprogs => Box::new(E2fsprogs { tools, work }),
        plan::Engine::Direct => Box::new(Direct { jobs }),
    }
}
