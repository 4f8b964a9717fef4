//! The whole program, on commands that are short shell scripts.

use std::path::Path;

use clap::error::ErrorKind;
use serde_json::Value;

use super::*;

/// Returns the end of a run, its standard output, and its standard error.
fn run_with(arguments: &[&str], directory: &Path) -> (End, String, String) {
    let reproduce = directory.join("found").display().to_string();
    let fixed = ["whiteout-check", "--reproduce", &reproduce, "--seed", "1", "--cases", "20"];
    let args = Args::try_parse_from(fixed.iter().chain(arguments)).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let end = run(&args, Arc::default(), &mut out, &mut errors).unwrap();
    (end, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
}

fn run_in_temporary(arguments: &[&str]) -> (End, String, String) {
    run_with(arguments, tempfile::tempdir().unwrap().path())
}

/// Returns a script that writes an empty directory for small images, and otherwise does as given.
fn for_small_ones(most_blobs: usize, otherwise: &str) -> String {
    let count = "ls {layout}/blobs/sha256 | wc -l";
    format!("sh -c 'test $({count}) -le {most_blobs} && mkdir {{out}} || {{ {otherwise}; }}'")
}

#[test]
fn an_unusable_command_is_a_usage_error() {
    for (command, expected) in [
        (
            "/nowhere/at/all {layout} {out}",
            "the command cannot be used: /nowhere/at/all cannot be started: No such file or directory (os error 2)\n",
        ),
        (
            "sh -c 'echo \"\x1b[2Jno\" >&2; exit 4' {layout} {out}",
            "the command cannot be used: it refuses an image of one directory and one file: exit code 4:\n    \\x1b[2Jno\n",
        ),
        ("true {layout} {out}", "the command cannot be used: the output is not there\n"),
    ] {
        let (end, out, errors) = run_in_temporary(&["--compare", "type", "--command", command]);
        assert_eq!((end, &*out, &*errors), (End::Unusable, "", expected));
    }
}

#[test]
fn a_broken_law_is_shown_with_its_smallest_image() {
    let directory = tempfile::tempdir().unwrap();
    let command = "sh -c 'mkdir {out}' {layout}";
    let arguments = ["--compare", "type", "--law", "model-agreement", "--command", command];
    let (end, out, errors) = run_with(&arguments, directory.path());
    assert_eq!((end, &*errors), (End::Broken, ""));
    let law = directory.path().join("found/model-agreement");
    let (layout, output) = (law.join("layout"), law.join("out"));
    let (summary, sentence) = (laws::ALL[0].summary, laws::ALL[0].sentence);
    let head = "command: sh -c 'mkdir {out}' {layout}\nlevel spec, 20 images for each law, seed 1\ncompared: type\n\n";
    let start = format!("{head}model-agreement            BROKEN   ");
    assert!(out.starts_with(&start), "{out}");
    let breach = format!(
        "\nmodel-agreement is broken: {summary}\n  {sentence}\n  the filesystem differs from that of the reference model\n  image:\n"
    );
    assert!(out.contains(&breach), "{out}");
    let close = format!(
        "  written to {}; the command on it:\n    sh -c 'mkdir {}' {}:latest\n",
        law.display(),
        output.display(),
        layout.display()
    );
    assert!(out.contains(&close.replace(":latest", "")), "{out}");
    assert!(out.ends_with(" times\n") && out.contains("\n0 of 1 laws hold, 1 broken; the command ran "), "{out}");
    let image = out.split("  image:\n").nth(1).unwrap().split("  the command's").next().unwrap();
    assert!(image.lines().count() <= 3, "this is not small:\n{image}");
    assert!(layout.join("index.json").is_file());
    let text = std::fs::read_to_string(law.join("stack.txt")).unwrap();
    assert!(text.contains(image), "{text}");
}

#[test]
fn a_refusal_breaks_no_law() {
    let arguments = ["--compare", "type", "--law", "no-marker-survives", "--command"];
    let command = for_small_ones(5, "echo many >&2; exit 5");
    let (end, out, errors) = run_in_temporary(&[&arguments[..], &[&command]].concat());
    assert_eq!((end, &*errors), (End::AllHold, ""));
    assert!(out.contains("no-marker-survives         holds       20 images, "), "{out}");
    let (_, refusal) = out.split_once("\nthe command refuses a valid image:\n    layer 1: ").unwrap();
    assert!(refusal.contains("\n  with exit code 5:\n    many\n\n1 of 1 laws hold; the command ran "), "{out}");
}

#[test]
fn a_law_is_unjudged_when_every_image_is_refused() {
    let command = for_small_ones(3, "exit 5");
    let arguments = ["--compare", "type", "--law", "no-marker-survives", "--command", &command];
    let (end, out, _) = run_in_temporary(&arguments);
    assert_eq!(end, End::Unusable);
    assert!(out.contains("no-marker-survives         unjudged    20 images, 20 refused\n"), "{out}");
    assert!(out.contains("\n0 of 1 laws hold, 1 unjudged; the command ran "), "{out}");
}

#[test]
fn a_command_without_a_result_ends_the_run_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let command = for_small_ones(3, "echo bye >&2; kill -9 $$");
    let laws = ["--compare", "type", "--law", "no-marker-survives", "--law", "empty-layer-is-identity"];
    let arguments = [&laws[..], &["--command", &command]].concat();
    let (end, out, _) = run_with(&arguments, directory.path());
    assert_eq!(end, End::Unusable);
    let text = "no-marker-survives has no result\nthe command cannot be used: the command was killed: signal: 9 (SIGKILL):\n    bye\n  image:\n    layer 1: ";
    assert!(out.contains(text), "{out}");
    assert!(out.contains("\n0 of 1 laws hold, 1 unusable; "), "{out}");
    assert!(directory.path().join("found/no-marker-survives/layout/index.json").is_file());
    let (end, out, _) = run_with(&[&arguments[..], &["--keep-going"]].concat(), directory.path());
    assert_eq!(end, End::Unusable);
    assert!(out.contains("\n0 of 2 laws hold, 2 unusable; "), "{out}");
}

