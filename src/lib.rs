//! Turns container images into ext4 root filesystems, without root, and verifies the result.
//!
//! The two entry points are [`Image`], which opens an image of a registry, an OCI layout, an OCI archive or a docker
//! archive, and [`Builder`], which builds, plans, verifies and pulls. A builder that is given nothing but an image does what
//! the command line does by default. The layers are applied to a tree in memory, the tree is written to an ext4 filesystem,
//! and the filesystem is read back and compared, inode by inode and byte by byte, before the file appears.
//!
//! # Build
//!
//! ```
//! use planish::{Builder, Image};
//!
//! let image = Image::options().platform("linux/amd64".parse()?).open("oci:fixtures/layered:latest")?;
//! let directory = tempfile::tempdir()?;
//! let report = Builder::new(image).free_bytes(64 << 20).build(directory.path().join("rootfs.ext4"))?;
//!
//! let verified = report.verified.expect("a build is verified by default");
//! assert_eq!((verified.inodes, verified.names), (43, 44));
//! assert_eq!(directory.path().join("rootfs.ext4").metadata()?.len(), report.filesystem.bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `Image::open("docker://debian:bookworm")` reads a registry with default options; [`Image::from_reader`] takes an archive
//! from any reader. The engine `e2fsprogs`, the default, runs `mkfs.ext4`, `debugfs` and `e2fsck`; the engine `direct` runs
//! `e2fsck` alone.
//!
//! # Plan
//!
//! A plan says what a build would make, and makes nothing.
//!
//! ```
//! use planish::{Builder, Image};
//!
//! let image = Image::options().platform("linux/amd64".parse()?).open("oci:fixtures/layered:latest")?;
//! let plan = Builder::new(image).free_bytes(0).plan()?;
//!
//! assert_eq!(plan.tree.inodes, 43);
//! assert_eq!(plan.bytes % 4096, 0);
//! assert!(plan.free_bytes <= 16 * 4096, "a tight filesystem");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Verify
//!
//! Any ext4 filesystem, whatever program made it, can be compared with an image. A difference is no error.
//!
//! ```
//! use planish::{Builder, Image};
//!
//! let open = |source| Image::options().platform("linux/amd64".parse().expect("a platform")).open(source);
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("rootfs.ext4");
//! Builder::new(open("oci:fixtures/layered:latest")?).free_bytes(0).build(&file)?;
//!
//! assert!(Builder::new(open("oci:fixtures/layered:latest")?).verify(&file)?.holds());
//! let other = Builder::new(open("oci:fixtures/whiteout:latest")?).verify(&file)?;
//! println!("{} differences, the first: {}", other.mismatch_count, other.mismatches[0]);
//! assert!(!other.holds());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Read the tree
//!
//! [`Image::flatten`] applies the layers and returns the tree that a filesystem of the image holds. Names are bytes.
//!
//! ```
//! use planish::Image;
//! use planish::tree::Node;
//!
//! let image = Image::options().platform("linux/amd64".parse()?).open("oci:fixtures/layered:latest")?;
//! let flat = image.flatten()?;
//! let su = flat.tree.inode(flat.tree.get(b"/usr/bin/su").expect("the fixture has it"));
//! assert_eq!((su.metadata.mode, su.metadata.uid), (0o4755, 0));
//! assert!(matches!(&su.node, Node::File(content) if content.size() == 2));
//!
//! let mut walk = flat.tree.walk();
//! let mut names = 0;
//! while let Some(visit) = walk.advance() {
//!     names += 1;
//!     println!("/{}", visit.path.escape_ascii());
//! }
//! assert_eq!(names, 45, "the root, and 44 names below it");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The programs in `proptests/examples/planish/` build in an asynchronous service, list a tree, and verify a filesystem.
//!
//! # Features
//!
//! - `registry` (default): images of registries. Without it, the crate builds without tokio, hyper, rustls and oci-client,
//!   and `docker://` is an error.
//! - `cli` (default, needs `registry`): the program `planish`. A program that uses the library does not need it.
//!
//! With `default-features = false` the library reads layouts and archives, and plans, builds and verifies.
//!
//! # Promises
//!
//! - **Errors**: every failure is an [`Error`]. [`Error::kind`] says what it is about, and [`Error::fault`] whose fault it is:
//!   the caller's, a registry's, the image's, the machine's, a limit's. No input makes the library panic; an invariant that
//!   does not hold is an error as well ([`Fault::Bug`]).
//! - **Nothing by halves**: a build that fails leaves nothing at its output, and what was there before is as it was.
//! - **Bounds**: an image is hostile input. Its size and its metadata in memory are bounded by [`Limits`].
//! - **No surroundings**: the library reads no environment variable and no home directory. Credentials, proxies, the cache
//!   and the directories of programs and temporary files are options.
//! - **No voice**: it prints nothing. Progress goes to a [`progress::Progress`], notes to the report.
//! - **No signal handlers**: a caller who wants to stop a job raises its [`Cancel`]. The job ends within a second; its child
//!   processes end and its files are removed. What takes longer to remove is left to the next run.
//! - **Async**: calls block, and may be made from asynchronous code, registries included; the network has a thread and a
//!   runtime of its own. A call keeps its thread busy, so it belongs in `spawn_blocking`.
//!
//! # Modules
//!
//! The modules are listed in the order in which data flows; each imports only earlier modules and the ground floor.
//! `.github/ARCHITECTURE.md` in the repository has a paragraph about each.

