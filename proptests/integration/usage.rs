//! Mistyped command lines: exit code 2, an error that names the mistake and suggests the correction, and no output.

use std::process::{Output, Stdio};

use crate::support::{Bench, failed, fixtures, stderr};

const COMMANDS: [&str; 16] = [
    "build",
    "plan",
    "key",
    "push",
    "verify",
    "check",
    "pull",
    "inspect",
    "ls",
    "explain",
    "layers",
    "diff",
    "export",
    "cache list",
    "cache verify",
    "cache prune",
];

fn run<'a>(bench: &Bench, arguments: impl IntoIterator<Item = &'a str>) -> Output {
    bench.planish().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The long options of a command, from its help.
fn options(bench: &Bench, command: &str) -> Vec<String> {
    let output = run(bench, command.split(' ').chain(["--help"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let option = |line: &str| {
        let (_, rest) = line.trim_start().strip_prefix('-').and(line.split_once("--"))?;
        Some(rest.split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next()?.to_owned())
    };
    text.lines().filter_map(option).filter(|name| name != "help").collect()
}

/// Swaps the two middle letters; a short name gets its last letter twice.
fn mistyped(option: &str) -> String {
    if option.len() <= 3 {
        return format!("{option}{}", &option[option.len() - 1..]);
    }
    let mut letters = option.as_bytes().to_vec();
    let places = (1..letters.len() - 1).rev();
    let at = places.into_iter().find(|&at| letters[at] != letters[at + 1] && letters[at..=at + 1] != *b"--");
    let at = at.unwrap_or(0);
    letters.swap(at, at + 1);
    String::from_utf8(letters).unwrap()
}

#[test]
fn a_mistyped_option_is_refused_with_a_suggestion() {
    let bench = Bench::new();
    let mut count = 0;
    for command in COMMANDS {
        for option in options(&bench, command) {
            let typed = mistyped(&option);
            let source = if command.starts_with("cache") { "" } else { " oci:image" };
            let lines = [
                format!("{command}{source} --{typed} value"),
                format!("{command} --{typed} value{source}"),
                format!("{command} --{typed}=hunter2{source}"),
            ];
            for line in lines {
                let output = run(&bench, line.split(' '));
                let text = stderr(&output);
                assert_eq!(failed(&output, 2), format!("unexpected argument '--{typed}' found"), "{line}");
                assert!(text.contains(&format!("'--{option}'")), "{line}: {text}");
                assert!(!text.contains("hunter2"), "{line}: {text}");
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count} options");
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn long_options_with_one_dash_are_refused() {
    let bench = Bench::new();
    for line in ["build oci:image -offline", "build oci:image -output=x.ext4", "build -output x.ext4 oci:image"] {
        let output = run(&bench, line.split(' '));
        assert!(failed(&output, 2).starts_with("unexpected argument '-o"), "{line}");
        assert!(stderr(&output).contains("'--o"), "{line}");
    }
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn mistyped_commands_and_values_are_named() {
    let bench = Bench::new();
    let table = [
        ("biuld oci:image", "unrecognized subcommand 'biuld'", "'build'"),
        ("cache lits", "unrecognized subcommand 'lits'", "'list'"),
        ("plan --engine=direkt oci:image", "invalid value 'direkt' for '--engine <ENGINE>'", "'direct'"),
        ("plan --pull awlays oci:image", "invalid value 'awlays' for '--pull <WHEN>'", "'always'"),
        ("build oci:image --output=", "invalid value '' for '--output <FILE>': a file name is required", "--help"),
        ("build oci:image -o a -o b", "the argument '--output <FILE>' cannot be used multiple times", "Usage"),
        ("plan --json --json oci:image", "the argument '--json' cannot be used multiple times", "Usage"),
        ("plan oci:image oci:another", "unexpected argument 'oci:another' found", "Usage"),
        ("plan -oci:image", "unexpected argument '-o' found", "Usage"),
        ("plan --deadline 0 oci:image", "invalid value '0' for '--deadline <S>': 0 is not in", "--help"),
        ("build", "the following required arguments were not provided:", "<SOURCE>"),
    ];
    for (line, error, also) in table {
        let output = run(&bench, line.split(' '));
        assert!(failed(&output, 2).starts_with(error), "{line}: {}", stderr(&output));
        assert!(stderr(&output).contains(also), "{line}: {}", stderr(&output));
    }
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn a_dash_is_standard_input_and_two_dashes_end_the_options() {
    let bench = Bench::new();
    for line in ["plan -", "plan -- -", "plan --json -"] {
        assert!(failed(&run(&bench, line.split(' ')), 5).starts_with("standard input is closed"), "{line}");
    }
    assert!(failed(&run(&bench, ["plan", "--", "-nothing"]), 2).starts_with("-nothing is neither a source"));
    let archive = bench.at("-archive.tar");
    std::fs::write(&archive, [0; 1024]).unwrap();
    assert!(failed(&run(&bench, ["plan", "--", "-archive.tar"]), 5).starts_with("-archive.tar is neither"));
}

#[test]
fn every_option_has_a_variable_and_the_command_line_wins() {
    let bench = Bench::new();
    let planish = |variables: &[(&str, &str)], line: &str| {
        let mut command = bench.planish();
        command.args(line.split(' ')).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
    };
    let image = format!("oci:{}", fixtures().join("whiteout").display());
    let plan = format!("plan {image} --platform linux/amd64 --json");
    let size = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["bytes"].as_u64().unwrap()
    };
    let (usual, tight) = (size(&planish(&[], &plan)), size(&planish(&[], &format!("{plan} --free 0"))));
    assert_ne!(usual, tight);
    assert_eq!(size(&planish(&[("PLANISH_FREE", "0")], &plan)), tight);
    assert_eq!(size(&planish(&[("PLANISH_FREE", "0")], &format!("{plan} --free 256M"))), usual);
    assert_eq!(size(&planish(&[("PLANISH_FREE", "")], &plan)), usual, "an empty variable is none");
    // An option wins over the variable of an option that contradicts it.
    assert_eq!(size(&planish(&[("PLANISH_SIZE", "1G")], &format!("{plan} --free 0"))), tight);
    assert_eq!(size(&planish(&[("PLANISH_QUIET", "yes")], &format!("{plan} --verbose"))), usual);

    let refused = planish(&[("PLANISH_FREE", "much")], &plan);
    assert!(failed(&refused, 2).starts_with("invalid value 'much' for '--free <N|N%>'"));
    assert!(
        stderr(&refused).ends_with("hint: the value is that of the variable PLANISH_FREE\n"),
        "{}",
        stderr(&refused)
    );
    let refused = planish(&[("PLANISH_STRICT", "perhaps")], &format!("build {image} -o out.ext4"));
    assert!(failed(&refused, 2).starts_with("invalid value 'perhaps' for '--strict'"), "{}", stderr(&refused));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn the_help_of_each_command_fits_on_two_screens() {
    let bench = Bench::new();
    for command in COMMANDS.into_iter().chain(["doctor", "man", "completion"]) {
        let output = run(&bench, command.split(' ').chain(["--help"]));
        let lines = String::from_utf8(output.stdout).unwrap().lines().count();
        assert!(lines <= 120, "{command}: {lines} lines");
    }
}

#[test]
fn a_quiet_run_prints_nothing_and_a_verbose_one_each_stage() {
    let bench = Bench::new();
    let build = |flags: &[&str]| {
        let image = format!("oci:{}:latest", fixtures().join("layered").display());
        let line = ["build", &image, "-o", "out.ext4", "--force", "--platform", "linux/amd64"];
        let output = bench.planish().args(line).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(build(&["--quiet"]), "");
    let last = |text: &str| text.lines().last().unwrap().to_owned();
    let usual = build(&[]);
    assert!(last(&usual).starts_with("done        in ") && last(&usual).ends_with(" s"), "{usual}");
    assert!(!usual.contains("\nstage "), "{usual}");
    let verbose = build(&["-v"]);
    for stage in ["reading layers", "mkfs.ext4", "debugfs", "verifying", "e2fsck"] {
        assert!(verbose.contains(&format!("\nstage       {stage}: ")), "{verbose}");
    }
}

#[test]
fn a_failed_image_does_not_stop_the_others() {
    let bench = Bench::new();
    let images = ["layered", "missing", "whiteout"].map(|name| format!("oci:{}", fixtures().join(name).display()));
    let build = |images: &[String], flags: &[&str]| {
        let mut command = bench.planish();
        command.arg("build").args(images).args(["--platform", "linux/amd64"]).args(flags);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = build(&images, &["--output-dir", "images"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(bench.left(), ["images"], "a missing directory is created");
    let output = build(&images, &["--output-dir", "."]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    std::fs::remove_dir_all(bench.at("images")).unwrap();
    assert_eq!(bench.left(), ["layered.ext4", "whiteout.ext4"]);
    let text = stderr(&output);
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(matches!(errors[..], [error] if error.contains("missing.ext4: open ")), "{text}");
    assert!(text.ends_with("built       2 of 3 images\n"), "{text}");

    let output = build(&images[..1], &["--output-dir", "."]);
    assert!(failed(&output, 2).contains("layered.ext4"), "{}", stderr(&output));
    let twice = [images[0].clone(), images[0].clone()];
    assert!(
        failed(&build(&twice, &["--output-dir", "."]), 2).starts_with("--output-dir: two images would be built at")
    );
    assert!(failed(&build(&images, &["-o", "x.ext4"]), 2).contains("needs --output-dir in place of --output"));
    assert_eq!(bench.left(), ["layered.ext4", "whiteout.ext4"]);
}

#[test]
fn the_first_and_the_last_json_line_frame_a_run() {
    let bench = Bench::new();
    for (name, code) in [("layered", 0), ("missing", 6)] {
        let source = format!("oci:{}", fixtures().join(name).display());
        let line = ["build", &source, "-o", "out.ext4", "--force", "--platform", "linux/amd64", "--progress", "json"];
        let output = bench.planish().args(line).output().unwrap();
        let text = stderr(&output);
        let lines = text.lines().filter(|line| line.starts_with('{'));
        let events: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        let (first, last) = (&events[0], &events[events.len() - 1]);
        assert_eq!((&first["event"], &first["format"]), (&"run".into(), &1.into()), "{text}");
        assert_eq!((&last["event"], &last["code"]), (&"exit".into(), &code.into()), "{text}");
        assert_eq!(last["error"].is_string(), code != 0, "{text}");
        assert_eq!(output.status.code(), Some(code));
        // Each stage that begins also ends, unless it fails.
        let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
        assert_eq!(count("begin"), count("end"), "{text}");
        assert!(code != 0 || count("end") >= 8, "{text}");
    }
}
