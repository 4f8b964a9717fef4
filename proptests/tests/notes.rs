//! Nothing is dropped or altered without a note, and `--strict` refuses what takes information away.

mod support;

use planish_proptests::listing::Listing;
use planish_proptests::writer::{Compression, Entry, Image, Layer, Platform};
use support::{Bench, failed, read_clean, succeeded};

/// An image of two layers, and the note that it must cause, as text.
struct Case {
    lower: Vec<Entry>,
    upper: Vec<Entry>,
    kind: &'static str,
    text: &'static str,
}

fn lower(entries: impl IntoIterator<Item = Entry>, kind: &'static str, text: &'static str) -> Case {
    Case { lower: Vec::from_iter(entries), upper: Vec::new(), kind, text }
}

fn losses() -> Vec<Case> {
    let dropped = "xattr-dropped";
    let file = || Entry::file("f", "x");
    vec![
        lower(
            [file().xattr("trusted.overlay.opaque", "y")],
            dropped,
            "layer 1: /f: xattr dropped: trusted.overlay.opaque",
        ),
        lower([file().xattr("user.overlay.origin", "y")], dropped, "layer 1: /f: xattr dropped: user.overlay.origin"),
        lower([file().xattr("system.nfs4_acl", "y")], dropped, "layer 1: /f: xattr dropped: system.nfs4_acl"),
        lower([file().xattr("security.selinux", "y")], dropped, "layer 1: /f: xattr dropped: security.selinux"),
        lower([Entry::symlink("l", "f").xattr("user.a", "")], dropped, "layer 1: /l: xattr dropped: user.a"),
        lower([file().mtime(15_032_385_536, 0)], "time-clamped", "layer 1: /f: mtime clamped to what ext4 can hold"),
        lower([file().mtime(-2_147_483_649, 0)], "time-clamped", "layer 1: /f: mtime clamped to what ext4 can hold"),
        Case {
            lower: vec![file()],
            upper: vec![Entry::file("f/g", "y")],
            kind: "parent-replaced",
            text: "layer 2: /f: not a directory, replaced by one for an entry below it",
        },
    ]
}

fn adaptations() -> Vec<Case> {
    let file = || Entry::file("f", "x");
    vec![
        lower(
            [file(), Entry::file("f", "y")],
            "duplicate",
            "layer 1: /f: written twice in one layer, the last entry wins",
        ),
        lower(
            [Entry::file(".wh.d/f", "x")],
            "marker-in-path",
            "layer 1: /.wh.d/f: a parent's name begins with the whiteout prefix, taken as an ordinary name",
        ),
        lower(
            [file(), Entry::hardlink("g", "f").mode(0o600)],
            "link-metadata",
            "layer 1: /g: hard link header ignored, the inode keeps its metadata",
        ),
        lower([Entry::char_device("c", 0, 0)], "overlay-device", "layer 1: /c: character device 0:0 kept"),
    ]
}

/// Builds an image without and with `--strict`, and returns the notes and what the latter said.
fn built(bench: &Bench, image: &Image) -> (Vec<(String, bool, String)>, Option<String>, Listing) {
    let layout = bench.shared("layout");
    let _ = std::fs::remove_dir_all(&layout);
    image.write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    let output = bench.build(&source, "out.ext4", &["--force", "--free", "1M", "--json"]);
    succeeded(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |note: &serde_json::Value, field: &str| note[field].as_str().unwrap().to_owned();
    let notes = report["notes"].as_array().unwrap().iter();
    let notes = notes.map(|note| (text(note, "kind"), note["loss"] == true, text(note, "text"))).collect();
    let found = read_clean(&bench.at("out.ext4"));
    let strict = bench.build(&source, "strict.ext4", &["--force", "--free", "1M", "--strict"]);
    let refused = (strict.status.code() != Some(0)).then(|| failed(&strict, 5));
    assert_eq!(refused.is_none(), bench.at("strict.ext4").exists());
    (notes, refused, found)
}

fn image(case: &Case) -> Image {
    let layers = [&case.lower, &case.upper].into_iter().filter(|entries| !entries.is_empty());
    Image::new(layers.map(|entries| Layer::new(entries.clone())))
}

#[test]
fn every_loss_is_noted_and_refused_by_strict() {
    let bench = Bench::new();
    for case in losses() {
        let (notes, refused, _) = built(&bench, &image(&case));
        assert_eq!(notes, [(case.kind.to_owned(), true, case.text.to_owned())]);
        assert_eq!(refused, Some(format!("1 loss, and --strict allows none: {}", case.text)));
    }
}

#[test]
fn adaptations_that_lose_nothing_are_noted_and_pass_strict() {
    let bench = Bench::new();
    for case in adaptations() {
        let (notes, refused, _) = built(&bench, &image(&case));
        assert_eq!(notes, [(case.kind.to_owned(), false, case.text.to_owned())]);
        assert_eq!(refused, None);
    }
}

#[test]
fn what_is_said_of_the_image_as_a_whole_is_noted_too() {
    let bench = Bench::new();
    let file = || Layer::new([Entry::file("f", "x")]);
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let disagrees = Image::new([file().compression(Compression::Zstd).media_type(gzip)]);
    let (notes, refused, _) = built(&bench, &disagrees);
    let said = format!("layer 1: bytes decide the compression, the media type says: {gzip}");
    assert_eq!(notes, [("media-type".to_owned(), false, said)]);
    assert_eq!(refused, None);
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let (notes, refused, _) = built(&bench, &Image::new([file().media_type(foreign).url("http://localhost:1/")]));
    assert_eq!(notes.iter().map(|note| (&*note.0, note.1)).collect::<Vec<_>>(), [("foreign-layer", false)]);
    assert_eq!(refused, None);
}

#[test]
fn a_clamped_time_is_the_nearest_that_ext4_holds() {
    let bench = Bench::new();
    for (seconds, nearest) in [(1 << 40, 15_032_385_535), (-(1 << 40), -2_147_483_648)] {
        let (_, _, found) = built(&bench, &Image::new([Layer::new([Entry::file("f", "x").mtime(seconds, 5)])]));
        let mtime = found.get(b"/f").unwrap().mtime;
        assert_eq!((mtime.seconds, mtime.nanos), (nearest, 0));
    }
}

#[test]
fn an_image_without_notes_passes_strict() {
    let bench = Bench::new();
    let platform = Platform::new("linux", "amd64");
    let image =
        Image::new([Layer::new([Entry::dir("./"), Entry::file("f", "x").xattr("user.a", "")])]).platform(platform);
    let (notes, refused, found) = built(&bench, &image);
    assert_eq!((notes.len(), refused), (0, None));
    assert_eq!(found.len(), 2);
}
