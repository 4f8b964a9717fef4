//! Programs that tests run beside planish.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Runs a command, which must succeed, and returns its stdout.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A command of words separated by spaces; its `PATH` has the system's own programs.
pub fn command(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(words);
    command
}

/// Makes everything below a directory readable for all.
pub fn publish(directory: &Path) {
    run(command("chmod -R a+rX").arg(directory));
}

/// Waits for a child's end; kills it after the time limit and returns `None`.
pub fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}
