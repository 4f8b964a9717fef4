//! The output path: checked before any work, and renamed onto in one step at the end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::calls;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, OutputFile, OutputProblem, Result};
use crate::progress::{Event, Progress};
use crate::work::{PartialFile, PublishedFile, Target, open_place};

/// A path at which a file may be created or replaced.
#[derive(Debug, Clone)]
pub struct Output {
    path: PathBuf,
    /// The directory of the name, kept open: its path may lead elsewhere later.
    directory: Arc<OwnedFd>,
    replace: bool,
    file: OutputFile,
    /// Only an earlier report may be replaced.
    reports_only: bool,
}

/// Standard input among the paths that an image is read from.
pub(crate) const STDIN: &str = "-";
/// The number of bytes of a file that may contain the beginning of a report.
const REPORT_HEAD: u64 = 4096;

impl Output {
    /// Checks an output path: an existing file must be regular, and is replaced only with `replace`.
    ///
    /// `read` are the paths that the image is read from, `-` being standard input: the output must not be inside one of
    /// them, nor replace one.
    ///
    /// # Errors
    ///
    /// The path cannot be used for the output.
    pub fn check(path: &Path, replace: bool, read: &[&Path]) -> Result<Self> {
        let refuse = |problem| Error::output(path, problem);
        let unusable = |source| {
            let problem = OutputProblem::Parent;
            let file = OutputFile::Filesystem;
            Error::from(ErrorKind::Output { file, path: path.to_owned(), problem, source: Some(source) })
        };
        let name = path.file_name().filter(|name| ends_in(path, name)).ok_or_else(|| refuse(OutputProblem::NoName))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = parent.canonicalize().map_err(unusable)?;
        let directory = open_place(&parent).map_err(|error| unusable(error.into()))?;
        let writable = rustix::fs::accessat(&directory, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty());
        let absolute = parent.join(name);
        match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => match FileType::from_raw_mode(there.st_mode) {
                FileType::Directory => return Err(refuse(OutputProblem::Directory)),
                FileType::Symlink => return Err(refuse(OutputProblem::Symlink)),
                FileType::RegularFile if replace => {}
                FileType::RegularFile => return Err(refuse(OutputProblem::Exists)),
                _ => return Err(refuse(OutputProblem::Special)),
            },
            Err(Errno::NOENT) => {}
            Err(Errno::NAMETOOLONG) => return Err(refuse(OutputProblem::LongName(name.len()))),
            Err(error) => return Err(unusable(error.into())),
        }
        writable.map_err(|e| unusable(e.into()))?;
        let inside = |read: &&Path| read.canonicalize().is_ok_and(|read| absolute.starts_with(read));
        let (directory, file) = (Arc::new(directory), OutputFile::Filesystem);
        let output = Self { path: absolute.clone(), directory, replace, file, reports_only: false };
        if read.iter().any(|read| inside(read) || output.is_same(read)) {
            return Err(refuse(OutputProblem::InsideSource));
        }
        Ok(output)
    }

    /// Checks the path of a report: an earlier report or an empty file may be replaced, any other file only with
    /// `replace`.
    ///
    /// # Errors
    ///
    /// The errors of [`Output::check`].
    pub(crate) fn check_report(path: &Path, replace: bool, read: &[&Path]) -> Result<Self> {
        let output = Self::check(path, true, read).map_err(Error::of_report)?;
        let output = Self { file: OutputFile::Report, reports_only: !replace, ..output };
        output.require_report(path)?;
        Ok(output)
    }

    /// Refuses to replace a file that is not a report, unless any file may be replaced.
    ///
    /// # Errors
    ///
    /// Such a file exists now, or cannot be read; `shown` is its path in the message.
    pub(crate) fn require_report(&self, shown: &Path) -> Result<()> {
        if !self.reports_only || self.is_report_or_free().map_err(Error::io("read", shown))? {
            return Ok(());
        }
        Err(Error::output(shown, OutputProblem::NotReport).of_report())
    }

    /// Refuses to replace a file that this run reads beside the image.
    ///
    /// # Errors
    ///
    /// The path is one of `files`.
    pub(crate) fn require_unread(&self, files: &[&Path]) -> Result<()> {
        if files.iter().any(|file| self.is_same(file)) {
            let error = Error::output(&self.path, OutputProblem::Read);
            return Err(self.of_file(error));
        }
        Ok(())
    }

    /// Returns true if the path currently leads to the file `read`.
    fn is_same(&self, read: &Path) -> bool {
        let Some(name) = self.path.file_name() else { return false };
        let Ok(there) = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
        let id = if read == Path::new(STDIN) {
            rustix::fs::fstat(io::stdin()).ok().map(|read| (read.st_dev, read.st_ino))
        } else {
            read.metadata().ok().map(|read| (read.dev(), read.ino()))
        };
        id == Some((there.st_dev, there.st_ino))
    }

    /// Returns true if the path does not exist, or is an empty file or a report: an object whose first key is
    /// `planish`.
    fn is_report_or_free(&self) -> io::Result<bool> {
        let Some(name) = self.path.file_name() else { return Ok(false) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match calls::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(true),
            // A file that may not be read, a symlink or a socket is no report of this user's.
            Err(Errno::ACCESS | Errno::LOOP | Errno::NXIO) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut head = Vec::new();
        file.take(REPORT_HEAD).read_to_end(&mut head)?;
        let after = |bytes: &mut &[u8], text: &[u8]| {
            let found = bytes.trim_ascii_start().strip_prefix(text);
            *bytes = found.unwrap_or_default();
            found.is_some()
        };
        let mut rest = &head[..];
        Ok(head.is_empty() || after(&mut rest, b"{") && after(&mut rest, b"\"planish\"") && after(&mut rest, b":"))
    }

    fn of_file(&self, error: Error) -> Error {
        error.of_output(self.file)
    }

    /// Returns the output as that of another result, for messages.
    #[must_use]
    pub(crate) fn with_role(self, file: OutputFile) -> Self {
        Self { file, ..self }
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of the path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Creates the empty file that will be published at the path.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or its filesystem cannot name a file without replacing another.
    pub fn begin(&self, cancel: &Cancel) -> Result<PartialFile> {
        let begun = PartialFile::below(&self.directory, self.directory(), self.replace, cancel);
        begun.map_err(|error| self.of_file(error))
    }

    /// Returns the error of a failed write to the file that will be published at the path.
    pub(crate) fn write_error(&self, written: u64, source: io::Error) -> Error {
        self.of_file(Error::write(self.directory(), written, source))
    }

    fn target(&self) -> Target<'_> {
        let name = self.path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
        Target { directory: self.directory.as_fd(), name, path: &self.path }
    }
}

