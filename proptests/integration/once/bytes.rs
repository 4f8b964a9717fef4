//! The bytes of a fixture change only together with the version of the output format.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{key, line};
use crate::support::{Bench, fixtures, succeeded};

const FIXTURES: [&str; 10] = [
    "oci:layered",
    "oci:whiteout",
    "oci:opaque",
    "oci:hardlink",
    "oci:symlinked-parent",
    "oci:devices",
    "oci:sparse",
    "oci:two-tags:first",
    "oci:two-tags:second",
    "docker-archive:docker-save.tar",
];

/// A line of `fixtures/bytes.tsv`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    output_format: String,
    fixture: String,
    engine: String,
    /// The version of e2fsprogs, or `-` for the direct engine.
    e2fsprogs: String,
    digest: String,
}

impl Row {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [output_format, fixture, engine, e2fsprogs, digest] = fields[..].try_into().unwrap();
        let [output_format, fixture, engine, e2fsprogs, digest] =
            [output_format, fixture, engine, e2fsprogs, digest].map(str::to_owned);
        Self { output_format, fixture, engine, e2fsprogs, digest }
    }

    fn text(&self) -> String {
        let Self { output_format, fixture, engine, e2fsprogs, digest } = self;
        format!("{output_format}\t{fixture}\t{engine}\t{e2fsprogs}\t{digest}\n")
    }
}

fn built(bench: &Bench, fixture: &str, engine: &str) -> Row {
    let (transport, rest) = fixture.split_once(':').unwrap();
    let (name, tag) = rest.split_once(':').map_or((rest, String::new()), |(name, tag)| (name, format!(":{tag}")));
    let source = format!("{transport}:{}{tag}", bench.fixture(name).display());
    let more = ["--engine", engine, "--free", "1M", "--verify=none"];
    let output = bench.build(&source, "out.ext4", &[&["--force", "--json"], &more[..]].concat());
    succeeded(&output);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = key(bench, &source, &more[..4]);
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    Row {
        output_format: text(line(&found, "output-format")),
        fixture: fixture.into(),
        engine: engine.into(),
        e2fsprogs: text(line(&found, "mkfs.ext4")),
        digest: text(report["filesystem"]["digest"].as_str()),
    }
}

/// A digest may change here only together with `OUTPUT_FORMAT` of `src/plan/key.rs`: caches of other machines have
/// filesystems under the keys of the old bytes.
#[test]
fn bytes_change_only_with_the_output_format() {
    let bench = Bench::new();
    let committed = std::fs::read_to_string(fixtures().join("bytes.tsv")).unwrap();
    let known: Vec<Row> = committed.lines().filter(|line| !line.starts_with('#')).map(Row::parse).collect();
    let engines = ["e2fsprogs", "direct"];
    let rows = FIXTURES.iter().flat_map(|fixture| engines.map(|engine| built(&bench, fixture, engine)));
    let found: BTreeSet<Row> = rows.collect();
    let mut wrong = Vec::new();
    for row in &found {
        let same = |known: &&Row| known.fixture == row.fixture && known.engine == row.engine;
        let of_engine: Vec<&Row> = known.iter().filter(same).collect();
        match of_engine.iter().find(|known| known.e2fsprogs == row.e2fsprogs) {
            Some(known) if *known == row => {}
            Some(known) => wrong.push(format!("{}is now\n{}", known.text(), row.text())),
            None if of_engine.is_empty() => wrong.push(format!("{}is new", row.text())),
            None => println!("NOT COMPARED, no row has this e2fsprogs: {}", row.text()),
        }
    }
    let all: String = found.iter().map(Row::text).collect();
    assert!(
        wrong.is_empty(),
        "{}\nthe bytes of these filesystems changed: raise OUTPUT_FORMAT in src/plan/key.rs, and write these rows into \
         fixtures/bytes.tsv:\n{all}",
        wrong.join("\n")
    );
}
