//! Faults of registries, networks and the cache: every row of `.github/FAULTS.md` about them.
//!
//! Each row runs the real binary against a registry in this process that has the fault of the row. The same conditions
//! hold after each run: see [`Day`](day::Day).

mod cache;
mod cache_directory;
mod catalogue;
pub mod day;
mod digest;
mod documents;
mod endless;
mod faults;
mod index;
mod kill;
mod manifest;
mod mirror;
mod proxy;
mod redirect;
mod row;
pub mod sample;
mod status;
mod tls;
mod together;
mod token;
mod transfer;
