//! Opens images from registries, OCI layouts, archives of layouts, and docker archives.
//!
//! The first stage. It reads manifests and configs and checks them completely; it returns the layers' bytes unread,
//! with the digests that they must have. It knows neither the content of layers nor ext4, and follows no URL in an
//! image.

mod archive;
mod blob_source;
pub mod cache;
mod choose;
mod config;
mod created;
mod docker_archive;
mod document;
pub mod download;
pub(crate) mod guess;
pub(crate) mod history;
pub(crate) mod json;
mod layout;
mod media_type;
mod platform;
mod reference;
#[cfg(feature = "registry")]
pub mod registry;
mod registry_reference;
#[cfg_attr(not(feature = "registry"), path = "no_registry.rs")]
mod remote;
mod root_tar;
pub(crate) mod shown;
mod stdin;
mod store;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use blob_source::{BlobSource, LayerData};
pub use document::ListedImage;
pub use platform::{Platform, PlatformSyntax};
pub use reference::ImageReference;
pub(crate) use remote::PullOptions;
#[cfg(feature = "registry")]
pub use remote::PullPolicy;

use self::archive::Archive;
use self::store::{ArchiveFile, FileStore as _, LayoutDirectory};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Amount, Error, ErrorKind, Fault, ImageProblem, LayerPlace, Place, Result, ShownPath};
use crate::limits::{Limit, Limits};
use crate::note::Note;
use crate::path::Escaped;
use crate::progress::Progress;
use crate::read_at::FileSlice;
use crate::time::Timestamp;
use crate::work::Scratch;

/// An image: the content of its manifest and config, and its layers in order.
#[derive(Debug)]
pub struct OpenImage {
    /// The name in messages: the reference by which it was opened.
    pub source: String,
    /// The path of its layout or archive; registries and streams have none.
    pub path: Option<PathBuf>,
    /// Its manifest, and the index that lists it; docker archives have none.
    pub manifest: Option<ManifestDocument>,
    /// The digest of its manifest; docker archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of its config, the same in every form of the image.
    pub config_digest: Digest,
    /// The platform, from its config.
    pub platform: Platform,
    /// The creation time, from its config.
    pub created: Option<Timestamp>,
    /// The config, unchanged: planish reads no other part of it than the fields here.
    pub config: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// The notes: what was adapted while opening.
    pub notes: Vec<Note>,
}

impl OpenImage {
    /// Returns the size of all layers as stored, in bytes.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.data.size()).sum()
    }
}

/// The manifest of an image, and the index that lists it.
#[derive(Debug, Clone)]
pub struct ManifestDocument {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The manifest unchanged.
    pub bytes: Vec<u8>,
    /// The media type of the config in its descriptor.
    pub config_media_type: Option<String>,
    /// The annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// The annotations of its descriptor in an index.
    pub descriptor_annotations: Vec<(String, String)>,
    /// The index that the reference names, unchanged; `None` if it names the manifest.
    pub index: Option<(Digest, Vec<u8>)>,
    /// The images of the last index, if there is one.
    pub listed: Vec<ListedImage>,
}

/// One layer as stored. It was not read: the reader must check size, digest and diff ID.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The place in messages.
    pub place: LayerPlace,
    /// The media type in its descriptor. The bytes decide the compression.
    pub media_type: Option<String>,
    /// The digest of the bytes; `None` in docker archives before docker 25.
    pub digest: Option<Digest>,
    /// The size in its descriptor; `None` in docker archives.
    pub size: Option<u64>,
    /// The digest of the uncompressed bytes, from the config.
    pub diff_id: Digest,
    /// The bytes.
    pub data: LayerData,
}

/// Options for opening an image.
#[derive(Clone)]
pub struct OpenOptions<'a> {
    /// The requested platform; `None` is Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// The limits on the image.
    pub limits: &'a Limits,
    /// The directory in which an archive is unpacked that is compressed or comes through a pipe.
    pub scratch: &'a Scratch,
    /// Options for pulling images from a registry; `None`: registries are not used.
    pub remote: Option<&'a PullOptions>,
    /// The observer of downloads.
    pub progress: &'a dyn Progress,
    /// The cancellation flag, checked during long reads.
    pub cancel: &'a Cancel,
}

