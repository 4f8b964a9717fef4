//! Records the commit and the target of the build, for `planish --version --verbose`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=PLANISH_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // The log of HEAD grows with each commit.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = std::env::var("PLANISH_COMMIT").ok().or_else(|| git(&["rev-parse", "HEAD"]));
    println!("cargo::rustc-env=PLANISH_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=PLANISH_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!line.is_empty() && !line.contains('\n')).then_some(line)
}
