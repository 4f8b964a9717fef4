//! Pushes a finished filesystem to a registry, and pulls one from there.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use oci_spec::distribution::Reference;
use serde::Serialize;

use crate::artifact::{self, ARTIFACT_TYPE, Artifact, Blob, CHUNK, Chunk, EMPTY, MANIFEST_TYPE, REPORT_MAX};
use crate::builder::image::ImageOptions;
use crate::builder::{Input, verify};
use crate::copy::{self, OpenFile};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, ImageProblem, Place, Result, ShownPath};
use crate::image::registry::{Registry, RequestContext};
use crate::image::{ImageReference, PullOptions};
use crate::limits::Limits;
use crate::output::publish::{Output, SyncedFile, publish};
use crate::output::report::Report;
use crate::progress::Stage;
use crate::work::PartialFile;
use crate::workers;

/// The compression of chunks: zstd's default.
const LEVEL: i32 = 3;

/// The bytes of a pulled chunk that stay a hole if all are zero.
const PIECE: usize = 16 << 10;

/// A filesystem that was pushed to a registry or pulled from one, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ArtifactReport {
    /// The reference, as given.
    pub reference: String,
    /// The type of the artifact.
    pub artifact_type: &'static str,
    /// The digest of its manifest.
    pub manifest_digest: Digest,
    /// The path of the filesystem, escaped.
    pub path: String,
    /// The size of the filesystem in bytes.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
    /// The build key, if the artifact has a report.
    pub key: Option<Digest>,
    /// The number of chunks with data.
    pub chunks: usize,
    /// The number of bytes that were transferred; a registry that has a blob does not get it again.
    pub transferred_bytes: u64,
}

/// A repository and the means of asking it.
struct Repository<'a> {
    reference: &'a Reference,
    name: String,
    registry: Registry,
    options: &'a ImageOptions,
    /// The limits with room for a chunk.
    limits: Limits,
}

impl<'a> Repository<'a> {
    fn of(input: &'a Input) -> Result<Self> {
        let Input::Source(source @ ImageReference::Docker(reference), options) = input else {
            return Err(ErrorKind::NotInRegistry.into());
        };
        let usual = PullOptions::default();
        let remote = options.read.remote.as_ref().unwrap_or(&usual);
        let registry = Registry::of(reference, &remote.registry)?;
        let limits = Limits { manifest_bytes: 2 * CHUNK, ..options.read.limits.clone() };
        Ok(Self { reference, name: source.to_string(), registry, options, limits })
    }

    /// Returns the context of requests for blobs.
    fn blobs(&self) -> RequestContext<'_> {
        let ImageOptions { progress, cancel, .. } = self.options;
        RequestContext { limits: &self.limits, progress: &**progress, cancel }
    }

    /// Returns the context of requests for manifests.
    fn documents(&self) -> RequestContext<'_> {
        RequestContext { limits: &self.options.read.limits, ..self.blobs() }
    }

    fn report(&self, artifact: &Artifact, manifest_digest: Digest, path: &Path, transferred: u64) -> ArtifactReport {
        ArtifactReport {
            reference: self.name.clone(),
            artifact_type: ARTIFACT_TYPE,
            manifest_digest,
            path: ShownPath(path).to_string(),
            bytes: artifact.bytes,
            digest: artifact.digest.clone(),
            key: artifact.key.clone(),
            chunks: artifact.chunks.len(),
            transferred_bytes: transferred,
        }
    }
}

