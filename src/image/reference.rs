//! Image references: a transport, a place, and the name of an image there.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::distribution::Reference;

use super::{guess, registry_reference};
use crate::error::{BareKind, NameError, ReferenceFault, ShownPath};
use crate::path::Escaped;

/// An image reference with the transports of skopeo. For a path without a transport, its content decides.
///
/// If colons make a path and a name ambiguous, the longest existing path is used: `oci:a:b` is the layout `a:b` if it
/// exists, else the image `b` of the layout `a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// `oci:DIR[:TAG]`: an OCI layout.
    Oci {
        /// The directory of the layout.
        directory: PathBuf,
        /// A tag, or a digest with or without `@` before it.
        image: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: an OCI layout in an archive.
    OciArchive {
        /// The archive, possibly compressed, or a pipe.
        file: PathBuf,
        /// A tag or a digest.
        image: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: an archive of `docker save`.
    DockerArchive {
        /// The archive, possibly compressed, or a pipe.
        file: PathBuf,
        /// A reference, or `@N` for the image with that number, from 0.
        image: Option<String>,
    },
    /// `FILE[:NAME]`: an archive of either kind, detected by its content.
    Archive {
        /// The archive, possibly compressed, or a pipe.
        file: PathBuf,
        /// A name in the form of the archive's kind.
        image: Option<String>,
    },
    /// `tar:FILE`: a root filesystem in a tar file.
    Tar(PathBuf),
    /// `docker://REF`, or a bare reference: an image in a registry.
    Docker(Reference),
    /// `-`: an archive of either kind on standard input.
    Stdin,
}

const DOCKER: &str = "docker://";
const OCI: &str = "oci:";
const OCI_ARCHIVE: &str = "oci-archive:";
const DOCKER_ARCHIVE: &str = "docker-archive:";
const TAR: &str = "tar:";

impl ImageReference {
    /// Parses a reference. The disk is examined to distinguish paths from names.
    ///
    /// # Errors
    ///
    /// [`NameError`]: the text is not a reference.
    pub fn parse(text: &OsStr) -> Result<Self, NameError> {
        let after = |transport: &str| text.as_bytes().strip_prefix(transport.as_bytes());
        if text.is_empty() {
            Err(NameError::Empty)
        } else if text == "-" {
            Ok(Self::Stdin)
        } else if let Some(rest) = after(OCI) {
            split(rest, OCI).map(|(directory, image)| Self::Oci { directory, image })
        } else if let Some(rest) = after(OCI_ARCHIVE) {
            split(rest, OCI_ARCHIVE).map(|(file, image)| Self::OciArchive { file, image })
        } else if let Some(rest) = after(DOCKER_ARCHIVE) {
            split(rest, DOCKER_ARCHIVE).map(|(file, image)| Self::DockerArchive { file, image })
        } else if let Some(rest) = after(TAR) {
            match rest {
                b"" => Err(NameError::NoPath(TAR)),
                path => Ok(Self::Tar(as_path(path).to_owned())),
            }
        } else {
            without_transport(text)
        }
    }
}

impl TryFrom<&OsStr> for ImageReference {
    type Error = NameError;

    fn try_from(text: &OsStr) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for ImageReference {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::parse(OsStr::new(text))
    }
}

impl ImageReference {
    /// Returns the path that the image is read from; standard input has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Oci { directory: path, .. }
            | Self::OciArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. }
            | Self::Archive { file: path, .. }
            | Self::Tar(path) => Some(path),
            Self::Docker(_) | Self::Stdin => None,
        }
    }
}

