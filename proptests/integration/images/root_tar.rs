//! A root filesystem in a tar file is an image of one layer.

use std::fs::File;

use planish_proptests::writer::{Compression, Entry, Image, Layer, Platform};

use crate::support::{Bench, equal, failed, read_clean, stderr, succeeded};

fn layer() -> Layer {
    Layer::new([
        Entry::dir("./").mode(0o711),
        Entry::dir("./etc/").owner(1, 2),
        Entry::file("./etc/passwd", "root:x:0:0::/:/bin/sh\n").xattr("user.a", "b"),
        Entry::hardlink("./etc/other", "./etc/passwd"),
        Entry::symlink("./bin", "usr/bin"),
        Entry::char_device("./null", 1, 3),
    ])
}

#[test]
fn a_root_filesystem_is_the_same_plain_compressed_and_through_a_pipe() {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    Image::new([layer()]).platform(Platform::new("linux", "amd64")).write_layout(&layout, "latest").unwrap();
    succeeded(&bench.build(&format!("oci:{}", layout.display()), "expected", &[]));
    let plain = bench.readable("root.tar", &layer().tar());
    succeeded(&bench.build(&format!("tar:{}", plain.display()), "plain", &[]));
    equal(&read_clean(&bench.at("expected")), &read_clean(&bench.at("plain")));
    let bytes = std::fs::read(bench.at("plain")).unwrap();
    for (name, compression) in [("root.tgz", Compression::Gzip), ("root.tar.zst", Compression::Zstd)] {
        let file = bench.readable(name, &layer().compression(compression).blob());
        succeeded(&bench.build(&format!("tar:{}", file.display()), "compressed", &["--force"]));
        assert!(bytes == std::fs::read(bench.at("compressed")).unwrap(), "{name}");
        let mut piped = bench.planish();
        piped.args(["build", "tar:-", "-o", "piped", "--force", "--platform", "linux/amd64"]);
        succeeded(&piped.stdin(File::open(&file).unwrap()).output().unwrap());
        assert!(bytes == std::fs::read(bench.at("piped")).unwrap(), "{name}");
    }
    let source = format!("tar:{}", plain.display());
    let verified = bench.planish().args(["verify", &source, "plain", "--platform", "linux/amd64"]).output().unwrap();
    succeeded(&verified);
}

#[test]
fn what_is_no_root_filesystem_is_refused() {
    let bench = Bench::new();
    let cut = bench.readable("cut.tar", &layer().tar()[..700]);
    let error = failed(&bench.build(&format!("tar:{}", cut.display()), "out", &[]), 5);
    assert!(error.starts_with("layer 1 of 1 (sha256:"), "{error}");
    let empty = bench.readable("empty.tar", b"");
    let error = failed(&bench.build(&format!("tar:{}", empty.display()), "out", &[]), 5);
    assert_eq!(error, format!("tar:{} is empty", empty.display()));
    assert_eq!(failed(&bench.build("tar:", "out", &[]), 2), "tar: names no path");
    // Without the transport it might be an image, and is none.
    let plain = bench.readable("root.tar", &layer().tar());
    let output = bench.build(plain.to_str().unwrap(), "out", &[]);
    assert!(failed(&output, 5).contains("is neither an OCI layout nor a docker archive"));
    assert!(stderr(&output).contains("hint: tar:FILE reads a root filesystem"), "{}", stderr(&output));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn an_image_without_layers_is_an_empty_root() {
    let bench = Bench::new();
    let layout = bench.shared("scratch");
    Image::new([]).platform(Platform::new("linux", "amd64")).write_layout(&layout, "latest").unwrap();
    succeeded(&bench.build(&format!("oci:{}", layout.display()), "out", &[]));
    let listing = read_clean(&bench.at("out"));
    assert_eq!(listing.iter().map(|(path, _)| path).filter(|path| *path != b"/lost+found").collect::<Vec<_>>(), [b"/"]);
}
