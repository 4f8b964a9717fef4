//! The build key, and builds that depend on it.

mod artifact;
mod bytes;
mod decoded;
mod fleet;
mod key;
mod oras;
mod push;
mod resume;
mod reuse;
mod shared;
mod trust;
mod verity;
mod written;

use serde_json::Value;

use crate::support::{Bench, succeeded};

/// Runs `planish key --json` for linux/amd64.
#[track_caller]
fn key(bench: &Bench, source: &str, more: &[&str]) -> Value {
    let mut command = bench.planish();
    command.args(["key", source, "--json", "--platform", "linux/amd64"]).args(more);
    let output = command.output().unwrap();
    succeeded(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the value of a line of a key's text.
fn line<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    let lines = key["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.filter_map(|line| line.split_once('=')).find(|(found, _)| *found == name).map(|(_, value)| value)
}
