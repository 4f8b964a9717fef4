//! Errors of texts that are not image references.

use std::fmt;

use crate::path::Escaped;

/// The reason why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It could be the reference of a registry or an existing path.
    #[error("{0} is a reference, and the name of {what} here", what = .1.what())]
    Ambiguous(String, BareKind),
    /// It is not a reference of a registry.
    #[error(transparent)]
    Reference(ReferenceFault),
    /// It begins with a transport in the form of a URL scheme.
    #[error("{text} has not the form of a source")]
    Scheme {
        /// The given text.
        text: String,
        /// The reference that was probably meant.
        suggestion: String,
    },
    /// It begins with a transport of another tool.
    #[error("the transport {0} is not one of docker, oci, oci-archive, docker-archive and tar")]
    Transport(String, String),
    /// It is a transport without a path.
    #[error("{0} names no path")]
    NoPath(&'static str),
    /// The text after the path is not UTF-8.
    #[error("the name of the image in it is not UTF-8")]
    NotUtf8,
    /// It is a Windows path.
    #[error("{text} is a path of Windows")]
    Windows {
        /// The given text.
        text: String,
        /// The path in WSL.
        suggestion: String,
    },
    /// It is an image of a registry, and this build has no client for one.
    #[error("{0} is in a registry, and planish was built without the feature registry")]
    NoRegistry(String),
    /// It is empty.
    #[error("the source is empty")]
    Empty,
    /// It is neither an existing path nor a reference.
    #[error("{0} is neither a source nor a file that exists")]
    Unknown(String),
}

/// The kind of a path that was given without a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareKind {
    /// A directory.
    Layout,
    /// A file.
    Archive,
}

impl BareKind {
    fn what(self) -> &'static str {
        match self {
            Self::Layout => "an OCI layout",
            Self::Archive => "an archive",
        }
    }
}

/// A text that is not a reference, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceFault {
    pub(crate) text: String,
    pub(crate) why: ReferenceProblem,
    /// The reference that was probably meant.
    pub suggestion: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferenceProblem {
    Case,
    Digest,
    Long,
    Scheme,
    Login,
    Port,
    Form,
}

impl ReferenceFault {
    /// Returns true if the reason says more than that the text does not have the form of a reference.
    pub(crate) fn is_telling(&self) -> bool {
        self.suggestion.is_some() || self.why != ReferenceProblem::Form
    }
}

impl fmt::Display for ReferenceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            ReferenceProblem::Case => "the names in it are not all in lower case",
            ReferenceProblem::Digest => "its digest is not sha256: and 64 digits, or sha512: and 128, in lower case",
            ReferenceProblem::Long => "its names have more than 255 characters",
            ReferenceProblem::Scheme => "it is a URL",
            ReferenceProblem::Login => "it holds a login, which --creds USER --password-stdin takes",
            ReferenceProblem::Port => "its port is not a number from 1 to 65535",
            ReferenceProblem::Form => "it has not the form HOST/NAME:TAG or HOST/NAME@DIGEST, in lower case",
        };
        write!(f, "{} is not a reference: {why}", Escaped(self.text.as_bytes()))
    }
}

impl std::error::Error for ReferenceFault {}
