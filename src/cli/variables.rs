//! The environment variables of options: those that count in a run.
//!
//! The command line wins over a variable. A variable that an option or an argument on the command line contradicts does not
//! count, and neither does that of an option without an effect in this run: it may be meant for other runs.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::environment;

/// Options without a variable.
pub const WITHOUT: [&str; 2] = ["help", "version"];

/// An option of a command that has no effect without another one; an empty name stands for each command that has it. On
/// the command line that is an error.
struct Need {
    command: &'static str,
    option: &'static str,
    needs: &'static str,
}

const fn need(command: &'static str, option: &'static str, needs: &'static str) -> Need {
    Need { command, option, needs }
}

const NEEDS: [Need; 12] = [
    need("", "password_stdin", "creds"),
    need("build", "cache_to_required", "cache_to"),
    need("build", "shard", "from_list"),
    need("build", "shard_by", "shard"),
    need("build", "sign_key", "cache_to"),
    need("build", "verify_key", "cache_from"),
    need("export", "force", "output"),
    need("export", "json", "output"),
    need("pull", "force", "output"),
    need("pull", "report", "output"),
    need("pull", "verify_key", "output"),
    need("verify", "verity", "root_hash"),
];

/// Options that contradict each other with some values, as the commands check.
struct Clash(Side, Side);

/// An option, and its values that take part in a clash.
struct Side(&'static str, fn(&[u8]) -> bool);

const CLASHES: [Clash; 5] = [
    Clash(Side("cache_to", |_| true), Side("verify", |how| how != b"full")),
    Clash(Side("output_dir", |_| true), Side("verity", |place| place != b"append")),
    Clash(Side("creds", |login| login.contains(&b':')), Side("password_stdin", |_| true)),
    Clash(Side("journal_size", |size| size == b"none"), Side("features", |list| has_feature(list, b"has_journal"))),
    Clash(Side("journal_size", |size| size != b"none"), Side("features", |list| has_feature(list, b"^has_journal"))),
];

fn has_feature(list: &[u8], feature: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|name| name.trim_ascii() == feature)
}

/// Returns a command whose options require what they need.
pub fn with_needs(mut command: Command) -> Command {
    for Need { option, needs, .. } in needs_of(&command) {
        command = command.mut_arg(option, |arg| arg.requires(*needs));
    }
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_needs))
}

fn needs_of(command: &Command) -> Vec<&'static Need> {
    let is_of = |need: &&Need| {
        (need.command.is_empty() || need.command == command.get_name())
            && command.get_arguments().any(|arg| arg.get_id() == need.option)
    };
    NEEDS.iter().filter(is_of).collect()
}

/// Returns what is on the command line; of one with an error, which the parser reports, a part of it.
pub fn parse(command: &Command, arguments: &[OsString]) -> Option<ArgMatches> {
    command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()
}

/// The command line of a run, as far as it is for one command.
#[derive(Debug, Clone, Copy)]
pub struct CommandLine<'a>(pub Option<&'a ArgMatches>);

impl CommandLine<'_> {
    /// Returns the part for a subcommand.
    pub fn of_subcommand(self, name: &str) -> Self {
        Self(self.0.and_then(|matches| matches.subcommand_matches(name)))
    }
}

/// Returns the variable of an option.
pub fn name(long: &str) -> String {
    format!("PLANISH_{}", long.to_ascii_uppercase().replace('-', "_"))
}

/// Gives the options of a command their variables.
pub fn all(command: Command) -> Command {
    command.mut_args(|arg| if is_option(&arg) { with_variable(arg) } else { arg })
}

/// Gives the options of a command their variables, as far as these count beside the command line.
pub fn counting(command: Command, CommandLine(line): CommandLine<'_>) -> Command {
    let variables = Variables { command: &command, line };
    let counting: Vec<_> = command.get_arguments().filter(|arg| variables.counts(arg)).map(Arg::get_id).collect();
    let counting: Vec<_> = counting.into_iter().cloned().collect();
    command.mut_args(|arg| match counting.contains(arg.get_id()) {
        true => with_variable(arg),
        false => arg,
    })
}

fn with_variable(arg: Arg) -> Arg {
    let Some(long) = arg.get_long() else { return arg };
    let name = name(long);
    let arg = match is_flag(&arg) {
        true => arg.value_parser(BoolishValueParser::new()),
        false => arg,
    };
    arg.env(name).hide_env_values(true)
}

fn is_option(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !WITHOUT.contains(&long))
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The variables of a command's options.
struct Variables<'a> {
    command: &'a Command,
    /// The options on the command line.
    line: Option<&'a ArgMatches>,
}

impl Variables<'_> {
    /// Returns true if the variable of an option counts, whether or not it is set.
    fn counts(&self, arg: &Arg) -> bool {
        // A variable that is empty counts as absent, and so does that of a flag that is not meant.
        let is_absent = arg.get_long().is_some_and(|long| {
            std::env::var_os(name(long)).is_some_and(|value| value.is_empty() || is_flag(arg) && is_false(&value))
        });
        is_option(arg)
            && !is_absent
            && !self.is_contradicted(arg)
            && !CLASHES.iter().any(|clash| self.clashes(arg, clash))
            && needs_of(self.command)
                .into_iter()
                .filter(|need| arg.get_id() == need.option)
                .all(|need| self.has(need.needs))
    }

    /// Returns true if an argument on the command line excludes the option.
    fn is_contradicted(&self, arg: &Arg) -> bool {
        let excludes =
            |a: &Arg, b: &Arg| self.command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id());
        let given = self.command.get_arguments().filter(|other| self.given(other.get_id().as_str()).is_some());
        !self.is_given(arg.get_id().as_str())
            && given.into_iter().any(|other| excludes(arg, other) || excludes(other, arg))
    }

    /// Returns true if an option on the command line clashes with the value of this option's variable.
    fn clashes(&self, arg: &Arg, Clash(a, b): &Clash) -> bool {
        let (own, other) = match arg.get_id().as_str() {
            id if id == a.0 => (a, b),
            id if id == b.0 => (b, a),
            _ => return false,
        };
        let value = arg.get_long().and_then(|long| environment(&name(long)));
        let given = self.given(other.0).unwrap_or_default();
        !self.is_given(own.0)
            && value.is_some_and(|value| own.1(value.as_bytes()))
            && given.iter().any(|value| other.1(value.as_bytes()))
    }

    /// Returns true if an option is on the command line or its variable is set and counts.
    fn has(&self, id: &str) -> bool {
        let option = self.command.get_arguments().find(|arg| arg.get_id() == id);
        let is_set = |arg: &Arg| arg.get_long().is_some_and(|long| environment(&name(long)).is_some());
        self.is_given(id) || option.is_some_and(|arg| is_set(arg) && self.counts(arg))
    }

    fn is_given(&self, id: &str) -> bool {
        self.given(id).is_some()
    }

    /// Returns the values of an argument that is on the command line.
    fn given(&self, id: &str) -> Option<Vec<&OsStr>> {
        let line = self.line.filter(|line| line.ids().any(|found| found == id))?;
        (line.value_source(id) == Some(ValueSource::CommandLine))
            .then(|| line.try_get_raw(id).ok().flatten().into_iter().flatten().collect())
    }
}

/// Returns true if the variable of a flag says that it is not meant.
fn is_false(value: &OsStr) -> bool {
    let value = value.as_bytes().to_ascii_lowercase();
    [&b"false"[..], b"f", b"no", b"n", b"off", b"0"].contains(&&*value)
}
