//! The targets.

pub mod apply;
pub mod debugfs;
pub mod document;
pub mod ext4;
pub mod tar;
mod tree;
pub mod word;
