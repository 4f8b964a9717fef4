//! The command line as clap parses it: the derived commands, with an environment variable for each option and one form
//! of help.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::builder::ArgPredicate;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::variables::CommandLine;
use super::{Arguments, environment, variables};

/// Returns the command line without an environment, for the help, the man pages and the completions.
pub fn plain() -> Command {
    with_variables(derived(), None)
}

/// Returns the command line that parses `arguments`; variables count for options that are not among them.
pub fn of(arguments: &[OsString]) -> Command {
    let command = derived();
    let line = variables::parse(&command, arguments);
    with_variables(command, Some(CommandLine(line.as_ref())))
}

/// Returns the derived commands. A build of a list has no other image.
fn derived() -> Command {
    let optional = |source: Arg| {
        let source = source.required(false).required_unless_present("from_list");
        // An argument that is changed comes last, unless it has a place.
        source.default_value_if("from_list", ArgPredicate::IsPresent, Some("")).index(1)
    };
    variables::with_needs(Arguments::command())
        .mut_subcommand("build", |build| build.mut_arg("source", optional).mut_arg("more", |more| more.index(2)))
}

/// Returns the variable that a refused value comes from, if it is not on the command line.
pub fn origin(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = shown.strip_prefix("--")?.split([' ', '=', '[']).next()?;
    let name = variables::name(long);
    (environment(&name).is_some() && !is_given(long, arguments)).then_some(name)
}

fn is_given(long: &str, arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
        let name = argument.as_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        name.strip_prefix(b"--") == Some(long.as_bytes())
    })
}

/// Adds variables and help; all variables without a command line.
fn with_variables(command: Command, line: Option<CommandLine<'_>>) -> Command {
    let command = match line {
        Some(line) => variables::counting(command, line),
        None => variables::all(command),
    };
    let heading = command.get_arguments().any(|arg| arg.get_help_heading() == Some("Run")).then_some("Run");
    let help =
        Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print help").help_heading(heading);
    let note = help_note(&command);
    command.after_help(note).disable_help_flag(true).arg(help).mut_subcommands(|inner| match inner.get_name() {
        "help" => inner,
        name => {
            let line = line.map(|line| line.of_subcommand(name));
            with_variables(inner, line)
        }
    })
}

/// Returns the text below the options of a command.
fn help_note(command: &Command) -> String {
    let mut text = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    let options: Vec<_> = command.get_arguments().filter(|arg| arg.get_long().is_some()).collect();
    match options.iter().filter(|arg| arg.is_hide_short_help_set()).count() {
        0 => {}
        hidden => text.push_str(&format!(
            "Limits (--max-bytes and others) and rare options, {hidden} in all, are listed by `planish help {}`\n",
            command.get_name()
        )),
    }
    if !options.is_empty() {
        text.push_str("An option on the command line wins over its variable");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        plain().debug_assert();
    }

    #[test]
    fn every_option_has_a_variable() {
        fn check(command: &Command, count: &mut usize) {
            for arg in command
                .get_arguments()
                .filter(|arg| arg.get_long().is_some_and(|long| !variables::WITHOUT.contains(&long)))
            {
                let long = arg.get_long().unwrap();
                assert_eq!(arg.get_env(), Some(OsStr::new(&variables::name(long))), "{} --{long}", command.get_name());
                *count += 1;
            }
            command.get_subcommands().filter(|inner| inner.get_name() != "help").for_each(|inner| check(inner, count));
        }
        let mut count = 0;
        check(&plain(), &mut count);
        assert!(count > 100, "{count} options");
    }

    #[test]
    fn a_variable_yields_to_an_option_that_contradicts_it() {
        let arguments = ["planish", "build", "--offline", "x"].map(OsString::from);
        let command = of(&arguments);
        let build = command.find_subcommand("build").unwrap();
        let has_variable = |id: &str| build.get_arguments().any(|arg| arg.get_id() == id && arg.get_env().is_some());
        assert!(!has_variable("pull"));
        assert!(has_variable("jobs"));
    }
}
