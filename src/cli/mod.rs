//! The command line: the only module that prints and reads the environment.

mod arguments;
mod bug;
mod color;
mod command;
mod commands;
mod distribution;
mod exit;
mod hint;
mod json;
mod memory;
mod process;
mod progress;
mod signals;
mod stdout;
mod summary;
mod variables;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

pub use memory::Memory;

/// The text of `--help` below the options.
const EXIT_CODES: &str = "Exit codes:
  0  done
  2  usage: the command line, or an output that must not be replaced
  3  a registry or the network: trying again may help
  4  the credentials for a registry
  5  the image, or a blob of the cache, is invalid or refused, or has no such tag, platform or path (also --strict)
  6  this machine: a tool, a disk, a permission, a path
  7  a limit, named in the message
  8  the verification, or diff, found a difference; check found that it would not boot
  70 a bug of planish
  129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM";

/// Turns container images into ext4 root filesystems, without root, and verifies the result.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(Box<commands::build::BuildArguments>),
    Plan(commands::plan::PlanArguments),
    Key(commands::key::KeyArguments),
    Verify(commands::verify::VerifyArguments),
    Check(commands::check::CheckArguments),
    Pull(commands::pull::PullArguments),
    Push(commands::push::PushArguments),
    Inspect(commands::inspect::InspectArguments),
    Ls(commands::ls::LsArguments),
    Explain(commands::explain::ExplainArguments),
    Layers(commands::layers::LayersArguments),
    Diff(commands::diff::DiffArguments),
    Export(commands::export::ExportArguments),
    Cache(commands::cache::CacheCommand),
    Doctor(commands::doctor::DoctorArguments),
    Completion(commands::completion::CompletionArguments),
    Man(commands::man::ManArguments),
}

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    memory::reserve();
    bug::guard(|| match process::prepare() {
        Ok(()) => process::with_stack(run),
        Err(error) => exit::code(Err(error.into())),
    })
}

fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if version::is_requested(&words) {
        return exit::code(stdout::print(version::details().trim_end()));
    }
    let mut command = command::of(&words);
    let parsed = arguments::dash::refuse_single(&mut command, &words)
        .and_then(|()| command.try_get_matches_from(&words))
        .and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error, command::origin(&error, &words)),
    };
    let result = match arguments.command {
        Command::Build(arguments) => commands::build::run(&arguments),
        Command::Plan(arguments) => commands::plan::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Key(arguments) => commands::key::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Pull(arguments) => commands::pull::run(&arguments),
        Command::Push(arguments) => commands::push::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Ls(arguments) => commands::ls::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Layers(arguments) => commands::layers::run(&arguments),
        Command::Diff(arguments) => commands::diff::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Cache(command) => commands::cache::run(&command),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Completion(arguments) => commands::completion::run(&arguments),
        Command::Man(arguments) => commands::man::run(&arguments),
    };
    let code = exit::code(result);
    signals::say_what_stays();
    code
}

/// Returns a variable of the environment, unless it is empty.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
