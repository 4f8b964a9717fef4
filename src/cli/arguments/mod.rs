//! Arguments that several subcommands take.

pub mod age;
pub mod cache;
pub mod dash;
pub mod inject;
pub mod limits;
pub mod listing;
pub mod login;
pub mod read;
pub mod remote;
pub mod reuse;
pub mod shape;
pub mod shared;
pub mod size;
