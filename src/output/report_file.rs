//! The report file: created before any work, to detect errors early, and published together with the filesystem.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use crate::cancel::Cancel;
use crate::error::{Error, OutputProblem, Result};
use crate::output::publish::{Output, SyncedFile};
use crate::output::report::Report;
use crate::work::PartialFile;

/// A report file that is not yet written.
pub(crate) struct ReportFile {
    output: Output,
    partial: PartialFile,
}

impl ReportFile {
    /// Creates the file that will be published at `output`, which the user gave as `path`.
    ///
    /// # Errors
    ///
    /// The path cannot be used for the report, or is the filesystem's own.
    pub fn prepare(output: Output, path: &Path, filesystem: &Path, cancel: &Cancel) -> Result<Self> {
        // The build refuses an invalid filesystem path with a better message.
        if Output::check(filesystem, true, &[]).is_ok_and(|filesystem| filesystem.path() == output.path()) {
            return Err(Error::output(path, OutputProblem::Report).of_report());
        }
        let partial = output.begin(cancel)?;
        Ok(Self { output, partial })
    }

    /// Returns the absolute path.
    pub fn path(&self) -> &Path {
        self.output.path()
    }

    /// Writes and syncs the report, which is not published yet.
    ///
    /// # Errors
    ///
    /// The report cannot be written; another file was created at its path meanwhile; the run was cancelled.
    pub fn write(self, report: &Report, cancel: &Cancel) -> Result<SyncedFile> {
        self.write_with(cancel, |file| report.write_json(file))
    }

    /// Writes and syncs the text of a report, which is not published yet.
    ///
    /// # Errors
    ///
    /// Those of [`Self::write`].
    pub fn write_text(self, text: &[u8], cancel: &Cancel) -> Result<SyncedFile> {
        self.write_with(cancel, |mut file| file.write_all(text))
    }

    fn write_with(self, cancel: &Cancel, write: impl FnOnce(&File) -> std::io::Result<()>) -> Result<SyncedFile> {
        write(self.partial.file()).map_err(|error| {
            let written = self.partial.file().metadata().map_or(0, |metadata| metadata.len());
            self.output.write_error(written, error)
        })?;
        self.output.require_report(self.output.path())?;
        SyncedFile::settle(self.output, self.partial, cancel)
    }
}
