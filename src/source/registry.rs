//! Images of registries: the tag is looked up once, everything else is called by its digest and kept in the cache.

use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::distribution::Reference;

use super::document::Descriptor;
use super::layout;
use super::supply::{LayerData, Supply};
use super::{Image, OpenOptions};
use crate::cache::{self, Cache, Entry, Kept, Partial, Reserved};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{CacheProblem, Error, ErrorKind, Found, ImageProblem, Place, Result};
use crate::limits::{Limit, Limits};
use crate::progress::{News, Progress};
use crate::read_at::FileSlice;
use crate::registry::{Asking, Registry, RegistryOptions, WantedBlob};

/// How images of registries are had.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// How registries are asked.
    pub registry: RegistryOptions,
    /// Where blobs are kept; `None`: in the work directory, for this run alone.
    pub cache: Option<PathBuf>,
    /// What is fetched.
    pub pull: Pull,
}

/// What is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// What the cache does not have; a tag is always looked up.
    #[default]
    Missing,
    /// The same, but the registry is also asked for a manifest that the cache has.
    Always,
    /// Nothing.
    Never,
}

/// A repository and the cache before it.
#[derive(Debug)]
pub(super) struct Remote {
    name: String,
    registry: Registry,
    cache: Cache,
    pull: Pull,
    limits: Limits,
}

/// Opens the image that a reference means.
pub(super) fn open(reference: &Reference, name: &str, options: &OpenOptions<'_>) -> Result<Image> {
    let Some(remote) = options.remote else {
        return Err(ErrorKind::Bug("a registry is asked for without options").into());
    };
    let directory = remote.cache.clone().unwrap_or_else(|| options.work_dir.join("cache"));
    let remote = Arc::new(Remote {
        name: reference.whole(),
        registry: Registry::of(reference, &remote.registry)?,
        cache: Cache::at(&directory),
        pull: remote.pull,
        limits: options.limits.clone(),
    });
    let place = Place::Source(name.to_owned());
    let (bytes, digest) = match reference.digest() {
        Some(text) => {
            let digest: Digest = text
                .parse()
                .map_err(|_| Error::image(place.clone(), ImageProblem::DigestSyntax(crate::shown::shown(text))))?;
            (remote.document(&digest, None, &Place::Manifest(digest.clone()), options)?, digest)
        }
        None => remote.tag(reference.tag().unwrap_or("latest"), options)?,
    };
    layout::open_document(&remote, name, (bytes, digest), options)
}

