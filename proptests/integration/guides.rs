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

/// Returns the words of the build in a manifest, from `build` on.
fn build_of(manifest: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/fleet").join(manifest);
    let text = std::fs::read_to_string(path).unwrap();
    let is_build =
        |line: &&str| line.trim().trim_start_matches("- ").starts_with("--") || line.contains("build --from-list");
    // An expression of a shell or a runner has spaces.
    let text = text.replace("$((CI_NODE_INDEX - 1))", "0").replace("${{ matrix.part }}", "0");
    let lines: Vec<&str> = text.lines().filter(is_build).collect();
    let words = lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned);
    ["build".to_owned()].into_iter().chain(words.filter(|word| word.starts_with("--") && word != "---")).collect()
}

#[test]
fn the_build_of_each_manifest_succeeds() {
    for (manifest, options) in [("kubernetes.yaml", 10), ("github.yml", 6), ("gitlab.yml", 6)] {
        let bench = Bench::new();
        bench.fixture("layered");
        std::fs::write(bench.at("list"), "# images\noci:../layered\n").unwrap();
        std::fs::write(bench.at("login"), "{\"auths\": {}}").unwrap();
        let mut words = build_of(manifest);
        assert!(words.len() > options, "{words:?}");
        for word in &mut words {
            let (option, value) = word.split_once('=').unwrap_or((word, ""));
            *word = match option {
                "--from-list" => "--from-list=list".into(),
                "--authfile" => "--authfile=login".into(),
                "--output-dir" => "--output-dir=out".into(),
                "--work-dir" => "--work-dir=.".into(),
                "--cache-dir" => "--cache-dir=cache".into(),
                // Of many parts, the first has the image.
                "--shard" => format!("--shard=0/{}", value.rsplit('/').next().unwrap().replace("$CI_NODE_TOTAL", "4")),
                "--cache-from" | "--cache-to" => format!("{option}=127.0.0.1:1/rootfs"),
                _ => continue,
            };
        }
        let output = bench.planish().env("HOME", bench.home()).args(&words).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{}", stderr(&output));
        assert!(bench.at("out/layered.ext4").exists(), "{manifest}");
    }
}

/// Splits a command at its spaces; the guides have no quotes in commands that are run.
fn words(command: &str) -> Vec<&str> {
    assert!(!command.contains(['"', '\'', '\\', '|', '>', '$']), "{command}");
    command.split_whitespace().collect()
}