#[test]
fn json_is_one_document_with_the_same_facts() {
    let command = "sh -c 'mkdir {out}' {layout}";
    let arguments = ["--json", "--compare", "type", "--law", "model-agreement", "--command", command];
    let (end, out, _) = run_in_temporary(&arguments);
    assert_eq!(end, End::Broken);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&document["command"], &document["seed"], &document["level"]),
        (&command.into(), &1.into(), &"spec".into())
    );
    let law = &document["laws"][0];
    assert_eq!((&law["name"], &law["verdict"]), (&"model-agreement".into(), &"broken".into()));
    assert_eq!(law["images"][0]["differences"], law["differences"]);
    assert_eq!(document["refusals"], Value::Array(Vec::new()));
    let (end, out, _) = run_in_temporary(&["--json", "--command", "true {layout} {out}"]);
    assert_eq!(end, End::Unusable);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["unusable"], "the output is not there");
}

#[test]
fn equal_seeds_give_equal_reports() {
    let command = "sh -c 'mkdir {out}' {layout}";
    let report = || {
        let arguments =
            ["--compare", "type", "--law", "markers-first", "--law", "model-agreement", "--command", command];
        let (_, out, _) = run_in_temporary(&arguments);
        out.lines().filter(|line| !line.contains("/found/")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(report(), report());
}

#[test]
#[ignore = "needs umoci and root"]
fn umoci_breaks_laws_by_times_only() {
    let fields = "type,mode,uid,gid,content,target,device,xattrs,links";
    let arguments = ["--compare", fields, "--command", "umoci raw unpack --image {layout}:{tag} {out}"];
    let (end, out, _) = run_in_temporary(&arguments);
    assert_eq!(end, End::AllHold, "{out}");
}

#[test]
fn the_list_has_every_law_and_its_sentence() {
    let (end, out, _) = run_in_temporary(&["--list-laws"]);
    assert_eq!(end, End::AllHold);
    for law in laws::ALL {
        assert!(out.contains(&format!("{} ({}): {}\n  {}\n", law.name, law.level, law.summary, law.sentence)));
    }
}

#[test]
fn invalid_command_lines_are_explained() {
    let command = ["--command", "unpack {layout} {out}"];
    for (arguments, kind, expected) in [
        (&[][..], ErrorKind::MissingRequiredArgument, "--command <COMMAND>"),
        (
            &["--command", "unpack {layout}"],
            ErrorKind::ValueValidation,
            "the command lacks {out}, where it is to write",
        ),
        (&["--law", "gravity"], ErrorKind::ValueValidation, "no law has this name; --list-laws shows them"),
        (&["--level", "strict"], ErrorKind::ValueValidation, "a level is one of spec, consensus, planish"),
        (&["--compare", "size"], ErrorKind::ValueValidation, "a field is one of type, mode, uid,"),
        (&["--below", "../x"], ErrorKind::ValueValidation, "a relative path without .. is expected"),
        (&["--cases", "0"], ErrorKind::ValueValidation, "0 is not in 1.."),
    ] {
        let command = if arguments.contains(&"--command") || arguments.is_empty() { &[][..] } else { &command };
        let arguments = [&["whiteout-check"], command, arguments].concat();
        let error = Args::try_parse_from(&arguments).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.exit_code(), End::Usage as i32);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn help_documents_the_exit_codes() {
    let help = Args::try_parse_from(["whiteout-check", "--help"]).unwrap_err().to_string();
    for (end, text) in [
        (End::AllHold, "all laws hold"),
        (End::Broken, "a law is broken"),
        (End::Usage, "the command line is wrong"),
        (End::Unusable, "the command cannot be used"),
    ] {
        assert!(help.contains(&format!("  {}  {text}", end as u8)), "{help}");
    }
}
