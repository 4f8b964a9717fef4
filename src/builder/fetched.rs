//! A filesystem from a repository of finished ones.

use crate::output::report::{FetchReport, FetchVerification, Report};

/// A filesystem that was fetched, with the report of its build.
pub(crate) struct FetchedFilesystem {
    pub report: Report,
    pub origin: FetchReport,
}

impl FetchedFilesystem {
    /// Returns the report, with its origin.
    pub fn into_report(self) -> Report {
        Report { fetched: Some(self.origin), ..self.report }
    }

    /// Returns true if it must be compared with the image.
    pub fn is_unproved(&self) -> bool {
        self.origin.verification == FetchVerification::Full
    }
}
