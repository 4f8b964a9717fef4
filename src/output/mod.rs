//! The published file and the report.

pub mod publish;
pub mod report;
pub(crate) mod report_file;
