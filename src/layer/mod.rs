//! One decoded layer: its entries and whiteouts in order.
//!
//! The module knows neither other layers nor ext4.

pub mod acl;
mod changeset;
mod decode;
pub mod decoded;
pub mod entry;
mod holes;
pub mod listing;
mod octets;
mod pipeline;
mod spool;
mod store;
pub mod whiteout;
mod xattrs;
pub mod zeros;

pub use decode::{Budget, Layer, decode, decode_unknown};
pub use store::Store;
