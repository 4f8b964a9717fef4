//! The command line: the only part that prints, and that reads the environment.

mod age;
mod build;
mod cache;
mod exit;
mod hint;
mod limits;
mod login;
mod plan;
mod progress;
mod pull;
mod read;
mod remote;
mod report_file;
mod shape;
mod signals;
mod size;
mod summary;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What `--help` says below the options.
const EXIT_CODES: &str = "Exit codes:
  0  done
  2  usage: the command line, or an output that must not be replaced
  3  a registry or the network: trying again may help
  4  the credentials for a registry
  5  the image, or a blob of the cache, is invalid or refused, and will be again (also --strict)
  6  this machine: a tool, a disk, a permission, a path
  7  a limit, named in the message
  8  the proof found a difference between filesystem and image
  70 a bug of planish
  129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM";

/// Turns container images into ext4 root filesystems, without root, and proves the result.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::BuildArguments),
    Plan(plan::PlanArguments),
    Verify(verify::VerifyArguments),
    Pull(pull::PullArguments),
    Cache(cache::CacheCommand),
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    raise_open_files();
    let result = match arguments.command {
        Command::Build(arguments) => build::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Pull(arguments) => pull::run(&arguments),
        Command::Cache(command) => cache::run(&command),
    };
    exit::code(result)
}

/// Allows as many open files as the system lets: each layer of a layout is one.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is allowed now is enough for all but images of a thousand layers.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Returns a variable of the environment, unless it is empty.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
