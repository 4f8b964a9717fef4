//! What a user calls an image: a transport, a place, and which image of those that are there.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::distribution::Reference;

use super::bare;
use crate::error::ShownPath;
use crate::path::Escaped;

/// A source, as skopeo spells its transports.
///
/// Where a name and a path cannot be told apart by their colons, the longest path that exists is the path: `oci:a:b` is the
/// layout `a:b` where there is one, else the image `b` of the layout `a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceName {
    /// `oci:DIR[:TAG]`: an OCI layout.
    Oci {
        /// The layout's directory.
        directory: PathBuf,
        /// A tag, or a digest with or without `@` before it.
        image: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: an OCI layout in an archive.
    OciArchive {
        /// The archive, compressed or not, or a pipe.
        file: PathBuf,
        /// As for a layout.
        image: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        /// The archive, compressed or not, or a pipe.
        file: PathBuf,
        /// A reference, or `@N` for the image with that number, from 0.
        image: Option<String>,
    },
    /// `docker://REF`, or a bare reference: an image of a registry.
    Docker(Reference),
    /// `-`: an archive of either kind on standard input.
    Stdin,
}

/// Why a string names no source that planish can open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is a path without a transport.
    #[error("{} is a path, and a source begins with its transport", ShownPath(.path))]
    Bare {
        /// The path.
        path: PathBuf,
        /// What was probably meant.
        suggestion: OsString,
    },
    /// It is no reference of a registry.
    #[error("{0} is not a reference like HOST/NAME:TAG, in lower case")]
    Reference(String),
    /// It names a transport of another tool.
    #[error("the transport {0} is not one of docker, oci, oci-archive and docker-archive")]
    Transport(String),
    /// The transport stands alone.
    #[error("{0} names no path")]
    NoPath(&'static str),
    /// What follows the path is not UTF-8.
    #[error("the name of the image in it is not UTF-8")]
    NotUtf8,
    /// It is neither a path that exists nor a reference.
    #[error("{0} is neither a source nor a file that exists")]
    Unknown(String),
}

const DOCKER: &str = "docker://";
const OCI: &str = "oci:";
const OCI_ARCHIVE: &str = "oci-archive:";
const DOCKER_ARCHIVE: &str = "docker-archive:";

impl SourceName {
    /// Reads what a user typed. To tell paths from names, the disk is looked at.
    ///
    /// # Errors
    ///
    /// [`NameError`], which is the command line's fault.
    pub fn parse(text: &OsStr) -> Result<Self, NameError> {
        let after = |transport: &str| text.as_bytes().strip_prefix(transport.as_bytes());
        if text == "-" {
            Ok(Self::Stdin)
        } else if let Some(rest) = after(OCI) {
            split(rest, OCI).map(|(directory, image)| Self::Oci { directory, image })
        } else if let Some(rest) = after(OCI_ARCHIVE) {
            split(rest, OCI_ARCHIVE).map(|(file, image)| Self::OciArchive { file, image })
        } else if let Some(rest) = after(DOCKER_ARCHIVE) {
            split(rest, DOCKER_ARCHIVE).map(|(file, image)| Self::DockerArchive { file, image })
        } else {
            without_transport(text)
        }
    }
}

impl SourceName {
    /// Returns the path that the image is read from; standard input has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Oci { directory: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => Some(path),
            Self::Docker(_) | Self::Stdin => None,
        }
    }
}

fn without_transport(text: &OsStr) -> Result<SourceName, NameError> {
    let shown = || Escaped(text.as_bytes()).to_string();
    let Some(word) = text.to_str() else {
        return Err(bare_path(text).unwrap_or_else(|| NameError::Unknown(shown())));
    };
    if let Some(name) = word.strip_prefix(DOCKER) {
        return reference(name).map(SourceName::Docker).ok_or_else(|| NameError::Reference(shown()));
    }
    if let Some(error) = bare_path(text) {
        return Err(error);
    }
    match word.split_once(':') {
        Some((transport @ ("dir" | "docker-daemon" | "containers-storage" | "ostree" | "sif" | "tarball"), _)) => {
            Err(NameError::Transport(transport.to_owned()))
        }
        _ => reference(word).map(SourceName::Docker).ok_or_else(|| NameError::Unknown(shown())),
    }
}

