//! Where images come from: registries, OCI layouts, archives of them, and docker archives.
//!
//! The beginning of the line. A source knows manifests and configs, and checks them to the last byte; it hands out the
//! layers' bytes unread, with what they must turn out to be. It knows nothing about what is in a layer, nor about ext4, and
//! follows no URL.

mod archive;
mod bare;
mod config;
mod created;
mod docker;
mod document;
mod layout;
mod name;
mod platform;
mod registry;
mod spool;
mod store;
mod supply;

use std::path::{Path, PathBuf};

pub use name::{NameError, SourceName};
use oci_spec::image::ImageConfiguration;
pub use platform::{Platform, PlatformSyntax};
pub use registry::{Pull, RemoteOptions};
pub use supply::{LayerData, Supply};

use self::archive::Archive;
use self::store::Store;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Found, ImageProblem, LayerPlace, Place, Result};
use crate::limits::{Limit, Limits};
use crate::note::Note;
use crate::progress::Progress;
use crate::read_at::FileSlice;
use crate::time::Timestamp;

/// An image: what its manifest and its config say, and its layers in order.
#[derive(Debug)]
pub struct Image {
    /// What messages call it: the name it was opened by.
    pub source: String,
    /// The digest of its manifest; docker archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of its config, the same in every form that the image is kept in.
    pub config_digest: Digest,
    /// What it was built for, as its config says.
    pub platform: Platform,
    /// When it was built, where its config says so.
    pub created: Option<Timestamp>,
    /// Its config.
    pub config: ImageConfiguration,
    /// Its layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// What was adapted on the way.
    pub notes: Vec<Note>,
}

impl Image {
    /// Returns the bytes of all layers as they are kept.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.data.size()).sum()
    }
}

/// One layer as it is kept. Nothing of it was read: whoever does must check size, digest and diff ID.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// What messages call it.
    pub place: LayerPlace,
    /// What its descriptor calls it. The bytes decide what it is.
    pub media_type: Option<String>,
    /// The digest of the bytes; `None` in docker archives before docker 25.
    pub digest: Option<Digest>,
    /// How many bytes the descriptor promises; `None` in docker archives.
    pub size: Option<u64>,
    /// The digest of the bytes without compression, from the config.
    pub diff_id: Digest,
    /// The bytes.
    pub data: LayerData,
}

/// How a source is opened.
#[derive(Clone)]
pub struct OpenOptions<'a> {
    /// The platform that is wanted; `None` is Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// The bounds within which an image is taken.
    pub limits: &'a Limits,
    /// Where an archive is unpacked that is compressed or comes through a pipe.
    pub work_dir: &'a Path,
    /// How images of registries are had; `None`: not at all.
    pub remote: Option<&'a RemoteOptions>,
    /// Told what is fetched.
    pub progress: &'a dyn Progress,
    /// Asked while something long is read.
    pub cancel: &'a Cancel,
}

impl OpenOptions<'_> {
    fn check_layers(&self, holder: &Place, layers: usize) -> Result<()> {
        let (found, allowed) = (layers as u64, self.limits.layers);
        if found > allowed {
            let (place, found) = (holder.clone(), Found::Exactly(found));
            return Err(ErrorKind::Limit { place, limit: Limit::Layers, allowed, found }.into());
        }
        Ok(())
    }
}

/// Opens an image: finds its manifest and config, checks both, and finds its layers.
///
/// # Errors
///
/// The image's fault when it is not what it says or not for the platform; a limit; the system's answer.
pub fn open(name: &SourceName, options: &OpenOptions<'_>) -> Result<Image> {
    let shown = name.to_string();
    match name {
        SourceName::Oci { directory, image } => {
            std::fs::metadata(directory).map_err(Error::io("open", directory))?;
            layout::open(&Store::Directory(directory.clone()), &shown, image.as_deref(), options)
        }
        SourceName::OciArchive { file, image } => {
            let store = archive(spool::file(file, &shown, options)?, &shown, file, options)?;
            layout::open(&store, &shown, image.as_deref(), options)
        }
        SourceName::DockerArchive { file, image } => {
            let store = archive(spool::file(file, &shown, options)?, &shown, file, options)?;
            docker::open(&store, &shown, image.as_deref(), options)
        }
        SourceName::Docker(reference) => registry::open(reference, &shown, options),
        SourceName::Stdin => {
            let store = archive(spool::stdin(&shown, options)?, &shown, Path::new("standard input"), options)?;
            if store.open("manifest.json")?.is_some() {
                docker::open(&store, &shown, None, options)
            } else if store.open("index.json")?.is_some() {
                layout::open(&store, &shown, None, options)
            } else {
                Err(Error::image(Place::Source(shown), ImageProblem::NotAnImage))
            }
        }
    }
}

fn archive(data: FileSlice, name: &str, path: &Path, options: &OpenOptions<'_>) -> Result<Store> {
    Ok(Store::Archive(Archive::index(data, name, path, options)?, PathBuf::from(path)))
}

#[cfg(test)]
mod tests;
