//! Problems of an image, and their places in it.

use std::fmt;

use crate::digest::Digest;
use crate::path::{PathFault, Quoted, Shortened};

/// The part of an image that an error or a note is about; the subject of its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The image, by the reference on the command line.
    Source(String),
    /// A file inside a layout or an archive.
    File(String),
    /// An index, by digest.
    Index(Digest),
    /// A manifest, by digest.
    Manifest(Digest),
    /// A config, by digest.
    Config(Digest),
    /// A blob, by digest.
    Blob(Digest),
    /// One layer.
    Layer(LayerPlace),
    /// One tar entry of a layer.
    Entry(LayerPlace, EntryPlace),
    /// All layers together.
    Layers,
    /// A path of the flattened tree.
    Path(Box<[u8]>),
}

/// The position of a layer, and the number of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlace {
    /// The layer's number, from 1.
    pub number: usize,
    /// The number of layers in the image.
    pub count: usize,
    /// The digest of the blob; an old docker archive has none, so it is the diff ID there.
    pub digest: Digest,
    /// The source of an injection, escaped: it is applied as a layer above those of the image.
    pub injection: Option<Box<str>>,
}

/// The position and name of an entry in a layer's tar stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPlace {
    /// The number of the entry in the stream, from 1.
    pub number: u64,
    /// The name as the stream spells it; empty if the header could not be read.
    pub name: Box<[u8]>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(text) | Self::File(text) => write!(f, "{}", crate::path::Escaped(text.as_bytes())),
            Self::Index(digest) => write!(f, "index {digest}"),
            Self::Manifest(digest) => write!(f, "manifest {digest}"),
            Self::Config(digest) => write!(f, "config {digest}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(layer) => write!(f, "{layer}"),
            Self::Entry(layer, entry) => write!(f, "{layer}: {entry}"),
            Self::Layers => f.write_str("the image"),
            Self::Path(path) => write!(f, "/{}", Shortened(path)),
        }
    }
}

impl fmt::Display for LayerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.injection {
            Some(source) => write!(f, "injection {source}"),
            None => write!(f, "layer {} of {} ({})", self.number, self.count, self.digest.short()),
        }
    }
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(f, "entry {}", self.number)
        } else {
            write!(f, "entry {} {}", self.number, Quoted(&self.name))
        }
    }
}

