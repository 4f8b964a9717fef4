//! Every source that can be built can be looked into, and nothing is left but the cache.

use std::fs::File;
use std::path::Path;

use planish_proptests::writer::{Image, Layout};
use serde_json::Value;

use super::forms;
use crate::support::registry::{Kind, Plan, Registry};
use crate::support::{Bench, generated, succeeded};

/// Commands with more arguments; each prints JSON, or a stream.
const COMMANDS: [&[&str]; 5] = [
    &["inspect", "--json"],
    &["ls", "--json", "-R"],
    &["layers", "--json"],
    &["export"],
    &["explain", "--json", "srv/data05/file000.bin"],
];

/// Runs a command on a source, and returns what does not depend on its form.
fn run(bench: &Bench, command: &[&str], source: &str, stdin: Option<&Path>) -> Vec<u8> {
    let mut planish = bench.planish();
    planish.arg(command[0]).arg(source).args(&command[1..]).args(["--platform", "linux/amd64", "--cache-dir", "cache"]);
    if let Some(path) = stdin {
        planish.stdin(File::open(path).unwrap());
    }
    let output = planish.output().unwrap();
    succeeded(&output);
    let Ok(mut document) = serde_json::from_slice::<Value>(&output.stdout) else { return output.stdout };
    let fields = document.as_object_mut().unwrap();
    fields
        .retain(|name, _| ["names", "steps", "history", "config_digest", "created", "wasted_bytes"].contains(&&**name));
    serde_json::to_vec(&document).unwrap()
}

fn image() -> Image {
    generated::image().history_empty_layers()
}

#[test]
fn every_source_gives_the_same_answers() {
    for command in COMMANDS {
        let bench = Bench::new();
        let mut answers = Vec::new();
        for (source, stdin) in forms(&bench, &image()) {
            answers.push(run(&bench, command, &source, stdin.as_deref()));
        }
        let layout = bench.shared("form");
        let registry = Registry::start(&[("img", &layout)], Plan::new());
        answers.push(run(&bench, command, &format!("docker://{}/img:latest", registry.host()), None));
        assert!(answers.iter().all(|answer| *answer == answers[0] && !answer.is_empty()), "{command:?}");
        assert!(bench.left().iter().all(|name| name == "cache"), "{:?}", bench.left());
    }
}

#[test]
fn an_inspection_fetches_no_layer() {
    let bench = Bench::new();
    let layout = bench.shared("two");
    Layout::new().tag_index("latest", [&image()]).write(&layout).unwrap();
    let registry = Registry::start(&[("img", &layout)], Plan::new());
    let source = format!("docker://{}/img:latest", registry.host());
    run(&bench, COMMANDS[0], &source, None);
    assert_eq!(registry.log().kind(Kind::Layer).len(), 0);
    run(&bench, COMMANDS[2], &source, None);
    let fetched = registry.log().kind(Kind::Layer).len();
    assert!(fetched >= 3, "{fetched}");
    // The second look has all blobs in the cache.
    run(&bench, COMMANDS[1], &source, None);
    assert_eq!(registry.log().kind(Kind::Layer).len(), fetched);
}

#[test]
fn two_sources_of_different_kinds_are_compared() {
    let bench = Bench::new();
    let forms = forms(&bench, &image());
    let registry = Registry::start(&[("img", &bench.shared("form"))], Plan::new());
    let remote = format!("docker://{}/img:latest", registry.host());
    let (archive, stdin) = forms.last().unwrap();
    for (first, second) in [(archive.as_str(), &*remote), (&*remote, archive.as_str())] {
        let mut planish = bench.planish();
        planish.args(["diff", first, second, "--platform", "linux/amd64", "--cache-dir", "cache"]);
        let output = planish.stdin(File::open(stdin.as_ref().unwrap()).unwrap()).output().unwrap();
        succeeded(&output);
        assert_eq!(output.stdout, b"");
    }
}
