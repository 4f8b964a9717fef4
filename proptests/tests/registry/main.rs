//! Bad days of registries, networks and the cache: every row of `.github/FAULTS.md` about them.
//!
//! Each row runs the real binary against a registry of its own that does what the row says, and after each the same must
//! hold: see [`Day`](day::Day).

#[path = "../support/registry/mod.rs"]
mod origin;
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod cache_directory;
mod catalogue;
mod day;
mod digest;
mod documents;
mod faults;
mod index;
mod kill;
mod manifest;
mod mirror;
mod proxy;
mod redirect;
mod row;
mod sample;
mod status;
mod tls;
mod together;
mod token;
mod transfer;
