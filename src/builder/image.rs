//! Images for library users, opened by reference or from a reader.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::builder::inspect::{self, Inspection};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, MissingPath, Place, Result};
use crate::image;
use crate::image::{ImageReference, OpenImage, OpenOptions, Platform};
#[cfg(feature = "registry")]
use crate::image::{PullOptions, PullPolicy, registry::RegistryOptions};
use crate::layer::decoded::LayerCacheOptions;
use crate::layer::listing::{ListingOptions, Listings};
use crate::limits::Limits;
use crate::path::{Quoted, Shortened};
use crate::progress::{NoProgress, Progress, Stage};
use crate::time::Timestamp;
use crate::tree::flatten::{FlatImage, ReadOptions, View, flatten_for};
use crate::tree::observe::Observer;
use crate::tree::{Found, Missing, MissingReason, Tree};
use crate::work::WorkDir;

/// The default directory for temporary files.
pub(crate) const WORK_DIR: &str = "/tmp";

/// A container image: its manifest and config, parsed and checked, and its layers, which are read on demand.
///
/// [`Image::open`] accepts the references of the command line: `docker://REF`, `oci:DIR[:TAG]`,
/// `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`, or the path of a layout or an archive.
///
/// A compressed archive, and the blobs of a registry without a cache, are stored in a private directory that is removed
/// with the last clone of the image.
#[derive(Debug, Clone)]
pub struct Image(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Arc<OpenImage>,
    options: ImageOptions,
    work: WorkDir,
}

impl Image {
    /// Opens an image with default options.
    ///
    /// # Errors
    ///
    /// The errors of [`ImageOptions::open`].
    pub fn open<S>(source: S) -> Result<Self>
    where
        S: TryInto<ImageReference>,
        Error: From<S::Error>,
    {
        Self::options().open(source)
    }

    /// Opens the image in an archive from a reader: an OCI layout or a docker archive, plain or compressed.
    ///
    /// # Errors
    ///
    /// The errors of [`ImageOptions::from_reader`].
    pub fn from_reader(reader: impl Read) -> Result<Self> {
        Self::options().from_reader(reader)
    }

    /// Returns the default options for opening an image.
    #[must_use]
    pub fn options() -> ImageOptions {
        ImageOptions::default()
    }

