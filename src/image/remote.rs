//! Images in registries: the tag is resolved once, everything else is fetched by digest and stored in the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::distribution::Reference;

use super::blob_source::{BlobSource, LayerData};
use super::choose::{PlatformManifest, Search};
use super::document::{Descriptor, Document};
use super::layout;
use super::platform::Platform;
use super::store::{BlobStore, check_memory};
use super::{OpenImage, OpenOptions};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Amount, CacheProblem, Error, ErrorKind, ImageProblem, LayerPlace, Place, Result};
use crate::image::cache;
use crate::image::cache::{Cache, IndexEntry, OtherWriter, Partial, Reservation, SmallBlob};
use crate::image::registry::{BlobRequest, Registry, RegistryOptions, RequestContext};
use crate::limits::{Limit, Limits};
use crate::progress::{Event, Progress};
use crate::read_at::FileSlice;

/// Options for pulling an image from a registry.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The options of requests.
    pub registry: RegistryOptions,
    /// The directory of the cache; `None`: the work directory, for this run only.
    pub cache: Option<PathBuf>,
    /// The policy of fetching.
    pub pull: PullPolicy,
}

impl PullOptions {
    pub(crate) fn cache_dir(&self) -> Option<&Path> {
        self.cache.as_deref()
    }
}

/// The policy of fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Fetches only blobs that the cache does not have; a tag that the cache knows is not resolved again.
    Missing,
    /// Fetches only blobs that the cache does not have; a tag is always resolved by the registry.
    #[default]
    Newer,
    /// Fetches like `Newer`, and also manifests that the cache has.
    Always,
    /// Fetches nothing.
    Never,
}

/// A repository and its cache.
#[derive(Debug)]
pub(super) struct Remote {
    name: String,
    registry: Registry,
    cache: Cache,
    pull: PullPolicy,
    limits: Limits,
}

/// Opens the image of a reference.
pub(super) fn open(reference: &Reference, name: &str, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let Some(remote) = options.remote else {
        return Err(ErrorKind::Bug("an image of a registry is opened without registry options").into());
    };
    let has_cache = remote.cache.is_some();
    let directory = remote.cache.clone().unwrap_or_else(|| options.scratch.reach("cache"));
    let remote = Arc::new(Remote {
        name: reference.whole(),
        registry: Registry::of(reference, &remote.registry)?,
        cache: Cache::at(&directory),
        pull: remote.pull,
        limits: options.limits.clone(),
    });
    if has_cache
        && remote.pull != PullPolicy::Never
        && let Some(writer @ (OtherWriter::Mode { .. } | OtherWriter::OwnerAbove { .. })) =
            remote.cache.other_writer()?
    {
        let text = format!("cache: {writer}, who can replace what is kept there; blobs are checked by their digests");
        options.progress.event(&Event::Warning(&text));
    }
    let place = Place::Source(name.to_owned());
    let (bytes, digest) = match reference.digest() {
        Some(text) => {
            let digest: Digest = text.parse().map_err(|_| {
                Error::image(place.clone(), ImageProblem::DigestSyntax(crate::image::shown::shown(text)))
            })?;
            (remote.manifest(&digest, None, &Place::Manifest(digest.clone()), options)?, digest)
        }
        None => remote.tag(reference.tag().unwrap_or("latest"), options)?,
    };
    open_document(&remote, name, (bytes, digest), options)
}

/// Opens an image of a registry through a document: its manifest, or an index.
fn open_document(
    remote: &Arc<Remote>,
    name: &str,
    (bytes, digest): (Vec<u8>, Digest),
    options: &OpenOptions<'_>,
) -> Result<OpenImage> {
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    check_memory(&bytes, &Place::Manifest(digest.clone()), options.limits)?;
    let refused = |problem| Error::image(Place::Manifest(digest.clone()), problem);
    let document = Document::parse(&bytes, None).map_err(refused)?;
    let (media_type, size) = (document.media_type().to_owned(), bytes.len() as u64);
    let chosen = match document {
        Document::Manifest(manifest) => {
            let (annotations, listed) = (Vec::new(), Vec::new());
            let digest = digest.clone();
            PlatformManifest { digest, manifest, platform: None, bytes, annotations, index: None, listed }
        }
        Document::Index(entries) => {
            let search = Search { store: remote, options, platform: &platform, order_counts: true };
            let chosen = search.in_index(entries, Place::Index(digest.clone()))?;
            PlatformManifest { index: Some((digest.clone(), bytes)), ..chosen }
        }
    };
    let image = layout::image(remote, name, chosen, &platform, options)?;
    remote.remember(&IndexEntry { digest, size, media_type }, options.progress);
    Ok(image)
}