#![cfg_attr(not(feature = "registry"), allow(dead_code, reason = "images of registries need it"))]

// The ground floor.
mod calls;
#[cfg(feature = "registry")]
mod artifact;
mod cancel;
mod compression;
mod copy;
mod digest;
pub mod error;
pub mod ext4;
pub mod limits;
mod magic;
mod memory;
pub mod note;
mod path;
mod patient;
mod program;
pub mod progress;
mod read_at;
mod sync;
mod tar;
mod time;
mod verity;
mod work;
mod workers;

// The stages, in order.
mod image;
mod layer;
mod inject;
pub mod tree;
mod runtime;
mod boot;
pub mod plan;
mod engine;
mod verify;
mod output;
mod builder;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use boot::{CheckOptions, CheckReport, Finding, KernelVersion, Verdict};
pub use builder::Builder;
#[cfg(feature = "registry")]
pub use builder::artifact::signature::{SigningKey, VerifyingKey};
#[cfg(feature = "registry")]
pub use builder::artifact::{ArtifactReport, PushOptions};
pub use builder::check::{check_filesystem, is_filesystem};
pub use builder::config::ConfigForm;
pub use builder::diff::{DifferenceCounts, DifferenceKind, DifferenceReport};
pub use builder::disk::DiskFormat;
pub use builder::explain::LifeReport;
pub use builder::export::ExportReport;
#[doc(hidden)]
pub use builder::host;
pub use builder::image::{Image, ImageOptions};
pub use builder::inspect::Inspection;
pub use builder::key::KeyReport;
pub use builder::layers::LayersReport;
pub use builder::list::{FileType, NameReport};
pub use builder::plan::PlanReport;
pub use builder::pull::PullReport;
#[cfg(feature = "registry")]
pub use builder::shared::{CacheRepository, SharedCache};
pub use builder::verify::Verification;
pub use builder::verity::{VerityPlace, VerityVerification};
pub use cancel::{Cancel, CancelOutcome};
pub use digest::{Algorithm, Digest};
pub use error::{Error, ErrorKind, Fault, Result, Signal};
#[cfg(feature = "registry")]
pub use image::PullPolicy;
pub use image::cache;
#[cfg(feature = "registry")]
pub use image::registry;
pub use image::{ImageReference, Platform, PlatformSyntax};
pub use inject::{Injection, InjectionReport};
pub use limits::Limits;
pub use output::report;
pub use output::report::Report;
pub use path::{Escaped, Shortened};
pub use time::{DateTime, Timestamp};
pub use tree::flatten::FlatImage;
pub use verify::{Field, Mismatch};
pub use verity::RootHash;

// A program's signal handler and arguments need these; no promise holds for them.
#[doc(hidden)]
pub use cancel::LINE_MAX;
#[doc(hidden)]
pub use patient::{PatientReader, read_all};
#[doc(hidden)]
pub use program::kill_children;

// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
