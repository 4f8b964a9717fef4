//! The commands that look into an image: from any source, and nothing is written.

mod diff;
mod errors;
mod explain;
mod export;
mod inspect;
mod layers;
mod listings;
mod ls;
mod sources;
mod stacks;

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use planish_proptests::writer::{Flavour, Image, Layout};
use serde_json::Value;

use crate::support::{Bench, succeeded};

/// Runs a command on a source for linux/amd64, with more arguments.
pub fn look(bench: &Bench, command: &str, source: &str, more: &[&str]) -> Output {
    let mut planish = bench.planish();
    planish.args([command, source]).args(more).args(["--platform", "linux/amd64"]);
    planish.stdin(std::process::Stdio::null()).output().unwrap()
}

/// Runs a command that succeeds, and returns its output.
#[track_caller]
pub fn text(bench: &Bench, command: &str, source: &str, more: &[&str]) -> String {
    let output = look(bench, command, source, more);
    succeeded(&output);
    assert_eq!(bench.left(), [""; 0]);
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that succeeds with `--json`, and returns its document.
#[track_caller]
pub fn json(bench: &Bench, command: &str, source: &str, more: &[&str]) -> Value {
    let more: Vec<&str> = more.iter().copied().chain(["--json"]).collect();
    let text = text(bench, command, source, &more);
    assert!(text.bytes().all(|b| matches!(b, b'\n' | 0x20..=0x7e)), "{text:?}");
    serde_json::from_str(&text).unwrap()
}

/// Writes an image as a layout that the user can read, and returns its source.
pub fn layout(bench: &Bench, name: &str, image: &Image) -> String {
    written(bench, name, &Layout::new().tag("latest", image))
}

/// Writes a layout that the user can read, and returns its source.
pub fn written(bench: &Bench, name: &str, layout: &Layout) -> String {
    let directory = bench.shared(name);
    layout.write(&directory).unwrap();
    format!("oci:{}:latest", directory.display())
}

/// Writes an image in each form, and returns the sources with the file for standard input.
pub fn forms(bench: &Bench, image: &Image) -> Vec<(String, Option<PathBuf>)> {
    let layout = layout(bench, "form", image);
    let oci = bench.readable("oci.tar", &Layout::new().tag("latest", image).to_tar());
    let docker = bench.readable("docker.tar", &image.docker_archive(Flavour::Layout, "example/app:1"));
    let at = |transport: &str, path: &Path| (format!("{transport}:{}", path.display()), None);
    vec![
        (layout, None),
        at("oci-archive", &oci),
        at("docker-archive", &docker),
        ("-".into(), Some(oci)),
        ("-".into(), Some(docker)),
    ]
}

/// Damages every layer of a layout from its 64th byte on: the size and the magic bytes stay.
pub fn spoil_layers(layout: &Path, image: &Image) {
    for layer in &image.layers {
        let digest = planish::Digest::of(planish::Algorithm::Sha256, &layer.blob());
        let path = layout.join("blobs/sha256").join(digest.hex());
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0x55; 16], 64).unwrap();
    }
}
