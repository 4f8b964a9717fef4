//! The files of a runtime configuration, which are published together with a filesystem.

use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::error::{Error, OutputFile, OutputProblem, Result};
use crate::output::publish::{Output, SyncedFile};
use crate::runtime::RuntimeConfig;
use crate::work::PartialFile;

/// The form of a runtime configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigForm {
    /// A `config.json` of runtime-spec.
    Json,
    /// Assignments that a POSIX shell reads.
    Shell,
}

/// A file of a runtime configuration that is not yet written.
pub(crate) struct ConfigFile {
    form: ConfigForm,
    output: Output,
    partial: PartialFile,
}

impl ConfigFile {
    /// Checks the paths and makes the files. `read` are the paths of the image, and the files of credentials; `others` are
    /// the results of the same run.
    ///
    /// # Errors
    ///
    /// A path cannot be used.
    pub fn prepare(
        files: &[(ConfigForm, PathBuf)],
        replace: bool,
        read: (&[&Path], &[&Path]),
        others: &[&Path],
        cancel: &Cancel,
    ) -> Result<Vec<Self>> {
        let mut prepared: Vec<Self> = Vec::new();
        for (form, path) in files {
            let of_config = |error: Error| error.of_output(OutputFile::Config);
            let output = Output::check(path, replace, read.0).map_err(of_config)?.with_role(OutputFile::Config);
            output.require_unread(read.1)?;
            if others.contains(&output.path()) || prepared.iter().any(|file| file.output.path() == output.path()) {
                return Err(of_config(Error::output(path, OutputProblem::SamePath)));
            }
            let partial = output.begin(cancel)?;
            prepared.push(Self { form: *form, output, partial });
        }
        Ok(prepared)
    }

    /// Writes the configuration, which is not published yet.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, config: &RuntimeConfig) -> Result<()> {
        use std::io::Write as _;
        let text = match self.form {
            ConfigForm::Json => config.json()?,
            ConfigForm::Shell => config.shell(),
        };
        self.partial.file().write_all(&text).map_err(|error| self.output.write_error(0, error))
    }

    /// Syncs the file.
    ///
    /// # Errors
    ///
    /// The file cannot be synced; the run was cancelled.
    pub fn settle(self, cancel: &Cancel) -> Result<SyncedFile> {
        SyncedFile::settle(self.output, self.partial, cancel)
    }
}
