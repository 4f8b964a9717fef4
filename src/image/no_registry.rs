//! Images of registries in a build without the feature `registry`: an error that names it.

use std::path::Path;

use oci_spec::distribution::Reference;

use super::{OpenImage, OpenOptions};
use crate::error::{ErrorKind, NameError, Result};

/// Options for a registry: there are none.
#[derive(Debug, Clone)]
pub enum PullOptions {}

impl PullOptions {
    pub(crate) fn cache_dir(&self) -> Option<&Path> {
        match *self {}
    }
}

/// Refuses the reference.
pub(super) fn open(_: &Reference, name: &str, _: &OpenOptions<'_>) -> Result<OpenImage> {
    Err(ErrorKind::Source(NameError::NoRegistry(name.to_owned())).into())
}
