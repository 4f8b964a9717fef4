//! The text of every error.

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::path::PathFault;

fn layer() -> LayerPlace {
    LayerPlace { number: 2, count: 7, digest: Digest::of(Algorithm::Sha256, b"abc"), injection: None }
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
            ErrorKind::Limit { place: Place::Layers, limit: Limit::Entries, allowed: 5, found: Amount::MoreThan(5) }
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
        (Error::certificate(Path::new("a.crt"), CertificateProblem::NotPem), "a.crt is not PEM"),
        (
            ErrorKind::Registry {
                host: "quay.io".into(),
                resource: Resource::Host,
                problem: RegistryProblem::Untrusted("its certificate has expired".into()),
            }
            .into(),
            "quay.io: the registry cannot be trusted: its certificate has expired",
        ),
        (ErrorKind::BeyondDirect("64bit".into()).into(), "64bit is not supported by the direct engine"),
        (ErrorKind::Capacity { bytes: 2, max: 1 }.into(), "the filesystem would have 2 bytes, planish makes at most 1"),
        (
            ErrorKind::Injection { injected: "x".into(), problem: InjectionProblem::Destination(PathFault::Nul) }
                .into(),
            "injection x has a destination that no image can hold: it contains a NUL byte",
        ),
        (
            ErrorKind::Injection { injected: "x".into(), problem: InjectionProblem::Changed }.into(),
            "injection x changed while it was read",
        ),
        (
            ErrorKind::SharedCache { repository: "quay.io/a".into(), problem: "nothing may be sent".into() }.into(),
            "quay.io/a: nothing may be sent",
        ),
        (
            ErrorKind::NoManifest("docker-archive:\x1b.tar".into()).into(),
            r"docker-archive:\x1b.tar has no manifest that a filesystem can refer to",
        ),
        (
            ErrorKind::Key { path: "a.key".into(), problem: KeyProblem::Password }.into(),
            "a.key holds a key that needs a password",
        ),
        (Error::output(Path::new("/tmp/a\nb"), OutputProblem::Exists), r"output /tmp/a\x0ab: exists already"),
    ];
    for (error, expected) in table {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn each_group_has_its_documented_exit_code() {
    let code = |error: Error| error.fault().exit_code();
    let output = |problem| Error::output(Path::new("x"), problem);
    assert_eq!(code(output(OutputProblem::Exists)), 2);
    assert_eq!(code(ErrorKind::BeyondDirect("64bit".into()).into()), 2);
    let injection = |problem| code(ErrorKind::Injection { injected: "x".into(), problem }.into());
    assert_eq!((injection(InjectionProblem::Root), injection(InjectionProblem::Changed)), (2, 6));
    assert_eq!(code(Error::image(Place::Layers, ImageProblem::Empty)), 5);
    assert_eq!(code(output(OutputProblem::Parent)), 6);
    assert_eq!(code(Error::io("open", "/x")(std::io::Error::from(std::io::ErrorKind::NotFound))), 6);
    let registry = |problem| code(ErrorKind::Registry { host: "x".into(), resource: Resource::Host, problem }.into());
    assert_eq!(registry(RegistryProblem::Redirects(10)), 3);
    assert_eq!(registry(RegistryProblem::NoCertificates), 6);
    assert_eq!(code(ErrorKind::Credentials { host: "x".into(), problem: CredentialProblem::Wanted }.into()), 4);
    assert_eq!(code(Error::certificate(Path::new("x"), CertificateProblem::NotPem)), 6);
    assert_eq!(code(ErrorKind::Size { needed: 2, allowed: 1 }.into()), 7);
    assert_eq!(code(ErrorKind::Proof { count: 1, first: String::new() }.into()), 8);
    assert_eq!(code(ErrorKind::Packed { found: String::new() }.into()), 8);
    assert_eq!(code(ErrorKind::Bug("x").into()), 70);
    assert_eq!(code(ErrorKind::Engine("x".into()).into()), 70);
    assert_eq!(code(ErrorKind::Capacity { bytes: 2, max: 1 }.into()), 7);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Interrupt).into()), 130);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Terminate).into()), 143);
    assert_eq!(code(ErrorKind::Cancelled(Signal::Hangup).into()), 129);
}

#[test]
fn an_error_of_the_cache_names_the_file() {
    let (blob, path) = (Digest::of(Algorithm::Sha256, b"abc"), Path::new("/c/\x1b"));
    for (problem, expected, code) in [
        (CacheProblem::NotRegular, "is not a regular file".to_owned(), 6),
        (CacheProblem::NotDirectory, "is not a directory".into(), 6),
        (CacheProblem::NotWritable, "cannot be written".into(), 6),
        (CacheProblem::NoSpace { written: 7 }, "has no room left after 7 bytes of a file".into(), 6),
        (CacheProblem::Locked(None), "is locked by another process".into(), 6),
        (CacheProblem::Locked(Some(7)), "is locked by process 7".into(), 6),
        (CacheProblem::Owner, "belongs to another user, and a cache is written by its owner alone".into(), 6),
        (CacheProblem::Mode, "may be written by others, and that cannot be changed".into(), 6),
        (CacheProblem::Damaged { promised: 9, actual: 7 }, "holds 7 of the blob's 9 bytes".into(), 5),
        (CacheProblem::DamagedDigest(blob.clone()), format!("holds bytes of digest {blob}"), 5),
        (CacheProblem::Missing, "is not there, and nothing may be fetched".into(), 6),
        (CacheProblem::UnknownReference, "is not known to the cache, and nothing may be fetched".into(), 6),
        (CacheProblem::Index("x".into()), "is no index of an OCI layout: x".into(), 6),
    ] {
        let error = Error::cache(path, problem);
        assert_eq!(error.to_string(), format!(r"cache: /c/\x1b {expected}"));
        assert_eq!(error.fault().exit_code(), code);
    }
}
