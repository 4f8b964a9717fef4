//! The errors of these commands: text, hint and exit code.

use planish_proptests::writer::{Entry, Image, Layer};

use super::{layout, look};
use crate::support::{Bench, failed, stderr};

fn image() -> Image {
    Image::new([Layer::new([
        Entry::file("etc/passwd", ""),
        Entry::symlink("bin", "usr/bin"),
        Entry::file("usr/bin/vi", ""),
        Entry::symlink("loop", "loop/x"),
        Entry::file(*b"odd\x1b", ""),
    ])])
}

/// Command line after the source, exit code, error, hint.
const ERRORS: &[(&str, &str, i32, &str, &str)] = &[
    ("ls", "/etc/paswd", 5, r#"SOURCE has no /etc/paswd: /etc holds no "paswd""#, "did you mean /etc/passwd?"),
    ("ls", "ect/passwd", 5, r#"SOURCE has no /ect/passwd: / holds no "ect""#, "did you mean /etc/passwd?"),
    ("ls", "bin/vim", 5, r#"SOURCE has no /bin/vim: /usr/bin holds no "vim""#, "did you mean /usr/bin/vi?"),
    ("ls", "od", 5, r#"SOURCE has no /od: / holds no "od""#, "planish ls lists what is there, down to /"),
    ("ls", "odd", 5, r#"SOURCE has no /odd: / holds no "odd""#, r"did you mean /odd\x1b?"),
    ("ls", "var/lib", 5, r#"SOURCE has no /var/lib: / holds no "var""#, "planish ls lists what is there, down to /"),
    (
        "ls",
        "bin/vi/x",
        5,
        "SOURCE has no /bin/vi/x: /usr/bin/vi is not a directory",
        "planish ls lists what is there, down to /usr/bin/vi",
    ),
    (
        "ls",
        "loop/y",
        5,
        "SOURCE has no /loop/y: it leads through more than 40 symlinks",
        "planish ls lists what is there, down to /",
    ),
    ("inspect", "--raw --config", 2, "the argument '--raw' cannot be used with '--config'", ""),
    ("inspect", "--json --config", 2, "the argument '--json' cannot be used with '--config'", ""),
    ("ls", "--tree --json", 2, "the argument '--tree' cannot be used with '--json'", ""),
    ("ls", "--color sometimes", 2, "invalid value 'sometimes' for '--color <WHEN>'", ""),
    ("ls", "a b", 2, "unexpected argument 'b' found", ""),
];

#[test]
fn every_error_names_the_missing_path_and_a_suggestion() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    for (command, more, code, error, hint) in ERRORS {
        let more: Vec<&str> = more.split(' ').filter(|word| !word.is_empty()).collect();
        let output = look(&bench, command, &source, &more);
        let shown = failed(&output, *code).replace(&source, "SOURCE");
        assert_eq!(shown.lines().next(), Some(*error), "{command} {more:?}");
        let hints: Vec<String> =
            stderr(&output).lines().filter_map(|line| line.strip_prefix("hint: ")).map(str::to_owned).collect();
        assert_eq!(hints.join("\n"), *hint, "{command} {more:?}");
        assert_eq!(output.stdout, b"", "{command} {more:?}");
    }
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn a_docker_archive_has_no_manifest_to_print() {
    let bench = Bench::new();
    let archive = image().docker_archive(planish_proptests::writer::Flavour::Legacy, "a:1");
    let source = format!("docker-archive:{}", bench.readable("a.tar", &archive).display());
    let text = failed(&look(&bench, "inspect", &source, &["--raw"]), 2);
    assert_eq!(text, "--raw: this source has no manifest; --config prints the config");
}
