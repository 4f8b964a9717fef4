//! Docker archives and archives of layouts.

use std::io::Write;
use std::process::Stdio;

use planish_proptests::writer::{Entry, Layer, SparseFormat};
use serde_json::{Value, json};

use crate::images::files::{Files, REF_NAME, annotated, config, digest, layer};
use crate::images::{refused, taken, taken_of};
use crate::support::{Bench, failed, read_clean, stderr, succeeded};

/// The text of a config of these layers, and its digest.
fn described(architecture: &str, layers: &[&[u8]]) -> (String, String) {
    let text = config(architecture, layers).to_string();
    let digest = digest(text.as_bytes());
    (text, digest)
}

/// A `manifest.json` of images: config, tags and layers.
fn manifest(images: &[(&str, Value, &[&str])]) -> Entry {
    let items: Vec<Value> = images
        .iter()
        .map(|(config, tags, layers)| json!({"Config": config, "RepoTags": tags, "Layers": layers}))
        .collect();
    Entry::file("manifest.json", json!(items).to_string())
}

fn write(bench: &Bench, name: &str, entries: impl IntoIterator<Item = Entry>) -> String {
    let path = bench.readable(name, &Layer::new(entries).tar());
    path.display().to_string()
}

#[test]
fn layers_may_be_links_to_earlier_and_later_members() {
    let bench = Bench::new();
    let (first, second) = (layer("one"), Layer::new([Entry::file("again", "two")]).tar());
    let (config, _) = described("amd64", &[&first, &second, &first]);
    let config = || Entry::file("c.json", config.clone());
    let manifest = || manifest(&[("c.json", Value::Null, &["x/layer.tar", "y/layer.tar", "z/layer.tar"])]);
    let one = |name: &str| Entry::file(name, first.clone());
    let two = |name: &str| Entry::file(name, second.clone());
    let dotted = |mut entry: Entry| {
        entry.name = [b"./", &entry.name[..]].concat();
        entry
    };
    let table: Vec<(&str, Vec<Entry>)> = vec![
        ("dots", [config(), one("x/layer.tar"), two("y/layer.tar"), one("z/layer.tar"), manifest()].map(dotted).into()),
        ("the manifest first", vec![manifest(), one("x/layer.tar"), two("y/layer.tar"), one("z/layer.tar"), config()]),
        (
            "symlinks forwards and backwards",
            vec![
                Entry::symlink("x/layer.tar", "../z/layer.tar"),
                one("z/layer.tar"),
                two("q.tar"),
                Entry::symlink("y/layer.tar", "../q.tar"),
                config(),
                manifest(),
            ],
        ),
        (
            "symlinks from the root",
            vec![
                Entry::symlink("x/layer.tar", "p.tar"),
                Entry::symlink("y/layer.tar", "/q.tar"),
                Entry::symlink("z/layer.tar", "./p.tar"),
                one("p.tar"),
                two("q.tar"),
                config(),
                manifest(),
            ],
        ),
        (
            "symlinks to symlinks and directories",
            vec![
                Entry::symlink("x", "deep/x"),
                Entry::symlink("deep/x/layer.tar", "../../z/layer.tar"),
                Entry::symlink("z", "./w/"),
                one("w/layer.tar"),
                two("y/layer.tar"),
                config(),
                manifest(),
            ],
        ),
        (
            "hard links",
            vec![
                one("x/layer.tar"),
                Entry::hardlink("z/layer.tar", "./x/layer.tar"),
                Entry::hardlink("y/layer.tar", "q.tar"),
                two("q.tar"),
                config(),
                manifest(),
            ],
        ),
        (
            "extension headers",
            vec![
                Entry::global([(b"comment".to_vec(), b"by hand".to_vec())]),
                one("x/layer.tar").pax("mtime", "1.5").pax("path", "./x/layer.tar"),
                two("y/layer.tar").pax("comment", "x"),
                one("z/layer.tar"),
                config(),
                manifest(),
            ],
        ),
    ];
    for (number, (what, entries)) in table.into_iter().enumerate() {
        let path = write(&bench, &format!("{number}.tar"), entries);
        let output = format!("out{number}");
        succeeded(&bench.build(&format!("docker-archive:{path}"), &output, &["--free", "0"]));
        let tree = read_clean(&bench.at(&output));
        assert!(tree.get(b"/hello").is_some() && tree.get(b"/again").is_some(), "{what}");
    }
}

