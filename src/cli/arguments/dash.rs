//! Refuses long options with one dash, such as `-offline`, which clap parses as `-o ffline`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Command;
use clap::error::ErrorKind;

/// Refuses an argument with one dash that is the name of a long option.
pub fn refuse_single(command: &mut Command, arguments: &[OsString]) -> Result<(), clap::Error> {
    let mut here = &*command;
    let (mut found, mut bare): (_, Option<String>) = (None, None);
    let (mut is_value, mut before) = (false, None);
    for argument in arguments.iter().skip(1).take_while(|argument| *argument != "--") {
        let bytes = argument.as_bytes();
        if let Some(inner) = here.get_subcommands().find(|inner| inner.get_name().as_bytes() == bytes) {
            here = inner;
            continue;
        }
        let name = bytes.split(|&byte| byte == b'=').next().unwrap_or_default();
        let option = |dashes: usize| {
            let name = name.get(dashes..)?;
            here.get_arguments().find(|option| option.get_long().is_some_and(|long| long.as_bytes() == name))
        };
        if !is_value
            && bytes.len() > 2
            && bytes[0] == b'-'
            && bytes[1] != b'-'
            && let Some(long) = option(1).and_then(clap::Arg::get_long)
        {
            found = Some(long.to_owned());
            break;
        }
        // What is named like an option of this command is that option, and the label before it was forgotten.
        if is_value && bytes.starts_with(b"--") && option(2).is_some() {
            bare = before.take();
            break;
        }
        // The label may begin with a dash.
        let option = bytes.starts_with(b"--").then(|| option(2)).flatten();
        is_value = option.is_some_and(clap::Arg::is_allow_hyphen_values_set) && name.len() == bytes.len();
        before = option.and_then(clap::Arg::get_long).map(str::to_owned);
    }
    if let Some(long) = bare {
        let text =
            format!("a value is required for '--{long}'\n\n  tip: one that begins with dashes is '--{long}=--VALUE'");
        return Err(command.error(ErrorKind::InvalidValue, text));
    }
    match found {
        None => Ok(()),
        Some(long) => {
            let text = format!("unexpected argument '-{long}' found\n\n  tip: a similar argument exists: '--{long}'");
            Err(command.error(ErrorKind::UnknownArgument, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Only {
        #[arg(short, long)]
        output: String,
        #[arg(long)]
        offline: bool,
        #[arg(long, allow_hyphen_values = true)]
        label: Option<String>,
    }

    #[test]
    fn one_dash_before_a_long_name_is_refused() {
        let refused = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(Into::into).collect();
            super::refuse_single(&mut Only::command(), &arguments).map_err(|error| error.to_string())
        };
        for line in ["x -offline", "x -output y", "x -output=y", "x --offline -label l"] {
            let text = refused(line).unwrap_err();
            assert!(text.starts_with("error: unexpected argument '-"), "{line}: {text}");
            assert!(text.contains("tip: a similar argument exists: '--"), "{line}: {text}");
        }
        for line in ["x --label --offline", "x --label --output=y"] {
            let text = refused(line).unwrap_err();
            assert!(text.starts_with("error: a value is required for '--label'"), "{line}: {text}");
            assert!(text.contains("tip: one that begins with dashes is '--label=--VALUE'"), "{line}: {text}");
        }
        for line in ["x --label --rescue", "x --label=--offline", "x --label l --offline"] {
            assert_eq!(refused(line), Ok(()), "{line}");
        }
        for line in ["x -o y", "x -oy", "x -o=output", "x --label -offline", "x -- -offline", "x -"] {
            assert_eq!(refused(line), Ok(()), "{line}");
        }
    }
}
