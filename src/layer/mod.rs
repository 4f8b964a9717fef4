//! One decoded layer: its entries and whiteouts in order.
//!
//! Knows nothing about other layers or about ext4.

pub mod entry;
pub mod whiteout;
