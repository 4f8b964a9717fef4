//! What to do about an error, where there is something.

use std::os::unix::ffi::OsStrExt;

use planish::error::{CacheProblem, CredentialProblem, ImageProblem, OutputProblem, RegistryProblem, ToolProblem};
use planish::limits::Limit;
use planish::source::NameError;
use planish::{Error, ErrorKind};

/// Returns advice, as one line without `hint:`.
pub fn of(error: &Error) -> Option<String> {
    Some(match error.kind() {
        ErrorKind::Size { .. } => "drop --size to let the plan choose".into(),
        ErrorKind::BeyondDirect(_) => "drop --engine to let planish take e2fsprogs".into(),
        ErrorKind::Limit { limit: Limit::DirectoryEntries, .. } => {
            "drop --engine to let planish take the one that writes large directories, or raise --max-directory-entries"
                .into()
        }
        ErrorKind::Limit { limit, .. } => format!("if you trust the image, raise --{}", limit.flag()),
        ErrorKind::Tool { problem: ToolProblem::Missing | ToolProblem::TooOld { .. }, .. } => {
            "install e2fsprogs: apt-get install e2fsprogs".into()
        }
        ErrorKind::Tool { problem: ToolProblem::NoSpace { .. }, .. } => {
            "free some space, or choose an --output on another disk".into()
        }
        ErrorKind::NoSpace { .. } => "choose another disk with --work-dir or TMPDIR".into(),
        ErrorKind::Output { problem: OutputProblem::Exists, .. } => "--force replaces it".into(),
        ErrorKind::Output { problem: OutputProblem::InsideSource, .. } => "choose an --output elsewhere".into(),
        ErrorKind::Registry { problem, .. } => return of_registry(problem),
        ErrorKind::Credentials { problem, .. } => return Some(of_credentials(problem).into()),
        ErrorKind::Cache { problem, .. } => return of_cache(problem),
        ErrorKind::Strict { .. } => "drop --strict to build with the losses noted".into(),
        ErrorKind::Proof { .. } | ErrorKind::Unsound { .. } => {
            "this should not happen: please report it with the image".into()
        }
        ErrorKind::Image { problem, .. } => return of_image(problem),
        _ => return None,
    })
}

/// Returns advice about a source that cannot be one.
pub fn of_name(error: &NameError) -> Option<String> {
    Some(match error {
        NameError::Bare { suggestion, .. } => {
            format!("did you mean {}?", planish::path::Escaped(suggestion.as_bytes()))
        }
        NameError::Transport(_) | NameError::Unknown(_) => {
            "a source is docker://REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF] or -".into()
        }
        _ => return None,
    })
}

fn of_registry(problem: &RegistryProblem) -> Option<String> {
    Some(match problem {
        RegistryProblem::Untrusted(_) => {
            "--ca-file trusts the CA of a private registry; --plain-http is for one without TLS".into()
        }
        RegistryProblem::NoCertificates => "install ca-certificates, or set SSL_CERT_FILE or --ca-file".into(),
        RegistryProblem::Redirects(_) => "raise --max-redirects, if the registry really leads that far".into(),
        RegistryProblem::TooSlow { .. } => "lower --min-rate".into(),
        RegistryProblem::Stalled { .. } => "raise --idle-timeout".into(),
        _ => return None,
    })
}

fn of_cache(problem: &CacheProblem) -> Option<String> {
    Some(match problem {
        CacheProblem::NotWritable | CacheProblem::NotDirectory | CacheProblem::Owner | CacheProblem::Mode => {
            "choose another directory with --cache-dir, or do without with --no-cache".into()
        }
        CacheProblem::NoSpace { .. } => {
            "planish cache prune makes room; --cache-dir takes another disk, --no-cache does without".into()
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
            "--no-creds asks without credentials, --authfile takes them from one file"
        }
        _ => "podman login or docker login stores credentials, --creds USER --password-stdin gives them",
    }
}

fn of_image(problem: &ImageProblem) -> Option<String> {
    Some(match problem {
        ImageProblem::NoSuchPlatform { .. } | ImageProblem::OtherPlatform { .. } => {
            "choose one that is there with --platform".into()
        }
        ImageProblem::SeveralImages(_) | ImageProblem::NoSuchTag { .. } => {
            "add :TAG of one of them to the source".into()
        }
        ImageProblem::XattrNameUnsupported(_)
        | ImageProblem::XattrNameNotText(_)
        | ImageProblem::PathUnsupported(_)
        | ImageProblem::TooManySubdirectories(_)
        | ImageProblem::TooManyExtents(..)
        | ImageProblem::IndexFull(_)
        | ImageProblem::OtherLostAndFound
        | ImageProblem::OwnLostAndFound => "drop --engine to let planish take the one that can write it".into(),
        ImageProblem::XattrSpace { .. } => "ext4 keeps an inode's xattrs in the inode and one block".into(),
        _ => return None,
    })
}
