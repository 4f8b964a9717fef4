//! Stacks of image layers, a reference model and the laws that every image tool must keep.
//!
//! The crate shares no code with any tool that it tests, planish included.

pub mod cases;
mod changes;
pub mod check;
pub mod command;
mod flattened;
pub mod laws;
pub mod level;
pub mod listing;
pub mod model;
mod mtime;
pub mod mutants;
mod name;
mod oddity;
mod problem;
mod stack;
pub mod strategy;
pub mod subject;
pub mod writer;

pub use changes::Deletion;
pub use flattened::{Flattened, Origin};
pub use mtime::{Mtime, MtimeSyntax};
pub use oddity::{Oddities, Oddity};
pub use problem::{Fault, Problem};
pub use stack::Stack;
