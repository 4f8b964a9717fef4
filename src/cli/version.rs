//! `planish --version --verbose`.

use std::ffi::OsString;
use std::fmt::Write as _;

use planish::{Cancel, host};

use super::environment;

/// Returns true if the arguments ask for the version with details, and for no command.
pub fn is_requested(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).peekable();
    let known = |word: &OsString, names: &[&str]| names.iter().any(|name| word == name);
    let (version, verbose) = (["--version", "-V"], ["--verbose", "-v"]);
    words.clone().all(|word| known(word, &version) || known(word, &verbose))
        && words.clone().any(|word| known(word, &version))
        && words.any(|word| known(word, &verbose))
}

/// Returns the version, the commit and the target of this program, and the versions of the programs that it runs.
pub fn details() -> String {
    let mut text = format!(
        "planish {}\ncommit     {}\ntarget     {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("PLANISH_COMMIT"),
        env!("PLANISH_TARGET"),
    );
    for program in host::programs(&environment("PATH").unwrap_or_default(), &Cancel::default()) {
        let found = program.version.or(program.problem).unwrap_or_default();
        let _ = writeln!(text, "{:10} {found}", program.name);
    }
    text
}
