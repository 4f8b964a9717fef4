//! Advice on errors, for the `hint:` line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use planish::Escaped;
use planish::error::{
    BareKind, CacheProblem, CredentialProblem, ImageProblem, InjectionProblem, KeyProblem, NameError, NotExt4,
    OutputFile, OutputProblem, Place, RegistryProblem, ToolProblem,
};
use planish::limits::Limit;
use planish::{Error, ErrorKind, Fault, ImageReference};

use super::distribution;

/// Returns the advice on an error, as one line without `hint:`.
pub fn of(error: &Error) -> Option<String> {
    Some(match error.kind() {
        ErrorKind::Source(error) => return of_name(error),
        ErrorKind::Size { .. } => "drop --size to let the plan choose".into(),
        ErrorKind::InodeCapacity { .. } => "lower --free-inodes".into(),
        ErrorKind::BeyondDirect(_) => "drop --engine to let planish choose e2fsprogs".into(),
        ErrorKind::Limit { limit: Limit::DirectoryEntries, .. } => {
            "drop --engine to let planish choose the one that writes large directories, or raise --max-directory-entries"
                .into()
        }
        ErrorKind::Deadline { .. } => "raise --deadline; blobs in the cache are not fetched again".into(),
        ErrorKind::Limit { limit, .. } => format!("if you trust the image, raise --{}", limit.flag()),
        ErrorKind::Tool { tool: "qemu-img", problem: ToolProblem::Missing, .. } => {
            "install qemu-utils (Debian, Ubuntu), qemu-img (Fedora, Alpine) or qemu-tools (openSUSE); --format raw and raw.zst \
             need no program"
                .into()
        }
        ErrorKind::Tool { problem: ToolProblem::Missing | ToolProblem::TooOld { .. }, .. } => {
            let command = distribution::install().map(|command| format!(": {command}")).unwrap_or_default();
            format!("install e2fsprogs{command}; planish doctor checks what else a build needs")
        }
        ErrorKind::Tool { problem: ToolProblem::Stranger { .. }, .. } => {
            "put the directory of e2fsprogs first in PATH, or remove the other program".into()
        }
        ErrorKind::Tool { problem: ToolProblem::LargeFile { .. }, .. } => {
            "drop --engine to let planish write it itself, or install another e2fsprogs".into()
        }
        ErrorKind::Tool { problem: ToolProblem::NoSpace { .. }, .. } => {
            "free some space, or choose an --output on another disk".into()
        }
        ErrorKind::NoMemory => "raise the limit of this process (ulimit -v, ulimit -d), or lower --jobs".into(),
        ErrorKind::NoSpace { file, .. } => {
            let options = match file {
                Some(OutputFile::Filesystem) => "--output",
                Some(OutputFile::Report) => "--report",
                Some(OutputFile::Verity) => "--verity",
                Some(OutputFile::Config) => "--config-out or --config-env",
                None => "--work-dir or TMPDIR",
            };
            format!("choose another disk with {options}")
        }
        ErrorKind::Output { file, problem, .. } => return of_output(*file, problem),
        ErrorKind::Registry { problem, .. } => return of_registry(problem),
        ErrorKind::Credentials { problem, .. } => return Some(of_credentials(problem).into()),
        ErrorKind::Cache { problem, .. } => return of_cache(problem),
        ErrorKind::Key { problem: KeyProblem::NotPublic, .. } => "minisign -G makes a pair; the public key is minisign.pub".into(),
        ErrorKind::Key { .. } => "minisign -G -W makes a pair without a password".into(),
        ErrorKind::Strict { .. } => "drop --strict to build with the losses noted".into(),
        ErrorKind::Proof { .. } | ErrorKind::Packed { .. } | ErrorKind::Unsound { .. } => {
            "this should not happen: please report it with the image".into()
        }
        ErrorKind::Injection { problem: InjectionProblem::HoldsWorkDir(_), .. } => {
            "choose another directory with --work-dir or TMPDIR".into()
        }
        ErrorKind::NotVerity { .. } => "--verity FILE names the file of the tree if it is not behind the filesystem".into(),
        ErrorKind::NotAFilesystem { path, found } => return of_file(path, found),
        ErrorKind::Image { problem: ImageProblem::PutOverDirectory, .. } => {
            "a file whose PATH ends with / is put into that directory, and keeps its name".into()
        }
        ErrorKind::Image { place, problem } => return of_image(place, problem),
        _ => return None,
    })
}

