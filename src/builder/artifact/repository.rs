//! A repository of a registry, with the requests for finished filesystems.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use oci_spec::distribution::Reference;

use super::referrers;
use super::signature::SigningKey;
use crate::artifact::{self, Artifact, Blob, CHUNK, Chunk, EMPTY, MANIFEST_TYPE, Subject};
use crate::cancel::Cancel;
use crate::copy::{self, OpenFile};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ImageProblem, Place, Result};
use crate::image::registry::{Registry, RegistryOptions, RequestContext};
use crate::progress::Progress;
use crate::tree::flatten::ReadOptions;
use crate::workers;

/// The compression of chunks: zstd's default.
const LEVEL: i32 = 3;

/// The bytes of a fetched chunk that stay a hole if all are zero.
const PIECE: usize = 16 << 10;

/// A repository and the means of asking it.
pub(crate) struct Repository<'a> {
    reference: &'a Reference,
    registry: Registry,
    read: &'a ReadOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// A filesystem to push.
#[derive(Clone, Copy)]
pub(crate) struct Push<'a> {
    pub source: OpenFile<'a>,
    pub bytes: u64,
    pub digest: &'a Digest,
    /// The report of its build and the build key.
    pub report: Option<(&'a [u8], &'a Digest)>,
    pub tag: &'a str,
    /// The manifest of the image that it is made of.
    pub subject: Option<&'a Subject>,
    /// A repository of the same registry that may have its blobs.
    pub mount: Option<&'a str>,
    pub signer: Option<&'a SigningKey>,
}

/// A filesystem that was pushed.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub artifact: Artifact,
    pub manifest_digest: Digest,
    /// The number of bytes that were sent.
    pub sent: u64,
}

/// A filesystem that was found in a repository.
#[derive(Debug)]
pub(crate) struct FoundArtifact {
    pub artifact: Artifact,
    pub manifest_digest: Digest,
}

impl FoundArtifact {
    /// Returns the error of a filesystem that is refused.
    pub fn refused(&self, why: String) -> Error {
        refused(&self.manifest_digest, why)
    }

    /// Returns the number of bytes of its chunks.
    pub fn transfer_bytes(&self) -> u64 {
        self.artifact.chunks.iter().map(|chunk| chunk.blob.size).sum()
    }
}

fn refused(manifest: &Digest, why: String) -> Error {
    Error::image(Place::Manifest(manifest.clone()), ImageProblem::NotFilesystem(why))
}

impl<'a> Repository<'a> {
    /// Prepares requests; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// No descriptors are available; the host in the reference is invalid.
    pub fn open(
        reference: &'a Reference,
        options: &RegistryOptions,
        read: &'a ReadOptions,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let registry = Registry::of(reference, options)?;
        Ok(Self { reference, registry, read, progress, cancel })
    }

