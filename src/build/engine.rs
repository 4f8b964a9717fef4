//! Writes the filesystem with the engine that its plan names.

use super::clock::Clocked;
use crate::cancel::Cancel;
use crate::debugfs;
use crate::direct::{self, Target};
use crate::error::Result;
use crate::mkfs;
use crate::plan::{Engine, Plan};
use crate::program::Tools;
use crate::progress::Stage;
use crate::stage;
use crate::tree::Tree;
use crate::work::{Unfinished, WorkDir};

/// A filesystem that is being made: what it should hold, and where and with what it is made.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub tree: &'a Tree,
    pub plan: &'a Plan,
    pub unfinished: &'a Unfinished,
    pub tools: &'a Tools,
    pub work: &'a WorkDir,
    pub cancel: &'a Cancel,
}

impl Making<'_> {
    pub fn write(&self, jobs: usize, clocked: &mut Clocked<'_>) -> Result<()> {
        match self.plan.engine {
            Engine::E2fsprogs => self.with_e2fsprogs(clocked),
            Engine::Direct => self.directly(jobs, clocked),
        }
    }

    fn with_e2fsprogs(&self, clocked: &mut Clocked<'_>) -> Result<()> {
        let Self { tree, plan, unfinished, tools, work, cancel } = *self;
        let progress = clocked.progress();
        let staged =
            clocked.run(Stage::Stage, Some(plan.census.names), || stage::stage(tree, plan, work, progress, cancel))?;
        let formatted = clocked.run(Stage::Mkfs, None, || {
            let formatted = mkfs::format(&staged, plan, unfinished.path(), tools, work, cancel)?;
            staged.remove()?;
            Ok(formatted)
        })?;
        clocked.run(Stage::Debugfs, None, || debugfs::patch(formatted, tree, plan, tools, work, cancel))?;
        Ok(())
    }

    fn directly(&self, jobs: usize, clocked: &mut Clocked<'_>) -> Result<()> {
        let Self { tree, plan, unfinished, cancel, .. } = *self;
        let progress = clocked.progress();
        let target = Target { file: unfinished.file(), path: unfinished.path() };
        clocked
            .run(Stage::Write, Some(plan.census.inodes), || direct::write(tree, plan, target, jobs, progress, cancel))
    }
}
