//! Turns container images into ext4 root filesystems, without root, and proves the result.
//!
//! The modules stand in the order in which data flows; each imports what stands before it, and the ground floor.
//! The library never prints and never reads the environment.

// The ground floor.
pub mod cancel;
pub mod compression;
pub mod digest;
pub mod error;
pub mod ext4;
mod json;
pub mod limits;
pub mod note;
pub mod path;
pub mod program;
pub mod progress;
pub mod read_at;
mod shown;
pub mod tar;
pub mod time;
pub mod work;

// The line.
pub mod cache;
pub mod registry;
pub mod source;
pub mod layer;
pub mod tree;
pub mod plan;
pub mod stage;
pub mod mkfs;
pub mod debugfs;
pub mod direct;
pub mod verify;
pub mod fingerprint;
pub mod publish;
pub mod report;

// The whole line, for each of the jobs.
pub mod fetch;
pub mod flatten;
pub mod pull;
pub mod foresee;
pub mod build;
pub mod prove;

pub use cancel::{Cancel, Signal};
pub use digest::Digest;
pub use error::{Error, ErrorKind, Fault, Result};
pub use limits::Limits;
