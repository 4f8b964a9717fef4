//! The command line as clap parses it: the derived commands, with an environment variable for each option and one form
//! of help.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::{ArgPredicate, BoolishValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::{Arguments, environment};

/// Options without a variable.
const WITHOUT: [&str; 2] = ["help", "version"];

/// Returns the command line without an environment, for the help, the man pages and the completions.
pub fn plain() -> Command {
    with_variables(derived(), &[])
}

/// Returns the command line that parses `arguments`; variables count for options that are not among them.
pub fn of(arguments: &[OsString]) -> Command {
    with_variables(derived(), arguments)
}

/// Returns the derived commands. A build of a list has no other image.
fn derived() -> Command {
    let optional = |source: Arg| {
        let source = source.required(false).required_unless_present("from_list");
        // An argument that is changed comes last, unless it has a place.
        source.default_value_if("from_list", ArgPredicate::IsPresent, Some("")).index(1)
    };
    Arguments::command()
        .mut_subcommand("build", |build| build.mut_arg("source", optional).mut_arg("more", |more| more.index(2)))
}

/// Returns the variable of an option.
pub fn variable(long: &str) -> String {
    format!("PLANISH_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// Returns the variable that a refused value comes from, if it is not on the command line.
pub fn origin(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = shown.strip_prefix("--")?.split([' ', '=', '[']).next()?;
    let name = variable(long);
    (environment(&name).is_some() && !is_given(long, arguments)).then_some(name)
}

fn is_given(long: &str, arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
        let name = argument.as_bytes().split(|&byte| byte == b'=').next().unwrap_or_default();
        name.strip_prefix(b"--") == Some(long.as_bytes())
    })
}

fn with_variables(command: Command, arguments: &[OsString]) -> Command {
    let given = given(&command, arguments);
    // An option of the command line wins over the variable of one that contradicts it.
    let contradicted: Vec<_> = command
        .get_arguments()
        .flat_map(|arg| command.get_arg_conflicts_with(arg).into_iter().map(move |other| (arg, other)))
        .flat_map(|(a, b)| [(a, b), (b, a)])
        .filter(|(a, _)| given.contains(a.get_id()))
        .map(|(_, b)| b.get_id().clone())
        .collect();
    let heading = command.get_arguments().any(|arg| arg.get_help_heading() == Some("Run")).then_some("Run");
    let help =
        Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print help").help_heading(heading);
    let note = help_note(&command);
    command
        .after_help(note)
        .disable_help_flag(true)
        .mut_args(|arg| if contradicted.contains(arg.get_id()) { arg } else { with_variable(arg) })
        .arg(help)
        .mut_subcommands(|inner| if inner.get_name() == "help" { inner } else { with_variables(inner, arguments) })
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

fn with_variable(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().filter(|long| !WITHOUT.contains(long)) else { return arg };
    let name = variable(long);
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    // A variable that is empty counts as absent.
    if std::env::var_os(&name).is_some_and(|value| value.is_empty()) {
        arg
    } else {
        arg.env(name).hide_env_values(true)
    }
}

/// Returns the options of a command that are on the command line.
fn given(command: &Command, arguments: &[OsString]) -> Vec<clap::Id> {
    let words = || arguments.iter().map(|argument| argument.as_bytes()).take_while(|word| *word != b"--");
    let names = |arg: &Arg, word: &[u8]| {
        let name = word.split(|&byte| byte == b'=').next().unwrap_or_default();
        let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
        let longs = longs.into_iter().chain(arg.get_all_aliases().unwrap_or_default());
        let short = |c: char| word.len() > 1 && word[0] == b'-' && word[1] != b'-' && word.contains(&(c as u8));
        name.strip_prefix(b"--").is_some_and(|name| longs.into_iter().any(|long| OsStr::new(long).as_bytes() == name))
            || arg.get_short().is_some_and(short)
    };
    command.get_arguments().filter(|arg| words().any(|word| names(arg, word))).map(|arg| arg.get_id().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        plain().debug_assert();
    }

    #[test]
    fn every_option_has_a_variable() {
        fn check(command: &Command, count: &mut usize) {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !WITHOUT.contains(&long)))
            {
                let long = arg.get_long().unwrap();
                assert_eq!(arg.get_env(), Some(OsStr::new(&variable(long))), "{} --{long}", command.get_name());
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
