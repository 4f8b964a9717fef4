//! The program `planish`.

fn main() {}