fn without_transport(text: &OsStr) -> Result<ImageReference, NameError> {
    let shown = || Escaped(text.as_bytes()).to_string();
    let Some(word) = text.to_str() else { return bare_path(text).ok_or_else(|| NameError::Unknown(shown())) };
    if let Some(name) = word.strip_prefix(DOCKER) {
        return registry_reference::parse(name, word).map(ImageReference::Docker).map_err(NameError::Reference);
    }
    let named = registry_reference::parse(word, word);
    let like_a_path =
        word.starts_with(['/', '.']) || splits(word.as_bytes()).any(|(path, _)| is_named_like_archive(path));
    if let Some(there) = bare_path(text) {
        return match (named, there) {
            (Err(_), there) => Ok(there),
            (Ok(_), there) if like_a_path => Ok(there),
            (Ok(_), ImageReference::Oci { directory, .. }) if guess::kind(&directory) == Some(guess::Kind::Layout) => {
                Err(NameError::Ambiguous(shown(), BareKind::Layout))
            }
            (Ok(_), ImageReference::Archive { file, .. }) if guess::kind(&file) == Some(guess::Kind::Archive) => {
                Err(NameError::Ambiguous(shown(), BareKind::Archive))
            }
            // An existing path of that name is not an image.
            (Ok(reference), _) => Ok(ImageReference::Docker(reference)),
        };
    }
    let unknown = |fault: ReferenceFault| match misspelled(word) {
        Some(error) => error,
        None if fault.is_telling() => NameError::Reference(fault),
        None => NameError::Unknown(shown()),
    };
    match word.split_once(':') {
        Some((transport, rest)) if FOREIGN.contains(&transport) => {
            Err(NameError::Transport(transport.to_owned(), Escaped(rest.as_bytes()).to_string()))
        }
        _ => named.map(ImageReference::Docker).map_err(unknown),
    }
}

/// The transports of other tools.
const FOREIGN: [&str; 6] = ["dir", "docker-daemon", "containers-storage", "ostree", "sif", "tarball"];

/// Returns the error of a known mistake in a word that is neither a reference nor a path.
fn misspelled(word: &str) -> Option<NameError> {
    let text = Escaped(word.as_bytes()).to_string();
    let scheme = |suggestion: String| Some(NameError::Scheme { text: text.clone(), suggestion });
    let lower = word.to_ascii_lowercase();
    if let [drive, b':', b'\\' | b'/', rest @ ..] = word.as_bytes()
        && drive.is_ascii_alphabetic()
        && let Ok(rest) = std::str::from_utf8(rest)
    {
        let suggestion = format!("/mnt/{}/{}", drive.to_ascii_lowercase() as char, rest.replace('\\', "/"));
        return Some(NameError::Windows { text, suggestion });
    }
    if let Some(path) = lower.strip_prefix("file://").map(|rest| &word[word.len() - rest.len()..]) {
        let path = path.strip_prefix("localhost/").map_or_else(|| path.to_owned(), |path| format!("/{path}"));
        return scheme(path);
    }
    if let Some(suggestion) = registry_reference::without_scheme(word) {
        return scheme(suggestion);
    }
    let rest = lower.strip_prefix("docker:").map(|rest| &word[word.len() - rest.len()..])?;
    let name = rest.trim_start_matches('/');
    registry_reference::parse(name, name).ok().and_then(|_| scheme(format!("{DOCKER}{name}")))
}

fn is_named_like_archive(path: &Path) -> bool {
    path.to_str().is_some_and(guess::ends_like_archive)
}

/// Returns the reference of a path without a transport; `None` if the path does not exist.
fn bare_path(text: &OsStr) -> Option<ImageReference> {
    let (path, image) = splits(text.as_bytes()).find(|(path, _)| path.exists())?;
    let image = match image.filter(|image| !image.is_empty()) {
        None => None,
        Some(image) => Some(String::from_utf8(image.to_vec()).ok()?),
    };
    let path = path.to_owned();
    Some(match guess::kind(&path)? {
        guess::Kind::Layout | guess::Kind::Directory => ImageReference::Oci { directory: path, image },
        guess::Kind::Archive | guess::Kind::File => ImageReference::Archive { file: path, image },
    })
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
    if let Some(plain) = rest.strip_prefix(b"//")
        && !path.exists()
    {
        let text = Escaped(&[transport.as_bytes(), rest].concat()).to_string();
        let on_disk = splits(plain).any(|(path, _)| path.exists());
        let url = std::str::from_utf8(&[transport.as_bytes(), rest].concat())
            .ok()
            .and_then(registry_reference::without_scheme);
        // The name of a registry has a dot or a port.
        let host = plain.split(|&b| b == b'/').next().is_some_and(|host| host.contains(&b'.') || host.contains(&b':'));
        let suggestion = match url {
            Some(reference) if host && !on_disk => reference,
            _ => format!("{transport}{}", Escaped(plain)),
        };
        return Err(NameError::Scheme { text, suggestion });
    }
    let image = image.filter(|image| !image.is_empty());
    let image = image.map(|image| String::from_utf8(image.to_vec()).map_err(|_| NameError::NotUtf8)).transpose()?;
    Ok((path.to_owned(), image))
}