/// Returns advice on damaged files of a cache: blobs of images, finished filesystems, and files made from layers.
pub fn of_damaged(fetched: usize, built: usize, layers: usize) -> String {
    let parts = [
        (fetched, "the next build of its image fetches a damaged blob again"),
        (built, "the next build of its key builds a damaged filesystem again"),
        (layers, "the next command that needs it decodes a layer again"),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    parts.join("; ")
}

/// Returns the advice on an error of `check`, which takes images and filesystems alike.
pub fn of_check(error: &Error, source: &OsStr) -> Option<String> {
    const FILESYSTEMS: [&str; 4] = [".ext4", ".ext3", ".img", ".raw"];
    let named = source.to_str().filter(|name| !name.starts_with("docker://"));
    let is_remote = || matches!(ImageReference::parse(source), Ok(ImageReference::Docker(_)));
    match (error.kind(), named) {
        (ErrorKind::NotAFilesystem { .. }, _) => {
            Some(of(error).unwrap_or_else(|| "it is no archive of an image either".into()))
        }
        (_, Some(name)) if FILESYSTEMS.iter().any(|end| name.ends_with(end)) && is_remote() => match error.fault() {
            Fault::Registry | Fault::Credentials | Fault::Machine => Some(format!(
                "there is no file {} here, so it was taken for an image of a registry",
                Escaped(name.as_bytes())
            )),
            _ => of(error),
        },
        _ => of(error),
    }
}

/// Returns advice about a path that cannot take a result.
fn of_output(file: OutputFile, problem: &OutputProblem) -> Option<String> {
    Some(match (problem, file) {
        (OutputProblem::Exists, _) => "--force replaces it".into(),
        (OutputProblem::NotReport, _) => "--force replaces it; --report takes another path".into(),
        (OutputProblem::InsideSource | OutputProblem::Read, OutputFile::Filesystem) => {
            "choose an --output elsewhere".into()
        }
        (OutputProblem::Special | OutputProblem::Symlink, OutputFile::Report) => {
            "--json prints the report on stdout; --report takes the path of a file".into()
        }
        (_, OutputFile::Config) => "choose another path with --config-out or --config-env".into(),
        (_, OutputFile::Verity) => "choose another path with --verity".into(),
        (_, OutputFile::Report) => "choose another path with --report".into(),
        _ => return None,
    })
}

/// Returns advice about a source that cannot be one.
fn of_name(error: &NameError) -> Option<String> {
    Some(match error {
        NameError::Ambiguous(text, kind) => {
            let here = match kind {
                BareKind::Layout => format!("oci:{text}"),
                _ => format!("./{text}"),
            };
            format!("{here} is the one here, docker://{text} the registry's")
        }
        NameError::Reference(fault) => format!("did you mean {}?", fault.suggestion.as_ref()?),
        NameError::Scheme { suggestion, .. } => format!("did you mean {suggestion}?"),
        NameError::Windows { suggestion, .. } => format!("under WSL it is {suggestion}"),
        NameError::Transport(transport, rest) => match (transport.as_str(), rest.as_str()) {
            ("docker-daemon", image) => format!("docker save {image} | planish build -"),
            ("containers-storage", image) => format!("podman save {image} | planish build -"),
            ("dir", path) => format!("skopeo copy dir:{path} oci:LAYOUT:latest makes a layout of it"),
            _ => SOURCES.into(),
        },
        NameError::NoPath(_) | NameError::Empty | NameError::Unknown(_) => SOURCES.into(),
        _ => return None,
    })
}

const SOURCES: &str = "a source is docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], tar:FILE, a path \
                       of one of these, or -";

fn of_registry(problem: &RegistryProblem) -> Option<String> {
    Some(match problem {
        RegistryProblem::Untrusted(_) => {
            "--ca-file FILE trusts the CA of a private registry; --tls-verify=false accepts any certificate".into()
        }
        RegistryProblem::NotTls | RegistryProblem::Handshake { .. } => {
            "--plain-http is for a registry without TLS; anyone on the network path can read and change the data".into()
        }
        RegistryProblem::NotHttp(_) => of_plain_http(),
        RegistryProblem::Status { status: 400, said, .. } if said.contains("HTTPS") => of_plain_http(),
        RegistryProblem::Late(_) => "raise --connect-timeout, or set HTTPS_PROXY if there is a proxy".into(),
        RegistryProblem::NoCertificates => "install ca-certificates, or set SSL_CERT_FILE or --ca-file".into(),
        RegistryProblem::Redirects(_) => "raise --max-redirects, if the registry really redirects that often".into(),
        RegistryProblem::TooSlow { .. } => "lower --min-rate".into(),
        RegistryProblem::Stalled { .. } => "raise --idle-timeout".into(),
        _ => return None,
    })
}

fn of_plain_http() -> String {
    "if the registry has TLS, drop --plain-http; for one on this machine, add --tls-verify".into()
}

fn of_cache(problem: &CacheProblem) -> Option<String> {
    Some(match problem {
        CacheProblem::NotWritable
        | CacheProblem::NotDirectory
        | CacheProblem::Foreign
        | CacheProblem::Owner
        | CacheProblem::Mode => "choose another directory with --cache-dir, or use none with --no-cache".into(),
        CacheProblem::OthersWord { .. } => {
            "name the image by its digest, which is verified, or choose a cache of your own with --cache-dir".into()
        }
        CacheProblem::NoSpace { .. } => {
            "planish cache prune makes room; --cache-dir selects another disk, --no-cache uses no cache".into()
        }
        CacheProblem::Damaged { .. } | CacheProblem::DamagedDigest(_) => "without --offline it is fetched again".into(),
        CacheProblem::Missing | CacheProblem::UnknownReference => "drop --offline to fetch it".into(),
        CacheProblem::Index(_) => "the next build without --offline writes a new one".into(),
        CacheProblem::NotRegular => "remove it if it is yours".into(),
        _ => return None,
    })
}

fn of_credentials(problem: &CredentialProblem) -> &'static str {
    match problem {
        CredentialProblem::Helper { .. } | CredentialProblem::File { .. } => {
            "--no-creds uses no credentials, --authfile reads them from one file"
        }
        CredentialProblem::Unasked { .. } => {
            "fix that, or give credentials with --authfile FILE or --creds USER --password-stdin"
        }
        _ => "podman login or docker login stores credentials, --creds USER --password-stdin gives them",
    }
}

