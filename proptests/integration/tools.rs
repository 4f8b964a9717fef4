//! Images written by other tools, and umoci, which unpacks as strictly as planish builds.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use planish_proptests::listing::Listing;
use planish_proptests::writer::{Entry, Image, Layer};

use crate::support::process::{command, publish, run};
use crate::support::{Bench, equal, failed, generated, read_clean, succeeded};

/// Writes an image of the harness as a world-readable layout.
fn layout(bench: &Bench, name: &str, image: &Image) -> PathBuf {
    let layout = bench.shared(name);
    image.write_layout(&layout, "latest").unwrap();
    layout
}

/// Copies an image with skopeo, and returns its new source as planish spells it.
fn skopeo(bench: &Bench, options: &str, from: &str, transport: &str, name: &str) -> String {
    let at = bench.shared(name);
    let to = match transport {
        "docker-archive" => format!("{transport}:{}:planish/test:latest", at.display()),
        _ => format!("{transport}:{}:latest", at.display()),
    };
    run(command("skopeo copy -q --insecure-policy").args(options.split_whitespace()).args([from, &to]));
    publish(&at);
    to
}

/// Builds an image and returns its file.
#[track_caller]
fn built(bench: &Bench, source: &str, output: &str) -> PathBuf {
    succeeded(&bench.build(source, output, &["--force"]));
    bench.at(output)
}

#[track_caller]
fn same_bytes(one: &Path, other: &Path) {
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{} differs", other.display());
}

/// The media types of the layers in a layout of one image.
fn layer_types(layout: &Path) -> Vec<String> {
    let json = |path: PathBuf| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap();
    let index = json(layout.join("index.json"));
    assert_eq!(index.get("mediaType"), None, "skopeo leaves it out");
    let digest = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let manifest = json(layout.join("blobs/sha256").join(digest));
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
}

/// Every form in which skopeo stores an image gives the same bytes as the original.
fn copies_agree(bench: &Bench, from: &Path, forms: &[(&str, &str, &str)]) {
    let from = format!("oci:{}:latest", from.display());
    let expected = built(bench, &from, "expected");
    for (options, transport, name) in forms {
        let copy = skopeo(bench, options, &from, transport, name);
        same_bytes(&expected, &built(bench, &copy, "copied"));
    }
}

#[test]
#[ignore = "needs skopeo"]
fn images_copied_by_skopeo_give_equal_bytes() {
    let bench = Bench::new();
    let oci = [("", "oci", "l"), ("", "oci-archive", "l.tar")];
    copies_agree(&bench, &bench.fixture("layered"), &oci);
    assert_eq!(layer_types(&bench.shared("l")).len(), 4);
    let generated = layout(&bench, "generated", &generated::image());
    copies_agree(
        &bench,
        &generated,
        &[("", "oci", "g"), ("", "oci-archive", "g.tar"), ("", "docker-archive", "g.docker")],
    );
    copies_agree(&bench, &bench.fixture("hardlink"), &[("", "docker-archive", "h.docker")]);
}

#[test]
#[ignore = "needs skopeo"]
fn images_recompressed_by_skopeo_give_equal_bytes() {
    let bench = Bench::new();
    let generated = layout(&bench, "generated", &generated::image());
    let zstd = "--dest-compress --dest-compress-format zstd";
    copies_agree(&bench, &generated, &[(zstd, "oci", "zstd")]);
    assert_eq!(layer_types(&bench.shared("zstd")), ["application/vnd.oci.image.layer.v1.tar+zstd"; 3]);
}

