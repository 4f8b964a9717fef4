//! One decoded layer: its entries and whiteouts in order.
//!
//! Knows nothing about other layers or about ext4.

mod convert;
mod decode;
pub mod entry;
mod spool;
pub mod whiteout;

pub use convert::Changes;
pub use decode::{Budget, Layer, decode};
pub use spool::Spool;
