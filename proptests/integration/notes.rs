//! Each omission and each change has a note, and `--strict` refuses those that lose information.

use planish_proptests::listing::Listing;
use planish_proptests::writer::{Compression, Entry, Image, Layer, Platform};

use crate::support::{Bench, failed, read_clean, succeeded};

/// An image of two layers, and the text of its expected note.
struct Case {
    lower: Vec<Entry>,
    upper: Vec<Entry>,
    kind: &'static str,
    text: &'static str,
}

fn lower(entries: impl IntoIterator<Item = Entry>, kind: &'static str, text: &'static str) -> Case {
    Case { lower: Vec::from_iter(entries), upper: Vec::new(), kind, text }
}

/// A file with one record, whose loss is noted.
fn record(key: &str, value: &str, text: &'static str) -> Case {
    lower([Entry::file("f", "x").pax(key, value)], "record-dropped", text)
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
        lower([file().xattr("btrfs.compression", "zstd")], dropped, "layer 1: /f: xattr dropped: btrfs.compression"),
        lower([file().xattr("ceph.dir.layout", "y")], dropped, "layer 1: /f: xattr dropped: ceph.dir.layout"),
        lower([file().xattr("lustre.lov", "y")], dropped, "layer 1: /f: xattr dropped: lustre.lov"),
        lower([file().xattr("system.cifs_acl", "y")], dropped, "layer 1: /f: xattr dropped: system.cifs_acl"),
        lower([file().xattr("security.selinux", "y")], dropped, "layer 1: /f: xattr dropped: security.selinux"),
        lower([Entry::symlink("l", "f").xattr("user.a", "")], dropped, "layer 1: /l: xattr dropped: user.a"),
        lower([file().pax("RHT.security.selinux", "u:r:t")], dropped, "layer 1: /f: xattr dropped: security.selinux"),
        lower(
            [file().pax("LIBARCHIVE.xattr.com.apple.provenance", "AQ")],
            dropped,
            "layer 1: /f: xattr dropped: com.apple.provenance",
        ),
        record("SCHILY.fflags", "nodump", "layer 1: /f: extended header record dropped: SCHILY.fflags"),
        record("SCHILY.acl.ace", "owner@:rwx::allow", "layer 1: /f: extended header record dropped: SCHILY.acl.ace"),
        record("MSWINDOWS.rawsd", "AQAUjA==", "layer 1: /f: extended header record dropped: MSWINDOWS.rawsd"),
        record("ACME.\x1b\u{202e}", "red", r"layer 1: /f: extended header record dropped: ACME.\x1b\xe2\x80\xae"),
        lower(
            [file().mode(0o640).pax("SCHILY.acl.default", "user::rw-,group::r--,other::---")],
            "acl-dropped",
            "layer 1: /f: ACL dropped, files of this type have none: SCHILY.acl.default",
        ),
        lower(
            [Entry::symlink("l", "f").pax("SCHILY.acl.access", "user::rw-,group::r--,other::---")],
            "acl-dropped",
            "layer 1: /l: ACL dropped, files of this type have none: SCHILY.acl.access",
        ),
        lower(
            [file().mode(0o640).pax("SCHILY.acl.access", "user::rw-,user:lisa:r-x,group::r--,mask::r--,other::---")],
            "acl-entry-dropped",
            "layer 1: /f: ACL entry dropped, the image has no user or group of this name: user:lisa:r-x",
        ),
        lower(
            [
                Entry::file("etc/passwd", "lisa:x:1:1::/:\n"),
                Entry::dir("d").pax(
                    "SCHILY.acl.default",
                    "user::rw-,user:lisa:r-x,group:lisa:r-x,group::r--,mask::r--,other::---",
                ),
            ],
            "acl-entry-dropped",
            "layer 1: /d: ACL entry dropped, the image has no user or group of this name: default:group:lisa:r-x",
        ),
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
        lower(
            [file().mode(0o600).pax("SCHILY.acl.access", "user::rw-,user:5:r--,group::r--,mask::r--,other::---")],
            "acl-mode",
            "layer 1: /f: permissions of the header replaced by those of its ACL",
        ),
        lower(
            [file().xattr("user.a", "red").pax("LIBARCHIVE.xattr.user.a", "Ymx1ZQ")],
            "xattr-ambiguous",
            "layer 1: /f: xattr with two values, SCHILY.xattr counts: user.a",
        ),
        lower(
            [Entry::global([(b"comment".to_vec(), b"c".to_vec()), (b"uid".to_vec(), b"5".to_vec())]), file()],
            "global-header",
            "layer 1: global extended header skipped: uid",
        ),
        lower([Entry::char_device("c", 0, 0)], "overlay-device", "layer 1: /c: character device 0:0 kept"),
    ]
}

