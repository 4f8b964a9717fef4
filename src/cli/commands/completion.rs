//! `planish completion`.

use clap::ValueEnum;
use clap_complete::Shell;

use crate::cli::command;
use crate::cli::exit::Failure;
use crate::cli::stdout;

/// Prints a script that completes the command line in a shell
///
/// bash: planish completion bash > ~/.local/share/bash-completion/completions/planish
///
/// zsh: planish completion zsh > a file _planish in a directory of $fpath
///
/// fish: planish completion fish > ~/.config/fish/completions/planish.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionArguments {
    /// The shell
    shell: ShellArgument,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShellArgument {
    Bash,
    Zsh,
    Fish,
}

/// Runs the command.
pub fn run(arguments: &CompletionArguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        ShellArgument::Bash => Shell::Bash,
        ShellArgument::Zsh => Shell::Zsh,
        ShellArgument::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command::plain(), "planish", &mut script);
    stdout::print_bytes(&script)
}
