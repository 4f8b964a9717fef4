//! Takes a finished filesystem of the same build key from a cache, and keeps a new one there.

use std::path::PathBuf;

use crate::builder::inject::Injected;
use crate::cancel::Cancel;
use crate::copy::{OpenFile, copy_and_list, hash};
use crate::digest::Digest;
use crate::engine::timing::StageTimer;
use crate::error::{Error, Result, ShownPath};
use crate::image::OpenImage;
use crate::image::cache::{BuildLock, BuildTurn, BuiltFile, BuiltRecord, Cache, LockHolder, NewBuilt};
use crate::layer::decoded::NOT_READ;
use crate::output::report::Report;
use crate::path::Escaped;
use crate::progress::{Event, Progress, Stage};
use crate::work::PartialFile;

/// The default limit on the finished filesystems of a cache, in bytes on disk.
pub(crate) const BYTES_MAX: u64 = 10 << 30;

/// The cache of finished filesystems.
#[derive(Debug, Clone)]
pub(crate) struct ReuseOptions {
    /// The directory of the cache.
    pub directory: PathBuf,
    /// The number of bytes on disk that its finished filesystems may take.
    pub bytes_max: u64,
}

/// A build whose filesystem may be in a cache, or come there.
pub(crate) struct Reuse<'a> {
    cache: Cache,
    bytes_max: u64,
    key: Digest,
    /// The number of threads that copy.
    jobs: usize,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// True if the result is wholly verified, so that it is kept and others may wait for it.
    keeps: bool,
    /// The turn at building, with its lock.
    turn: Option<Option<BuildLock>>,
}

