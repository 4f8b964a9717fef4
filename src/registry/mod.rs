//! A registry, asked by HTTP: bounded, retried, resumed, and never trusted.

pub mod credential;