/// Reads a reference. The parser takes repositories in upper case, which no registry has.
fn reference(text: &str) -> Option<Reference> {
    let reference: Reference = text.parse().ok()?;
    (!reference.repository().contains(|c: char| c.is_ascii_uppercase())).then_some(reference)
}

fn bare_path(text: &OsStr) -> Option<NameError> {
    let path = splits(text.as_bytes()).map(|(path, _)| path).find(|path| path.exists())?;
    let transport = match bare::kind(path) {
        bare::Kind::Layout => OCI,
        bare::Kind::OciArchive => OCI_ARCHIVE,
        bare::Kind::DockerArchive => DOCKER_ARCHIVE,
    };
    let suggestion = OsString::from_vec([transport.as_bytes(), text.as_bytes()].concat());
    Some(NameError::Bare { path: path.to_owned(), suggestion })
}

/// Splits a path from the name of an image in it.
fn split(rest: &[u8], transport: &'static str) -> Result<(PathBuf, Option<String>), NameError> {
    let existing = splits(rest).find(|(path, _)| path.exists());
    let (path, image) = existing.unwrap_or_else(|| match rest.iter().position(|&b| b == b':') {
        Some(colon) => (as_path(&rest[..colon]), Some(&rest[colon + 1..])),
        None => (as_path(rest), None),
    });
    if path.as_os_str().is_empty() {
        return Err(NameError::NoPath(transport));
    }
    let image = image.filter(|image| !image.is_empty());
    let image = image.map(|image| String::from_utf8(image.to_vec()).map_err(|_| NameError::NotUtf8)).transpose()?;
    Ok((path.to_owned(), image))
}

