//! The commands of the guides work as they stand.

use std::path::Path;
use std::process::Stdio;

use crate::support::{Bench, stderr};

/// Returns the commands of the guides' console blocks, in order.
fn commands() -> Vec<String> {
    let guides = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/GUIDES.md")).unwrap();
    let blocks = guides.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let joined: String = blocks.collect();
    joined.replace("\\\n", " ").lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_guides_succeeds() {
    let bench = Bench::new();
    bench.fixture("layered");
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let command = command.replace("oci:fixtures/", "oci:../");
        let words = words(&command);
        assert_eq!(words[0], "planish", "{command}");
        let output = bench.planish().args(&words[1..]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}\n{}", stderr(&output));
    }
}

/// Splits a command at its spaces; the guides have no quotes in commands that are run.
fn words(command: &str) -> Vec<&str> {
    assert!(!command.contains(['"', '\'', '\\', '|', '>', '$']), "{command}");
    command.split_whitespace().collect()
}
