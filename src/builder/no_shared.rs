//! Shared filesystems in a build without the feature `registry`: there are none.

use crate::builder::fetched::FetchedFilesystem;
use crate::builder::inject::Injected;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::engine::timing::StageTimer;
use crate::error::Result;
use crate::image::OpenImage;
use crate::output::report::Report;
use crate::progress::Progress;
use crate::tree::flatten::ReadOptions;
use crate::work::PartialFile;

/// Repositories of registries: there are none.
#[derive(Debug, Clone)]
pub enum SharedCache {}

impl SharedCache {
    pub(crate) fn pushes(&self) -> bool {
        match *self {}
    }
}

/// A build that shares filesystems.
pub(crate) struct Shared<'a>(&'a SharedCache);

impl<'a> Shared<'a> {
    pub fn new(
        cache: &'a SharedCache,
        _: &'a Digest,
        _: (&'a OpenImage, &'a Injected<'a>),
        _: &'a ReadOptions,
        _: &'a dyn Progress,
        _: &'a Cancel,
    ) -> Self {
        Self(cache)
    }

    /// Returns true if a filesystem of the local cache was built on this machine.
    pub fn permits(_: Option<&SharedCache>, report: &Report) -> bool {
        report.fetched.is_none()
    }

    pub fn fetch(
        &self,
        _: &PartialFile,
        _: &dyn Fn(&Report) -> Result<()>,
        _: &mut StageTimer<'_>,
    ) -> Result<Option<FetchedFilesystem>> {
        match *self.0 {}
    }

    pub fn push(&self, _: &Report, _: &PartialFile, _: &mut StageTimer<'_>) -> Result<()> {
        match *self.0 {}
    }
}
