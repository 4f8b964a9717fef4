//! Checks whether an image or a filesystem would boot.

use std::path::Path;

use crate::boot::{self, CheckOptions, CheckReport, Finding, ProcessToCheck, Verdict};
use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::builder::verify::open_ext4;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, NotExt4, Result, ShownPath};
use crate::image::guess;
use crate::path::Escaped;
use crate::patient;
use crate::progress::Stage;
use crate::runtime::RuntimeConfig;
use crate::tree::Tree;

/// The directories that are searched for a program if the image says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Checks an image with what is put into it.
pub(crate) fn image(
    input: &Input,
    (additions, clock): (&Additions, Option<i64>),
    options: &CheckOptions,
) -> Result<CheckReport> {
    let ImageOptions { progress, cancel, .. } = input.options();
    let work = input.options().make_work_dir()?;
    progress.begin(Stage::Open, None);
    let image = input.open(&work)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let (flat, _) = additions.read(&image, clock, &work, input.options())?.flatten()?;
    progress.end();
    let process = process(&image.config, &image.config_digest, &flat.tree);
    let (init, findings) = boot::of_tree(&flat.tree, &image.platform.architecture, Some(&process), options, cancel)?;
    Ok(report(image.source.clone(), init.as_deref(), findings))
}

/// Returns true if a path is that of a filesystem rather than of an image: the magic number of ext4 is there, or it is
/// a file of another kind than an archive, which [`check_filesystem`] names in its error.
#[must_use]
pub fn is_filesystem(file: &Path) -> bool {
    let magic = |file: std::fs::File| {
        let mut magic = [0; 2];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut magic, 1080).is_ok_and(|()| magic == [0x53, 0xef])
    };
    patient::open(file).is_ok_and(magic) || guess::kind(file) == Some(guess::Kind::File)
}

/// Checks if a system in a filesystem would boot. That it would not is no error.
///
/// # Errors
///
/// The file is no ext4 filesystem that can be read; the run was cancelled.
pub fn check_filesystem(file: impl AsRef<Path>, options: &CheckOptions, cancel: &Cancel) -> Result<CheckReport> {
    let path = file.as_ref();
    let opened = patient::open(path).map_err(Error::io("open", path))?;
    let filesystem = open_ext4(&opened, path)?;
    let unreadable = |fault: crate::ext4::ReadError| {
        let found = NotExt4::Unreadable(fault.to_string());
        Error::from(ErrorKind::NotAFilesystem { path: path.to_owned(), found })
    };
    let (init, findings) = boot::of_filesystem(&filesystem, &unreadable, options, cancel)?;
    Ok(report(ShownPath(path).to_string(), init.as_deref(), findings))
}

fn report(source: String, init: Option<&[u8]>, findings: Vec<Finding>) -> CheckReport {
    let boots = findings.iter().all(|finding| finding.verdict != Verdict::Failure);
    CheckReport { source, boots, init: init.map(|path| Escaped(path).to_string()), findings }
}

/// Returns what is to be checked about an image's process; a config that says nothing useful is a finding, no error.
fn process(config: &[u8], digest: &crate::digest::Digest, tree: &Tree) -> ProcessToCheck {
    match RuntimeConfig::of(config, digest, tree) {
        Err(error) => ProcessToCheck { user: Err(error.to_string()), program: None, search: Vec::new() },
        Ok(config) => {
            let path = config.variable("PATH").unwrap_or(PATH);
            let search = path.split(':').map(|directory| directory.as_bytes().to_vec()).collect();
            ProcessToCheck { user: Ok(config.user_text()), program: config.program(), search }
        }
    }
}
