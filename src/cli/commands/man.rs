//! `planish man`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap_mangen::Man;
use planish::Error;

use crate::cli::command;
use crate::cli::commands::several;
use crate::cli::exit::Failure;
use crate::cli::stdout;

/// The day of this version's release.
const RELEASED: &str = "2026-11-27";

/// Prints a man page: `planish man build | man -l -`
#[derive(Debug, clap::Args)]
pub struct ManArguments {
    /// The command, such as build, or cache list [default: planish itself]
    command: Vec<String>,
    /// Write the pages of all commands to this directory instead, replacing earlier ones
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    output_dir: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &ManArguments) -> Result<(), Failure> {
    let root = built();
    if let Some(directory) = &arguments.output_dir {
        several::make_directory(directory)?;
        return write_all(&root, directory);
    }
    let mut found = &root;
    for name in &arguments.command {
        let unknown = || Failure::Usage(format!("there is no command {}", planish::Escaped(name.as_bytes())));
        found = found.find_subcommand(name).ok_or_else(unknown)?;
    }
    stdout::print_bytes(&page(found)?)
}

/// Returns the command line with the full names of its subcommands.
fn built() -> clap::Command {
    let mut root = command::plain().disable_help_subcommand(true);
    root.build();
    with_all_help(root)
}

/// Shows the help of options that `--help` hides, too: clap_mangen leaves it out.
fn with_all_help(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| argument.hide_short_help(false)).mut_subcommands(with_all_help)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let usage = command.clone().render_usage().to_string();
    let mut page = Vec::new();
    let source = concat!("planish ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().name(&name)).title(name.to_ascii_uppercase()).section("1");
    render(&man.date(RELEASED).source(source).manual("planish"), &usage, &mut page).map_err(Failure::Stdout)?;
    Ok(without_breaks(&page))
}

/// Writes a page whose synopsis is the usage line: a list of all options would not be read.
fn render(man: &Man, usage: &str, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    let usage = usage.trim_start_matches("Usage: ").replace('\\', "\\e").replace('-', "\\-");
    writeln!(page, ".SH SYNOPSIS\n{usage}")?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    man.render_subcommands_section(page)?;
    man.render_extra_section(page)
}

/// Replaces the line breaks around an empty line, of which `mandoc -T lint` warns, by a space.
fn without_breaks(page: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(page).replace("\n.br\n\n.br\n", "\n.sp\n").into_bytes()
}

fn write_all(command: &clap::Command, directory: &std::path::Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let (path, page) = (directory.join(format!("{name}.1")), page(command)?);
    // A pipe without a reader would block the program forever.
    let file = File::options().write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(&path);
    file.and_then(|mut file| file.write_all(&page)).map_err(Error::io("write", &path))?;
    command.get_subcommands().try_for_each(|inner| write_all(inner, directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        fn check(command: &clap::Command) {
            let page = String::from_utf8(page(command).unwrap()).unwrap();
            let name = command.get_display_name().unwrap_or_else(|| command.get_name());
            assert!(page.contains(&format!(".TH {} 1 ", name.to_ascii_uppercase())), "{page}");
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
            command.get_subcommands().for_each(check);
        }
        check(&built());
    }
}
