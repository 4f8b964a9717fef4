//! Stacks of image layers, a reference model and the laws that every image tool must keep.
//!
//! The crate shares no code with any tool that it tests, planish included.

pub mod cases;
pub mod listing;
mod mtime;
pub mod subject;
pub mod writer;

pub use mtime::{Mtime, MtimeSyntax};