impl OpenOptions<'_> {
    fn check_layers(&self, holder: &Place, layers: usize) -> Result<()> {
        let (found, allowed) = (layers as u64, self.limits.layers);
        if found > allowed {
            let (place, found) = (holder.clone(), Amount::Exactly(found));
            return Err(ErrorKind::Limit { place, limit: Limit::Layers, allowed, found }.into());
        }
        Ok(())
    }
}

/// Opens the image in an archive of either kind from a reader.
///
/// # Errors
///
/// The errors of [`open`].
pub fn read(reader: impl Read, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let (shown, path) = ("the reader", Path::new("the reader"));
    let store = archive(stdin::stream(reader, shown, options)?, shown, path, options)?;
    either(&store, shown, None, options)
}

/// Opens an image: finds its manifest and config, checks both, and finds its layers.
///
/// # Errors
///
/// The image is malformed or not for the platform; a limit is exceeded; a file cannot be read.
pub fn open(name: &ImageReference, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let image = find(name, options)?;
    Ok(OpenImage { path: name.path().map(Path::to_owned), ..image })
}

fn find(name: &ImageReference, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let shown = name.to_string();
    match name {
        ImageReference::Oci { directory, image } => {
            let metadata = std::fs::metadata(directory).map_err(Error::io("open", directory))?;
            let misfit = TransportMismatch { shown: &shown, path: directory, image: image.as_deref() };
            if !metadata.is_dir() {
                return Err(misfit.file(options));
            }
            let store = LayoutDirectory(directory.clone());
            if store.open("index.json", options)?.is_none() {
                return Err(misfit.directory());
            }
            layout::open(&store, &shown, image.as_deref(), options)
        }
        ImageReference::OciArchive { file, image } | ImageReference::DockerArchive { file, image } => {
            let misfit = TransportMismatch { shown: &shown, path: file, image: image.as_deref() };
            if file.is_dir() {
                return Err(misfit.directory());
            }
            let store = archive(stdin::file(file, &shown, options)?, &shown, file, options)?;
            let holds = |name| store.open(name, options).map(|file| file.is_some());
            match name {
                ImageReference::OciArchive { .. } if !holds("index.json")? && holds("manifest.json")? => {
                    Err(misfit.of(DOCKER_ARCHIVE))
                }
                ImageReference::OciArchive { .. } => layout::open(&store, &shown, image.as_deref(), options),
                _ if !holds("manifest.json")? && holds("index.json")? => Err(misfit.of(OCI_ARCHIVE)),
                _ => docker_archive::open(&store, &shown, image.as_deref(), options),
            }
        }
        ImageReference::Archive { file, image } => {
            if is_of_layout(file) {
                let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                return Err(TransportMismatch { shown: &shown, path: directory, image: image.as_deref() }.of(PART));
            }
            let store = archive(stdin::file(file, &shown, options)?, &shown, file, options)?;
            either(&store, &shown, image.as_deref(), options)
        }
        ImageReference::Tar(file) => root_tar::open(stdin::file(file, &shown, options)?, &shown, options),
        ImageReference::Docker(reference) => remote::open(reference, &shown, options),
        ImageReference::Stdin => {
            let store = archive(stdin::stdin(&shown, options)?, &shown, Path::new("standard input"), options)?;
            either(&store, &shown, None, options)
        }
    }
}

fn archive(data: FileSlice, name: &str, path: &Path, options: &OpenOptions<'_>) -> Result<ArchiveFile> {
    Ok(ArchiveFile { archive: Archive::index(data, name, path, options)?, path: path.to_owned() })
}

