//! A registry, asked by HTTP: bounded, retried, resumed, and never trusted.

pub mod credential;
pub mod proxy;
pub mod tls;

mod bounded;
