//! Sources in the forms that users type and paste.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use planish_proptests::writer::{Entry, Layer};
use serde_json::{Value, json};

use crate::images::files::{Files, REF_NAME, annotated, config, layer};
use crate::images::{refused, taken, taken_of};
use crate::support::{Bench, failed, stderr, succeeded};

/// A layout at `layout`, its archive at `oci.tar`, a docker archive at `docker.tar`, and the config of the first two.
fn forms(bench: &Bench) -> (String, String) {
    let mut files = Files::default();
    let (image, digest) = files.plain("amd64", "image");
    files.index(&[annotated(image, REF_NAME, "t")]);
    files.write(&bench.shared("layout"));
    bench.readable("oci.tar", &files.tar());
    let layer = layer("image");
    let docker = Layer::new([
        Entry::file("c.json", config("amd64", &[&layer]).to_string()),
        Entry::file("l.tar", layer.clone()),
        Entry::file(
            "manifest.json",
            json!([{"Config": "c.json", "RepoTags": ["a:t"], "Layers": ["l.tar"]}]).to_string(),
        ),
    ]);
    bench.readable("docker.tar", &docker.tar());
    (bench.shared("").to_str().unwrap().trim_end_matches('/').to_owned(), digest)
}

#[test]
fn a_path_without_a_transport_is_recognized_by_content() {
    let bench = Bench::new();
    let (base, digest) = forms(&bench);
    for source in ["layout", "layout:t", "./layout", "oci.tar", "oci.tar:t", "docker.tar", "docker.tar:a:t"] {
        assert_eq!(taken(&bench, &format!("{base}/{source}"), &[]).config, digest, "{source}");
    }
    let here = |source: &str| {
        let mut command = bench.planish();
        command.args(["plan", "--json", source, "--platform", "linux/amd64", "--offline", "--cache-dir", "cache"]);
        command.current_dir(bench.shared("")).output().unwrap()
    };
    for source in ["./layout", "./layout:t", "oci.tar", "oci.tar:t", "./docker.tar:a:t"] {
        let output = here(source);
        succeeded(&output);
        assert_eq!(taken_of(&output.stdout).config, digest, "{source}");
    }
    let output = here("layout:t");
    assert_eq!(failed(&output, 2), "layout:t is a reference, and the name of an OCI layout here");
    assert!(stderr(&output).contains("hint: oci:layout:t is the one here, docker://layout:t the registry's"));
    // A directory that is not a layout is not an image, so the argument is a registry reference.
    std::fs::create_dir(bench.shared("debian")).unwrap();
    let output = here("debian");
    assert_ne!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_wrong_transport_gets_the_right_one_as_a_hint() {
    let bench = Bench::new();
    let (base, _) = forms(&bench);
    let table = [
        ("oci:", "oci.tar", "", "is an archive of an OCI layout", "oci-archive:"),
        ("oci:", "oci.tar", ":t", "is an archive of an OCI layout", "oci-archive:"),
        ("oci:", "docker.tar", ":a:t", "is an archive of docker", "docker-archive:"),
        ("oci-archive:", "layout", ":t", "is the directory of an OCI layout, not an archive", "oci:"),
        ("docker-archive:", "layout", "", "is the directory of an OCI layout, not an archive", "oci:"),
        ("oci-archive:", "docker.tar", ":a:t", "is an archive of docker", "docker-archive:"),
        ("docker-archive:", "oci.tar", ":t", "is an archive of an OCI layout", "oci-archive:"),
    ];
    for (wrong, path, name, is, right) in table {
        let (error, hint) = refused(&bench, &format!("{wrong}{base}/{path}{name}"), 5);
        assert_eq!(error, format!("{wrong}/{path}{name} {is}"));
        assert_eq!(hint.unwrap(), format!("did you mean {right}/{path}{name}?"));
    }
    let gzip = {
        let bytes = std::fs::read(bench.shared("oci.tar")).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &bytes).unwrap();
        encoder.finish().unwrap()
    };
    bench.readable("oci.tar.gz", &gzip);
    let (_, hint) = refused(&bench, &format!("oci:{base}/oci.tar.gz"), 5);
    assert_eq!(hint.unwrap(), "did you mean oci-archive:/oci.tar.gz?");
}

