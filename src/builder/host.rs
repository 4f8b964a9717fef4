//! The state of this machine: the programs and directories that a build uses.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cancel::Cancel;
use crate::error::{ErrorKind, ShownPath, ToolProblem};
use crate::program::{QemuImg, Tools};
use crate::work::WorkDir;

/// The state of a program that a build runs.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProgramState {
    /// The name.
    pub name: &'static str,
    /// The path, escaped, if the program was found.
    pub path: Option<String>,
    /// The version, escaped, if the program tells one.
    pub version: Option<String>,
    /// The reason why a build cannot use it, or a fault of this version.
    pub problem: Option<String>,
    /// True if the program was not found.
    pub missing: bool,
    /// True if a build can run it.
    pub usable: bool,
}

/// The state of a directory in which a build writes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct DirectoryState {
    /// The path, escaped.
    pub path: String,
    /// The number of free bytes for an ordinary user.
    pub free_bytes: Option<u64>,
    /// The number of free inodes; some filesystems have no number.
    pub free_inodes: Option<u64>,
    /// True if files can be locked, so that what killed runs leave is removed.
    pub locks: bool,
    /// The reason why a build cannot write there.
    pub problem: Option<String>,
}

/// Returns the state of the programs of e2fsprogs. `search_path` is in the form of `PATH`.
#[must_use]
pub fn programs(search_path: &OsStr, cancel: &Cancel) -> Vec<ProgramState> {
    let state = |(name, found): (&'static str, crate::error::Result<Tools>)| match found {
        Ok(tools) => {
            let (path, version) = tools.first().unzip();
            let problem = tools.fault().map(|fault| {
                format!("version {} fails on files of {} bytes and more", fault.version, fault.file_bytes_max)
            });
            let path = path.map(|path| ShownPath(path).to_string());
            ProgramState { name, path, version: version.map(str::to_owned), problem, missing: false, usable: true }
        }
        Err(error) => {
            let missing = matches!(error.kind(), ErrorKind::Tool { problem: ToolProblem::Missing, .. });
            let problem = Some(error.to_string());
            ProgramState { name, path: None, version: None, problem, missing, usable: false }
        }
    };
    Tools::each(search_path, cancel).into_iter().map(state).collect()
}

/// Returns the state of `qemu-img`, which only `--format qcow2` needs.
#[must_use]
pub fn qemu_img(search_path: &OsStr, cancel: &Cancel) -> ProgramState {
    let found = QemuImg::find(search_path, cancel);
    let (missing, problem) = match &found {
        Ok(_) => (false, None),
        Err(error) if matches!(error.kind(), ErrorKind::Tool { problem: ToolProblem::Missing, .. }) => (true, None),
        Err(error) => (false, Some(error.to_string())),
    };
    let found = found.ok();
    ProgramState {
        name: "qemu-img",
        path: found.as_ref().map(|program| ShownPath(program.path()).to_string()),
        version: found.as_ref().map(|program| program.version().to_owned()),
        problem,
        missing,
        usable: found.is_some(),
    }
}

/// Returns the state of a directory: a private directory is created in it and removed.
#[must_use]
pub fn directory(path: &Path, cancel: &Cancel) -> DirectoryState {
    let (locks, problem) = match WorkDir::create(path, cancel) {
        Ok(work) => (work.is_locked(), None),
        Err(error) => (false, Some(error.to_string())),
    };
    // A directory that does not exist yet lies in one that does.
    let nearest: Option<PathBuf> = path.ancestors().find(|path| path.exists()).map(Path::to_owned);
    let space = nearest.and_then(|path| rustix::fs::statvfs(&path).ok());
    DirectoryState {
        path: ShownPath(path).to_string(),
        free_bytes: space.as_ref().map(|space| space.f_bavail.saturating_mul(space.f_frsize)),
        free_inodes: space.filter(|space| space.f_files > 0).map(|space| space.f_favail),
        locks,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_tested_and_left_unchanged() {
        let home = tempfile::tempdir().unwrap();
        let state = directory(home.path(), &Cancel::default());
        assert_eq!((state.locks, state.problem), (true, None));
        assert!(state.free_bytes.is_some());
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
        let state = directory(&home.path().join("missing"), &Cancel::default());
        assert!(state.problem.is_some_and(|problem| problem.contains("missing")));
        assert!(state.free_bytes.is_some());
    }

    #[test]
    fn an_absent_program_is_missing() {
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("debugfs");
        std::fs::write(&script, "#!/bin/sh\necho debugfs 1.20.1 >&2\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let states = programs(home.path().as_os_str(), &Cancel::default());
        assert_eq!(states.iter().map(|state| state.name).collect::<Vec<_>>(), ["mkfs.ext4", "debugfs", "e2fsck"]);
        assert!(!states[1].usable && !states[1].missing, "{:?}", states[1]);
    }
}
