//! The file that `--report` names: made before any work, so that it can be, and taken in one step after all of it.

use std::io::Write;
use std::path::Path;

use planish::Error;
use planish::publish::Output;
use planish::source::SourceName;
use planish::work::Unfinished;

use super::exit::Failure;

/// A report that is not written yet.
pub struct ReportFile {
    output: Output,
    unfinished: Unfinished,
}

impl ReportFile {
    /// Refuses a path that cannot take the report, or that is the filesystem's own; a report that exists is replaced.
    pub fn prepare(path: &Path, filesystem: &Path, source: &SourceName) -> Result<Self, Failure> {
        let output = Output::check(path, true, &Vec::from_iter(source.path()))?;
        // A filesystem that cannot be is refused by the build, with a better message.
        if Output::check(filesystem, true, &[]).is_ok_and(|filesystem| filesystem.path() == output.path()) {
            return Err(Failure::Usage("--report and --output name the same file".into()));
        }
        let unfinished = Unfinished::beside(output.path())?;
        Ok(Self { output, unfinished })
    }

    /// Writes the report and gives it its name.
    pub fn publish(self, json: &str) -> Result<(), Failure> {
        let mut file = self.unfinished.file();
        writeln!(file, "{json}").map_err(Error::io("write", self.output.path()))?;
        Ok(self.output.publish(self.unfinished)?)
    }
}