#[test]
fn other_directories_are_refused_by_kind() {
    let bench = Bench::new();
    let (base, _) = forms(&bench);
    let directory = |name: &str, files: &[(&str, Value)]| {
        std::fs::create_dir(bench.shared(name)).unwrap();
        for (file, content) in files {
            std::fs::write(bench.shared(name).join(file), content.to_string()).unwrap();
        }
        format!("oci:{base}/{name}")
    };
    let empty = directory("none", &[]);
    assert_eq!(refused(&bench, &empty, 5).0, "oci:/none is no OCI layout: it holds no index.json");
    let skopeo = directory("dir", &[("manifest.json", json!({})), ("version", json!("x"))]);
    let (error, hint) = refused(&bench, &skopeo, 5);
    assert_eq!(error, "oci:/dir is a directory as skopeo's transport dir writes it, not an OCI layout");
    assert!(hint.unwrap().starts_with("skopeo copy dir:"));
    let unpacked = directory("unpacked", &[("manifest.json", json!([]))]);
    let (error, hint) = refused(&bench, &unpacked, 5);
    assert_eq!(error, "oci:/unpacked is an archive of docker that was unpacked, not an OCI layout");
    assert!(hint.unwrap().ends_with("tar -C DIR -c . | planish build -"));
    bench.readable("text", b"hello");
    let (error, hint) = refused(&bench, &format!("oci:{base}/text"), 5);
    assert_eq!(error, "oci:/text is a file, and an OCI layout is a directory");
    assert!(hint.unwrap().starts_with("oci-archive:FILE reads a layout in an archive"));
}

#[test]
fn pasted_urls_and_commands_get_the_source_as_a_hint() {
    let bench = Bench::new();
    let digits = "0".repeat(64);
    let table = [
        ("docker://127.0.0.1:9/Team/App:V1", "did you mean docker://127.0.0.1:9/team/app:V1?"),
        ("127.0.0.1:9/Team/App", "did you mean docker://127.0.0.1:9/team/app?"),
        ("https://127.0.0.1:9/team/app:1", "did you mean docker://127.0.0.1:9/team/app:1?"),
        ("docker:/team/app", "did you mean docker://team/app?"),
        ("oci://127.0.0.1:9/team/app:1", "did you mean docker://127.0.0.1:9/team/app:1?"),
        ("file:///no/such.tar", "did you mean /no/such.tar?"),
        (r"C:\images\x.tar", "under WSL it is /mnt/c/images/x.tar"),
        ("docker-daemon:debian:12", "docker save debian:12 | planish build -"),
        ("containers-storage:localhost/a", "podman save localhost/a | planish build -"),
        ("dir:/x", "skopeo copy dir:/x oci:LAYOUT:latest makes a layout of it"),
    ];
    for (source, hint) in table {
        assert_eq!(refused(&bench, source, 2).1.unwrap(), hint, "{source}");
    }
    let (error, _) = refused(&bench, "docker://Team/App", 2);
    assert_eq!(error, "docker://Team/App is not a reference: the names in it are not all in lower case");
    let (error, _) = refused(&bench, "docker://a@sha256:00", 2);
    assert!(error.contains("its digest is not sha256: and 64 digits"), "{error}");
    for reference in [
        format!("127.0.0.1:9/team/app:1.2@sha256:{digits}"),
        format!("docker://127.0.0.1:9/team/app@sha256:{digits}"),
        "localhost:9/app:1".into(),
        "docker:dind".into(),
    ] {
        let output = crate::images::plan(&bench, &reference, &["--offline", "--cache-dir", "cache"]);
        assert!(!matches!(output.status.code(), Some(0 | 2 | 70) | None), "{reference}: {}", stderr(&output));
    }
}

#[test]
fn a_path_may_have_any_bytes() {
    let bench = Bench::new();
    let (base, digest) = forms(&bench);
    std::fs::rename(bench.shared("layout"), bench.shared("a:b")).unwrap();
    for source in [format!("oci:{base}/a:b:t"), format!("oci:{base}/a:b"), format!("{base}/a:b:t")] {
        assert_eq!(taken(&bench, &source, &[]).config, digest);
    }
    let odd = Path::new(&base).join(OsStr::from_bytes(b"\xff\x1b[31m"));
    std::fs::rename(bench.shared("a:b"), &odd).unwrap();
    for (before, after) in [("oci:", ""), ("oci:", ":t"), ("", ":t")] {
        let source = [before.as_bytes(), odd.as_os_str().as_bytes(), after.as_bytes()].concat();
        let mut command = bench.planish();
        command.args(["plan", "--json"]).arg(OsStr::from_bytes(&source)).args(["--platform", "linux/amd64"]);
        let output = command.output().unwrap();
        succeeded(&output);
        assert_eq!(taken_of(&output.stdout).config, digest);
    }
    let wrong = [b"oci-archive:", odd.as_os_str().as_bytes()].concat();
    let output = bench.planish().arg("plan").arg(OsStr::from_bytes(&wrong)).output().unwrap();
    failed(&output, 5);
}
