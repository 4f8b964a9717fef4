//! Finished filesystems in repositories of registries, found by build key: a build takes one from there, and pushes its
//! own.
//!
//! Whatever such a repository holds or does costs time, bounded by [`SharedCache::timeout`], and fails no build, unless the
//! caller requires the push.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oci_spec::distribution::Reference;

use crate::artifact::REPORT_MAX;
use crate::builder::artifact::report;
use crate::builder::artifact::repository::{FoundArtifact, Push, Repository};
use crate::builder::artifact::signature::{self, SigningKey, VerifyingKey};
use crate::builder::fetched::FetchedFilesystem;
use crate::builder::inject::Injected;
use crate::cancel::Cancel;
use crate::copy::OpenFile;
use crate::digest::Digest;
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, Fault, RegistryProblem, Result};
use crate::ext4::Filesystem;
use crate::image::registry::{RegistryOptions, RetryPolicy};
use crate::image::{ImageReference, OpenImage, PullPolicy};
use crate::output::report::{FetchReport, FetchVerification, Report};
use crate::progress::{Event, Progress, Stage};
use crate::tree::flatten::ReadOptions;
use crate::work::PartialFile;

/// The default time limit of a transfer.
const TIMEOUT: u64 = 300;
/// The most attempts of a request: a filesystem that cannot be fetched is built.
const TRIES: u32 = 2;
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait for the next byte of what is fetched.
const IDLE: Duration = Duration::from_secs(10);
/// The digits of a build key in its tag.
const TAG_DIGITS: usize = 32;

/// A repository of a registry with finished filesystems, as `HOST/NAME` without tag and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRepository {
    name: String,
    reference: Reference,
}

impl FromStr for CacheRepository {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        const FORM: &str = "a repository is HOST[:PORT]/NAME of a registry, without tag and digest";
        let name = text.strip_prefix("docker://").unwrap_or(text);
        // Where a tag can follow, there is none yet.
        let tagged = ImageReference::parse(format!("docker://{name}:x").as_ref());
        match (tagged, ImageReference::parse(format!("docker://{name}").as_ref())) {
            (Ok(_), Ok(ImageReference::Docker(reference))) => {
                let name = format!("{}/{}", reference.registry(), reference.repository());
                Ok(Self { name, reference })
            }
            _ => Err(FORM),
        }
    }
}

impl CacheRepository {
    /// Returns its registry, as `HOST[:PORT]`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// Returns the reference without tag and digest.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl fmt::Display for CacheRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The repositories that a build shares finished filesystems with. Several builders may share one value: a repository that
/// failed is not asked again.
#[derive(Debug, Clone)]
pub struct SharedCache {
    from: Vec<(CacheRepository, Arc<AtomicBool>)>,
    to: Option<(CacheRepository, Arc<AtomicBool>)>,
    to_required: bool,
    verification: FetchVerification,
    keys: Vec<VerifyingKey>,
    signer: Option<SigningKey>,
    timeout: u64,
}

impl Default for SharedCache {
    fn default() -> Self {
        let verification = FetchVerification::Digest;
        let (from, to, keys, signer) = (Vec::new(), None, Vec::new(), None);
        Self { from, to, to_required: false, verification, keys, signer, timeout: TIMEOUT }
    }
}

impl SharedCache {
    /// Looks for a filesystem of the same build key in this repository, after those named before.
    #[must_use]
    pub fn from(mut self, repository: CacheRepository) -> Self {
        self.from.push((repository, Arc::default()));
        self
    }

    /// Pushes what was built and verified to this repository. Default: nothing is pushed.
    #[must_use]
    pub fn to(mut self, repository: CacheRepository) -> Self {
        self.to = Some((repository, Arc::default()));
        self
    }

    /// Makes a failed push an error. Default: it is a warning.
    #[must_use]
    pub fn require_push(mut self, required: bool) -> Self {
        self.to_required = required;
        self
    }

    /// Sets the proof of what is fetched. Default: its digests.
    #[must_use]
    pub fn verification(mut self, verification: FetchVerification) -> Self {
        self.verification = verification;
        self
    }