#[test]
#[ignore = "needs skopeo"]
fn an_image_is_read_from_a_pipe_of_skopeo() {
    let bench = Bench::new();
    let generated = layout(&bench, "generated", &generated::image());
    let from = format!("oci:{}:latest", generated.display());
    let expected = built(&bench, &from, "expected");
    let mut sender = command("skopeo copy -q --insecure-policy")
        .args([&from, "docker-archive:/dev/stdout:planish/test:latest"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = bench
        .planish()
        .args(["build", "-", "--output", "piped", "--platform", "linux/amd64"])
        .stdin(sender.stdout.take().unwrap())
        .output()
        .unwrap();
    succeeded(&output);
    assert!(sender.wait().unwrap().success());
    same_bytes(&expected, &bench.at("piped"));
}

/// Makes a layout with umoci; each image has a tag and a list of layers.
fn umoci(bench: &Bench, name: &str, images: &[(&str, &[Layer])]) -> PathBuf {
    let layout = bench.shared(name);
    run(command("umoci init --layout").arg(&layout));
    for (tag, layers) in images {
        let image = format!("{}:{tag}", layout.display());
        run(command("umoci new --image").arg(&image));
        for layer in *layers {
            let tar = bench.readable("layer.tar", &layer.tar());
            run(command("umoci raw add-layer --image").arg(&image).arg(tar));
        }
        run(command("umoci config --config.cmd sh --image").arg(&image));
    }
    publish(&layout);
    layout
}

#[test]
#[ignore = "needs umoci"]
fn a_layout_of_umoci_with_several_tags_is_built_by_tag() {
    let bench = Bench::new();
    let lower = Layer::new([Entry::dir("d").mtime(1, 0), Entry::file("d/a", "a").mtime(2, 0), Entry::file("b", "b")]);
    let upper = Layer::new([Entry::dir("d").mtime(3, 0), Entry::whiteout("d/.wh.a"), Entry::hardlink("d/c", "b")]);
    let layout = umoci(&bench, "tags", &[("v1", std::slice::from_ref(&lower)), ("v2.0-rc_1", &[lower.clone(), upper])]);
    let source = format!("oci:{}", layout.display());
    let without = failed(&bench.build(&source, "out", &[]), 5);
    assert!(without.ends_with("holds several images, name one: v1, v2.0-rc_1"), "{without}");
    for (tag, names) in [("v1", "/\n/b\n/d\n/d/a"), ("v2.0-rc_1", "/\n/b\n/d\n/d/c")] {
        let found = read_clean(&built(&bench, &format!("{source}:{tag}"), "out"));
        let paths: Vec<_> = found.iter().map(|(path, _)| String::from_utf8_lossy(path)).collect();
        assert_eq!(paths.join("\n"), names);
        assert_eq!(found.names(b"/b").len(), if tag == "v1" { 1 } else { 2 });
    }
}

#[test]
#[ignore = "needs root and umoci"]
fn umoci_unpacks_the_tree_that_planish_builds() {
    let bench = Bench::new();
    let layout = umoci(&bench, "generated", &[("latest", &generated::image().layers)]);
    let found = read_clean(&built(&bench, &format!("oci:{}", layout.display()), "out"));
    let bundle = bench.shared("bundle");
    run(command("umoci unpack --image").arg(format!("{}:latest", layout.display())).arg(&bundle));
    equal(&Listing::read_directory(&bundle.join("rootfs")).unwrap(), &found);
    assert!(found.len() > 500, "{}", found.len());
}

/// Runs buildah with its storage in this test's directory.
fn buildah(bench: &Bench, words: &str) -> String {
    let at = bench.shared("storage");
    let storage = format!("--storage-driver vfs --root {0}/store --runroot {0}/run", at.display());
    run(&mut command(&format!("buildah {storage} {words}"))).trim().to_owned()
}

/// Commits a container's changes as a layer and returns the root directory of a container of the new image.
fn committed(bench: &Bench, container: &str, image: &str) -> (String, PathBuf) {
    buildah(bench, &format!("commit -q {container} {image}"));
    let container = buildah(bench, &format!("from {image}"));
    let files = buildah(bench, &format!("mount {container}"));
    (container, files.into())
}

#[test]
#[ignore = "needs root, buildah and setcap"]
fn a_buildah_commit_equals_the_tree_of_its_container() {
    let bench = Bench::new();
    let container = buildah(&bench, "from scratch");
    let files = PathBuf::from(buildah(&bench, &format!("mount {container}")));
    let make = "mkdir -p etc old usr/bin; echo a > etc/a; ln etc/a usr/bin/b; chown 5:6 etc/a; chmod 4755 etc/a
        cp etc/a usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping; echo gone > old/gone; echo gone > etc/gone";
    run(command("sh -ec").arg(make).current_dir(&files));
    let (container, files) = committed(&bench, &container, "lower");
    let change = "rm -r old etc/gone usr/bin/b; ln -s etc old; mkdir etc/gone; mkfifo etc/gone/fifo; chmod 750 usr/bin";
    run(command("sh -ec").arg(change).current_dir(&files));
    let (_, files) = committed(&bench, &container, "upper");
    let mut expected = Listing::read_directory(&files).unwrap();
    for (format, transport, name) in [("oci", "oci", "l"), ("oci", "oci-archive", "a"), ("v2s2", "docker-archive", "d")]
    {
        let at = bench.shared(name);
        let to = format!("{transport}:{}:upper:latest", at.display());
        let to = if format == "oci" { to.replace(":upper", "") } else { to };
        buildah(&bench, &format!("push -q --format {format} upper {to}"));
        publish(&at);
        let found = read_clean(&built(&bench, &to, "out"));
        // buildah's layers have no entry for the root.
        expected.insert("/", found.get(b"/").unwrap().clone());
        equal(&expected, &found);
    }
    assert_eq!(layer_types(&bench.shared("l")).len(), 2);
    let capability = &expected.get(b"/usr/bin/ping").unwrap().xattrs;
    assert_eq!(capability.keys().collect::<Vec<_>>(), [b"security.capability"]);
}
