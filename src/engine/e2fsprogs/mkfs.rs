//! Creates the filesystem with `mkfs.ext4 -d`. Only the plan and the staged tree determine its bytes.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cancel::Cancel;
use crate::engine::e2fsprogs::stage::{STAGING, StagingDir};
use crate::error::{Error, Result, ShownPath, ToolProblem};
use crate::plan::Plan;
use crate::plan::constants::{BLOCK_SIZE, INODE_SIZE};
use crate::plan::groups::PER_GROUP_MAX;
use crate::program::{Invocation, Output, Surroundings, Tools};
use crate::progress::Progress;
use crate::work::{PartialFile, WorkDir};

const SECONDS_MAX: u64 = 3600;
const CONFIG_NAME: &str = "mke2fs.conf";
const CONFIG: &[u8] = b"[defaults]\n";

/// A filesystem from `mkfs.ext4 -d`: it has the names, contents and links of the tree, but not its metadata.
#[derive(Debug)]
pub struct RawFilesystem<'a> {
    /// The file.
    pub image: &'a PartialFile,
}

/// Creates the filesystem of the tree staged in `work`, in the empty file `image`.
///
/// # Errors
///
/// mkfs fails; the disk is full; the run was cancelled.
pub fn format<'a>(
    _: &StagingDir,
    plan: &Plan,
    image: &'a PartialFile,
    tools: &Tools,
    work: &WorkDir,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RawFilesystem<'a>> {
    let (mut file, config) = work.make_file(CONFIG_NAME)?;
    file.write_all(CONFIG).map_err(Error::io("write", &config))?;
    image.file().set_len(plan.file_bytes).map_err(Error::io("extend", image.path()))?;
    let invocation = Invocation {
        arguments: arguments(plan),
        environment: vec![
            ("MKE2FS_CONFIG", CONFIG_NAME.into()),
            ("E2FSPROGS_FAKE_TIME", plan.identity.clock.seconds().to_string().into()),
        ],
        ..Invocation::inside(Surroundings { directory: work.directory(), image: image.file().as_fd() }, SECONDS_MAX)
    };
    let mut written = 0;
    let mut watch = || {
        let now = image.file().metadata().map_or(written, |metadata| metadata.blocks() * 512);
        progress.advance(now.saturating_sub(written));
        written = written.max(now);
    };
    let output = tools.mkfs()?.run_watched(&invocation, cancel, &mut watch)?;
    if output.code == 0 { Ok(RawFilesystem { image }) } else { Err(failure(&output, plan, image.path())) }
}

fn arguments(plan: &Plan) -> Vec<OsString> {
    let mut extended = format!("root_owner=0:0,hash_seed={},lazy_itable_init=1,nodiscard", plan.identity.hash_seed);
    if !plan.stages_xattrs {
        // Without the option, xattrs that the staging filesystem adds (labels, default ACLs) would be copied too.
        extended.push_str(",no_copy_xattrs");
    }
    let mut arguments: Vec<OsString> = ["-q", "-F", "-m", "0", "-e", "continue"].map(OsString::from).into();
    let mut option = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
    option("-b", BLOCK_SIZE.to_string());
    option("-I", INODE_SIZE.to_string());
    option("-N", plan.geometry.inodes.to_string());
    option("-O", plan.features.for_mke2fs(plan.geometry.journal_blocks != 0));
    option("-U", plan.identity.uuid.to_string());
    option("-E", extended);
    if plan.geometry.groups.per_group != PER_GROUP_MAX {
        option("-g", plan.geometry.groups.per_group.to_string());
    }
    if let Some(label) = &plan.label {
        option("-L", label.as_str().to_owned());
    }
    if plan.geometry.journal_blocks != 0 {
        option("-J", format!("size={}", (plan.geometry.journal_blocks * BLOCK_SIZE) >> 20));
    }
    arguments.extend(["-d", STAGING, WorkDir::IMAGE].map(OsString::from));
    arguments.push(plan.geometry.blocks.to_string().into());
    arguments
}

fn failure(output: &Output, plan: &Plan, image: &Path) -> Error {
    let stderr = output.shown();
    let problem = if stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded") {
        ToolProblem::NoSpace { path: ShownPath(image).to_string(), needed: plan.geometry.bytes() }
    } else {
        ToolProblem::Failed { code: output.code, stderr }
    };
    Error::tool("mkfs.ext4", problem)
}
