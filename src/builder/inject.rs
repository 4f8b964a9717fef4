//! The tree of an image together with what a caller puts into it.

use std::path::Path;

use crate::builder::image::ImageOptions;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{InjectionProblem, Result, ShownPath};
use crate::image::OpenImage;
use crate::inject::{self, InjectOptions, InjectedLayer, Injection, InjectionReport};
use crate::layer::Budget;
use crate::path::ImagePath;
use crate::runtime::RuntimeConfig;
use crate::tree::flatten::{FlatImage, flatten_with};
use crate::work::WorkDir;

/// All that a caller puts into the tree of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Additions {
    /// The files, directories, texts and archives, in order.
    pub injections: Vec<Injection>,
    /// The directory in the image for its runtime configuration.
    pub config: Option<ImagePath>,
}

/// The file names of the runtime configuration in the image.
const CONFIG_FILES: [&str; 2] = ["config.json", "config.env"];

impl Additions {
    /// Returns the paths of this machine that are read.
    pub fn reads(&self) -> impl Iterator<Item = &Path> {
        self.injections.iter().filter_map(Injection::reads)
    }

    /// Refuses a directory that holds the private directory of this run, which would be put into the image.
    fn require_outside(&self, work: &WorkDir) -> Result<()> {
        let Ok(private) = work.path().canonicalize() else { return Ok(()) };
        let holds = |path: &Path| path.canonicalize().is_ok_and(|path| private.starts_with(path));
        match self.injections.iter().find(|injection| injection.reads().is_some_and(holds)) {
            None => Ok(()),
            Some(injection) => {
                let parent = private.parent().unwrap_or(&private);
                Err(injection.refused(InjectionProblem::HoldsWorkDir(ShownPath(parent).to_string())))
            }
        }
    }

    /// Reads the injections. Their entries have the time of the filesystem: `clock`, else that of the image.
    ///
    /// # Errors
    ///
    /// The errors of [`inject::read`].
    pub fn read<'a>(
        &'a self,
        image: &'a OpenImage,
        clock: Option<i64>,
        work: &'a WorkDir,
        options: &'a ImageOptions,
    ) -> Result<Injected<'a>> {
        self.require_outside(work)?;
        let budget = Budget::new(options.read.limits.clone()).with_jobs(options.read.jobs);
        let mtime = clock.or(image.created.map(|time| time.seconds)).unwrap_or(1);
        let injected = Injected { additions: self, image, mtime, work, options, budget, layers: Vec::new() };
        let layers = injected.more(&self.injections)?;
        Ok(Injected { layers, ..injected })
    }
}

/// Injections that were read, before any layer of the image is.
pub(crate) struct Injected<'a> {
    additions: &'a Additions,
    image: &'a OpenImage,
    mtime: i64,
    work: &'a WorkDir,
    options: &'a ImageOptions,
    budget: Budget,
    layers: Vec<InjectedLayer>,
}

impl Injected<'_> {
    /// Reads injections that come after those that were read.
    fn more(&self, injections: &[Injection]) -> Result<Vec<InjectedLayer>> {
        let Self { image, mtime, work, options, budget, layers, .. } = self;
        let layers = image.layers.len() + layers.len();
        inject::read(injections, &InjectOptions { layers, mtime: *mtime, work, budget, cancel: &options.cancel })
    }

    /// Returns the digest of all that is put into the image; `None` if nothing is. The runtime configuration follows from
    /// the image, so its place alone counts.
    pub fn digest(&self) -> Option<Digest> {
        let injected = inject::digest(&self.layers);
        let Some(place) = &self.additions.config else { return injected };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(injected.map_or_else(String::new, |digest| digest.to_string()).as_bytes());
        hasher.update(b" config ");
        hasher.update(place.as_bytes());
        Some(hasher.finish())
    }

    /// Returns the reports of what was read; those of the runtime configuration follow when the image is flattened.
    pub fn reports(&self) -> impl Iterator<Item = &InjectionReport> {
        self.layers.iter().map(|layer| &layer.report)
    }

    /// Flattens the image and adds to it; the notes are complete. Returns the reports of what was added, too.
    ///
    /// # Errors
    ///
    /// The errors of [`flatten_with`]; the runtime configuration was asked for and is malformed.
    pub fn flatten(&self) -> Result<(FlatImage, Vec<InjectionReport>)> {
        let Self { image, work, budget, layers, .. } = self;
        let ImageOptions { read, progress, cancel, .. } = self.options;
        let mut flat = flatten_with(image, work, read, (budget, layers), &**progress, cancel)?;
        image.notes.iter().for_each(|note| flat.notes.add(note.clone()));
        let mut reports: Vec<_> = self.reports().cloned().collect();
        if let Some(place) = &self.additions.config {
            let config = RuntimeConfig::of(&image.config, &image.config_digest, &flat.tree)?;
            let texts = CONFIG_FILES.iter().zip([config.json()?, config.shell()]);
            let path = |name: &str| ImagePath::join(place.as_bytes(), name.as_bytes());
            let texts: Result<Vec<_>> =
                texts.map(|(name, text)| Injection::text(path(name).as_bytes(), text)).collect();
            for layer in self.more(&texts?)? {
                flat.inject(&layer, budget, read.keep_selinux, cancel)?;
                reports.push(layer.report);
            }
        }
        flat.notes.check()?;
        Ok((flat, reports))
    }
}
