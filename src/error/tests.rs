//! Every error text, read as a person reads it.

use super::*;
use crate::digest::{Algorithm, Digest};

fn layer() -> LayerPlace {
    LayerPlace { number: 2, count: 7, digest: Digest::of(Algorithm::Sha256, b"abc") }
}

#[test]
fn a_message_names_its_subject_first() {
    let entry = EntryPlace { number: 4, name: (*b"etc/.wh.\x1b").into() };
    let table = [
        (
            Error::image(Place::Entry(layer(), entry.clone()), ImageProblem::InvalidWhiteout),
            r#"layer 2 of 7 (sha256:ba7816bf8f01…): entry 4 "etc/.wh.\x1b" is an invalid whiteout: it names no file"#,
        ),
        (
            Error::image(Place::Layer(layer()), ImageProblem::Truncated { missing: 7 }),
            "layer 2 of 7 (sha256:ba7816bf8f01…) ends 7 bytes short",
        ),
        (
            ErrorKind::Limit { place: Place::Layers, limit: Limit::Entries, allowed: 5, found: Found::MoreThan(5) }
                .into(),
            "the image has more than 5 entries in all layers, --max-entries allows 5",
        ),
        (Error::tool("mkfs.ext4", ToolProblem::Missing), "mkfs.ext4 is not installed: not in PATH, /usr/sbin or /sbin"),
        (
            ErrorKind::Engine("full".into()).into(),
            "the direct engine refused its plan: full; this is a bug of planish, please report it",
        ),
        (
            Error::image(Place::Path((*b"a").into()), ImageProblem::TooManyExtents(9, 8)),
            "/a has 9 extents, the direct engine can write 8",
        ),
        (
            Error::image(Place::Path((*b"a").into()), ImageProblem::IndexFull(9)),
            "/a has 9 names, more than the direct engine can index",
        ),
        (
            Error::image(Place::Layers, ImageProblem::NameBytes(5_000_000_000)),
            "the image has names of 5000000000 bytes in all, the direct engine can write 4294967295",
        ),
        (ErrorKind::BeyondDirect("64bit".into()).into(), "64bit is a choice that the direct engine cannot make"),
        (ErrorKind::Capacity { bytes: 2, max: 1 }.into(), "the filesystem would have 2 bytes, planish makes at most 1"),
        (Error::output(Path::new("/tmp/a\nb"), OutputProblem::Exists), r"output /tmp/a\x0ab: exists already"),
    ];
    for (error, want) in table {
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn each_group_has_its_documented_exit_code() {
    let code = |error: Error| error.fault().exit_code();
    let output = |problem| Error::output(Path::new("x"), problem);
    assert_eq!(code(output(OutputProblem::Exists)), 2);
    assert_eq!(code(ErrorKind::BeyondDirect("64bit".into()).into()), 2);
    assert_eq!(code(Error::image(Place::Layers, ImageProblem::Empty)), 5);
    assert_eq!(code(output(OutputProblem::Parent)), 6);
    assert_eq!(code(Error::io("open", "/x")(std::io::Error::from(std::io::ErrorKind::NotFound))), 6);
    assert_eq!(code(ErrorKind::Size { needed: 2, allowed: 1 }.into()), 7);
    assert_eq!(code(ErrorKind::Proof { count: 1, first: String::new() }.into()), 8);
    assert_eq!(code(ErrorKind::Bug("x").into()), 70);
    assert_eq!(code(ErrorKind::Engine("x".into()).into()), 70);
    assert_eq!(code(ErrorKind::Capacity { bytes: 2, max: 1 }.into()), 7);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Interrupt).into()), 130);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Terminate).into()), 143);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Hangup).into()), 129);
}