/// A finished and synced file that is not yet published.
#[derive(Debug)]
pub struct SyncedFile {
    output: Output,
    file: PartialFile,
}

impl SyncedFile {
    /// Syncs a finished file.
    ///
    /// # Errors
    ///
    /// The file cannot be synced; the run was cancelled.
    pub fn settle(output: Output, file: PartialFile, cancel: &Cancel) -> Result<Self> {
        file.settle(cancel)?;
        Ok(Self { output, file })
    }
}

/// Publishes files, each in one step, and syncs their directories: all files or none.
///
/// From here on cancellation is ignored, so that the files and the exit code agree.
///
/// # Errors
///
/// The run was cancelled before; a file of that name was created or replaced meanwhile; a directory cannot be synced.
/// Files published before are withdrawn, and replaced files are restored.
pub fn publish(files: Vec<SyncedFile>, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    cancel.commit()?;
    let mut published: Vec<(Output, PublishedFile)> = Vec::new();
    for SyncedFile { output, file } in files {
        let placed = file.place(output.target(), output.replace).and_then(|placed| {
            // Checked at once: another run that replaces the file during the sync is later than this one.
            let synced = placed
                .require_in_place(output.target())
                .and_then(|()| placed.sync_name(output.target(), output.directory()));
            published.push((output.clone(), placed));
            synced
        });
        if let Err(error) = placed {
            return undo(&published, output.of_file(error), progress);
        }
    }
    cancel.succeed();
    Ok(())
}

