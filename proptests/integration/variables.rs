//! Environment variables of options: the command line wins, and a variable that has no effect in a run is no error.

use std::process::Output;

use crate::support::{Bench, failed, stderr};

/// A variable with a value.
type Set = (&'static str, &'static str);

fn run(bench: &Bench, words: &str, variables: &[Set]) -> Output {
    let mut command = bench.planish();
    command.env("HOME", bench.home()).env("PLANISH_PLATFORM", "linux/amd64").args(words.split(' '));
    command.envs(variables.iter().copied()).output().unwrap()
}

/// The values of options that any text does not do for.
const VALUES: [(&str, &str); 50] = [
    ("cache-from", "127.0.0.1:1/c"),
    ("cache-timeout", "9"),
    ("cache-to", "127.0.0.1:1/c"),
    ("cache-verify", "full"),
    ("block-size", "4096"),
    ("color", "never"),
    ("connect-timeout", "1"),
    ("creds", "u:p"),
    ("deadline", "600"),
    ("engine", "auto"),
    ("features", "dir_index"),
    ("format", "raw.zst"),
    ("free", "1M"),
    ("free-inodes", "1"),
    ("hostname", "h"),
    ("inject", "nowhere:/x"),
    ("idle-timeout", "9"),
    ("init-path", "/bin/sh"),
    ("jobs", "1"),
    ("journal-size", "none"),
    ("keep-bytes", "1M"),
    ("kernel", "6.1"),
    ("label", "l"),
    ("listing-bytes", "1M"),
    ("min-rate", "1"),
    ("min-rate-window", "60"),
    ("mkdir", "/d"),
    ("mount-from", "team/fs"),
    ("older-than", "7d"),
    ("platform", "linux/amd64"),
    ("progress", "none"),
    ("pull", "newer"),
    ("registry-mirror", "127.0.0.1:1"),
    ("resolv-conf", "192.0.2.53"),
    ("retries", "1"),
    ("retry", "1"),
    ("reuse-bytes", "1M"),
    ("root-hash", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("shard", "0/2"),
    ("shard-by", "key"),
    ("size", "64M"),
    ("subject", "-"),
    ("tls-verify", "true"),
    ("uuid", "01234567-89ab-cdef-0123-456789abcdef"),
    ("verify", "full"),
    ("verity", "append"),
    ("config-inside", "/etc/x"),
    ("from-list", "list"),
    ("output-dir", "dir"),
    ("output", "o.ext4"),
];

/// The long options of a command with the form of their values, from its help.
fn options(bench: &Bench, command: &str) -> Vec<(String, bool)> {
    let help = run(bench, &format!("help {command}"), &[]);
    let text = String::from_utf8(help.stdout).unwrap();
    let option = |line: &str| {
        let (_, rest) = line.trim_start().strip_prefix('-').and(line.split_once("--"))?;
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        let has_value = rest[name.len()..].trim_start_matches('[').starts_with(['=', ' ']) && rest.contains('<');
        Some((name, has_value))
    };
    text.lines().filter_map(option).filter(|(name, _)| name != "help").collect()
}

#[test]
fn a_variable_alone_is_no_usage_error() {
    let bench = Bench::new();
    // The image is missing: what is refused as usage is refused before.
    let source = "oci:nowhere";
    let commands = [
        format!("build {source} -o out.ext4 --force"),
        format!("plan {source}"),
        format!("key {source}"),
        format!("verify {source} out.ext4"),
        format!("check {source}"),
        "pull 127.0.0.1:1/fs:x --retry 1".into(),
        "push out.ext4 127.0.0.1:1/fs:x --retry 1".into(),
        format!("inspect {source}"),
        format!("ls {source}"),
        format!("explain {source} /etc/passwd"),
        format!("layers {source}"),
        format!("diff {source} {source}"),
        format!("export {source}"),
        "cache list".into(),
        "cache verify".into(),
        "cache prune".into(),
    ];
    let mut count = 0;
    for line in commands {
        let words = line.split(' ').take(if line.starts_with("cache") { 2 } else { 1 }).collect::<Vec<_>>().join(" ");
        for (option, has_value) in options(&bench, &words) {
            let known = VALUES.iter().find(|(name, _)| *name == option).map(|(_, value)| *value);
            let value = match known {
                Some(value) => value,
                None if option.starts_with("max-") => "20",
                None if option.ends_with("-bytes") => "1M",
                None if has_value => "nowhere",
                None => "true",
            };
            // It has an effect: nothing may be sent.
            if matches!((&*words, &*option), ("push" | "pull", "offline")) {
                continue;
            }
            let name = format!("PLANISH_{}", option.to_uppercase().replace('-', "_"));
            let mut command = bench.planish();
            command.env("HOME", bench.home()).env("PLANISH_PLATFORM", "linux/amd64").args(line.split(' '));
            let output = command.env(&name, value).stdin(std::process::Stdio::null()).output().unwrap();
            let text = stderr(&output);
            assert!(output.status.code() != Some(2), "{line}, {name}={value}: {text}");
            if !has_value {
                let output = command.env(&name, "false").output().unwrap();
                assert!(output.status.code() != Some(2), "{line}, {name}=false: {}", stderr(&output));
            }
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn the_command_line_wins_over_contradicting_variables() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    std::fs::write(bench.at("list"), "oci:nowhere\n").unwrap();
    let build = format!("build {source} -o out.ext4 --force --free 1M");
    let key = format!("key {source}");
    let table: [(&str, &[Set]); 12] = [
        (&build, &[("FROM_LIST", "list"), ("OUTPUT_DIR", "dir")]),
        (&build, &[("FROM_LIST", "list"), ("SHARD", "0/2"), ("SHARD_BY", "key")]),
        (&build, &[("VERIFY_KEY", "nowhere"), ("SIGN_KEY", "nowhere"), ("CACHE_TO_REQUIRED", "true")]),
        (&format!("{build} --verify none"), &[("CACHE_TO", "127.0.0.1:1/c"), ("CACHE_TO_REQUIRED", "true")]),
        (&format!("{build} --cache-to 127.0.0.1:1/c --retry 1"), &[("VERIFY", "none")]),
        (&build, &[("NO_REUSE", "false"), ("REUSE", "true"), ("NO_CACHE", "0"), ("OFFLINE", "OFF")]),
        (&build, &[("SIZE", "1K"), ("OUTPUT", "other"), ("QUIET", "true")]),
        (&format!("{build} -v"), &[("QUIET", "true")]),
        (&format!("{key} --features has_journal"), &[("JOURNAL_SIZE", "none")]),
        (&format!("{key} --journal-size none"), &[("FEATURES", "dir_index,has_journal")]),
        (&format!("{key} --journal-size 4M"), &[("FEATURES", "^has_journal")]),
        (&format!("build {source} --output-dir . --free 1M"), &[("VERITY", "tree"), ("OUTPUT", "x"), ("REPORT", "y")]),
    ];
    for (words, variables) in table {
        let named: Vec<(String, &str)> =
            variables.iter().map(|(name, value)| (format!("PLANISH_{name}"), *value)).collect();
        let mut command = bench.planish();
        command.env("HOME", bench.home()).env("PLANISH_PLATFORM", "linux/amd64").args(words.split(' '));
        let output = command.envs(named).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words} {variables:?}: {}", stderr(&output));
    }
    assert_eq!(bench.left(), [".cache", "layered.ext4", "list", "out.ext4"]);
}

#[test]
fn an_option_without_effect_is_an_error_on_the_command_line() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let build = format!("build {source} -o out.ext4");
    for (words, needs) in [
        (&*format!("{build} --shard 0/2"), "--from-list"),
        (&format!("{build} --shard-by key"), "--shard"),
        (&format!("{build} --cache-to-required"), "--cache-to"),
        (&format!("{build} --sign-key k"), "--cache-to"),
        (&format!("{build} --verify-key k"), "--cache-from"),
        ("pull 127.0.0.1:1/fs:x --report r", "--output"),
        ("pull 127.0.0.1:1/fs:x --verify-key r", "--output"),
        ("pull 127.0.0.1:1/fs:x --force", "--output"),
        ("pull 127.0.0.1:1/fs:x --password-stdin", "--creds"),
        (&format!("export {source} --json"), "--output"),
        (&format!("verify {source} f --verity t"), "--root-hash"),
    ] {
        let output = run(&bench, words, &[]);
        let text = stderr(&output);
        assert!(output.status.code() == Some(2) && text.contains(needs), "{words}: {text}");
        assert_eq!(bench.left(), [""; 0], "{words}");
    }
    let several = format!("{build} --cache-to 127.0.0.1:1/c --cache-from 127.0.0.1:2/c --creds u:p");
    assert!(failed(&run(&bench, &several, &[]), 2).starts_with("--creds is for one registry"));
}
