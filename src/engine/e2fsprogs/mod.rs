//! The reference engine: stages the tree, runs `mkfs.ext4 -d` and corrects the result with `debugfs`.

pub mod debugfs;
pub mod mkfs;
pub mod stage;

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::engine::timing::StageTimer;
use crate::error::Result;
use crate::plan::Plan;
use crate::program::Tools;
use crate::progress::Stage;
use crate::tree::Tree;
use crate::work::{PartialFile, WorkDir};
use crate::workers;

/// The engine that runs e2fsprogs in a work directory.
pub(crate) struct E2fsprogs<'a> {
    pub tools: &'a Tools,
    pub work: &'a WorkDir,
}

impl Engine for E2fsprogs<'_> {
    fn write(
        &self,
        tree: &Tree,
        plan: &Plan,
        output: &PartialFile,
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<()> {
        let (Self { tools, work }, progress) = (self, timer.progress());
        let staging =
            timer.run(Stage::Stage, Some(plan.stats.names), || stage::stage(tree, plan, work, progress, cancel))?;
        let raw = timer.run(Stage::Mkfs, Some(plan.written_bytes()), || {
            mkfs::format(&staging, plan, output, tools, work, progress, cancel)
        })?;
        timer.run(Stage::Debugfs, None, || {
            let (removed, patched) = workers::both(
                || staging.remove(work, cancel),
                || debugfs::patch(&raw, tree, plan, tools, work, cancel),
            );
            patched.and(removed)
        })
    }
}