/// A problem of a part of an image: the predicate of a sentence whose subject is a [`Place`].
///
/// Strings are ours or escaped already; bytes of the image are escaped for display.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum ImageProblem {
    #[error("is no filesystem that planish pushed: {0}")]
    NotFilesystem(String),
    // Source
    #[error("is neither an OCI layout nor a docker archive: it holds no index.json and no manifest.json")]
    NotAnImage,
    #[error("is empty")]
    EmptyInput,
    #[error("is closed, or /dev/null")]
    NoInput,
    #[error("is no OCI layout: it holds no index.json")]
    NoIndex,
    #[error("is no docker archive: it holds no manifest.json")]
    NoDockerManifest,
    #[error("is an archive of docker before 1.10: it holds a file repositories and no manifest.json")]
    OldDockerArchive,
    #[error("is {is}")]
    OtherTransport { is: &'static str, meant: String },
    #[error("is a directory as skopeo's transport dir writes it, not an OCI layout")]
    SkopeoDirectory,
    #[error("is an archive of docker that was unpacked, not an OCI layout")]
    UnpackedArchive,
    #[error("is a file, and an OCI layout is a directory")]
    NotADirectory,
    #[error("does not exist in it")]
    Missing,
    #[error("has no image named {requested}; it has{}", named(there))]
    NoSuchTag { requested: String, there: String },
    #[error("has no {}: {}", .0.requested, .0.reason)]
    NoSuchPath(Box<MissingPath>),
    #[error("holds several images{of}, name one: {there}")]
    SeveralImages { of: String, there: String },
    #[error("holds no image")]
    Empty,
    #[error("is not valid JSON of its kind: {0}")]
    Json(String),
    #[error("has both layers and manifests")]
    Ambiguous,
    #[error("says it is {own}, its descriptor says {promised}")]
    MediaTypeMismatch { own: String, promised: String },
    #[error("has media type {0}, which is not a container image's{whose}", whose = whose(.0))]
    MediaType(String),
    #[error("has no manifest for platform {requested}; it has: {there}")]
    NoSuchPlatform { requested: String, there: String },
    #[error("is for platform {own}, not {requested}")]
    OtherPlatform { own: String, requested: String },
    #[error("is for platform {own}, and the index that leads to it says {described}")]
    PlatformContradiction { own: String, described: String },
    #[error("has the {what} {name}, {which} the image's /etc/{file} does not list", which = if *what == "user" { "whom" } else { "which" }, file = if *what == "user" { "passwd" } else { "group" })]
    NoSuchUser { what: &'static str, name: String },
    #[error("is for Windows ({0}), whose layers hold no root filesystem of Linux")]
    Windows(String),
    #[error("has an invalid digest {0}")]
    DigestSyntax(String),
    #[error("has {actual} bytes, its descriptor promises {promised}")]
    SizeMismatch { promised: u64, actual: u64 },
    #[error("has more bytes than the {promised} that its descriptor promises")]
    LongerThanPromised { promised: u64 },
    #[error("has digest {0}")]
    DigestMismatch(Digest),
    #[error("has {layers} layers, its config has {diff_ids} diff IDs")]
    DiffIdCount { layers: usize, diff_ids: usize },
    #[error("has diff ID {actual}, the config promises {promised}")]
    DiffIdMismatch { promised: Digest, actual: Digest },
    #[error("is a link to a file that it does not hold")]
    DanglingLink,
    #[error("is not a regular file")]
    NotAFile,
    #[error("is a foreign layer that is not there, and planish follows no url")]
    ForeignLayer,
    #[error("is not a container image's config: it has no rootfs")]
    NoRootfs,
    #[error("has a root filesystem of type {0}, which is not layers")]
    RootfsType(String),
    // Compression
    #[error("is not valid {format}: {detail}")]
    Compression { format: &'static str, detail: String },
    #[error("is compressed in a way that planish does not read ({0})")]
    UnknownCompression(&'static str),
    // Tar
    #[error("is not a tar stream: {0}")]
    Tar(&'static str),
    #[error("has a damaged header: {0}")]
    Header(&'static str),
    #[error("has an unreadable {field}: it {fault}")]
    Number { field: &'static str, fault: &'static str },
    #[error("has a damaged extension header: {0}")]
    Extension(&'static str),
    #[error("ends {missing} bytes short")]
    Truncated { missing: u64 },
    #[error("has the unknown type {0}")]
    UnknownType(String),
    #[error("has a damaged sparse map: {0}")]
    Sparse(&'static str),
    // Names
    #[error("{}", path_fault(.0))]
    Path(PathFault),
    #[error("has a path of {0} bytes, and one of just this length overflows a buffer of mkfs.ext4")]
    PathUnsupported(usize),
    #[error("is an invalid whiteout: it names no file")]
    InvalidWhiteout,
    #[error("replaces the root by something that is not a directory")]
    RootNotDirectory,
    #[error("has more than 40 symlinks in its parents")]
    SymlinkLoop,
    #[error("has a parent symlink that leads to {0}, which is not a directory")]
    ParentNotDirectory(String),
    // Values
    #[error("has {what} {value}, the largest in ext4 is {max}")]
    OutOfRange { what: &'static str, value: u64, max: u64 },
    #[error("has a symlink target of {0} bytes, it must have 1 to 4095")]
    SymlinkTarget(usize),
    #[error("is a hard link to {0}, which does not exist below it")]
    LinkTargetMissing(String),
    #[error("is a hard link to {0}, which is a directory")]
    LinkTargetDirectory(String),
    #[error("is a directory in the image, and a file does not replace one")]
    PutOverDirectory,
    #[error("is no directory in the image, and a directory does not replace a file")]
    PutOverFile,
    #[error("has the parent {0}, which is no directory in the image")]
    PutBelowFile(String),
    #[error("is a hard link to itself")]
    LinkToItself,
    #[error("has {0} names, ext4 allows 65000")]
    TooManyLinks(u64),
    #[error("has {0} subdirectories, and without an index ext4 allows 64998")]
    TooManySubdirectories(u64),
    #[error("has xattrs that need {needed} bytes, ext4 has {room} for them")]
    XattrSpace { needed: usize, room: usize },
    #[error("has the xattr {0}, whose name ext4 cannot hold")]
    XattrName(String),
    #[error("has the xattr {0}, whose name only the direct engine could write")]
    XattrNameUnsupported(String),
    #[error("has the xattr {name}, which is no POSIX ACL: {detail}")]
    Acl { name: &'static str, detail: String },
    #[error("has the record {key}, which is no POSIX ACL: {detail}")]
    AclText { key: &'static str, detail: String },
    #[error("is one inode more than planish can count")]
    TooManyInodes,
    #[error("leads through more symlinks than planish follows")]
    TooManySymlinkSteps,
    #[error("is not a directory, and the names next to it leave none free for staging it")]
    LostAndFound,
    // Limits of one engine
    #[error("is a directory of the image, and only the e2fsprogs engine can write its own")]
    OwnLostAndFound,
    #[error("is not a directory, and only the e2fsprogs engine can write it so")]
    OtherLostAndFound,
    #[error("has the xattr {0}, whose name only the e2fsprogs engine could write")]
    XattrNameNotText(String),
    #[error("has {0} extents, the direct engine can write {1}")]
    TooManyExtents(u64, u64),
    #[error("has {0} names, more than the direct engine can index")]
    IndexFull(u64),
    #[error("has names of {0} bytes in all, the direct engine can write 4294967295")]
    NameBytes(u64),
}

/// A path that an image does not have. The texts are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingPath {
    /// The path as given.
    pub requested: String,
    /// The reason, as a sentence.
    pub reason: String,
    /// The path up to where it ends.
    pub end: String,
    /// The most similar path, if there is one.
    pub similar: Option<String>,
}

/// Returns the end of the sentence about the images that are there.
fn named(there: &str) -> String {
    if there.is_empty() { " no images".into() } else { format!(": {there}") }
}

/// Words in media types, each with the owner of the type as the end of a sentence; the first match is used.
const OWNERS: [(&str, &str); 17] = [
    ("+encrypted", "an encrypted layer's"),
    ("docker.distribution.manifest.v1+", "a manifest's of schema 1, which docker gave up"),
    ("docker.plugin", "a docker plugin's"),
    ("helm", "a Helm chart's"),
    ("wasm", "a WebAssembly module's"),
    ("cosign", "a signature's"),
    ("sigstore", "a signature's"),
    ("notary", "a signature's"),
    ("in-toto", "an attestation's"),
    ("dsse", "an attestation's"),
    ("spdx", "a bill of materials'"),
    ("cyclonedx", "a bill of materials'"),
    ("buildkit.cacheconfig", "a build cache's"),
    ("nydus", "a layer's of Nydus"),
    ("erofs", "a layer's of EROFS"),
    ("oci.artifact.manifest", "an artifact's"),
    ("oci.empty", "an artifact's"),
];

/// Returns the end of the sentence about a media type that is not an image's.
fn whose(media_type: &str) -> String {
    let name = media_type.to_ascii_lowercase();
    let owner = OWNERS.iter().find(|(word, _)| name.contains(word));
    owner.map_or_else(String::new, |(_, owner)| format!(": it is {owner}"))
}

fn path_fault(fault: &PathFault) -> String {
    match fault {
        PathFault::Nul => "has a NUL byte in a name".into(),
        PathFault::Climbs => "climbs above the root".into(),
        PathFault::LongName(n) => format!("has a name of {n} bytes, Linux allows 255"),
        PathFault::LongPath(n) => format!("has a path of {n} bytes, Linux allows 4095"),
    }
}

impl From<PathFault> for ImageProblem {
    fn from(fault: PathFault) -> Self {
        Self::Path(fault)
    }
}
