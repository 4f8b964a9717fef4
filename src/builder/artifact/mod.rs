//! Pushes a finished filesystem to a registry, and pulls one from there.

mod referrers;
pub(crate) mod report;
pub(crate) mod repository;
pub(crate) mod signature;

use std::path::{Path, PathBuf};

use oci_spec::distribution::Reference;
use serde::Serialize;

use self::repository::{FoundArtifact, Push, Pushed, Repository};
use self::signature::{SigningKey, VerifyingKey};
use crate::artifact::{ARTIFACT_TYPE, Artifact, REPORT_MAX, Subject};
use crate::builder::image::{Image, ImageOptions};
use crate::builder::shared::CacheRepository;
use crate::builder::{Input, verify};
use crate::cancel::Cancel;
use crate::copy::{self, OpenFile};
use crate::digest::Digest;
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, Result, ShownPath};
use crate::image::{ImageReference, PullPolicy};
use crate::output::publish::{Output, SyncedFile, publish};
use crate::output::report_file::ReportFile;
use crate::patient;
use crate::progress::Stage;

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

impl ArtifactReport {
    fn of(name: String, artifact: &Artifact, manifest_digest: Digest, path: &Path, transferred: u64) -> Self {
        Self {
            reference: name,
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

/// Options of a push.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    report: Option<PathBuf>,
    subject: Option<Subject>,
    mount: Option<String>,
    key: Option<SigningKey>,
}

impl PushOptions {
    /// Signs the digests of filesystem, build key and report. Default: they are not signed.
    #[must_use]
    pub fn sign(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Pushes the report of the filesystem's build with it. Default: none.
    #[must_use]
    pub fn report(mut self, path: impl Into<PathBuf>) -> Self {
        self.report = Some(path.into());
        self
    }

    /// Makes the filesystem a referrer of an image, so that it is found by the image's manifest. Default: none.
    ///
    /// # Errors
    ///
    /// The image has no manifest.
    pub fn subject(mut self, image: &Image) -> Result<Self> {
        let parts = image.parts();
        let manifest = parts.manifest.as_ref().ok_or_else(|| ErrorKind::NoManifest(parts.source.clone()))?;
        let (media_type, digest) = (manifest.media_type.clone(), manifest.digest.clone());
        self.subject = Some(Subject { media_type, digest, size: manifest.bytes.len() as u64 });
        Ok(self)
    }

    /// Takes blobs from another repository of the registry, `NAME` or `HOST/NAME`, where the registry allows it.
    /// Default: they are sent.
    #[must_use]
    pub fn mount_from(mut self, repository: impl Into<String>) -> Self {
        self.mount = Some(repository.into());
        self
    }
}

/// Returns the reference of an input, its name, and the options with which it is read.
fn target(input: &Input) -> Result<(&Reference, String, &ImageOptions)> {
    match input {
        Input::Source(source @ ImageReference::Docker(reference), options) => {
            Ok((reference, source.to_string(), options))
        }
        _ => Err(ErrorKind::NotInRegistry.into()),
    }
}

/// Returns the name of another repository of the registry of a reference, which may be given with the registry. As in
/// references, what has a dot or a colon before the first slash is a host.
fn other_repository(reference: &Reference, name: &str) -> Result<String> {
    let registry = reference.registry();
    let host = name.split_once('/').map(|(first, _)| first);
    let has_host = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
    let whole = if has_host { name.to_owned() } else { format!("{registry}/{name}") };
    match whole.parse::<CacheRepository>() {
        Ok(other) if other.registry() == registry => Ok(other.reference().repository().to_owned()),
        _ => Err(ErrorKind::MountFrom { name: name.to_owned(), registry: registry.to_owned() }.into()),
    }
}

fn repository<'a>(reference: &'a Reference, options: &'a ImageOptions, uses_mirrors: bool) -> Result<Repository<'a>> {
    let ImageOptions { read, progress, cancel, .. } = options;
    if read.remote.as_ref().is_some_and(|remote| remote.pull == PullPolicy::Never) {
        return Err(ErrorKind::NoRequests.into());
    }
    let mut registry = read.remote.as_ref().map(|remote| remote.registry.clone()).unwrap_or_default();
    if !uses_mirrors {
        registry.mirrors.clear();
    }
    Repository::open(reference, &registry, read, &**progress, cancel)
}

/// Pushes the filesystem in `file` under the tag of the reference.
///
/// # Errors
///
/// The file is no ext4 filesystem, or not the one of the report; the registry, the network or the credentials fail; the
/// run was cancelled.
pub(crate) fn push(input: &Input, file: &Path, how: &PushOptions) -> Result<ArtifactReport> {
    let (reference, name, options) = target(input)?;
    if reference.digest().is_some() {
        return Err(ErrorKind::PushToDigest.into());
    }
    let mount = how.mount.as_deref().map(|name| other_repository(reference, name)).transpose()?;
    let repository = repository(reference, options, false)?;
    let ImageOptions { progress, cancel, .. } = options;
    let opened = patient::open(file).map_err(Error::io("open", file))?;
    verify::open_ext4(&opened, file)?;
    let source = OpenFile { file: &opened, path: file };
    let bytes = opened.metadata().map_err(Error::io("examine", file))?.len();
    let mut timer = StageTimer::new(&**progress);
    let digest = timer.run(Stage::Digest, None, || copy::hash(source, &**progress, cancel))?;
    let report = how.report.as_ref().map(|path| read_report(path, &digest, bytes, cancel)).transpose()?;
    let report = report.as_ref().map(|(text, key)| (&**text, key));
    let tag = reference.tag().unwrap_or("latest");
    let (subject, mount) = (how.subject.as_ref(), mount.as_deref());
    let signer = how.key.as_ref();
    let push = Push { source, bytes, digest: &digest, report, tag, subject, mount, signer };
    let Pushed { artifact, manifest_digest, sent } =
        timer.run(Stage::Transfer, Some(bytes), || repository.push(push))?;
    Ok(ArtifactReport::of(name, &artifact, manifest_digest, file, sent))
}

/// Returns the text of a report and its build key, if it is the report of the file with this digest and size.
fn read_report(path: &Path, digest: &Digest, bytes: u64, cancel: &Cancel) -> Result<(Vec<u8>, Digest)> {
    let refused = || Error::from(ErrorKind::OtherReport { path: path.to_owned() });
    let text = patient::read_all(path, REPORT_MAX, cancel)?.ok_or_else(refused)?;
    let key = report::key_of_file(&text, digest, bytes).ok_or_else(refused)?;
    Ok((text, key))
}

/// Pulls the filesystem of the reference to `output`, and the report of its build to `report_file`.
///
/// # Errors
///
/// The reference is no filesystem, has no report, or is signed by none of the keys if there are any; an output cannot
/// be used; the registry, the network or the credentials fail; the run was cancelled. An error leaves `output`
/// unchanged.
pub(crate) fn pull(
    input: &Input,
    output: &Path,
    report_file: Option<&Path>,
    keys: &[VerifyingKey],
    replace: bool,
    before_publish: &dyn Fn(&ArtifactReport) -> Result<()>,
) -> Result<ArtifactReport> {
    let (reference, name, options) = target(input)?;
    let repository = repository(reference, options, true)?;
    let ImageOptions { progress, cancel, .. } = options;
    let (progress, read) = (&**progress, input.paths());
    let report_file = match report_file {
        None => None,
        Some(path) => {
            let file = Output::check_report(path, replace, &read)?;
            file.require_unread(&input.files())?;
            Some(ReportFile::prepare(file, path, output, cancel)?)
        }
    };
    let output = Output::check(output, replace, &read)?;
    output.require_unread(&input.files())?;
    let mut timer = StageTimer::new(progress);
    let found = timer.run(Stage::Open, None, || repository.find())?;
    if !keys.is_empty() {
        signature::verify(&found.artifact, keys).map_err(|why| found.refused(why))?;
    }
    let report = report_file.is_some().then(|| report_text(&repository, &found)).transpose()?;
    let partial = output.begin(cancel)?;
    timer.run(Stage::Transfer, Some(found.transfer_bytes()), || {
        repository.fetch(&found, partial.file(), &|at, error| output.write_error(at, error))
    })?;
    let fetched = OpenFile { file: partial.file(), path: partial.path() };
    timer.run(Stage::Digest, None, || repository.check(&found, fetched))?;
    let transferred = found.transfer_bytes();
    let FoundArtifact { artifact, manifest_digest } = found;
    let result = ArtifactReport::of(name, &artifact, manifest_digest, output.path(), transferred);
    let ready = timer.run(Stage::Publish, None, || SyncedFile::settle(output, partial, cancel))?;
    let mut files = Vec::new();
    if let Some((file, text)) = report_file.zip(report) {
        files.push(file.write_text(&text, cancel)?);
    }
    files.push(ready);
    before_publish(&result)?;
    publish(files, progress, cancel)?;
    Ok(result)
}

/// Returns the text of the report that was pushed with a filesystem.
fn report_text(repository: &Repository<'_>, found: &FoundArtifact) -> Result<Vec<u8>> {
    let text = repository.report(found)?.ok_or_else(|| found.refused("it has no report".into()))?;
    report::plain_text(text, &found.artifact).map_err(|why| found.refused(why))
}