#[test]
fn dangling_and_circular_links_are_refused() {
    let bench = Bench::new();
    let layer = layer("one");
    let (config, _) = described("amd64", &[&layer]);
    let long: Vec<Entry> = (0..50).map(|n| Entry::symlink(format!("l{n}"), format!("l{}", n + 1))).collect();
    let table: Vec<(&str, Vec<Entry>)> = vec![
        ("l0", vec![Entry::symlink("l0", "nowhere")]),
        ("l0", vec![Entry::symlink("l0", "l0")]),
        ("l0", vec![Entry::symlink("l0", "l1"), Entry::symlink("l1", "l0")]),
        ("l0/x", vec![Entry::symlink("l0", "l0/x")]),
        ("l0", vec![Entry::hardlink("l0", "l0")]),
        ("l0", long),
    ];
    for (number, (name, mut entries)) in table.into_iter().enumerate() {
        entries.extend([Entry::file("c.json", config.clone()), manifest(&[("c.json", Value::Null, &[name])])]);
        let path = write(&bench, &format!("{number}.tar"), entries);
        let (error, _) = refused(&bench, &format!("docker-archive:{path}"), 5);
        assert!(error.ends_with("is a link to a file that it does not hold"), "{number}: {error}");
    }
}

#[test]
fn a_sparse_member_is_read_with_its_holes() {
    let bench = Bench::new();
    let layer = Layer::new([Entry::file("hello", "x".repeat(5000))]).tar();
    let (text, digest) = described("amd64", &[&layer]);
    for (number, format) in
        [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10].into_iter().enumerate()
    {
        // The end of a tar is all zeros, so a hole.
        let data = &layer[..layer.len() - 1024];
        let runs = [(0, data.len() as u64)];
        let member = Entry::sparse("l.tar", format, runs, layer.len() as u64, data.to_vec());
        let entries = [member, Entry::file("c.json", text.clone()), manifest(&[("c.json", Value::Null, &["l.tar"])])];
        let path = write(&bench, &format!("{number}.tar"), entries);
        assert_eq!(taken(&bench, &format!("docker-archive:{path}"), &[]).config, digest);
    }
}

#[test]
fn a_config_under_another_name_is_noted() {
    let bench = Bench::new();
    let layer = layer("one");
    let (text, digest) = described("amd64", &[&layer]);
    let other = "ab".repeat(32);
    for (number, name) in [format!("{other}.json"), format!("blobs/sha256/{other}")].iter().enumerate() {
        let entries = [
            Entry::file(name.clone(), text.clone()),
            Entry::file("l.tar", layer.clone()),
            manifest(&[(name, json!(["team/a:1"]), &["l.tar"])]),
        ];
        let path = write(&bench, &format!("{number}.tar"), entries);
        let taken = taken(&bench, &format!("docker-archive:{path}"), &[]);
        let note = format!("the config's file is named by a digest other than its own: {name}");
        assert_eq!((taken.config, taken.notes), (digest.clone(), vec![note]));
    }
}

/// An archive of two images with one layer each, and the digests of their configs.
fn two_images(names: [Value; 2], architectures: [&str; 2]) -> (Vec<u8>, [String; 2]) {
    let layers = ["one", "two"].map(layer);
    let configs = [0, 1].map(|n| described(architectures[n], &[&layers[n]]));
    let entries = [
        Entry::file("0.json", configs[0].0.clone()),
        Entry::file("1.json", configs[1].0.clone()),
        Entry::file("0.tar", layers[0].clone()),
        Entry::file("1.tar", layers[1].clone()),
        manifest(&[("0.json", names[0].clone(), &["0.tar"]), ("1.json", names[1].clone(), &["1.tar"])]),
    ];
    (Layer::new(entries).tar(), configs.map(|(_, digest)| digest))
}

