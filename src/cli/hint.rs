//! What to do about an error, where there is something.

use std::os::unix::ffi::OsStrExt;

use planish::error::{ImageProblem, OutputProblem, ToolProblem};
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
        NameError::Registry(_) => "skopeo copy docker://REF oci:DIR:TAG makes a layout of it".into(),
        NameError::Transport(_) | NameError::Unknown(_) => {
            "a source is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF] or -".into()
        }
        _ => return None,
    })
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
