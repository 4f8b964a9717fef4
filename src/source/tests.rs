//! Layouts and archives as the tools write them, and as nobody should.

mod archives;
mod layouts;
mod sample;
