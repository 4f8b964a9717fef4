//! The commands about the program itself: completions, man pages, doctor, version.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Bench, failed, set_mode, stderr};

fn planish(bench: &Bench, line: &str) -> Output {
    bench.planish().args(line.split(' ')).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a script in a shell that has loaded the completions from `FILE`.
fn in_shell(bench: &Bench, shell: &[&str], script: &str) -> String {
    let file = bench.at("completion");
    std::fs::write(&file, stdout(&planish(bench, &format!("completion {}", shell[0])))).unwrap();
    let output = Command::new(shell[0]).args(&shell[1..]).arg(script).env("FILE", &file).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", shell[0]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    text
}

#[test]
#[ignore = "needs bash, zsh and fish"]
fn completions_load_and_complete() {
    let bench = Bench::new();
    let bash = "source \"$FILE\"; COMP_WORDS=(planish build --engine dir); COMP_CWORD=3; \
                _planish planish dir --engine; echo \"${COMPREPLY[@]}\"; COMP_WORDS=(planish do); COMP_CWORD=1; \
                _planish planish do planish; echo \"${COMPREPLY[@]}\"";
    let completed = in_shell(&bench, &["bash", "--norc", "-eu", "-c"], bash);
    assert!(completed.contains("direct") && completed.contains("doctor"), "{completed}");
    let zsh = "autoload -U compinit; compinit -D -u; source \"$FILE\"; whence -w _planish";
    assert_eq!(in_shell(&bench, &["zsh", "-f", "-c"], zsh), "_planish: function\n");
    let fish = "source $FILE; complete --do-complete 'planish build --engine dir'; complete --do-complete 'planish do'";
    let completed = in_shell(&bench, &["fish", "--no-config", "-c"], fish);
    assert!(completed.contains("direct") && completed.contains("doctor"), "{completed}");
}

#[test]
#[ignore = "needs man and mandoc"]
fn man_pages_are_rendered_without_warnings() {
    let bench = Bench::new();
    std::fs::create_dir(bench.at("man")).unwrap();
    set_mode(&bench.at("man"), 0o777);
    assert_eq!(stdout(&planish(&bench, "man --output-dir man")), "");
    let mut pages = 0;
    for page in bench.at("man").read_dir().unwrap() {
        let page = page.unwrap().path();
        let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&lint.stdout), "");
        let man = Command::new("man").args(["--warnings=all", "-l"]).arg(&page).env("MANWIDTH", "80").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&man.stderr), "");
        let text = String::from_utf8(man.stdout).unwrap();
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
            assert!(text.lines().any(|line| line == heading), "{heading}: {text}");
        }
        pages += 1;
    }
    assert!(pages > 10, "{pages} pages");
    let build = std::fs::read_to_string(bench.at("man/planish-build.1")).unwrap();
    assert!(build.contains("PLANISH_FREE_INODES"), "{build}");
}

#[test]
fn a_man_page_of_an_unknown_command_is_a_usage_error() {
    let bench = Bench::new();
    assert_eq!(failed(&planish(&bench, "man bulid"), 2), "there is no command bulid");
    assert!(stdout(&planish(&bench, "man cache prune")).contains("PLANISH-CACHE-PRUNE"));
}

#[test]
fn doctor_finds_the_programs_and_leaves_nothing() {
    let bench = Bench::new();
    let found: serde_json::Value = serde_json::from_str(&stdout(&planish(&bench, "doctor --json"))).unwrap();
    assert_eq!(found["ready"], true, "{found}");
    let names: Vec<_> = found["programs"].as_array().unwrap().iter().map(|program| &program["name"]).collect();
    assert_eq!(names, ["mkfs.ext4", "debugfs", "e2fsck"]);
    for program in found["programs"].as_array().unwrap() {
        assert!(Path::new(program["path"].as_str().unwrap()).is_file(), "{program}");
    }
    assert_eq!(found["work_dir"]["locks"], true);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn doctor_exits_with_6_when_no_build_can_run() {
    let bench = Bench::new();
    let output = planish(&bench, "doctor --work-dir missing");
    assert_eq!(failed(&output, 6), "a build cannot run on this machine");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("temporary files")).unwrap();
    assert!(line.starts_with("broken ") && line.contains("missing"), "{text}");
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn the_version_has_details_on_request() {
    let bench = Bench::new();
    let short = stdout(&planish(&bench, "--version"));
    assert_eq!(short, format!("planish {}\n", env!("CARGO_PKG_VERSION")));
    let long = stdout(&planish(&bench, "--version -v"));
    assert!(long.starts_with(&short), "{long}");
    for key in ["commit", "target", "mkfs.ext4", "debugfs", "e2fsck"] {
        assert!(
            long.lines().any(|line| line.starts_with(key) && line.split_whitespace().count() >= 2),
            "{key}: {long}"
        );
    }
    assert_eq!(stdout(&planish(&bench, "-v -V")), long);
}