impl<'a> Reuse<'a> {
    /// Returns the build of a key, whose result is kept if it is verified; `None` if others can write the cache, whose
    /// records would be theirs.
    pub fn new(
        options: &ReuseOptions,
        keeps: bool,
        key: &Digest,
        jobs: usize,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Option<Self> {
        let cache = Cache::at(&options.directory);
        let why = match cache.other_writer() {
            Ok(None) => {
                let (bytes_max, key) = (options.bytes_max, key.clone());
                return Some(Self { cache, bytes_max, key, jobs, progress, cancel, keeps, turn: None });
            }
            Ok(Some(writer)) => format!("cache: {writer}"),
            Err(error) => error.to_string(),
        };
        progress.event(&Event::Remark(&format!("{why}: no finished filesystem is taken from the cache or kept there")));
        None
    }

    /// Copies the filesystem to an empty file and returns the report of its build, after another process that builds it
    /// is done. `None` if this process has to build it.
    ///
    /// A filesystem whose report `permits` refuses is not taken; `accept` refuses one by an error.
    ///
    /// # Errors
    ///
    /// The report is refused; the run was cancelled. A cache that cannot be used is a warning.
    pub fn take(
        &mut self,
        to: &PartialFile,
        permits: &dyn Fn(&Report) -> bool,
        accept: &dyn Fn(&Report) -> Result<()>,
        timer: &mut StageTimer<'_>,
    ) -> Result<Option<Report>> {
        // A result that was there and cannot be used is not waited for again.
        let mut waited = false;
        loop {
            let found = match self.tolerate(self.cache.built(&self.key))? {
                Some(BuiltRecord::Found(built)) => Some(built),
                Some(BuiltRecord::Damaged(path)) => {
                    let text = format!("cache: {} is damaged: the filesystem is built again", ShownPath(&path));
                    self.progress.event(&Event::Warning(&text));
                    self.cache.forget_built(&self.key);
                    None
                }
                Some(BuiltRecord::Missing) | None => None,
            };
            let found = found.and_then(|built| report_of(&built).map(|report| (built, report)));
            if let Some((built, report)) = found.filter(|(_, report)| permits(report)) {
                accept(&report)?;
                if self.copy(&built, to, timer)? {
                    return Ok(Some(report));
                }
                self.cache.forget_built(&self.key);
            }
            if self.turn.is_some() || waited || !self.keeps {
                return Ok(None);
            }
            let Self { key, progress, cancel, .. } = &*self;
            let waiting = |holder: LockHolder| progress.event(&Event::WaitingForBuild { key, pid: holder.pid });
            match self.tolerate(self.cache.build_turn(key, &waiting, cancel))? {
                Some(BuildTurn::Present) => waited = true,
                Some(BuildTurn::Granted(lock)) => self.turn = Some(lock),
                None => return Ok(None),
            }
        }
    }

    /// Copies and hashes a filesystem. Returns false, with an empty file, if it is not what its record says.
    fn copy(&self, built: &BuiltFile, to: &PartialFile, timer: &mut StageTimer<'_>) -> Result<bool> {
        let Self { jobs, progress, cancel, .. } = *self;
        let (from, target) =
            (OpenFile { file: &built.file, path: &built.path }, OpenFile { file: to.file(), path: to.path() });
        let length = built.file.metadata().map(|metadata| metadata.len()).ok();
        let copied =
            self.tolerate(timer.run(Stage::Copy, length, || copy_and_list(from, target, jobs, progress, cancel)))?;
        if copied.as_ref() == Some(&built.contents) {
            return Ok(true);
        }
        if copied.is_some()
            && let Some(found) = self.tolerate(hash(from, progress, cancel))?
        {
            let text = format!(
                "cache: the filesystem of key {} holds bytes of digest {found}, not {}: it is built again",
                self.key, built.digest
            );
            progress.event(&Event::Warning(&text));
            // Nobody else may take it for what its name says.
            self.tolerate(self.cache.drop_damaged(&built.digest))?;
        }
        to.file().set_len(0).map_err(Error::io("truncate", to.path()))?;
        Ok(false)
    }

    /// Keeps a filesystem that was proved; others that wait for it go on.
    ///
    /// # Errors
    ///
    /// The run was cancelled. A cache that cannot be used is a warning.
    pub fn keep(self, report: &Report, filesystem: &PartialFile, timer: &mut StageTimer<'_>) -> Result<()> {
        let Self { jobs, progress, cancel, .. } = self;
        let (Some(digest), true) = (&report.filesystem.digest, self.keeps) else { return Ok(()) };
        let mut bytes = Vec::new();
        report.write_json(&mut bytes).map_err(Error::io("write", "a report"))?;
        let name = Escaped(report.source.as_bytes()).to_string();
        let filesystem = OpenFile { file: filesystem.file(), path: filesystem.path() };
        let new = NewBuilt { key: &self.key, name: &name, filesystem, digest, report: &bytes, jobs };
        let kept = timer.run(Stage::Copy, Some(report.filesystem.bytes), || {
            self.cache.keep_built(new, self.bytes_max, progress, cancel)
        });
        let kept = self.tolerate(kept)?;
        if kept == Some(false) {
            progress.event(&Event::Remark("the filesystem is too large to be kept in the cache"));
        }
        Ok(())
    }

    /// Turns an error of the cache into a warning; an error that ends the run stays one.
    fn tolerate<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.ends_the_run() => Err(error),
            Err(error) => {
                let text = format!("without the cache's finished filesystems: {error}");
                self.progress.event(&Event::Warning(&text));
                Ok(None)
            }
        }
    }
}

/// Parses the report in a record; one of a later version of planish may be of another form.
fn report_of(built: &BuiltFile) -> Option<Report> {
    let report: Report = serde_json::from_slice(&built.report).ok()?;
    (report.verified.is_some() && report.filesystem.digest.as_ref() == Some(&built.digest)).then_some(report)
}

/// Makes the report of an earlier build that of this one: the image as it was given and found now.
pub(crate) fn adapt(mut report: Report, image: &OpenImage, injected: &Injected<'_>, path: String) -> Report {
    report.reused = true;
    report.source.clone_from(&image.source);
    report.manifest_digest.clone_from(&image.manifest_digest);
    report.platform = image.platform.to_string();
    report.filesystem.path = path;
    report.injections.iter_mut().zip(injected.reports()).for_each(|(old, new)| old.clone_from(new));
    for (layer, blob) in report.layers.iter_mut().zip(&image.layers) {
        layer.blob_bytes = blob.size.unwrap_or_else(|| blob.data.size());
        // The same layer in another form, which was not read.
        if layer.digest != blob.digest {
            layer.digest.clone_from(&blob.digest);
            layer.compression = NOT_READ.into();
        }
    }
    report
}
