//! The subcommands, one file each.

pub mod build;
pub mod cache;
pub mod check;
pub mod completion;
pub mod doctor;
pub mod diff;
pub mod explain;
pub mod export;
pub mod inspect;
pub mod key;
pub mod layers;
pub mod ls;
pub mod man;
pub mod plan;
pub mod pull;
pub mod push;
mod several;
pub mod verify;
