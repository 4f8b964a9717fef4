use crate::image::LayerData;
use std::fs::OpenOptions as FileOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;
use tempfile::TempDir;

use super::sample::{Files, config, digest, open_within, outcome};
use crate::cancel::Cancel;
use crate::error::Signal;
use crate::error::{ErrorKind, Fault};
use crate::image::{ImageReference, OpenImage, OpenOptions};
use crate::limits::Limits;
use crate::tar::build::{Member, Stream};
use crate::work::Scratch;

/// Returns a docker archive of two images, `a:1` and `b:latest`, that share their first layer, in docker's form before
/// version 25: one layer is a link to the other.
fn before_25() -> Stream {
    let mut files = Files::default();
    let configs = [config("linux/amd64", &[b"one"]), config("linux/amd64", &[b"one", b"two"])];
    let items: Vec<_> = configs
        .iter()
        .zip([("a:1", vec!["1/layer.tar"]), ("b:latest", vec!["./1b/layer.tar", "2/layer.tar"])])
        .map(|(config, (tag, layers))| {
            let name = format!("{}.json", digest(config.to_string().as_bytes()).hex());
            files.0.insert(name.clone(), config.to_string().into());
            json!({"Config": name, "RepoTags": [tag], "Layers": layers})
        })
        .collect();
    files.0.insert("1/layer.tar".into(), b"one".to_vec());
    files.0.insert("2/layer.tar".into(), b"two".to_vec());
    files.0.insert("manifest.json".into(), json!(items).to_string().into());
    files.tar().member(Member::new(b'2', b"1b/layer.tar").link(b"../1/layer.tar"))
}

/// Returns an archive that is a layout, and also a docker archive if `docker`: the form since docker 25.
fn since_25(docker: bool) -> Stream {
    let mut files = Files::default();
    let manifest = files.manifest("linux/amd64", b"layer");
    let config = digest(config("linux/amd64", &[b"layer"]).to_string().as_bytes());
    if docker {
        let paths = [config, digest(b"layer")].map(|digest| format!("blobs/sha256/{}", digest.hex()));
        let item = json!([{"Config": paths[0], "RepoTags": null, "Layers": [paths[1]]}]);
        files.0.insert("manifest.json".into(), item.to_string().into());
    }
    files.index(&[manifest]).tar()
}

fn open(directory: &TempDir, name: &ImageReference, limits: &Limits) -> Result<OpenImage, String> {
    outcome(open_within(name, limits, directory.path()), directory.path())
}

fn docker(stream: &[u8], image: Option<&str>) -> Result<OpenImage, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.tar");
    std::fs::write(&file, stream).unwrap();
    open(&directory, &ImageReference::DockerArchive { file, image: image.map(Into::into) }, &Limits::default())
}

fn texts(image: &OpenImage) -> Vec<String> {
    let read = |layer: &crate::image::LayerBlob| {
        let mut text = String::new();
        let LayerData::Local(data) = &layer.data else { panic!("an archive's layers are here") };
        data.reader().read_to_string(&mut text).unwrap();
        text
    };
    image.layers.iter().map(read).collect()
}

#[test]
fn docker_archives_of_all_versions_are_read() {
    let old = before_25().end();
    assert_eq!(texts(&docker(&old, Some("a:1")).unwrap()), ["one"]);
    let image = docker(&old, Some("docker.io/library/b")).unwrap();
    assert_eq!(texts(&image), ["one", "two"]);
    assert_eq!((image.manifest_digest, image.layers[0].digest.clone()), (None, None));
    assert_eq!(image.layers[0].place.digest, digest(b"one"), "the diff ID stands in");
    assert_eq!(image.config_digest, digest(config("linux/amd64", &[b"one", b"two"]).to_string().as_bytes()));
    let image = docker(&since_25(true).end(), None).unwrap();
    assert_eq!((texts(&image), image.layers[0].digest.clone()), (vec!["layer".into()], Some(digest(b"layer"))));
}

#[test]
fn a_layout_with_an_empty_docker_manifest_is_a_layout() {
    for list in ["[]", "null", " [ ]\n"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.tar");
        std::fs::write(&file, since_25(false).file(b"manifest.json", list.as_bytes()).end()).unwrap();
        let image = open(&directory, &ImageReference::Archive { file, image: None }, &Limits::default()).unwrap();
        assert_eq!((texts(&image), image.manifest_digest.is_some()), (vec!["layer".into()], true), "{list:?}");
    }
}

