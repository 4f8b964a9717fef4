//! Colours, for a terminal only.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use planish::{FileType, NameReport};

use super::environment;

/// The use of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The colours of an output.
#[derive(Debug, Clone, Copy)]
pub struct Colors {
    are_used: bool,
}

impl Colors {
    /// Decides whether stdout gets colours.
    pub fn of_stdout(when: When) -> Self {
        let is_dumb = || environment("TERM").is_none_or(|term| term == "dumb");
        let are_used = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal() && environment("NO_COLOR").is_none() && !is_dumb(),
        };
        Self { are_used }
    }

    /// Returns a name in the colour of its file's type, as `ls` has them by default.
    pub fn name(self, shown: &str, report: &NameReport) -> String {
        let code = match report.kind {
            FileType::Directory => "1;34",
            FileType::Symlink => "1;36",
            FileType::CharacterDevice | FileType::BlockDevice => "1;33",
            FileType::Fifo => "33",
            _ if report.mode & 0o6000 != 0 => "1;31",
            _ if report.mode & 0o111 != 0 => "1;32",
            _ => "",
        };
        self.paint(code, shown)
    }

    /// Returns a text in a colour, by its number for terminals (ECMA-48, SGR).
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.are_used && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Returns true if a person looks at stdout.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