/// Builds an image without and with `--strict`, and returns the notes and the error of the latter.
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
fn adaptations_without_loss_are_noted_and_pass_strict() {
    let bench = Bench::new();
    for case in adaptations() {
        let (notes, refused, _) = built(&bench, &image(&case));
        assert_eq!(notes, [(case.kind.to_owned(), false, case.text.to_owned())]);
        assert_eq!(refused, None);
    }
}

#[test]
fn facts_about_the_whole_image_are_noted() {
    let bench = Bench::new();
    let file = || Layer::new([Entry::file("f", "x")]);
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let disagrees = Image::new([file().compression(Compression::Zstd).media_type(gzip)]);
    let (notes, refused, _) = built(&bench, &disagrees);
    let text = format!("layer 1: compression detected from the bytes, the media type says: {gzip}");
    assert_eq!(notes, [("media-type".to_owned(), false, text)]);
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

/// Records that restate the header, or describe the archive instead of the file.
#[test]
fn records_without_information_are_not_noted() {
    let bench = Bench::new();
    let keys = "atime ctime comment uname gname charset hdrcharset SCHILY.dev SCHILY.ino SCHILY.nlink SCHILY.filetype \
                LIBARCHIVE.creationtime APK-TOOLS.checksum.SHA1 GNU.volume.label";
    let noted = |file: Entry| built(&bench, &Image::new([Layer::new([file])])).0;
    let value = |key: &str| if key == "SCHILY.filetype" { "regular" } else { "1" };
    let file = keys.split_whitespace().fold(Entry::file("f", "x"), |file, key| file.pax(key, value(key)));
    assert_eq!(noted(file), []);
    let twice = Entry::file("f", "x").xattr("user.a", "red").pax("LIBARCHIVE.xattr.user.a", "cmVk");
    assert_eq!(noted(twice), []);
    let taken_back = Entry::file("f", "x").pax("SCHILY.fflags", "nodump").pax("SCHILY.fflags", "");
    assert_eq!(noted(taken_back), []);
    let acl = "user::rw-,user:5:r--,group::r--,mask::r--,other::---";
    let linked = [
        Entry::file("f", "x").mode(0o640).pax("SCHILY.acl.access", acl),
        Entry::hardlink("g", "f").mode(0o640).pax("SCHILY.acl.access", acl),
    ];
    assert_eq!(built(&bench, &Image::new([Layer::new(linked)])).0, []);
}

/// `--keep-selinux` stores a label in GNU tar's spelling in the kernel's form.
#[test]
fn a_label_of_gnu_tar_is_kept_on_request() {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    let label = "system_u:object_r:etc_t:s0";
    let image = Image::new([Layer::new([Entry::file("f", "x").pax("RHT.security.selinux", label)])]);
    image.write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    for engine in ["e2fsprogs", "direct"] {
        let more = ["--force", "--free", "1M", "--strict", "--keep-selinux", "--engine", engine];
        succeeded(&bench.build(&source, "out.ext4", &more));
        let found = read_clean(&bench.at("out.ext4"));
        let value = &found.get(b"/f").unwrap().xattrs[&b"security.selinux"[..]];
        assert_eq!(*value, [label.as_bytes(), b"\0"].concat(), "{engine}");
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

#[test]
fn a_filesystem_time_after_2038_is_noted() {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    Image::new([Layer::new([Entry::file("f", "x").mtime(4_102_444_800, 0)])]).write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    let run = |clock: &str, words: &str| {
        let mut command = bench.planish();
        command.env("SOURCE_DATE_EPOCH", clock).args(words.split(' ')).args([
            &source,
            "--platform",
            "linux/amd64",
            "--json",
        ]);
        let output = command.output().unwrap();
        succeeded(&output);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let clock = report.get("clock").or_else(|| report["filesystem"].get("clock")).unwrap().as_u64().unwrap();
        let notes: Vec<_> = report["notes"].as_array().unwrap().iter().map(|note| note["kind"].clone()).collect();
        (clock, notes)
    };
    let build = "build --output out.ext4 --force --free 1M --strict --engine";
    for words in ["plan", &format!("{build} e2fsprogs"), &format!("{build} direct")] {
        assert_eq!(run("2147483647", words), (2_147_483_647, vec![]), "{words}");
        assert_eq!(run("2147483648", words), (2_147_483_647, vec!["clock-clamped".into()]), "{words}");
    }
    assert_eq!(read_clean(&bench.at("out.ext4")).len(), 2);
}