impl Remote {
    fn asking<'a>(&'a self, progress: &'a dyn Progress, cancel: &'a Cancel) -> Asking<'a> {
        Asking { limits: &self.limits, progress, cancel }
    }

    /// Looks a tag up, at the registry or, where nothing may be fetched, in the cache.
    fn tag(&self, tag: &str, options: &OpenOptions<'_>) -> Result<(Vec<u8>, Digest)> {
        if self.pull == Pull::Never {
            let unknown = || -> Error {
                let what = crate::shown::shown(&self.name);
                ErrorKind::Cache { what, problem: CacheProblem::UnknownReference, source: None }.into()
            };
            let Entry { digest, size, .. } = self.cache.recall(&self.name)?.ok_or_else(unknown)?;
            let place = Place::Manifest(digest.clone());
            return Ok((self.document(&digest, Some(size), &place, options)?, digest));
        }
        let fetched = self.registry.tag(tag, self.asking(options.progress, options.cancel))?;
        self.keep(&fetched.digest, &fetched.bytes, options)?;
        Ok((fetched.bytes, fetched.digest))
    }

    /// Returns a manifest or an index.
    pub fn document(
        &self,
        digest: &Digest,
        size: Option<u64>,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        self.small(digest, size, place, self.pull == Pull::Always, options, |asking| {
            self.registry.manifest(digest, size, place, asking)
        })
    }

    /// Returns a config.
    pub fn config(&self, digest: &Digest, size: u64, place: &Place, options: &OpenOptions<'_>) -> Result<Vec<u8>> {
        self.small(digest, Some(size), place, false, options, |asking| {
            self.registry.config(digest, size, place, asking)
        })
    }

    fn small(
        &self,
        digest: &Digest,
        size: Option<u64>,
        place: &Place,
        ask_anyway: bool,
        options: &OpenOptions<'_>,
        fetch: impl FnOnce(Asking<'_>) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        match self.cache.read(digest, size, self.limits.manifest_bytes)? {
            Kept::Bytes(bytes) if !ask_anyway => return Ok(bytes),
            Kept::Bytes(_) | Kept::Missing => self.may_fetch(digest, CacheProblem::Missing)?,
            Kept::Damaged(actual) => {
                let promised = size.unwrap_or_default();
                self.replaces(digest, CacheProblem::Damaged { promised, actual }, options.progress)?;
            }
            Kept::DamagedDigest(found) => {
                self.replaces(digest, CacheProblem::DamagedDigest(found), options.progress)?;
            }
            Kept::TooLarge(actual) => {
                let (limit, allowed) = (Limit::ManifestBytes, self.limits.manifest_bytes);
                let found = Found::Exactly(actual);
                return Err(ErrorKind::Limit { place: place.clone(), limit, allowed, found }.into());
            }
        }
        let fetch = || fetch(self.asking(options.progress, options.cancel));
        let Some(size) = size else {
            let bytes = fetch()?;
            self.keep(digest, &bytes, options)?;
            return Ok(bytes);
        };
        // Under the blob's lock, so that of many runs one fetches.
        match self.reserve(digest, size, true, options.progress, options.cancel)? {
            Reserved::Mine(partial) => {
                let bytes = fetch()?;
                fill(partial, &bytes)?;
                Ok(bytes)
            }
            Reserved::Present(_) if ask_anyway => fetch(),
            Reserved::Present(_) => match self.cache.read(digest, Some(size), self.limits.manifest_bytes)? {
                Kept::Bytes(bytes) => Ok(bytes),
                // Pruned, or damaged, a moment after it came.
                _ => fetch(),
            },
        }
    }

    /// Puts a document that was checked into the cache.
    fn keep(&self, digest: &Digest, bytes: &[u8], options: &OpenOptions<'_>) -> Result<()> {
        if let Kept::Bytes(_) = self.cache.read(digest, Some(bytes.len() as u64), self.limits.manifest_bytes)? {
            return Ok(());
        }
        let size = bytes.len() as u64;
        match self.reserve(digest, size, true, options.progress, options.cancel)? {
            Reserved::Present(_) => Ok(()),
            Reserved::Mine(partial) => fill(partial, bytes),
        }
    }

    /// Remembers what the reference means, for a run that may not ask. A cache that cannot be written is as good.
    pub fn remember(&self, entry: &Entry, progress: &dyn Progress) {
        let known = self.cache.recall(&self.name).ok().flatten();
        if known.as_ref() != Some(entry)
            && let Err(error) = self.cache.remember(&self.name, entry)
        {
            progress.tell(&News::Warning(&error.to_string()));
        }
    }

    /// Returns a layer, which is fetched when it is wanted.
    pub fn layer(self: &Arc<Self>, descriptor: &Descriptor, digest: &Digest, place: Place) -> LayerData {
        LayerData::There(Arc::new(RemoteLayer {
            remote: Arc::clone(self),
            digest: digest.clone(),
            size: descriptor.size,
            place,
        }))
    }

    fn may_fetch(&self, digest: &Digest, problem: CacheProblem) -> Result<()> {
        if self.pull != Pull::Never {
            return Ok(());
        }
        Err(ErrorKind::Cache { what: format!("blob {digest}"), problem, source: None }.into())
    }

    /// Tells that a blob is damaged; an error where it cannot be replaced.
    fn replaces(&self, digest: &Digest, problem: CacheProblem, progress: &dyn Progress) -> Result<()> {
        let text = format!("cache: blob {digest} {problem}: it is fetched again");
        self.may_fetch(digest, problem)?;
        progress.tell(&News::Warning(&text));
        Ok(())
    }

    fn reserve(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Reserved> {
        let waiting = |waiting: cache::Waiting| progress.tell(&News::Waiting { digest, pid: waiting.pid });
        self.cache.reserve(digest, size, again, &waiting, cancel)
    }
}

/// Completes a document that was checked.
fn fill(mut partial: Partial, bytes: &[u8]) -> Result<()> {
    partial.restart()?;
    partial.write(bytes)?;
    partial.commit()?.map_err(|_| ErrorKind::Bug("a document is not what was checked"))?;
    Ok(())
}

/// A layer at a registry.
#[derive(Debug)]
struct RemoteLayer {
    remote: Arc<Remote>,
    digest: Digest,
    size: u64,
    place: Place,
}

impl RemoteLayer {
    fn get(&self, again: bool, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        match self.remote.reserve(&self.digest, self.size, again, progress, cancel)? {
            Reserved::Present(slice) => {
                progress.tell(&News::Cached { digest: &self.digest, bytes: self.size });
                Ok(slice)
            }
            Reserved::Mine(partial) => self.complete(partial, progress, cancel),
        }
    }

    fn complete(&self, partial: Partial, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        let wanted = WantedBlob { digest: &self.digest, size: self.size, place: &self.place };
        self.remote.registry.blob(wanted, partial, self.remote.asking(progress, cancel))
    }
}

impl Supply for RemoteLayer {
    fn size(&self) -> u64 {
        self.size
    }

    fn fetch(&self, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        let Self { remote, digest, size, .. } = self;
        let again = match remote.cache.find(digest, Some(*size))? {
            cache::Found::Blob(slice) => {
                progress.tell(&News::Cached { digest, bytes: *size });
                return Ok(slice);
            }
            cache::Found::Missing => {
                remote.may_fetch(digest, CacheProblem::Missing)?;
                false
            }
            cache::Found::Damaged(actual) => {
                remote.replaces(digest, CacheProblem::Damaged { promised: *size, actual }, progress)?;
                true
            }
        };
        self.get(again, progress, cancel)
    }

    fn fetch_again(&self, found: &Digest, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice> {
        self.remote.replaces(&self.digest, CacheProblem::DamagedDigest(found.clone()), progress)?;
        self.get(true, progress, cancel)
    }
}