/// Opens an archive of either kind. Docker's since version 25 are both, and then docker's names count.
fn either(store: &ArchiveFile, shown: &str, image: Option<&str>, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let index = store.open("index.json", options)?.is_some();
    if store.open("manifest.json", options)?.is_some() && !(index && docker_archive::is_empty(store, shown, options)?) {
        docker_archive::open(store, shown, image, options)
    } else if index {
        layout::open(store, shown, image, options)
    } else if store.open("repositories", options)?.is_some() {
        Err(Error::image(Place::Source(shown.to_owned()), ImageProblem::OldDockerArchive))
    } else {
        Err(Error::image(Place::Source(shown.to_owned()), ImageProblem::NotAnImage))
    }
}

impl ImageReference {
    /// Refuses a directory that holds no layout.
    pub(crate) fn require_layout(&self) -> Result<()> {
        match self {
            Self::Oci { directory, image } if directory.is_dir() && !directory.join("index.json").exists() => {
                let shown = self.to_string();
                Err(TransportMismatch { shown: &shown, path: directory, image: image.as_deref() }.directory())
            }
            _ => Ok(()),
        }
    }
}

/// A kind of source that another one was taken for.
struct Form {
    transport: &'static str,
    is: &'static str,
}

const PART: Form = Form { transport: "oci:", is: "a file of an OCI layout, whose source is its directory" };
const LAYOUT: Form = Form { transport: "oci:", is: "the directory of an OCI layout, not an archive" };
const OCI_ARCHIVE: Form = Form { transport: "oci-archive:", is: "an archive of an OCI layout" };
const DOCKER_ARCHIVE: Form = Form { transport: "docker-archive:", is: "an archive of docker" };

/// Returns true if a path is a file that every layout has, beside the other one.
fn is_of_layout(file: &Path) -> bool {
    let named = |name: &str| file.file_name().is_some_and(|own| own == name);
    named("index.json") && file.with_file_name("oci-layout").exists()
        || named("oci-layout") && file.with_file_name("index.json").exists()
}

/// A source whose transport does not fit what is there.
struct TransportMismatch<'a> {
    shown: &'a str,
    path: &'a Path,
    image: Option<&'a str>,
}

impl TransportMismatch<'_> {
    fn problem(&self, problem: ImageProblem) -> Error {
        Error::image(Place::Source(self.shown.to_owned()), problem)
    }

    fn of(&self, form: Form) -> Error {
        let Form { transport, is } = form;
        let name = self.image.map_or_else(String::new, |image| format!(":{}", Escaped(image.as_bytes())));
        let meant = format!("{transport}{}{name}", ShownPath(self.path));
        self.problem(ImageProblem::OtherTransport { is, meant })
    }

    /// Returns the error of a directory that does not match its transport.
    fn directory(&self) -> Error {
        let has = |name: &str| self.path.join(name).exists();
        if has("index.json") {
            self.of(LAYOUT)
        } else if has("manifest.json") && has("version") {
            self.problem(ImageProblem::SkopeoDirectory)
        } else if has("manifest.json") {
            self.problem(ImageProblem::UnpackedArchive)
        } else {
            self.problem(ImageProblem::NoIndex)
        }
    }

    /// Returns the error of a file that was given as a layout's directory.
    fn file(&self, options: &OpenOptions<'_>) -> Error {
        let opened =
            stdin::file(self.path, self.shown, options).and_then(|data| archive(data, self.shown, self.path, options));
        let store = match opened {
            Ok(store) => store,
            Err(error) if matches!(error.fault(), Fault::Signal(_)) => return error,
            Err(_) => return self.problem(ImageProblem::NotADirectory),
        };
        let holds = |name| store.open(name, options).is_ok_and(|file| file.is_some());
        if holds("index.json") {
            self.of(OCI_ARCHIVE)
        } else if holds("manifest.json") || holds("repositories") {
            self.of(DOCKER_ARCHIVE)
        } else {
            self.problem(ImageProblem::NotADirectory)
        }
    }
}

#[cfg(test)]
mod tests;