    /// Takes only what is signed by this key, or by one of those named before. Default: a signature is not required.
    #[must_use]
    pub fn verifying_key(mut self, key: VerifyingKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Signs what is pushed. Default: it is not signed.
    #[must_use]
    pub fn sign(mut self, key: SigningKey) -> Self {
        self.signer = Some(key);
        self
    }

    /// Sets the seconds that a fetch or a push may take. Default: 300.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = seconds;
        self
    }

    /// Returns true if a build pushes its result.
    pub(crate) fn pushes(&self) -> bool {
        self.to.is_some()
    }
}

/// One build that shares filesystems.
pub(crate) struct Shared<'a> {
    cache: &'a SharedCache,
    key: &'a Digest,
    image: &'a OpenImage,
    injected: &'a Injected<'a>,
    read: &'a ReadOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl<'a> Shared<'a> {
    /// Returns the build of a key.
    pub fn new(
        cache: &'a SharedCache,
        key: &'a Digest,
        (image, injected): (&'a OpenImage, &'a Injected<'a>),
        read: &'a ReadOptions,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Self {
        Self { cache, key, image, injected, read, progress, cancel }
    }

    /// Returns the tag of the build key.
    fn tag(&self) -> String {
        let digits = self.key.hex();
        format!("planish-{}", digits.get(..TAG_DIGITS).unwrap_or(digits))
    }

    /// Returns true if a filesystem of the local cache was built or compared with its image on this machine, or if this
    /// build would fetch it from the same repository with no better proof.
    pub fn permits(cache: Option<&SharedCache>, report: &Report) -> bool {
        let Some(FetchReport { repository, verification: FetchVerification::Digest, signed_by, .. }) = &report.fetched
        else {
            return true;
        };
        cache.is_some_and(|cache| {
            let is_signed = || cache.keys.iter().any(|key| signed_by.as_deref() == Some(key.text()));
            cache.verification == FetchVerification::Digest
                && (cache.keys.is_empty() || is_signed())
                && cache.from.iter().any(|(from, _)| from.name == *repository)
        })
    }

    /// Fetches the filesystem to an empty file from the first repository that has it, and whose report `accept` does not
    /// refuse. A repository that cannot be used is a warning, and the file is empty again.
    ///
    /// # Errors
    ///
    /// The run was cancelled.
    pub fn fetch(
        &self,
        to: &PartialFile,
        accept: &dyn Fn(&Report) -> Result<()>,
        timer: &mut StageTimer<'_>,
    ) -> Result<Option<FetchedFilesystem>> {
        if self.is_offline() {
            return Ok(None);
        }
        for (repository, failed) in self.cache.from.iter().filter(|(_, failed)| !failed.load(Ordering::Relaxed)) {
            match self.in_time(repository, |cancel| self.fetch_from(repository, to, accept, cancel, timer)) {
                Ok(Some(fetched)) => return Ok(Some(fetched)),
                Ok(None) => self.progress.event(&Event::Remark(&format!("--cache-from {repository} does not have it"))),
                Err(error) if error.ends_the_run() => return Err(error),
                Err(error) => {
                    failed.store(is_down(&error), Ordering::Relaxed);
                    let text = format!("--cache-from {repository}: {error}: nothing is taken from there");
                    self.progress.event(&Event::Warning(&text));
                    to.file().set_len(0).map_err(Error::io("truncate", to.path()))?;
                }
            }
        }
        Ok(None)
    }

    fn fetch_from(
        &self,
        from: &CacheRepository,
        to: &PartialFile,
        accept: &dyn Fn(&Report) -> Result<()>,
        cancel: &Cancel,
        timer: &mut StageTimer<'_>,
    ) -> Result<Option<FetchedFilesystem>> {
        let options = self.requests(true);
        let repository = Repository::open(&from.reference, &options, self.read, self.progress, cancel)?;
        let looked_up = timer.run(Stage::Open, None, || {
            let Some(found) = self.find(&repository)? else { return Ok(None) };
            let signed_by = match &*self.cache.keys {
                [] => None,
                keys => {
                    let key = signature::verify(&found.artifact, keys).map_err(|why| found.refused(why))?;
                    Some(key.text().to_owned())
                }
            };
            let text = repository.report(&found)?.ok_or_else(|| found.refused("it has no report".into()))?;
            let report = self.report_of(&text, &found).map_err(|why| found.refused(why))?;
            // The report may lie: what it says fails no build.
            accept(&report).map_err(|error| found.refused(error.to_string()))?;
            Ok(Some((found, report, signed_by)))
        });
        let Some((found, report, signed_by)) = looked_up? else { return Ok(None) };
        let directory = to.path().parent().unwrap_or(to.path());
        timer.run(Stage::Transfer, Some(found.transfer_bytes()), || {
            repository.fetch(&found, to.file(), &|at, error| Error::write(directory, at, error))
        })?;
        let fetched = OpenFile { file: to.file(), path: to.path() };
        timer.run(Stage::Digest, None, || repository.check(&found, fetched))?;
        if Filesystem::open(to.file()).is_err() {
            return Err(found.refused("it is no ext4 filesystem".into()));
        }
        let FoundArtifact { manifest_digest, .. } = found;
        let verification = self.cache.verification;
        Ok(Some(FetchedFilesystem {
            report,
            origin: FetchReport { repository: from.name.clone(), manifest_digest, verification, signed_by },
        }))
    }

    /// Finds the entry of the build key; `None` if there is none.
    fn find(&self, repository: &Repository<'_>) -> Result<Option<FoundArtifact>> {
        let found = match repository.find_tag(&self.tag()) {
            Err(error) if is_missing(&error) => return Ok(None),
            found => found?,
        };
        match &found.artifact.key {
            Some(key) if key == self.key => Ok(Some(found)),
            Some(key) => Err(found.refused(format!("its build key is {key}, not {}", self.key))),
            None => Err(found.refused("it has no build key".into())),
        }
    }

    /// Parses a report; the reason for a refusal is the end of a sentence.
    fn report_of(&self, text: &[u8], found: &FoundArtifact) -> std::result::Result<Report, String> {
        let report = report::parse(text, &found.artifact)?;
        let layers = report.layers.iter().map(|layer| &layer.diff_id);
        let is_of_image = report.config_digest == self.image.config_digest
            && layers.eq(self.image.layers.iter().map(|layer| &layer.diff_id));
        let injections = report.injections.iter().map(|injection| &injection.digest);
        let own = self.injected.reports().map(|injection| &injection.digest);
        match () {
            () if !is_of_image => Err("its report is that of another image".into()),
            // Those of the runtime configuration follow.
            () if !own
                .zip(injections.map(Some).chain(std::iter::repeat(None)))
                .all(|(own, found)| Some(own) == found) =>
            {
                Err("its report has other injections".into())
            }
            () if report.verified.is_none() => Err("it was not verified when it was built".into()),
            () => Ok(report),
        }
    }

    /// Pushes a filesystem that was built or compared with its image on this machine. One from the local cache is pushed
    /// only where the repository has none.
    ///
    /// # Errors
    ///
    /// The push is required and fails; the run was cancelled.
    pub fn push(&self, report: &Report, filesystem: &PartialFile, timer: &mut StageTimer<'_>) -> Result<()> {
        let Some((to, failed)) = &self.cache.to else { return Ok(()) };
        if let Some(FetchReport { repository, verification, .. }) = &report.fetched
            && (*verification == FetchVerification::Digest || *repository == to.name)
        {
            return Ok(());
        }
        if failed.load(Ordering::Relaxed) && !self.cache.to_required {
            return Ok(());
        }
        match self.in_time(to, |cancel| self.push_to(to, report, filesystem, cancel, timer)) {
            Err(error) if self.cache.to_required || error.ends_the_run() => Err(error),
            Err(error) => {
                failed.store(is_down(&error), Ordering::Relaxed);
                self.progress.event(&Event::Warning(&format!("--cache-to {to}: {error}: nothing is pushed there")));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn push_to(
        &self,
        to: &CacheRepository,
        report: &Report,
        filesystem: &PartialFile,
        cancel: &Cancel,
        timer: &mut StageTimer<'_>,
    ) -> Result<()> {
        let impossible =
            |problem: &str| ErrorKind::SharedCache { repository: to.name.clone(), problem: problem.into() };
        if self.is_offline() {
            return Err(impossible("nothing may be sent").into());
        }
        let verified = report.verified.as_ref().is_some_and(|verified| verified.fsck.is_some());
        let Some(digest) = report.filesystem.digest.as_ref().filter(|_| verified) else {
            return Err(impossible("a filesystem that was not verified is not pushed").into());
        };
        let text = portable(report).ok_or_else(|| impossible("its report is too large"))?;
        let options = self.requests(false);
        let repository = Repository::open(&to.reference, &options, self.read, self.progress, cancel)?;
        if report.reused && timer.run(Stage::Open, None, || Ok(matches!(self.find(&repository), Ok(Some(_)))))? {
            return Ok(());
        }
        let source = OpenFile { file: filesystem.file(), path: filesystem.path() };
        let bytes = report.filesystem.bytes;
        // What was just fetched is in the other repository.
        let mount =
            self.cache.from.iter().map(|(from, _)| &from.reference).find(|from| {
                from.registry() == to.reference.registry() && from.repository() != to.reference.repository()
            });
        let (tag, report, mount) = (self.tag(), Some((&*text, self.key)), mount.map(Reference::repository));
        let push =
            Push { source, bytes, digest, report, tag: &tag, subject: None, mount, signer: self.cache.signer.as_ref() };
        let pushed = timer.run(Stage::Transfer, Some(bytes), || repository.push(push))?;
        let text = format!("pushed to {to}:{}: {} bytes were sent", self.tag(), pushed.sent);
        self.progress.event(&Event::Remark(&text));
        Ok(())
    }

    /// Calls `work` with a flag that has the time limit of a transfer.
    fn in_time<T>(&self, repository: &CacheRepository, work: impl FnOnce(&Cancel) -> Result<T>) -> Result<T> {
        let limited = self.cancel.part_within(self.cache.timeout);
        work(&limited).map_err(|error| match error.kind() {
            ErrorKind::Deadline { .. } if self.cancel.check().is_ok() => {
                let problem = format!("it takes more than the {} s that --cache-timeout allows", self.cache.timeout);
                ErrorKind::SharedCache { repository: repository.name.clone(), problem }.into()
            }
            _ => error,
        })
    }

    fn is_offline(&self) -> bool {
        self.read.remote.as_ref().is_some_and(|remote| remote.pull == PullPolicy::Never)
    }

    /// Returns the options of requests to a repository: without mirrors, which may not have what was just pushed.
    fn requests(&self, is_fetch: bool) -> RegistryOptions {
        let usual = self.read.remote.as_ref().map(|remote| remote.registry.clone()).unwrap_or_default();
        let RetryPolicy { tries, connect, idle, .. } = usual.patience;
        let idle = if is_fetch { idle.min(IDLE) } else { idle };
        RegistryOptions {
            mirrors: Vec::new(),
            patience: RetryPolicy { tries: tries.min(TRIES), connect: connect.min(CONNECT), idle, ..usual.patience },
            ..usual
        }
    }
}

/// Returns the report for other machines: without paths and times of this one, so that two builds of a key push the same.
fn portable(report: &Report) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    report.write_json(&mut text).ok().filter(|()| text.len() as u64 <= REPORT_MAX / 2)?;
    let mut report: serde_json::Value = serde_json::from_slice(&text).ok()?;
    *report.pointer_mut("/filesystem/path")? = "".into();
    for (name, value) in [("reused", false.into()), ("fetched", serde_json::Value::Null)] {
        *report.get_mut(name)? = value;
    }
    report.as_object_mut()?.insert("seconds".into(), serde_json::json!([]));
    serde_json::to_vec(&report).ok()
}

/// Returns true if a repository cannot be used for the next filesystem either. A damaged or wrong entry says nothing about
/// it.
fn is_down(error: &Error) -> bool {
    matches!(error.fault(), Fault::Registry | Fault::Credentials)
}

fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Registry { problem: RegistryProblem::Missing(_), .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_no_tag_and_no_digest() {
        let digest = format!("h.example/a@sha256:{}", "0a".repeat(32));
        for (text, shown) in [
            ("registry.example:5000/team/cache", Some("registry.example:5000/team/cache")),
            ("docker://127.0.0.1:5000/cache", Some("127.0.0.1:5000/cache")),
            ("team/cache", Some("docker.io/team/cache")),
            ("registry.example/cache:1", None),
            ("127.0.0.1:5000", None),
            (&digest, None),
            ("oci:layout", None),
            ("Team/Cache", None),
            ("", None),
        ] {
            let found = text.parse::<CacheRepository>().ok().map(|repository| repository.to_string());
            assert_eq!(found.as_deref(), shown, "{text}");
        }
    }
}
