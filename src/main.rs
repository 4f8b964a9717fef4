//! The program `planish`: reads the command line, the environment and signals, and calls the library.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static MEMORY: cli::Memory = cli::Memory;

fn main() -> ExitCode {
    cli::main()
}