/// Runs `planish plan SOURCE` with bytes on standard input.
fn piped(bench: &Bench, source: &str, bytes: &[u8]) -> std::process::Output {
    let mut command = bench.planish();
    command.args(["plan", "--json", source, "--platform", "linux/amd64"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // An early refusal leaves the rest of standard input unread.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

#[test]
fn one_of_several_images_is_selected_on_standard_input() {
    let bench = Bench::new();
    let (archive, configs) = two_images([json!(["a:1", "a:2"]), json!(["b:latest"])], ["amd64"; 2]);
    let path = bench.readable("two.tar", &archive).display().to_string();
    let (error, hint) = refused(&bench, &format!("docker-archive:{path}"), 5);
    assert_eq!(error, "docker-archive:/two.tar holds several images, name one: a:1, a:2, b:latest");
    assert_eq!(hint.unwrap(), "docker-archive:/two.tar:a:1 is the first of them");
    for (name, config) in [("a:2", &configs[0]), ("b", &configs[1]), ("@1", &configs[1])] {
        assert_eq!(taken(&bench, &format!("docker-archive:{path}:{name}"), &[]).config, *config);
        let output = piped(&bench, &format!("docker-archive:-:{name}"), &archive);
        succeeded(&output);
        assert_eq!(taken_of(&output.stdout).config, *config, "{name}");
    }
    let output = piped(&bench, "-", &archive);
    assert_eq!(failed(&output, 5), "- holds several images, name one: a:1, a:2, b:latest");
    let hint = "hint: docker-archive:-:a:1 is the first of them, or oci-archive:-:a:1 of a layout\n";
    assert!(stderr(&output).ends_with(hint), "{}", stderr(&output));
    let mut files = Files::default();
    let (image, config) = files.plain("amd64", "x");
    let (other, _) = files.plain("amd64", "y");
    files.index(&[annotated(image, REF_NAME, "t"), annotated(other, REF_NAME, "u")]);
    let output = piped(&bench, "oci-archive:-:t", &files.tar());
    succeeded(&output);
    assert_eq!(taken_of(&output.stdout).config, config);
}

#[test]
fn images_of_one_name_are_selected_by_platform_or_refused() {
    let bench = Bench::new();
    let names = || [json!(["a:1"]), json!(["a:1"])];
    let (archive, configs) = two_images(names(), ["arm64", "amd64"]);
    let path = bench.readable("platforms.tar", &archive).display().to_string();
    for source in [format!("docker-archive:{path}"), format!("docker-archive:{path}:a:1")] {
        assert_eq!(taken(&bench, &source, &[]).config, configs[1]);
        assert_eq!(taken(&bench, &source, &["--platform", "linux/arm64"]).config, configs[0]);
    }
    let (archive, _) = two_images(names(), ["amd64"; 2]);
    let path = bench.readable("same.tar", &archive).display().to_string();
    let (error, hint) = refused(&bench, &format!("docker-archive:{path}:a:1"), 5);
    let several = "holds several images named a:1 for platform linux/amd64, name one: @0, @1";
    assert_eq!(error, format!("docker-archive:/same.tar:a:1 {several}"));
    assert_eq!(hint.unwrap(), "docker-archive:/same.tar:@0 is the first of them");
}

#[test]
fn old_and_unsupported_archives_are_refused_by_kind() {
    let bench = Bench::new();
    let id = "cd".repeat(32);
    let old = write(
        &bench,
        "old.tar",
        [
            Entry::file(format!("{id}/json"), json!({"id": id}).to_string()),
            Entry::file(format!("{id}/layer.tar"), layer("one")),
            Entry::file("repositories", json!({"team/a": {"1": id}}).to_string()),
        ],
    );
    for source in [format!("docker-archive:{old}"), old] {
        let (error, hint) = refused(&bench, &source, 5);
        assert!(
            error.ends_with("is an archive of docker before 1.10: it holds a file repositories and no manifest.json")
        );
        assert!(hint.unwrap().contains("docker save"));
    }
    for (name, magic) in [
        ("xz", &b"\xfd7zXZ\0\0\0"[..]),
        ("bzip2", b"BZh91AY&SY\0\0"),
        ("lz4", b"\x04\x22\x4d\x18\0\0"),
        ("lzip", b"LZIP\x01\0"),
        ("zip", b"PK\x03\x04\0\0"),
        ("compress", b"\x1f\x9d\x90\0"),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04"),
        ("lzma", b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        let path = bench.readable(name, &[magic, &[0; 600]].concat()).display().to_string();
        for source in [format!("docker-archive:{path}"), format!("oci-archive:{path}"), path.clone()] {
            let (error, hint) = refused(&bench, &source, 5);
            let expected = format!("is compressed in a way that planish does not read ({name})");
            assert!(error.ends_with(&expected), "{source}: {error}");
            assert!(hint.unwrap().starts_with("decompress it first, with "));
        }
        let text = failed(&piped(&bench, "-", &[magic, &[0; 600]].concat()), 5);
        assert!(text.ends_with(&format!("({name})")), "{text}");
    }
}

#[test]
fn empty_standard_input_is_refused() {
    let bench = Bench::new();
    for source in ["-", "docker-archive:-", "oci-archive:-:t"] {
        let output = piped(&bench, source, b"");
        assert_eq!(failed(&output, 5), "standard input is empty");
        assert!(stderr(&output).ends_with("hint: the command before the pipe may have failed: run it alone to see\n"));
        let mut closed = bench.planish();
        closed.args(["plan", source]).stdin(Stdio::null());
        let output = closed.output().unwrap();
        assert_eq!(failed(&output, 5), "standard input is closed, or /dev/null");
        assert!(stderr(&output).ends_with("docker save IMAGE | planish build -\n"), "{}", stderr(&output));
    }
}

#[test]
fn a_missing_layer_is_named_with_its_archive() {
    let bench = Bench::new();
    let layer = layer("one");
    let (config, _) = described("amd64", &[&layer]);
    let list = manifest(&[("c.json", Value::Null, &["a/layer.tar"])]);
    let missing = write(&bench, "missing.tar", vec![Entry::file("c.json", config.clone()), list.clone()]);
    let (error, _) = refused(&bench, &format!("docker-archive:{missing}"), 5);
    assert_eq!(error, "docker-archive:/missing.tar: a/layer.tar does not exist in it");
    let dangling = Entry::symlink("a/layer.tar", "../b/layer.tar");
    let dangling = write(&bench, "dangling.tar", vec![Entry::file("c.json", config), dangling, list]);
    let (error, _) = refused(&bench, &format!("docker-archive:{dangling}"), 5);
    assert_eq!(error, "/dangling.tar: a/layer.tar is a link to a file that it does not hold");
}

#[test]
fn a_file_in_a_layout_gets_the_layout_as_a_hint() {
    let bench = Bench::new();
    let mut files = Files::default();
    let (image, _) = files.plain("amd64", "image");
    files.index(&[image]);
    files.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    let directory = bench.shared("layout");
    files.write(&directory);
    for name in ["index.json", "oci-layout"] {
        let (error, hint) = refused(&bench, &directory.join(name).display().to_string(), 5);
        assert_eq!(error, format!("/layout/{name} is a file of an OCI layout, whose source is its directory"));
        assert_eq!(hint.unwrap(), "did you mean oci:/layout?");
    }
}

#[test]
fn a_truncated_archive_is_refused() {
    let bench = Bench::new();
    let (archive, _) = two_images([json!(["a:1"]), json!(["b:1"])], ["amd64"; 2]);
    for cut in [100, 700, 1600, archive.len() - 1500] {
        let path = bench.readable("cut.tar", &archive[..cut]).display().to_string();
        let output = crate::images::plan(&bench, &format!("docker-archive:{path}:a:1"), &[]);
        failed(&output, 5);
    }
    // Only the end marker is missing, as in archives of Debian's umoci and others.
    let path = bench.readable("open.tar", &archive[..archive.len() - 1024]).display().to_string();
    taken(&bench, &format!("docker-archive:{path}:a:1"), &[]);
    let empty = bench.readable("empty.tar", b"").display().to_string();
    let (error, _) = refused(&bench, &empty, 5);
    assert!(error.starts_with("/empty.tar is "), "{error}");
}
