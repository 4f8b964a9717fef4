//! Stacks of image layers, a reference model, and the laws that every image tool must keep.
//!
//! The crate shares no code with any tool that it tests, including planish. A tool is any implementation of
//! [`Subject`](subject::Subject); here the model takes its place:
//!
//! ```
//! use planish_proptests::check::{Checks, check};
//! use planish_proptests::laws;
//! use planish_proptests::level::Level;
//! use planish_proptests::model::Reference;
//!
//! for law in laws::ALL {
//!     let report = check(law, &mut Reference, &Checks { cases: 20, seed: 1, ..Checks::of(Level::Spec) })?;
//!     if let Some(found) = report.broken {
//!         panic!("{}: {}\n{}", law.name, law.summary, found.breach);
//!     }
//! }
//! # Ok::<(), planish_proptests::check::Unusable>(())
//! ```

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
pub mod open;
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