fn of_file(path: &Path, found: &NotExt4) -> Option<String> {
    Some(match found {
        NotExt4::Compressed(format) => format!("decompress it first ({format})"),
        NotExt4::Disk(_) => {
            format!("make it raw first: qemu-img convert -O raw {} RAW", Escaped(path.as_os_str().as_bytes()))
        }
        NotExt4::Partitions => {
            "the filesystem may be in one of its partitions: copy that out, or name its device".into()
        }
        _ => return None,
    })
}

fn of_image(place: &Place, problem: &ImageProblem) -> Option<String> {
    Some(match problem {
        ImageProblem::NoSuchPlatform { .. } | ImageProblem::OtherPlatform { .. } => {
            "choose one that is there with --platform".into()
        }
        ImageProblem::SeveralImages { of, there } => return several(place, of, there),
        ImageProblem::NoSuchPath(missing) => match &missing.similar {
            Some(similar) => format!("did you mean {similar}?"),
            None => format!("planish ls lists what is there, down to {}", missing.end),
        },
        ImageProblem::NoSuchTag { there, .. } if there.is_empty() => return None,
        ImageProblem::NoSuchTag { .. } => "add :TAG of one of them to the source".into(),
        ImageProblem::NotADirectory => {
            "oci-archive:FILE reads a layout in an archive, docker-archive:FILE what docker save writes".into()
        }
        ImageProblem::OtherTransport { meant, .. } => format!("did you mean {meant}?"),
        ImageProblem::NotAnImage => {
            "tar:FILE reads a root filesystem in a tar file, such as docker export writes it".into()
        }
        ImageProblem::OldDockerArchive => "docker load and docker save of any docker since 1.10 write it anew".into(),
        ImageProblem::EmptyInput => "the command before the pipe may have failed: run it alone to see".into(),
        ImageProblem::NoInput => "- reads an archive from a pipe or a file: docker save IMAGE | planish build -".into(),
        ImageProblem::SkopeoDirectory => "skopeo copy dir:DIR oci:LAYOUT:latest makes a layout of it".into(),
        ImageProblem::UnpackedArchive => "pack it again: tar -C DIR -c . | planish build -".into(),
        ImageProblem::UnknownCompression(format) => {
            let program = match *format {
                "xz" => "xz -d",
                "bzip2" => "bzip2 -d",
                "lz4" => "lz4 -d",
                "lzip" => "lzip -d",
                "zip" => "unzip",
                "7z" => "7z x",
                "lzma" => "xz -d --format=lzma",
                _ => "uncompress",
            };
            format!("decompress it first, with {program}, or use gzip or zstd")
        }
        ImageProblem::MediaType(name) if name.contains("docker.distribution.manifest.v1") => {
            "push the image again with a recent docker, or copy it with skopeo copy --format oci".into()
        }
        ImageProblem::MediaType(name) if name.ends_with("+encrypted") => {
            "decrypt it first: skopeo copy --decryption-key KEY".into()
        }
        ImageProblem::XattrNameUnsupported(_)
        | ImageProblem::XattrNameNotText(_)
        | ImageProblem::PathUnsupported(_)
        | ImageProblem::TooManySubdirectories(_)
        | ImageProblem::TooManyExtents(..)
        | ImageProblem::IndexFull(_)
        | ImageProblem::OtherLostAndFound
        | ImageProblem::OwnLostAndFound => "drop --engine to let planish choose the one that can write it".into(),
        ImageProblem::XattrSpace { .. } => "ext4 keeps an inode's xattrs in the inode and one block".into(),
        _ => return None,
    })
}

/// Returns the advice to name one of several images: the first of them, if the reference is known.
fn several(place: &Place, of: &str, there: &str) -> Option<String> {
    let Place::Source(source) = place else { return None };
    let first = there.split(", ").next().unwrap_or(there);
    if source == "-" {
        return Some(match first.as_bytes() {
            [b'@', ..] => format!("docker-archive:-:{first} is the first of them"),
            [b's', b'h', b'a', b'2' | b'5', ..] => format!("oci-archive:-:{first} is the first of them"),
            _ => format!("docker-archive:-:{first} is the first of them, or oci-archive:-:{first} of a layout"),
        });
    }
    // An ambiguous name in the reference is replaced by an unambiguous one.
    let named = of.strip_prefix(" named ").and_then(|rest| rest.split_once(" for platform "));
    let bare = match named {
        Some((name, _)) => source.strip_suffix(name)?.strip_suffix([':', '@'])?,
        None => source,
    };
    Some(format!("{}:{first} is the first of them", Escaped(bare.as_bytes())))
}
