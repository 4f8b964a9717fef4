//! Computes the build key of an image and options, without reading a layer.

use std::ffi::OsStr;

use serde::Serialize;

use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::OpenImage;
use crate::plan::key::{BuildKey, KeyParts};
use crate::plan::{Engine, PlanOptions};
use crate::program::{Tasks, Tools};
use crate::progress::Stage;
use crate::tree::flatten::ReadOptions;

/// The build key of an image and options, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct KeyReport {
    /// The image reference, as given.
    pub source: String,
    /// The digest of the manifest; docker archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The build key. Builds with equal keys give equal bytes.
    pub key: Digest,
    /// The lines of the text whose SHA-256 is the key.
    pub lines: Vec<String>,
}

/// Computes the build key; of the image only the manifest and the config are read, and the injections completely.
///
/// # Errors
///
/// The image cannot be opened; a program of e2fsprogs that may write the filesystem is missing or too old.
pub(crate) fn key(
    input: &Input,
    additions: &Additions,
    options: &PlanOptions,
    search_path: &OsStr,
) -> Result<KeyReport> {
    let ImageOptions { read, progress, cancel, .. } = input.options();
    let tools = Tools::find(search_path, writing(options), &**progress, cancel)?;
    let work = input.options().make_work_dir()?;
    progress.begin(Stage::Open, None);
    let image = input.open(&work)?;
    let injected = additions.read(&image, options.clock, &work, input.options())?;
    progress.end();
    let options = PlanOptions { injected: injected.digest(), ..options.clone() };
    let BuildKey { text, digest } = of(&image, &options, read, &tools);
    Ok(KeyReport {
        source: image.source.clone(),
        manifest_digest: image.manifest_digest.clone(),
        config_digest: image.config_digest.clone(),
        platform: image.platform.to_string(),
        key: digest,
        lines: text.lines().map(Into::into).collect(),
    })
}

/// Returns the tasks of a build that decide bytes: the programs' versions are a part of the key.
pub(crate) fn writing(options: &PlanOptions) -> Tasks {
    Tasks { make: options.engine.may_be(Engine::E2fsprogs), check: false }
}

/// Returns the build key of an open image.
pub(crate) fn of(image: &OpenImage, options: &PlanOptions, read: &ReadOptions, tools: &Tools) -> BuildKey {
    BuildKey::of(&KeyParts {
        config: &image.config_digest,
        created: image.created.map(|time| time.seconds),
        options,
        implied_mtime: read.implied_mtime,
        keep_selinux: read.keep_selinux,
        programs: tools.writers(),
    })
}