/// Pushes the filesystem in `file` under the tag of the reference, with the report of its build if there is one.
///
/// # Errors
///
/// The file is no ext4 filesystem, or not the one of the report; the registry, the network or the credentials fail; the
/// run was cancelled.
pub(crate) fn push(input: &Input, file: &Path, report: Option<&Path>) -> Result<ArtifactReport> {
    let repository = Repository::of(input)?;
    let ImageOptions { progress, cancel, .. } = repository.options;
    let opened = verify::open(file).map_err(Error::io("open", file))?;
    verify::open_ext4(&opened, file)?;
    let source = OpenFile { file: &opened, path: file };
    let bytes = opened.metadata().map_err(Error::io("examine", file))?.len();
    progress.begin(Stage::Digest, None);
    let digest = copy::hash(source, &**progress, cancel)?;
    progress.end();
    let report = report.map(|path| read_report(path, &digest)).transpose()?;
    let put = |bytes: &Bytes| {
        let blob = Blob { digest: Digest::of(Algorithm::Sha256, bytes), size: bytes.len() as u64 };
        let sent = repository.registry.put_blob(&blob.digest, bytes, repository.blobs())?;
        Ok::<_, Error>((if sent { blob.size } else { 0 }, blob))
    };
    let (sent, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let count = |(size, blob): (u64, Blob)| {
        sent.fetch_add(size, Ordering::Relaxed);
        blob
    };
    progress.begin(Stage::Transfer, Some(bytes));
    each(bytes.div_ceil(CHUNK), repository.options.read.downloads, |number| {
        cancel.check()?;
        let length = artifact::chunk_length(number, bytes);
        if let Some(data) = read_chunk(source, number * CHUNK, length)? {
            let packed = zstd::bulk::compress(&data, LEVEL).map_err(Error::io("compress", file))?;
            let blob = count(put(&Bytes::from(packed))?);
            found.lock().unwrap_or_else(PoisonError::into_inner).push(Chunk { blob, number });
        }
        progress.advance(length);
        Ok(())
    })?;
    let mut chunks = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    chunks.sort_by_key(|chunk| chunk.number);
    let key = report.as_ref().map(|(_, key)| key.clone());
    let report = report.map(|(text, _)| put(&Bytes::from(text)).map(count)).transpose()?;
    let empty = count(put(&Bytes::from_static(EMPTY))?);
    let artifact = Artifact { bytes, digest, key, report, chunks };
    let tag = repository.reference.tag().unwrap_or("latest");
    let manifest = artifact.manifest(&empty.digest);
    let digest = repository.registry.put_manifest(tag, MANIFEST_TYPE, &manifest, repository.documents())?;
    progress.end();
    Ok(repository.report(&artifact, digest, file, sent.into_inner()))
}

/// Returns the text of a report and its build key, if it is the report of the filesystem with this digest.
fn read_report(path: &Path, digest: &Digest) -> Result<(Vec<u8>, Digest)> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(REPORT_MAX).read_to_end(&mut text).map_err(Error::io("read", path))?;
    let refused = || Error::from(ErrorKind::OtherReport { path: path.to_owned() });
    let report: Report = serde_json::from_slice(&text).map_err(|_| refused())?;
    if report.filesystem.digest.as_ref() == Some(digest) { Ok((text, report.key)) } else { Err(refused()) }
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

/// Pulls the filesystem of the reference to `output`.
///
/// # Errors
///
/// The reference is no filesystem; the output cannot be used; the registry, the network or the credentials fail; the run
/// was cancelled. An error leaves `output` unchanged.
pub(crate) fn pull(input: &Input, output: &Path, replace: bool) -> Result<ArtifactReport> {
    let repository = Repository::of(input)?;
    let ImageOptions { progress, cancel, read, .. } = repository.options;
    let output = Output::check(output, replace, &input.paths())?;
    output.require_unread(&input.files())?;
    progress.begin(Stage::Open, None);
    let (manifest, manifest_digest) = repository.manifest()?;
    let place = Place::Manifest(manifest_digest.clone());
    let refused = |why| Error::image(place.clone(), ImageProblem::NotFilesystem(why));
    let artifact = Artifact::parse(&manifest, &read.limits).map_err(&refused)?;
    progress.end();
    let partial = output.begin(cancel)?;
    partial.file().set_len(artifact.bytes).map_err(|error| output.write_error(0, error))?;
    progress.begin(Stage::Transfer, Some(artifact.chunks.iter().map(|chunk| chunk.blob.size).sum()));
    each(artifact.chunks.len() as u64, read.downloads, |index| {
        let Some(chunk) = usize::try_from(index).ok().and_then(|index| artifact.chunks.get(index)) else {
            return Ok(());
        };
        let data = repository.chunk(chunk, artifact.bytes)?.map_err(&refused)?;
        for (piece, at) in data.chunks(PIECE).zip((chunk.offset()..).step_by(PIECE)) {
            // Zeros stay holes.
            if piece.iter().any(|byte| *byte != 0) {
                partial.file().write_all_at(piece, at).map_err(|error| output.write_error(at, error))?;
            }
        }
        progress.advance(chunk.blob.size);
        Ok(())
    })?;
    progress.end();
    progress.begin(Stage::Digest, None);
    let found = copy::hash(OpenFile { file: partial.file(), path: partial.path() }, &**progress, cancel)?;
    progress.end();
    if found != artifact.digest {
        return Err(refused(format!("its chunks make a file of digest {found}, not {}", artifact.digest)));
    }
    let transferred = artifact.chunks.iter().map(|chunk| chunk.blob.size).sum();
    let report = repository.report(&artifact, manifest_digest, output.path(), transferred);
    publish_alone(output, partial, repository.options)?;
    Ok(report)
}

fn publish_alone(output: Output, partial: PartialFile, options: &ImageOptions) -> Result<()> {
    let ImageOptions { progress, cancel, .. } = options;
    progress.begin(Stage::Publish, None);
    let ready = SyncedFile::settle(output, partial, cancel)?;
    progress.end();
    publish(vec![ready], &**progress, cancel)
}

impl Repository<'_> {
    fn manifest(&self) -> Result<(Vec<u8>, Digest)> {
        let Some(text) = self.reference.digest() else {
            let found = self.registry.tag(self.reference.tag().unwrap_or("latest"), self.documents())?;
            return Ok((found.bytes, found.digest));
        };
        let place = Place::Source(self.name.clone());
        let problem = || Error::image(place, ImageProblem::DigestSyntax(crate::image::shown::shown(text)));
        let digest: Digest = text.parse().map_err(|_| problem())?;
        let bytes = self.registry.manifest(&digest, None, &Place::Manifest(digest.clone()), self.documents())?;
        Ok((bytes, digest))
    }

    /// Fetches a chunk, whose blob is verified, and decompresses it.
    fn chunk(&self, chunk: &Chunk, bytes: u64) -> Result<std::result::Result<Vec<u8>, String>> {
        let Chunk { blob: Blob { digest, size }, number } = chunk;
        let packed = self.registry.config(digest, *size, &Place::Manifest(digest.clone()), self.blobs())?;
        let length = usize::try_from(artifact::chunk_length(*number, bytes)).unwrap_or_default();
        let data = zstd::bulk::decompress(&packed, length);
        Ok(data
            .ok()
            .filter(|data| data.len() == length)
            .ok_or_else(|| format!("chunk {number} is no {length} bytes of zstd")))
    }
}
