//! Makes the filesystem with `mkfs.ext4 -d`, so that only the plan and the staged tree decide its bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::cancel::Cancel;
use crate::error::{Error, Result, ShownPath, ToolProblem};
use crate::plan::Plan;
use crate::plan::geometry::{BLOCK_SIZE, INODE_SIZE};
use crate::plan::groups::PER_GROUP_MAX;
use crate::program::{Invocation, Output, Tools};
use crate::stage::{STAGING, Staged};
use crate::work::WorkDir;

const SECONDS_MAX: u64 = 3600;
const CONFIG_NAME: &str = "mke2fs.conf";
const CONFIG: &[u8] = b"[defaults]\n";

/// A filesystem that holds the tree's names, contents and links, and not yet its metadata.
#[derive(Debug)]
pub struct Formatted<'a> {
    /// The file.
    pub image: &'a Path,
}

/// Makes the filesystem of what is staged in `work`, in the empty file at `image`.
///
/// # Errors
///
/// mkfs fails; the disk is full; a stop was asked for.
pub fn format<'a>(
    _: &Staged,
    plan: &Plan,
    image: &'a Path,
    tools: &Tools,
    work: &WorkDir,
    cancel: &Cancel,
) -> Result<Formatted<'a>> {
    let (mut file, config) = work.make_file(CONFIG_NAME)?;
    file.write_all(CONFIG).map_err(Error::io("write", &config))?;
    File::options()
        .write(true)
        .open(image)
        .and_then(|file| file.set_len(plan.file_bytes))
        .map_err(Error::io("extend", image))?;
    let invocation = Invocation {
        arguments: arguments(plan),
        environment: vec![
            ("MKE2FS_CONFIG", config.into_os_string()),
            ("E2FSPROGS_FAKE_TIME", plan.identity.clock.seconds().to_string().into()),
        ],
        ..Invocation::new(work.path(), SECONDS_MAX)
    };
    let output = tools.mkfs.run(&invocation, cancel)?;
    if output.code == 0 { Ok(Formatted { image }) } else { Err(failure(&output, plan, image)) }
}

fn arguments(plan: &Plan) -> Vec<OsString> {
    let mut extended = format!("root_owner=0:0,hash_seed={},lazy_itable_init=1,nodiscard", plan.identity.hash_seed);
    if !plan.stages_xattrs {
        // Else what the staging filesystem itself adds (labels, default ACLs) would be copied too.
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
