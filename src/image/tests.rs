//! Layouts and archives as tools write them, and malformed ones.

mod archives;
mod layouts;
mod sample;
