//! Images as other tools write them: the accepted, the noted and the refused ones.
//!
//! Each case runs the real binary. The selected image is identified by its config's digest, which the test computes.

mod archives;
mod configs;
mod files;
mod layouts;
mod names;
mod no_ext4;
mod root_tar;

use files::Files;
use serde_json::Value;

use crate::support::{Bench, failed, stderr};

/// A plan of an image: the digest of its config, and its notes as a person reads them.
#[derive(Debug, PartialEq)]
struct Taken {
    config: String,
    notes: Vec<String>,
}

/// Runs `planish plan SOURCE` for linux/amd64 with more arguments.
fn plan(bench: &Bench, source: &str, more: &[&str]) -> std::process::Output {
    let mut command = bench.planish();
    command.args(["plan", "--json", source]).args(more);
    if !more.contains(&"--platform") {
        command.args(["--platform", "linux/amd64"]);
    }
    command.output().unwrap()
}

/// Requires an image to be accepted.
#[track_caller]
fn taken(bench: &Bench, source: &str, more: &[&str]) -> Taken {
    let output = plan(bench, source, more);
    assert_eq!(output.status.code(), Some(0), "{source}: {}", stderr(&output));
    taken_of(&output.stdout)
}

fn taken_of(stdout: &[u8]) -> Taken {
    let plan: Value = serde_json::from_slice(stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Taken {
        config: text(&plan["config_digest"]),
        notes: plan["notes"].as_array().unwrap().iter().map(|note| text(&note["text"])).collect(),
    }
}

/// Requires a refusal with an exit code, and returns the error and the hint without the bench's own paths.
#[track_caller]
fn refused(bench: &Bench, source: &str, code: i32) -> (String, Option<String>) {
    let output = plan(bench, source, &[]);
    let error = failed(&output, code);
    let clean = |text: &str| text.replace(bench.shared("").to_str().unwrap(), "/");
    let text = stderr(&output);
    let hints: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
    assert!(hints.len() <= 1, "{text}");
    (clean(&error), hints.first().map(|hint| clean(hint)))
}

/// Writes a layout of one image, readable for the user, and returns its source and the digest of its config.
fn one(bench: &Bench, name: &str, change: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::default();
    change(&mut files);
    files.write(&bench.shared(name));
    format!("oci:{}", bench.shared(name).display())
}
