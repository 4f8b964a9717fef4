//! The program `planish`: reads the command line, the environment and signals, and hands over to the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