impl Remote {
    fn context<'a>(&'a self, progress: &'a dyn Progress, cancel: &'a Cancel) -> RequestContext<'a> {
        RequestContext { limits: &self.limits, progress, cancel }
    }

    /// Resolves a tag by the registry or, as the policy says, by the cache.
    fn tag(&self, tag: &str, options: &OpenOptions<'_>) -> Result<(Vec<u8>, Digest)> {
        if let Some(IndexEntry { digest, size, .. }) = self.known(options.progress)? {
            let place = Place::Manifest(digest.clone());
            return Ok((self.manifest(&digest, Some(size), &place, options)?, digest));
        }
        let fetched = self.registry.tag(tag, self.context(options.progress, options.cancel))?;
        self.keep(&fetched.digest, &fetched.bytes, options)?;
        Ok((fetched.bytes, fetched.digest))
    }

    /// Returns what the cache knows about the reference, if it counts.
    fn known(&self, progress: &dyn Progress) -> Result<Option<IndexEntry>> {
        match self.pull {
            PullPolicy::Newer | PullPolicy::Always => Ok(None),
            // Where others may have chosen the digest, the registry decides.
            PullPolicy::Missing if self.cache.other_writer()?.is_some() => Ok(None),
            PullPolicy::Missing => {
                let known = self.cache.recall(&self.name)?;
                if let Some(IndexEntry { digest, .. }) = &known {
                    progress.event(&Event::Remark(&format!("the tag stands for {digest} in the cache")));
                }
                Ok(known)
            }
            PullPolicy::Never => {
                let what = || crate::image::shown::shown(&self.name);
                let problem = CacheProblem::UnknownReference;
                let unknown = || -> Error { ErrorKind::Cache { what: what(), problem, source: None }.into() };
                let known = self.cache.recall(&self.name)?.ok_or_else(unknown)?;
                self.trust_name(&known.digest, progress)?;
                Ok(Some(known))
            }
        }
    }

    /// Warns if others can write the cache, because they may have set the reference; returns an error if the cache is
    /// theirs.
    fn trust_name(&self, digest: &Digest, progress: &dyn Progress) -> Result<()> {
        let reference = crate::image::shown::shown(&self.name);
        match self.cache.other_writer()? {
            None => Ok(()),
            Some(OtherWriter::Owner { path, uid }) => {
                Err(Error::cache(&path, CacheProblem::OthersWord { uid, reference, digest: digest.clone() }))
            }
            Some(writer) => {
                let text = format!("cache: {writer}, who may have chosen {digest} for {reference}");
                progress.event(&Event::Warning(&text));
                Ok(())
            }
        }
    }

    /// Returns a manifest or an index.
    fn manifest(
        &self,
        digest: &Digest,
        size: Option<u64>,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        self.small(digest, size, place, self.pull == PullPolicy::Always, options, |context| {
            self.registry.manifest(digest, size, place, context)
        })
    }

    fn small(
        &self,
        digest: &Digest,
        size: Option<u64>,
        place: &Place,
        ask_anyway: bool,
        options: &OpenOptions<'_>,
        fetch: impl FnOnce(RequestContext<'_>) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        match self.cache.read(digest, size, self.limits.manifest_bytes)? {
            SmallBlob::Bytes(bytes) if !ask_anyway => return Ok(bytes),
            SmallBlob::Bytes(_) | SmallBlob::Missing => self.may_fetch(digest, CacheProblem::Missing)?,
            SmallBlob::WrongSize(actual) => {
                let promised = size.unwrap_or_default();
                self.replaces(digest, CacheProblem::Damaged { promised, actual }, options.progress)?;
            }
            SmallBlob::WrongDigest(found) => {
                self.replaces(digest, CacheProblem::DamagedDigest(found), options.progress)?;
            }
            SmallBlob::TooLarge(actual) => {
                let (limit, allowed) = (Limit::ManifestBytes, self.limits.manifest_bytes);
                let found = Amount::Exactly(actual);
                return Err(ErrorKind::Limit { place: place.clone(), limit, allowed, found }.into());
            }
        }
        let fetch = || fetch(self.context(options.progress, options.cancel));
        let Some(size) = size else {
            let bytes = fetch()?;
            self.keep(digest, &bytes, options)?;
            return Ok(bytes);
        };
        // The blob's lock is held, so that only one of many runs fetches.
        match self.reserve(digest, size, true, options.progress, options.cancel)? {
            Reservation::Granted(partial) => {
                let bytes = fetch()?;
                fill(partial, &bytes)?;
                Ok(bytes)
            }
            Reservation::Present(_) if ask_anyway => fetch(),
            Reservation::Present(_) => match self.cache.read(digest, Some(size), self.limits.manifest_bytes)? {
                SmallBlob::Bytes(bytes) => Ok(bytes),
                // The blob was pruned or damaged just after it was stored.
                _ => fetch(),
            },
        }
    }

    /// Stores a verified document in the cache.
    fn keep(&self, digest: &Digest, bytes: &[u8], options: &OpenOptions<'_>) -> Result<()> {
        if let SmallBlob::Bytes(_) = self.cache.read(digest, Some(bytes.len() as u64), self.limits.manifest_bytes)? {
            return Ok(());
        }
        let size = bytes.len() as u64;
        match self.reserve(digest, size, true, options.progress, options.cancel)? {
            Reservation::Present(_) => Ok(()),
            Reservation::Granted(partial) => fill(partial, bytes),
        }
    }

    /// Stores the digest of the reference for runs that may not fetch. A cache that cannot be written is accepted.
    fn remember(&self, entry: &IndexEntry, progress: &dyn Progress) {
        let known = self.cache.recall(&self.name).ok().flatten();
        if known.as_ref() != Some(entry)
            && let Err(error) = self.cache.remember(&self.name, entry)
        {
            progress.event(&Event::Warning(&error.to_string()));
        }
    }

    fn may_fetch(&self, digest: &Digest, problem: CacheProblem) -> Result<()> {
        if self.pull != PullPolicy::Never {
            return Ok(());
        }
        Err(ErrorKind::Cache { what: format!("blob {digest}"), problem, source: None }.into())
    }

    /// Reports that a blob is damaged; returns an error if it cannot be replaced.
    fn replaces(&self, digest: &Digest, problem: CacheProblem, progress: &dyn Progress) -> Result<()> {
        let text = format!("cache: blob {digest} {problem}: it is fetched again");
        self.may_fetch(digest, problem)?;
        progress.event(&Event::Warning(&text));
        Ok(())
    }

    fn reserve(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Reservation> {
        let waiting = |waiting: cache::LockHolder| progress.event(&Event::Waiting { digest, pid: waiting.pid });
        self.cache.reserve(digest, size, again, &waiting, cancel)
    }
}