/// Returns every way to split, the longest path first; an `@` belongs to the name that it begins.
fn splits(text: &[u8]) -> impl Iterator<Item = (&Path, Option<&[u8]>)> {
    let cuts = (0..text.len()).rev().filter_map(|cut| match text[cut] {
        b':' => Some((as_path(&text[..cut]), Some(&text[cut + 1..]))),
        b'@' => Some((as_path(&text[..cut]), Some(&text[cut..]))),
        _ => None,
    });
    std::iter::once((as_path(text), None)).chain(cuts)
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, image) = match self {
            Self::Oci { directory, image } => (OCI, directory, image),
            Self::OciArchive { file, image } => (OCI_ARCHIVE, file, image),
            Self::DockerArchive { file, image } => (DOCKER_ARCHIVE, file, image),
            Self::Docker(reference) => return write!(f, "{DOCKER}{}", reference.whole()),
            Self::Stdin => return f.write_str("-"),
        };
        match path.to_str() {
            Some(path) => write!(f, "{transport}{path}")?,
            None => write!(f, "{transport}{}", ShownPath(path))?,
        }
        image.as_ref().map_or(Ok(()), |image| write!(f, ":{image}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::build::Stream;

    fn parse(text: &str) -> Result<SourceName, NameError> {
        SourceName::parse(OsStr::new(text))
    }

    #[test]
    fn transports_are_skopeos() {
        let image = |text: &str| Some(text.to_owned());
        let table = [
            ("-", SourceName::Stdin),
            ("oci:/no/dir", SourceName::Oci { directory: "/no/dir".into(), image: None }),
            ("oci:/no/dir:tag", SourceName::Oci { directory: "/no/dir".into(), image: image("tag") }),
            ("oci:/no/dir:", SourceName::Oci { directory: "/no/dir".into(), image: None }),
            ("oci-archive:a.tar:x", SourceName::OciArchive { file: "a.tar".into(), image: image("x") }),
            (
                "docker-archive:d.tar:host:5000/a/b:tag",
                SourceName::DockerArchive { file: "d.tar".into(), image: image("host:5000/a/b:tag") },
            ),
            ("docker-archive:d.tar:@0", SourceName::DockerArchive { file: "d.tar".into(), image: image("@0") }),
        ];
        for (text, want) in table {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
        assert_eq!(parse("oci:/no/dir:tag").unwrap().to_string(), "oci:/no/dir:tag");
    }

    #[test]
    fn references_name_a_registry_with_or_without_their_transport() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let table = [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:bookworm", "docker.io/library/debian:bookworm".to_owned()),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            (&format!("ghcr.io/a/b@{digest}"), format!("ghcr.io/a/b@{digest}")),
        ];
        for (text, want) in table {
            for text in [text.to_owned(), format!("docker://{text}")] {
                assert_eq!(parse(&text).unwrap().to_string(), format!("docker://{want}"), "{text}");
            }
        }
    }

    #[test]
    fn the_longest_path_that_exists_is_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        for name in ["a", "a:b", "a:b:c@d"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        for (text, path, image) in [
            ("a", "a", None),
            ("a:x", "a", Some("x")),
            ("a:b", "a:b", None),
            ("a:b:x", "a:b", Some("x")),
            ("a:b:c@d", "a:b:c@d", None),
            ("a:b:c@d:x:y", "a:b:c@d", Some("x:y")),
            ("a:sha256:00", "a", Some("sha256:00")),
            ("a@sha256:00", "a", Some("@sha256:00")),
        ] {
            let want = SourceName::Oci { directory: directory.path().join(path), image: image.map(Into::into) };
            assert_eq!(parse(&format!("oci:{base}/{text}")).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused_by_what_it_is() {
        let table: [(&str, String); 11] = [
            ("docker://", "docker:// is not a reference like HOST/NAME:TAG, in lower case".into()),
            ("docker://Debian", "docker://Debian is not a reference like HOST/NAME:TAG, in lower case".into()),
            ("docker://a b", "docker://a b is not a reference like HOST/NAME:TAG, in lower case".into()),
            ("Debian", "Debian is neither a source nor a file that exists".into()),
            ("dir:/x", "the transport dir is not one of docker, oci, oci-archive and docker-archive".into()),
            (
                "docker-daemon:debian",
                "the transport docker-daemon is not one of docker, oci, oci-archive and docker-archive".into(),
            ),
            ("oci:", "oci: names no path".into()),
            ("docker-archive::x", "docker-archive: names no path".into()),
            ("./missing.tar", "./missing.tar is neither a source nor a file that exists".into()),
            ("\x1b[31m", r"\x1b[31m is neither a source nor a file that exists".into()),
            ("", " is neither a source nor a file that exists".into()),
        ];
        for (text, want) in table {
            assert_eq!(parse(text).unwrap_err().to_string(), want);
        }
        let not_utf8 = SourceName::parse(OsStr::from_bytes(b"oci:x:\xff"));
        assert_eq!(not_utf8, Err(NameError::NotUtf8));
    }

    #[test]
    fn a_bare_path_is_told_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        std::fs::create_dir(directory.path().join("layout")).unwrap();
        let files = [
            ("oci.tar", Stream::new().file(b"./index.json", b"{}").end()),
            ("docker.tar", Stream::new().file(b"index.json", b"{}").file(b"manifest.json", b"[]").end()),
            ("docker.tar.gz", b"\x1f\x8b".to_vec()),
            ("notes", b"hello".to_vec()),
        ];
        for (name, content) in &files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        for (text, transport) in [
            ("layout", "oci:"),
            ("layout:tag", "oci:"),
            ("oci.tar", "oci-archive:"),
            ("docker.tar", "docker-archive:"),
            ("docker.tar:debian:x", "docker-archive:"),
            ("docker.tar.gz", "docker-archive:"),
            ("notes", "docker-archive:"),
        ] {
            let text = format!("{base}/{text}");
            let Err(NameError::Bare { suggestion, .. }) = parse(&text) else { panic!("{text} is no source") };
            assert_eq!(suggestion, *format!("{transport}{text}"));
        }
    }
}
