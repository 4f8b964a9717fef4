//! Finished filesystems as other clients see them: oras pulls the same bytes, and skopeo shows what they are.

use std::process::Command;

use serde_json::Value;

use super::fleet::wire::Wire;
use super::written::{CHUNK, TYPE, digest};
use crate::support::process::{command, publish, run};
use crate::support::{Bench, succeeded};

/// The variable that names a Python with the package oras.
const PYTHON: &str = "PLANISH_ORAS_PYTHON";

/// Pulls all blobs of an artifact into a directory, by their digests.
const PULL: &str = "import sys, oras.client
client = oras.client.OrasClient(insecure=True)
for path in client.pull(target=sys.argv[1], outdir=sys.argv[2]):
    print(path)
";

#[test]
#[ignore = "needs docker-registry, skopeo, and oras of PyPI in the Python that PLANISH_ORAS_PYTHON names"]
fn oras_pulls_what_planish_pulls() {
    let Some(python) = std::env::var_os(PYTHON) else {
        eprintln!("NOT TESTED: {PYTHON} names no Python with oras");
        return;
    };
    let bench = Bench::new();
    let wire = Wire::new(&bench);
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "out.ext4", &["--report", "out.json"]));
    let reference = format!("{}/team/fs:1.2", wire.images());
    let planish = |words: &str| {
        let mut command = bench.planish();
        command.env("HOME", bench.home()).args(words.split(' '));
        succeeded(&command.output().unwrap());
    };
    planish(&format!("push out.ext4 {reference} --report out.json"));
    planish(&format!("pull {reference} -o back.ext4 --report back.json"));

    let inspect = |words: &str| -> Value {
        let shown = run(command(words).args(["--tls-verify=false", &format!("docker://{reference}")]));
        serde_json::from_str(&shown).unwrap()
    };
    let manifest = inspect("skopeo inspect --raw");
    assert_eq!(manifest["artifactType"], TYPE);
    let layers = manifest["layers"].as_array().unwrap();
    let blobs: Vec<&str> = layers.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();

    let pulled = bench.shared("pulled");
    run(Command::new(&python).args(["-c", PULL, &reference]).arg(&pulled).env("HOME", bench.home()));
    publish(&pulled);
    let mut names: Vec<String> =
        pulled.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = blobs.clone();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let back = std::fs::read(bench.at("back.ext4")).unwrap();
    assert!(back == std::fs::read(bench.at("out.ext4")).unwrap());
    let mut whole = vec![0; back.len()];
    for (layer, name) in layers.iter().zip(blobs) {
        let blob = std::fs::read(pulled.join(name)).unwrap();
        assert_eq!((&*digest(&blob), blob.len() as u64), (name, layer["size"].as_u64().unwrap()));
        match layer["annotations"]["planish.chunk.number"].as_str() {
            None => assert!(blob == std::fs::read(bench.at("back.json")).unwrap()),
            Some(number) => {
                let at = number.parse::<usize>().unwrap() * CHUNK;
                let chunk = zstd::bulk::decompress(&blob, CHUNK).unwrap();
                whole[at..at + chunk.len()].copy_from_slice(&chunk);
            }
        }
    }
    assert!(whole == back);
}
