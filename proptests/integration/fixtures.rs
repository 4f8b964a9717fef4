//! Every fixture, built by the real binary as an ordinary user, equals its hand-written listing.

use std::process::Stdio;

use crate::support::{Bench, equal, failed, listing, read_clean, stderr, succeeded};

#[track_caller]
fn equals(source: &str, expected: &str, bench: &Bench) {
    let output = bench.at("out.ext4");
    succeeded(&bench.build(source, "out.ext4", &["--force"]));
    equal(&listing(expected), &read_clean(&output));
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn layouts_equal_their_listings() {
    let bench = Bench::new();
    for name in ["layered", "whiteout", "opaque", "hardlink", "symlinked-parent", "devices", "sparse"] {
        let layout = bench.fixture(name);
        equals(&format!("oci:{}", layout.display()), &format!("{name}.listing"), &bench);
        equals(&format!("oci:{}:latest", layout.display()), &format!("{name}.listing"), &bench);
    }
}

#[test]
fn a_tag_selects_an_image_and_a_missing_tag_lists_all() {
    let bench = Bench::new();
    let layout = bench.fixture("two-tags");
    for tag in ["first", "second"] {
        equals(&format!("oci:{}:{tag}", layout.display()), &format!("two-tags.{tag}.listing"), &bench);
    }
    let without = bench.build(&format!("oci:{}", layout.display()), "none.ext4", &[]);
    assert!(failed(&without, 5).ends_with("holds several images, name one: first, second"));
    let missing = bench.build(&format!("oci:{}:third", layout.display()), "none.ext4", &[]);
    assert!(failed(&missing, 5).ends_with("has no image named third; it has: first, second"), "{}", stderr(&missing));
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn archives_equal_their_listings_from_a_file_and_from_standard_input() {
    let bench = Bench::new();
    let docker = bench.fixture("docker-save.tar");
    let oci = bench.fixture("oci.tar");
    equals(&format!("docker-archive:{}", docker.display()), "docker-save.listing", &bench);
    let reference = format!("docker-archive:{}:planish/repeated:latest", docker.display());
    equals(&reference, "docker-save.listing", &bench);
    equals(&format!("oci-archive:{}", oci.display()), "oci.listing", &bench);
    for (file, expected) in [(docker, "docker-save.listing"), (oci, "oci.listing")] {
        let output = bench
            .planish()
            .args(["build", "-", "--output", "stdin.ext4", "--force", "--platform", "linux/amd64"])
            .stdin(std::fs::File::open(&file).unwrap())
            .stdout(Stdio::null())
            .output()
            .unwrap();
        succeeded(&output);
        equal(&listing(expected), &read_clean(&bench.at("stdin.ext4")));
    }
}

#[test]
fn archives_may_be_compressed_as_a_whole() {
    let bench = Bench::new();
    let plain = std::fs::read(bench.fixture("docker-save.tar")).unwrap();
    let gzip = bench.readable("docker.tar.gz", &compress::gzip(&plain));
    let zstd = bench.readable("docker.tar.zst", &compress::zstd(&plain));
    for file in [gzip, zstd] {
        equals(&format!("docker-archive:{}", file.display()), "docker-save.listing", &bench);
    }
}

#[test]
fn an_image_gives_equal_bytes_from_every_source_and_directory() {
    let bench = Bench::new();
    let file = bench.fixture("docker-save.tar");
    let archive = format!("oci-archive:{}", bench.fixture("oci.tar").display());
    let docker = format!("docker-archive:{}", file.display());
    std::fs::create_dir(bench.at("work")).unwrap();
    bench.give(&bench.at("work"));
    succeeded(&bench.build(&archive, "a", &[]));
    succeeded(&bench.build(&docker, "b", &["--work-dir", "work", "--jobs", "1"]));
    assert!(std::fs::read(bench.at("a")).unwrap() == std::fs::read(bench.at("b")).unwrap());
}

#[test]
fn the_report_describes_the_built_and_verified_filesystem() {
    let bench = Bench::new();
    let layout = bench.fixture("layered");
    let output = bench.build(&format!("oci:{}", layout.display()), "out.ext4", &["--json", "--free", "0"]);
    succeeded(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = listing("layered.listing");
    let names = expected.len() as u64 - 1;
    assert_eq!(report["tree"]["names"], names);
    assert_eq!(report["verified"]["names"], names);
    assert_eq!(report["verified"]["inodes"], report["tree"]["inodes"]);
    assert_eq!(report["layers"].as_array().unwrap().len(), 4);
    assert_eq!(report["platform"], "linux/amd64");
    let file = bench.at("out.ext4").metadata().unwrap();
    assert_eq!(report["filesystem"]["bytes"], file.len());
    let seconds = report["seconds"].as_array().unwrap();
    let stages: Vec<_> = seconds.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    let expected = ["open", "layers", "plan", "stage", "mkfs", "debugfs", "verify", "fsck", "digest", "publish"];
    assert_eq!(stages, expected);
    let summary = stderr(&output);
    assert!(summary.contains("43 inodes, 44 names, 3 xattrs and 227 B equal the image; e2fsck -fn found nothing"));
}

#[test]
fn the_plan_equals_the_build() {
    let bench = Bench::new();
    for (name, free) in [("layered", "0"), ("layered", "20%"), ("sparse", "3M"), ("devices", "256M")] {
        let source = format!("oci:{}", bench.fixture(name).display());
        let shape = ["--free", free, "--json"];
        let mut command = bench.planish();
        let planned = command.args(["plan", &source, "--platform", "linux/amd64"]).args(shape).output().unwrap();
        succeeded(&planned);
        assert_eq!(bench.left(), [""; 0], "a plan writes nothing");
        let built = bench.build(&source, "out.ext4", &shape);
        succeeded(&built);
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let (planned, built) = (json(&planned.stdout), json(&built.stdout));
        for field in ["bytes", "free_bytes", "inodes", "free_inodes", "journal_bytes", "uuid", "clock"] {
            assert_eq!(planned[field], built["filesystem"][field], "{name} {free} {field}");
        }
        assert_eq!(planned["tree"], built["tree"]);
    }
}

mod compress {
    use std::io::Write;

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    pub fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }
}