#[test]
fn damaged_docker_archives_are_refused() {
    let several = "docker-archive:BASE/x.tar holds several images, name one: a:1, b:latest";
    assert_eq!(docker(&before_25().end(), None).unwrap_err(), several);
    let text = docker(&before_25().end(), Some("c")).unwrap_err();
    assert_eq!(text, "docker-archive:BASE/x.tar:c has no image named c; it has: a:1, b:latest");
    let with = |manifest: &str, more: Stream| {
        docker(&more.file(b"manifest.json", manifest.as_bytes()).end(), None).unwrap_err()
    };
    let config = config("linux/amd64", &[b"one"]).to_string();
    let config_at = |name: &str| Stream::new().file(name.as_bytes(), config.as_bytes());
    let other = format!("{}.json", "00".repeat(32));
    let table = [
        (
            with("{}", Stream::new()),
            "x.tar: manifest.json is not valid JSON of its kind: it is not a list of objects".into(),
        ),
        (with("[]", Stream::new()), "x.tar holds no image".to_owned()),
        (with(r#"[{"Config":"c"}]"#, Stream::new()), "x.tar: c does not exist in it".into()),
        (
            with(&format!(r#"[{{"Config":"{other}","Layers":[]}}]"#), config_at(&other)),
            "x.tar: manifest.json has 0 layers, its config has 1 diff IDs".into(),
        ),
        (
            with(r#"[{"Config":"c","Layers":[]}]"#, config_at("c")),
            "x.tar: manifest.json has 0 layers, its config has 1 diff IDs".into(),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(text, format!("docker-archive:BASE/{expected}"));
    }
    let missing = with(r#"[{"Config":"c","Layers":["l"]}]"#, config_at("c"));
    assert_eq!(missing, "docker-archive:BASE/x.tar: l does not exist in it");
    assert_eq!(
        docker(&since_25(false).end(), None).unwrap_err(),
        "docker-archive:BASE/x.tar is an archive of an OCI layout"
    );
}

#[test]
fn a_whole_archive_may_be_compressed_or_come_through_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    let plain = since_25(false).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let name = ImageReference::OciArchive { file: file.clone(), image: None };
    for bytes in [&plain, &gzip, &zstd] {
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(texts(&open(&directory, &name, &Limits::default()).unwrap()), ["layer"]);
        let limits = Limits { total_bytes: plain.len() as u64 - 1, ..Limits::default() };
        let limited = open(&directory, &name, &limits);
        if bytes != &plain {
            let allowed = limits.total_bytes;
            let expected =
                format!("more than {allowed} uncompressed bytes in all layers, --max-bytes allows {allowed}");
            assert_eq!(limited.unwrap_err(), format!("oci-archive:BASE/x has {expected}"));
        }
    }
    std::fs::write(&file, &gzip[..gzip.len() - 1]).unwrap();
    let text = open(&directory, &name, &Limits::default()).unwrap_err();
    assert_eq!(text, "oci-archive:BASE/x is not valid gzip: it ends early");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing of the spool has a name");

    std::fs::remove_file(&file).unwrap();
    mkfifoat(CWD, &file, Mode::RUSR | Mode::WUSR).unwrap();
    for bytes in [&plain, &zstd] {
        let image = std::thread::scope(|scope| {
            scope.spawn(|| FileOptions::new().write(true).open(&file).unwrap().write_all(bytes).unwrap());
            open(&directory, &name, &Limits::default())
        });
        assert_eq!(texts(&image.unwrap()), ["layer"]);
    }
}

#[test]
fn reading_a_pipe_without_a_writer_can_be_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pipe");
    mkfifoat(CWD, &file, Mode::RUSR | Mode::WUSR).unwrap();
    let (cancel, limits) = (Cancel::default(), Limits::default());
    let (scratch, progress) = (&Scratch::at(directory.path()).unwrap(), &crate::progress::NoProgress);
    let options = OpenOptions { platform: None, limits: &limits, scratch, remote: None, progress, cancel: &cancel };
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            cancel.raise(Signal::Interrupt);
        });
        crate::image::open(&ImageReference::DockerArchive { file, image: None }, &options).unwrap_err()
    });
    assert_eq!(error.fault(), Fault::Signal(Signal::Interrupt));
}

#[test]
fn an_unwritable_spool_is_an_io_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    std::fs::write(&file, zstd::encode_all(&since_25(false).end()[..], 1).unwrap()).unwrap();
    let name = ImageReference::OciArchive { file, image: None };
    let error = open_within(&name, &Limits::default(), Path::new("/proc")).unwrap_err();
    assert_eq!(error.to_string(), "create a temporary file in /proc");
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
}

#[test]
fn a_spool_is_made_in_a_moved_work_directory() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("x"), zstd::encode_all(&since_25(false).end()[..], 1).unwrap()).unwrap();
    std::fs::create_dir(at("work")).unwrap();
    let (scratch, limits, cancel) = (Scratch::at(&at("work")).unwrap(), Limits::default(), Cancel::default());
    std::fs::rename(at("work"), at("moved")).unwrap();
    let platform = Some("linux/amd64".parse().unwrap());
    let progress = &crate::progress::NoProgress;
    let options = OpenOptions { platform, limits: &limits, scratch: &scratch, remote: None, progress, cancel: &cancel };
    let name = ImageReference::OciArchive { file: at("x"), image: None };
    assert_eq!(texts(&crate::image::open(&name, &options).unwrap()), ["layer"]);
}