/// Returns all ways to split, the longest path first; an `@` belongs to the name that it begins.
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

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, image) = match self {
            Self::Oci { directory, image } => (OCI, directory, image),
            Self::OciArchive { file, image } => (OCI_ARCHIVE, file, image),
            Self::DockerArchive { file, image } => (DOCKER_ARCHIVE, file, image),
            Self::Archive { file, image } => ("", file, image),
            Self::Tar(file) => (TAR, file, &None),
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

    fn parse(text: &str) -> Result<ImageReference, NameError> {
        ImageReference::parse(OsStr::new(text))
    }

    #[test]
    fn transports_are_those_of_skopeo() {
        let image = |text: &str| Some(text.to_owned());
        let table = [
            ("-", ImageReference::Stdin),
            ("oci:/no/dir", ImageReference::Oci { directory: "/no/dir".into(), image: None }),
            ("oci:/no/dir:tag", ImageReference::Oci { directory: "/no/dir".into(), image: image("tag") }),
            ("oci:/no/dir:", ImageReference::Oci { directory: "/no/dir".into(), image: None }),
            ("oci-archive:a.tar:x", ImageReference::OciArchive { file: "a.tar".into(), image: image("x") }),
            (
                "docker-archive:d.tar:host:5000/a/b:tag",
                ImageReference::DockerArchive { file: "d.tar".into(), image: image("host:5000/a/b:tag") },
            ),
            ("docker-archive:d.tar:@0", ImageReference::DockerArchive { file: "d.tar".into(), image: image("@0") }),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse("oci:/no/dir:tag").unwrap().to_string(), "oci:/no/dir:tag");
    }

    #[test]
    fn a_registry_reference_may_omit_its_transport() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let table = [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:bookworm", "docker.io/library/debian:bookworm".to_owned()),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            (&format!("ghcr.io/a/b@{digest}"), format!("ghcr.io/a/b@{digest}")),
        ];
        for (text, expected) in table {
            for text in [text.to_owned(), format!("docker://{text}")] {
                assert_eq!(parse(&text).unwrap().to_string(), format!("docker://{expected}"), "{text}");
            }
        }
    }

    #[test]
    fn the_path_is_the_longest_existing_prefix() {
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
            let expected = ImageReference::Oci { directory: directory.path().join(path), image: image.map(Into::into) };
            assert_eq!(parse(&format!("oci:{base}/{text}")).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn other_files_are_refused_by_their_kind() {
        let reference = |text: &str| {
            format!("{text} is not a reference: it has not the form HOST/NAME:TAG or HOST/NAME@DIGEST, in lower case")
        };
        let case = |text: &str| format!("{text} is not a reference: the names in it are not all in lower case");
        let transport =
            |name: &str| format!("the transport {name} is not one of docker, oci, oci-archive, docker-archive and tar");
        let table: [(&str, String); 22] = [
            ("docker://", reference("docker://")),
            ("docker://Debian", case("docker://Debian")),
            ("docker://a b", reference("docker://a b")),
            ("docker://https://ghcr.io/a/b", "docker://https://ghcr.io/a/b is not a reference: it is a URL".into()),
            ("Debian", case("Debian")),
            ("dir:/x", transport("dir")),
            ("docker-daemon:debian", transport("docker-daemon")),
            ("containers-storage:debian", transport("containers-storage")),
            ("oci:", "oci: names no path".into()),
            ("docker-archive::x", "docker-archive: names no path".into()),
            ("oci://no/such", "oci://no/such has not the form of a source".into()),
            ("oci-archive:///no/such.tar", "oci-archive:///no/such.tar has not the form of a source".into()),
            ("file:///no/such.tar", "file:///no/such.tar has not the form of a source".into()),
            ("https://ghcr.io/a/b", "https://ghcr.io/a/b has not the form of a source".into()),
            ("docker:/debian", "docker:/debian has not the form of a source".into()),
            ("C:\\images\\x.tar", "C:\\x5cimages\\x5cx.tar is a path of Windows".into()),
            ("c:/images/x.tar", "c:/images/x.tar is a path of Windows".into()),
            ("./missing.tar", "./missing.tar is neither a source nor a file that exists".into()),
            ("a//b", "a//b is neither a source nor a file that exists".into()),
            ("--outptu", "--outptu is neither a source nor a file that exists".into()),
            ("\x1b[31m", r"\x1b[31m is neither a source nor a file that exists".into()),
            ("", "the source is empty".into()),
        ];
        for (text, want) in table {
            assert_eq!(parse(text).unwrap_err().to_string(), want);
        }
        let not_utf8 = ImageReference::parse(OsStr::from_bytes(b"oci:x:\xff"));
        assert_eq!(not_utf8, Err(NameError::NotUtf8));
    }

    #[test]
    fn the_probable_reference_is_suggested() {
        let suggestion = |text: &str| match parse(text).unwrap_err() {
            NameError::Scheme { suggestion, .. } | NameError::Windows { suggestion, .. } => Some(suggestion),
            NameError::Reference(fault) => fault.suggestion,
            _ => None,
        };
        for (text, expected) in [
            ("Team/App:V1", Some("docker://team/app:V1")),
            ("docker://HOST:5000/Team/App", Some("docker://host:5000/team/app")),
            ("https://ghcr.io/a/b:c", Some("docker://ghcr.io/a/b:c")),
            ("http://localhost:5000/a/", Some("docker://localhost:5000/a")),
            ("docker://https://ghcr.io/a/b", Some("docker://ghcr.io/a/b")),
            ("oci://ghcr.io/a/b:c", Some("docker://ghcr.io/a/b:c")),
            ("oci://no/Such", Some("oci:no/Such")),
            ("oci://./no/such:t", Some("oci:./no/such:t")),
            ("oci-archive://no/such.tar:t", Some("oci-archive:no/such.tar:t")),
            ("docker-archive:///no/such.tar", Some("docker-archive:/no/such.tar")),
            ("file:///no/such.tar", Some("/no/such.tar")),
            ("FILE://localhost/no/such.tar", Some("/no/such.tar")),
            ("docker:/debian:12", Some("docker://debian:12")),
            ("docker:debian:12", Some("docker://debian:12")),
            ("C:\\images\\x.tar", Some("/mnt/c/images/x.tar")),
            ("d:/x.tar", Some("/mnt/d/x.tar")),
        ] {
            assert_eq!(suggestion(text).as_deref(), expected, "{text}");
        }
        // There is an image of that name.
        assert_eq!(parse("docker:dind").unwrap().to_string(), "docker://docker.io/library/docker:dind");
    }

    #[test]
    fn a_path_without_a_transport_is_recognized_by_content() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        for name in ["layout", "layout:with", "sources"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        for name in ["layout", "layout:with"] {
            std::fs::write(directory.path().join(name).join("index.json"), "{}").unwrap();
        }
        let files = [
            ("oci.tar", Stream::new().file(b"./index.json", b"{}").end()),
            ("docker.tar.gz", b"\x1f\x8b".to_vec()),
            ("notes", b"hello".to_vec()),
        ];
        for (name, content) in &files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let at = |name: &str| directory.path().join(name);
        let oci =
            |name: &str, image: Option<&str>| ImageReference::Oci { directory: at(name), image: image.map(Into::into) };
        let archive =
            |name: &str, image: Option<&str>| ImageReference::Archive { file: at(name), image: image.map(Into::into) };
        for (text, expected) in [
            ("layout", oci("layout", None)),
            ("layout:tag", oci("layout", Some("tag"))),
            ("layout:with", oci("layout:with", None)),
            ("layout:with:tag", oci("layout:with", Some("tag"))),
            ("layout@sha256:00", oci("layout", Some("@sha256:00"))),
            ("sources", oci("sources", None)),
            ("oci.tar", archive("oci.tar", None)),
            ("oci.tar:debian:x", archive("oci.tar", Some("debian:x"))),
            ("docker.tar.gz", archive("docker.tar.gz", None)),
            ("notes", archive("notes", None)),
        ] {
            assert_eq!(parse(&format!("{base}/{text}")).unwrap(), expected, "{text}");
        }
        assert_eq!(parse(&format!("{base}/oci.tar:x")).unwrap().to_string(), format!("{base}/oci.tar:x"));
    }
}