    /// Returns the reference by which it was opened.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.parts.source
    }

    /// Returns the digest of its manifest; docker archives have none.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<&Digest> {
        self.0.parts.manifest_digest.as_ref()
    }

    /// Returns the digest of its config, which is the same in every form of the image.
    #[must_use]
    pub fn config_digest(&self) -> &Digest {
        &self.0.parts.config_digest
    }

    /// Returns its config unchanged: a JSON document (image-spec `config.md`).
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.0.parts.config
    }

    /// Returns its manifest unchanged; docker archives have none.
    #[must_use]
    pub fn manifest(&self) -> Option<&[u8]> {
        self.0.parts.manifest.as_ref().map(|manifest| &*manifest.bytes)
    }

    /// Returns the index that the reference names, unchanged; `None` if it names a manifest.
    #[must_use]
    pub fn index(&self) -> Option<&[u8]> {
        let (_, bytes) = self.0.parts.manifest.as_ref()?.index.as_ref()?;
        Some(bytes)
    }

    /// Describes the image by its manifest and config. No layer is read.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        inspect::inspect(&self.0.parts)
    }

    /// Returns the platform in its config.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.0.parts.platform
    }

    /// Returns the creation time in its config, if there is one.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.0.parts.created
    }

    /// Returns the diff IDs of its layers, lowest first: the digests of the uncompressed tar streams.
    pub fn diff_ids(&self) -> impl ExactSizeIterator<Item = &Digest> {
        self.0.parts.layers.iter().map(|layer| &layer.diff_id)
    }

    /// Returns the size of all layers as stored, in bytes.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        self.0.parts.blob_bytes()
    }

    /// Reads and applies the layers, and returns the tree of the image's filesystem.
    ///
    /// # Errors
    ///
    /// A layer cannot be read, does not match its digest, or cannot be applied; a limit is exceeded; the run was
    /// cancelled.
    pub fn flatten(&self) -> Result<FlatImage> {
        self.flatten_for(&mut View::default())
    }

    /// Returns the tree like [`Image::flatten`], for a caller who does not read the contents of files: those of a layer may
    /// be absent, and then have a size and no bytes.
    ///
    /// With [`ImageOptions::listings`], a layer whose listing is in the cache is not decoded again.
    ///
    /// # Errors
    ///
    /// The errors of [`Image::flatten`].
    pub fn flatten_names(&self) -> Result<FlatImage> {
        self.look(&mut |listings| self.flatten_for(&mut View { observer: None, listings }))
    }

    /// Returns the tree as [`Image::flatten_names`] does, and an observer that saw what the layers did.
    pub(crate) fn observe(&self, observer: &dyn Fn() -> Observer) -> Result<(FlatImage, Observer)> {
        self.look(&mut |listings| {
            let mut view = View { observer: Some(observer()), listings };
            let flattened = self.flatten_for(&mut view)?;
            Ok((flattened, view.observer.unwrap_or_default()))
        })
    }

    /// Runs a job that looks at names, with the listings of layers in the cache. A job that needs the contents of a layer
    /// runs again, with this layer decoded.
    pub(crate) fn look<T>(&self, job: &mut dyn FnMut(Option<&Listings<'_>>) -> Result<T>) -> Result<T> {
        let ImageOptions { listings, progress, cancel, .. } = &self.0.options;
        let listings = listings.as_ref().and_then(|options| Listings::of(options, &**progress, cancel));
        let Some(mut listings) = listings else { return job(None) };
        loop {
            let result = job(Some(&listings));
            let is_final = result.as_ref().is_err_and(Error::ends_the_run);
            if is_final || !listings.want_more() {
                return result;
            }
        }
    }

    /// Flattens the image for a job that looks at names.
    pub(crate) fn flatten_for(&self, view: &mut View<'_>) -> Result<FlatImage> {
        let Inner { parts, options: ImageOptions { read, progress, cancel, .. }, work } = &*self.0;
        progress.begin(Stage::Layers, Some(parts.blob_bytes()));
        let flattened = flatten_for(parts, work, read, view, &**progress, cancel)?;
        progress.end();
        parts.notes.iter().for_each(|note| flattened.notes.add(note.clone()));
        flattened.notes.check()?;
        Ok(flattened)
    }

    /// Finds a path of the flattened image, following symlinks among its parents as in a chroot, and with a final `/`
    /// also its last name.
    ///
    /// # Errors
    ///
    /// The path does not exist.
    pub fn find_path(&self, tree: &Tree, path: &[u8]) -> Result<Found> {
        tree.find_path(path).map_err(|missing| self.no_such_path(path, &missing))
    }

    /// Returns the error of a path that does not exist.
    pub(crate) fn no_such_path(&self, path: &[u8], missing: &Missing) -> Error {
        let shown = |path: &[u8]| format!("/{}", Shortened(path));
        let end = shown(&missing.end);
        let name = missing.rest.split(|b| *b == b'/').next().unwrap_or_default();
        let (reason, similar) = match &missing.reason {
            MissingReason::NoName(similar) => (format!("{end} holds no {}", Quoted(name)), similar.as_ref()),
            MissingReason::NotDirectory => (format!("{end} is not a directory"), None),
            MissingReason::Loop => ("it leads through more than 40 symlinks".into(), None),
        };
        let similar = similar.map(|similar| {
            let parts = [&*missing.end, similar, missing.rest.get(name.len() + 1..).unwrap_or_default()];
            let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            shown(&parts.join(&b'/'))
        });
        let requested = shown(path.strip_prefix(b"/").unwrap_or(path));
        let missing = Box::new(MissingPath { requested, reason, end, similar });
        Error::image(Place::Source(self.source().to_owned()), ImageProblem::NoSuchPath(missing))
    }

    pub(crate) fn parts(&self) -> Arc<OpenImage> {
        Arc::clone(&self.0.parts)
    }

    /// Returns the path of its layout or archive.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.parts.path.as_deref()
    }

    pub(crate) fn opened_with(&self) -> &ImageOptions {
        &self.0.options
    }
}

/// Options for opening an image and reading its layers.
#[derive(Clone)]
pub struct ImageOptions {
    pub(crate) read: ReadOptions,
    pub(crate) work_dir: Option<PathBuf>,
    pub(crate) listings: Option<ListingOptions>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) cancel: Cancel,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            read: ReadOptions::default(),
            work_dir: None,
            listings: None,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

impl fmt::Debug for ImageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageOptions")
            .field("read", &self.read)
            .field("work_dir", &self.work_dir)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "registry")]
impl ImageOptions {
    /// Sets the options for registries. Default: the system's certificates, no credentials, no proxy.
    #[must_use]
    pub fn registry(mut self, options: RegistryOptions) -> Self {
        self.remote().registry = options;
        self
    }

    /// Sets the directory of a cache that later runs share. Default: blobs are stored in the work directory, for one
    /// image.
    #[must_use]
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.remote().cache = Some(directory.into());
        self
    }

    /// Sets the policy of fetching. Default: blobs that the cache does not have are fetched.
    #[must_use]
    pub fn pull(mut self, pull: PullPolicy) -> Self {
        self.remote().pull = pull;
        self
    }

    fn remote(&mut self) -> &mut PullOptions {
        self.read.remote.get_or_insert_default()
    }
}