    fn context(&self) -> RequestContext<'_> {
        RequestContext { limits: &self.read.limits, progress: self.progress, cancel: self.cancel }
    }

    /// Finds the filesystem of the reference.
    ///
    /// # Errors
    ///
    /// There is none; the registry, the network or the credentials fail; the run was cancelled.
    pub fn find(&self) -> Result<FoundArtifact> {
        let Some(text) = self.reference.digest() else {
            return self.find_tag(self.reference.tag().unwrap_or("latest"));
        };
        let place = Place::Source(self.reference.whole());
        let problem = || Error::image(place, ImageProblem::DigestSyntax(crate::image::shown::shown(text)));
        let digest: Digest = text.parse().map_err(|_| problem())?;
        let bytes = self.registry.manifest(&digest, None, &Place::Manifest(digest.clone()), self.context())?;
        self.parse(&bytes, digest)
    }

    /// Finds the filesystem of a tag.
    ///
    /// # Errors
    ///
    /// Those of [`Self::find`].
    pub fn find_tag(&self, tag: &str) -> Result<FoundArtifact> {
        let found = self.registry.tag(tag, self.context())?;
        self.parse(&found.bytes, found.digest)
    }

    fn parse(&self, bytes: &[u8], manifest_digest: Digest) -> Result<FoundArtifact> {
        let artifact = Artifact::parse(bytes, &self.read.limits).map_err(|why| refused(&manifest_digest, why))?;
        Ok(FoundArtifact { artifact, manifest_digest })
    }

    /// Fetches the report of a filesystem; `None` if it has none.
    ///
    /// # Errors
    ///
    /// The registry, the network or the credentials fail; the run was cancelled.
    pub fn report(&self, found: &FoundArtifact) -> Result<Option<Vec<u8>>> {
        let Some(Blob { digest, size }) = &found.artifact.report else { return Ok(None) };
        let place = Place::Manifest(found.manifest_digest.clone());
        self.registry.part(digest, *size, &place, self.context()).map(Some)
    }

    /// Fetches the chunks of a filesystem into an empty file; zeros stay holes. `fail` makes the error of a write at an
    /// offset. The file's digest is not checked.
    ///
    /// # Errors
    ///
    /// A chunk is not what the manifest says; the file cannot be written; the registry, the network or the credentials
    /// fail; the run was cancelled.
    pub fn fetch(
        &self,
        found: &FoundArtifact,
        to: &std::fs::File,
        fail: &(dyn Fn(u64, std::io::Error) -> Error + Sync),
    ) -> Result<()> {
        let FoundArtifact { artifact, .. } = found;
        to.set_len(artifact.bytes).map_err(|error| fail(0, error))?;
        each(artifact.chunks.len() as u64, self.read.downloads, |index| {
            let Some(chunk) = usize::try_from(index).ok().and_then(|index| artifact.chunks.get(index)) else {
                return Ok(());
            };
            self.cancel.check()?;
            let data = self.chunk(chunk, found)?;
            for (piece, at) in data.chunks(PIECE).zip((chunk.offset()..).step_by(PIECE)) {
                if piece.iter().any(|byte| *byte != 0) {
                    to.write_all_at(piece, at).map_err(|error| fail(at, error))?;
                }
            }
            self.progress.advance(chunk.blob.size);
            Ok(())
        })
    }

    /// Fetches a chunk, whose blob is verified, and decompresses it.
    fn chunk(&self, chunk: &Chunk, found: &FoundArtifact) -> Result<Vec<u8>> {
        let Chunk { blob: Blob { digest, size }, number } = chunk;
        let place = Place::Manifest(found.manifest_digest.clone());
        let packed = self.registry.part(digest, *size, &place, self.context())?;
        let length = usize::try_from(artifact::chunk_length(*number, found.artifact.bytes)).unwrap_or_default();
        let data = zstd::bulk::decompress(&packed, length).ok().filter(|data| data.len() == length);
        data.ok_or_else(|| found.refused(format!("chunk {number} is no {length} bytes of zstd")))
    }

    /// Requires the file that was fetched to have the digest in the manifest.
    ///
    /// # Errors
    ///
    /// It has another one; it cannot be read; the run was cancelled.
    pub fn check(&self, found: &FoundArtifact, fetched: OpenFile<'_>) -> Result<()> {
        let digest = copy::hash(fetched, self.progress, self.cancel)?;
        if digest == found.artifact.digest {
            return Ok(());
        }
        Err(found.refused(format!("its chunks make a file of digest {digest}, not {}", found.artifact.digest)))
    }

    /// Pushes a filesystem under a tag. What the registry has is not sent again.
    ///
    /// # Errors
    ///
    /// The file cannot be read; the registry, the network or the credentials fail; the run was cancelled.
    pub fn push(&self, push: Push<'_>) -> Result<Pushed> {
        let Push { source, bytes, digest, report, tag, subject, mount, signer } = push;
        let upload = Upload { repository: self, mount, sent: AtomicU64::new(0) };
        let chunks = upload.chunks(source, bytes)?;
        let key = report.map(|(_, key)| key.clone());
        let report = report.map(|(text, _)| upload.put(&Bytes::copy_from_slice(text))).transpose()?;
        let empty = upload.put(&Bytes::from_static(EMPTY))?;
        let (digest, subject_of) = (digest.clone(), subject.cloned());
        let mut artifact = Artifact { bytes, digest, key, report, chunks, subject: subject_of, signature: None };
        artifact.signature = signer.map(|key| key.sign(&artifact)).transpose()?;
        let manifest = artifact.manifest(&empty.digest);
        let put = self.registry.put_manifest(tag, MANIFEST_TYPE, &manifest, self.context())?;
        let (manifest_digest, is_listed) = put;
        if let Some(subject) = subject.filter(|_| !is_listed) {
            let referrer = artifact.referrer(&manifest_digest, manifest.len() as u64);
            referrers::add(&self.registry, &subject.digest, &referrer, self.context())?;
        }
        Ok(Pushed { artifact, manifest_digest, sent: upload.sent.into_inner() })
    }
}

/// The blobs of one push.
struct Upload<'a> {
    repository: &'a Repository<'a>,
    mount: Option<&'a str>,
    sent: AtomicU64,
}

impl Upload<'_> {
    fn put(&self, bytes: &Bytes) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(Algorithm::Sha256, bytes), size: bytes.len() as u64 };
        let Repository { registry, .. } = self.repository;
        if registry.put_blob(&blob.digest, bytes, self.mount, self.repository.context())? {
            self.sent.fetch_add(blob.size, Ordering::Relaxed);
        }
        Ok(blob)
    }

    fn chunks(&self, source: OpenFile<'_>, bytes: u64) -> Result<Vec<Chunk>> {
        let Repository { read, progress, cancel, .. } = self.repository;
        let found = Mutex::new(Vec::new());
        each(bytes.div_ceil(CHUNK), read.downloads, |number| {
            cancel.check()?;
            let length = artifact::chunk_length(number, bytes);
            if let Some(data) = read_chunk(source, number * CHUNK, length)? {
                let packed = zstd::bulk::compress(&data, LEVEL).map_err(Error::io("compress", source.path))?;
                drop(data);
                let blob = self.put(&Bytes::from(packed))?;
                found.lock().unwrap_or_else(PoisonError::into_inner).push(Chunk { blob, number });
            }
            progress.advance(length);
            Ok(())
        })?;
        let mut chunks = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        chunks.sort_by_key(|chunk| chunk.number);
        Ok(chunks)
    }
}

/// Reads a chunk; `None` if all of it is zero.
fn read_chunk(source: OpenFile<'_>, offset: u64, length: u64) -> Result<Option<Vec<u8>>> {
    if copy::is_hole(source.file, offset, length) {
        return Ok(None);
    }
    let mut data = vec![0; usize::try_from(length).unwrap_or_default()];
    source.file.read_exact_at(&mut data, offset).map_err(Error::io("read", source.path))?;
    Ok(data.iter().any(|byte| *byte != 0).then_some(data))
}

/// Calls `work` with each number below `count`, on several threads, until one fails.
fn each(count: u64, jobs: usize, work: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    workers::share(jobs.min(usize::try_from(count).unwrap_or(usize::MAX)), || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as u64;
            if number >= count || failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if let Err(error) = work(number) {
                failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
    })
}
