//! Problems of a registry, the connection to it, its credentials, and the cache.

use std::fmt;

use super::Fault;
use crate::digest::Digest;

/// The registry resource of a failed request: the subject of the sentence that a [`RegistryProblem`] ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The `/v2/` endpoint: the existence of the registry and its authentication scheme.
    Host,
    /// A token.
    Token,
    /// The manifest or index of a tag.
    Tag(String),
    /// A manifest or an index by digest.
    Manifest(Digest),
    /// A config or a layer.
    Blob(Digest),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the registry"),
            Self::Token => f.write_str("the token"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Manifest(digest) => write!(f, "manifest {digest}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
        }
    }
}

/// A failure of a registry or of the connection to it: the predicate of the sentence.
///
/// Strings are escaped already, shortened, and free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum RegistryProblem {
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("cannot be reached: {0}")]
    Late(String),
    #[error("cannot be reached: the environment's {0} is no URL of an HTTP proxy")]
    ProxyUrl(&'static str),
    #[error("cannot be reached by HTTPS: {why}")]
    Handshake { why: String, late: bool },
    #[error("cannot be trusted: {0}")]
    Untrusted(String),
    #[error("cannot be reached by HTTPS: it does not use TLS")]
    NotTls,
    #[error("is not answered in HTTP: {0}")]
    NotHttp(String),
    #[error("came with more than {0} bytes beside its content")]
    Exhausted(u32),
    #[error("cannot be reached by HTTPS: this machine has no CA certificates")]
    NoCertificates,
    #[error("was answered with status {status} ({url}){said}")]
    Status { status: u16, url: String, said: String },
    #[error("does not exist there{0}")]
    Missing(String),
    #[error("was refused (rate limited): the registry allows the next request in {wait} s")]
    RateLimited { wait: u64 },
    #[error("broke off after {got} of {expected} bytes: {why}")]
    BrokenOff { got: u64, expected: u64, why: String },
    #[error("broke off: {0}")]
    Interrupted(String),
    #[error("stalled: no byte for {seconds} s, after {got} bytes")]
    Stalled { seconds: u64, got: u64 },
    #[error("came too slowly: {bytes} bytes in {seconds} s")]
    TooSlow { bytes: u64, seconds: u64 },
    #[error("has {promised} bytes by its descriptor, the registry sent {sent}")]
    Short { promised: u64, sent: u64 },
    #[error("has {promised} bytes by its descriptor, the registry sent more")]
    Long { promised: u64 },
    #[error("has digest {0} as the registry sent it")]
    Digest(Digest),
    #[error("was redirected more than {0} times")]
    Redirects(u64),
    #[error("was redirected to {0}, which planish does not follow")]
    Redirected(String),
    #[error("came in an encoding that was not requested: {0}")]
    Encoding(String),
    #[error("is not a valid response of a registry: {0}")]
    Malformed(String),
}

impl RegistryProblem {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::NoCertificates => Fault::Machine,
            Self::ProxyUrl(_) => Fault::Usage,
            _ => Fault::Registry,
        }
    }
}

/// A problem of a file of certificates or keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum CertificateProblem {
    #[error("cannot be read")]
    Unreadable,
    #[error("has more than {0} bytes, too many for certificates")]
    TooLarge(u64),
    #[error("is not PEM")]
    NotPem,
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    #[error("holds no private key")]
    NoKey,
    #[error("is a client certificate without its key: a file of the same name that ends in .key")]
    KeyMissing,
    #[error("is the key of a client certificate that is not there: a file of the same name that ends in .cert")]
    CertificateMissing,
    #[error("is no certificate chain for the key beside it, or the key is of an unknown kind")]
    Mismatch,
}

/// A problem of a file with a key for signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum KeyProblem {
    #[error("holds no secret key of minisign")]
    NotSecret,
    #[error("holds no public key of minisign")]
    NotPublic,
    #[error("holds a key that needs a password")]
    Password,
}

/// A problem of the credentials for a registry. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum CredentialProblem {
    #[error("the registry refuses the login ({source_name})")]
    Refused { source_name: String },
    #[error("the registry requires credentials, and there are none for it")]
    Wanted,
    #[error("the registry denies access{said}")]
    Denied { said: String },
    #[error("tokens are issued by {0}, to which no password may be sent")]
    Realm(String),
    #[error("the credential helper {helper} {problem}")]
    Helper { helper: String, problem: String },
    #[error("{path} {problem}")]
    File { path: String, problem: String },
    #[error("{refusal}, and {unasked}")]
    Unasked { refusal: Box<CredentialProblem>, unasked: String },
}

/// A problem of the cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum CacheProblem {
    #[error("is not a regular file")]
    NotRegular,
    #[error("is not a directory")]
    NotDirectory,
    #[error("is no cache of planish: it has no directories locks and partial")]
    Foreign,
    #[error("cannot be written")]
    NotWritable,
    #[error("has no room left after {written} bytes of a file")]
    NoSpace { written: u64 },
    #[error("is locked by {}", holder(.0))]
    Locked(Option<u32>),
    #[error("belongs to another user, and a cache is written by its owner alone")]
    Owner,
    #[error("may be written by others, and that cannot be changed")]
    Mode,
    #[error("belongs to another user (uid {uid}), who may have chosen {digest} for {reference}")]
    OthersWord { uid: u32, reference: String, digest: Digest },
    #[error("holds {actual} of the blob's {promised} bytes")]
    Damaged { promised: u64, actual: u64 },
    #[error("holds bytes of digest {0}")]
    DamagedDigest(Digest),
    #[error("is not there, and nothing may be fetched")]
    Missing,
    #[error("is not known to the cache, and nothing may be fetched")]
    UnknownReference,
    #[error("is no index of an OCI layout: {0}")]
    Index(String),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl CacheProblem {
    pub(super) fn fault(&self) -> Fault {
        match self {
            // The bytes on this disk are wrong, and stay wrong until they are fetched again.
            Self::Damaged { .. } | Self::DamagedDigest(_) => Fault::Image,
            _ => Fault::Machine,
        }
    }
}