impl ImageOptions {
    /// Sets the platform to select from an index. Default: Linux on this machine's architecture.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.read.platform = Some(platform);
        self
    }

    /// Sets the limits on the image.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.read.limits = limits;
        self
    }

    /// Sets the directory for temporary files. Default: `/tmp`; a build uses the directory of its output.
    #[must_use]
    pub fn work_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(directory.into());
        self
    }

    /// Keeps the listings of layers in a cache, for [`Image::flatten_names`], [`Image::layers`] and [`Image::explain`]: a
    /// layer that they read once is not decoded again. `bytes_max` is the limit on their size on disk, 256 MiB if `None`.
    /// Default: all layers are decoded.
    #[must_use]
    pub fn listings(mut self, directory: impl AsRef<Path>, bytes_max: Option<u64>) -> Self {
        self.listings = Some(ListingOptions::new(directory.as_ref(), bytes_max));
        self
    }

    /// Keeps decoded layers in a cache, for every job on an image: a layer whose decoded stream is there is neither fetched
    /// nor decompressed, only hashed. `bytes_max` is the limit on their size on disk. Default: every job decodes.
    #[must_use]
    pub fn decoded_layers(mut self, directory: impl AsRef<Path>, bytes_max: u64) -> Self {
        self.read.layer_cache = Some(LayerCacheOptions::new(directory.as_ref(), bytes_max));
        self
    }

    /// Keeps SELinux labels, which belong to the machine that made the image. Default: they are dropped, with a note.
    #[must_use]
    pub fn keep_selinux(mut self, keep: bool) -> Self {
        self.read.keep_selinux = keep;
        self
    }

    /// Sets the mtime of directories that no layer describes, in seconds since 1970. Default: 0.
    #[must_use]
    pub fn implied_mtime(mut self, seconds: i64) -> Self {
        self.read.implied_mtime = seconds;
        self
    }

    /// Sets the number of layers decoded, or files compared, at a time. Default: the number of processors.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.read.jobs = jobs.max(1);
        self
    }

    /// Sets the number of layers fetched at a time. Default: 4.
    #[must_use]
    pub fn downloads(mut self, downloads: usize) -> Self {
        self.read.downloads = downloads.max(1);
        self
    }

    /// Sets the observer, which is called from any thread. Default: none.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Sets the flag that cancels every job on the image. Default: none.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Opens an image: finds its manifest and config, and checks both.
    ///
    /// # Errors
    ///
    /// The reference is invalid; the image is malformed or not for the platform; it cannot be read; a registry refuses;
    /// a limit is exceeded; the run was cancelled.
    pub fn open<S>(&self, source: S) -> Result<Image>
    where
        S: TryInto<ImageReference>,
        Error: From<S::Error>,
    {
        let source = source.try_into()?;
        self.open_in(|work| self.open_parts(&source, work))
    }

    /// Opens the image in an archive from a reader.
    ///
    /// # Errors
    ///
    /// The errors of [`ImageOptions::open`].
    pub fn from_reader(&self, reader: impl Read) -> Result<Image> {
        self.open_in(|work| image::read(reader, &self.in_work_dir(work)))
    }

    fn open_in(&self, open: impl FnOnce(&WorkDir) -> Result<OpenImage>) -> Result<Image> {
        let work = self.make_work_dir()?;
        let parts = Arc::new(open(&work)?);
        Ok(Image(Arc::new(Inner { parts, options: self.clone(), work })))
    }

    pub(crate) fn make_work_dir(&self) -> Result<WorkDir> {
        WorkDir::create(self.work_dir.as_deref().unwrap_or(Path::new(WORK_DIR)), &self.cancel)
    }

    /// Opens an image; archives that must be unpacked are unpacked in `work`.
    pub(crate) fn open_parts(&self, source: &ImageReference, work: &WorkDir) -> Result<OpenImage> {
        #[cfg(feature = "registry")]
        if self.read.remote.is_none() && matches!(source, ImageReference::Docker(_)) {
            return image::open(
                source,
                &OpenOptions { remote: Some(&PullOptions::default()), ..self.in_work_dir(work) },
            );
        }
        image::open(source, &self.in_work_dir(work))
    }

    fn in_work_dir<'a>(&'a self, work: &'a WorkDir) -> OpenOptions<'a> {
        let Self { read, progress, cancel, .. } = self;
        let (platform, remote) = (read.platform.clone(), read.remote.as_ref());
        OpenOptions { platform, limits: &read.limits, scratch: work.scratch(), remote, progress: &**progress, cancel }
    }
}