impl BlobStore for Arc<Remote> {
    fn document(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        let bytes = self.manifest(digest, Some(descriptor.size), place, options)?;
        check_memory(&bytes, place, options.limits)?;
        Ok(bytes)
    }

    fn config(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        let size = descriptor.size;
        let bytes = self.small(digest, Some(size), place, false, options, |context| {
            self.registry.config(digest, size, place, context)
        })?;
        check_memory(&bytes, place, options.limits)?;
        Ok(bytes)
    }

    /// Returns a layer, which is fetched when it is read.
    fn layer(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &LayerPlace,
        foreign: bool,
        _: &OpenOptions<'_>,
    ) -> Result<Option<LayerData>> {
        let (remote, place) = (Arc::clone(self), Place::Layer(place.clone()));
        let layer = || RemoteLayer { remote, digest: digest.clone(), size: descriptor.size, place };
        Ok((!foreign).then(|| LayerData::Remote(Arc::new(layer()))))
    }
}

/// Writes and commits a verified document.
fn fill(mut partial: Partial, bytes: &[u8]) -> Result<()> {
    partial.restart()?;
    partial.write(bytes)?;
    partial.commit()?.map_err(|_| ErrorKind::Bug("a document is not what was checked"))?;
    Ok(())
}

/// A layer in a registry.
#[derive(Debug)]
struct RemoteLayer {
    remote: Arc<Remote>,
    digest: Digest,
    size: u64,
    place: Place,
}

impl RemoteLayer {
    fn get(
        &self,
        again: bool,
        arriving: &dyn Fn(FileSlice),
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<FileSlice> {
        match self.remote.reserve(&self.digest, self.size, again, progress, cancel)? {
            Reservation::Present(slice) => {
                progress.event(&Event::Cached { digest: &self.digest, bytes: self.size });
                Ok(slice)
            }
            Reservation::Granted(partial) => {
                arriving(partial.arriving()?);
                self.complete(partial, progress, cancel)
            }
        }
    }

    fn complete(&self, partial: Partial, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        let requested = BlobRequest { digest: &self.digest, size: self.size, place: &self.place };
        self.remote.registry.blob(requested, partial, self.remote.context(progress, cancel))
    }
}

impl BlobSource for RemoteLayer {
    fn size(&self) -> u64 {
        self.size
    }

    fn cached(&self) -> Option<FileSlice> {
        match self.remote.cache.find(&self.digest, Some(self.size)) {
            Ok(cache::Lookup::Hit(slice)) => Some(slice),
            _ => None,
        }
    }

    fn fetch(&self, arriving: &dyn Fn(FileSlice), progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        let Self { remote, digest, size, .. } = self;
        let again = match remote.cache.find(digest, Some(*size))? {
            cache::Lookup::Hit(slice) => {
                progress.event(&Event::Cached { digest, bytes: *size });
                return Ok(slice);
            }
            cache::Lookup::Miss => {
                remote.may_fetch(digest, CacheProblem::Missing)?;
                false
            }
            cache::Lookup::WrongSize(actual) => {
                remote.replaces(digest, CacheProblem::Damaged { promised: *size, actual }, progress)?;
                true
            }
        };
        self.get(again, arriving, progress, cancel)
    }

    fn refetch(&self, found: &Digest, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        self.remote.replaces(&self.digest, CacheProblem::DamagedDigest(found.clone()), progress)?;
        self.get(true, &|_| {}, progress, cancel)
    }
}