/// Withdraws published files. A file that cannot be withdrawn stays, and the failure is a warning.
fn undo(published: &[(Output, PublishedFile)], error: Error, progress: &dyn Progress) -> Result<()> {
    let mut undone = true;
    for (output, placed) in published.iter().rev() {
        undone &= placed.take_back(output.target());
    }
    if undone {
        return Err(error);
    }
    progress.event(&Event::Warning(&format!(
        "the output is published, and the file that it replaced is lost, but {error}"
    )));
    Ok(())
}

/// Returns false for a path with a slash or `/.` after its last name.
fn ends_in(path: &Path, name: &OsStr) -> bool {
    path.as_os_str().as_bytes().ends_with(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, replace: bool, read: &[&Path]) -> (String, u8) {
        let error = Output::check(path, replace, read).unwrap_err();
        let text = error.to_string();
        (text.rsplit_once(": ").unwrap().1.to_owned(), error.fault().exit_code())
    }

    #[test]
    fn paths_that_cannot_take_a_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let refuse = |name: &str, replace| refused(&at(name), replace, &[]);
        assert_eq!(refuse("file", false), ("exists already".into(), 2));
        for replace in [false, true] {
            assert_eq!(refuse("dir", replace), ("is a directory".into(), 2));
            for no_name in ["dir/", "new/", "new/.", "new/..", "new//", "new/./.", "."] {
                assert_eq!(refuse(no_name, replace), ("has no file name".into(), 2), "{no_name}");
            }
            let long = "its name has 256 bytes, more than its filesystem allows".to_owned();
            assert_eq!(refuse(&"n".repeat(256), replace), (long, 2));
            let symlink = "is a symlink, and planish does not write through one".to_owned();
            assert_eq!(refuse("link", replace), (symlink.clone(), 2));
            assert_eq!(refuse("dangling", replace), (symlink, 2));
            assert_eq!(refused(Path::new("/dev/null"), replace, &[]), ("is not a regular file".into(), 2));
            assert_eq!(refuse("no/file", replace), ("its directory cannot be used".into(), 6));
        }
        assert!(Output::check(&at(&"n".repeat(255)), true, &[]).is_ok());
        let inside = refused(&at("dir/new"), false, &[&at("dir")]);
        assert_eq!(inside, ("is inside the image that is read".into(), 2));
        assert_eq!(refused(&at("file"), true, &[&at("file")]), inside);
        assert!(Output::check(&at("file"), true, &[]).is_ok());
        std::fs::hard_link(at("file"), at("other-name")).unwrap();
        assert_eq!(refused(&at("other-name"), true, &[&at("file")]), inside);
    }

    #[test]
    fn a_report_replaces_reports_and_empty_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let check = |text: &str, replace| {
            std::fs::write(&path, text).unwrap();
            Output::check_report(&path, replace, &[]).map(drop).map_err(|error| error.to_string())
        };
        assert!(Output::check_report(&path, false, &[]).is_ok());
        for text in ["", "{\"planish\":1}", "{\n  \"planish\": \"0.1.0\",\n", " {\t\"planish\" :"] {
            assert_eq!(check(text, false), Ok(()), "{text}");
        }
        let expected = format!("report {}: exists already, and is no report of planish", path.display());
        for text in
            ["\n", "x", "{", "{}", "{\"auths\":{}}", "[{\"planish\":1}]", "{\"a\":{\"planish\":1}}", "\"planish\":"]
        {
            assert_eq!(check(text, false), Err(expected.clone()), "{text}");
            assert_eq!(check(text, true), Ok(()), "{text}");
        }
    }

    #[test]
    fn an_input_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, "{\"planish\":1}").unwrap();
        let expected = format!("{}: is a file of credentials or certificates that this run reads", path.display());
        for (output, role) in
            [(Output::check(&path, true, &[]), "output"), (Output::check_report(&path, true, &[]), "report")]
        {
            let output = output.unwrap();
            let error = output.require_unread(&[Path::new("/none"), &path]).unwrap_err();
            assert_eq!((error.to_string(), error.fault().exit_code()), (format!("{role} {expected}"), 2));
            assert!(output.require_unread(&[Path::new("/none")]).is_ok());
        }
    }
}
