//! `planish check` finds what keeps an image or a filesystem from booting. The programs are this machine's own, and `ldd` says
//! what they need.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use planish_proptests::writer::{Entry, Image, Layer, Platform};
use serde_json::{Value, json};

use crate::support::{Bench, failed, stderr, succeeded};

/// The architecture of this machine in the words of OCI.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// The shell of this machine, its libraries and its loader, each with the path by which `ldd` knows it.
pub(super) fn shell() -> Vec<(String, Vec<u8>)> {
    let output = Command::new("ldd").arg("/bin/sh").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let libraries = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let mut files: Vec<(String, Vec<u8>)> =
        libraries.map(|path| (path.to_owned(), std::fs::read(path).unwrap())).collect();
    files.push(("/bin/sh".to_owned(), std::fs::read("/bin/sh").unwrap()));
    assert!(files.len() >= 3, "a shell with a C library and a loader: {said}");
    files
}

fn entries(files: &[(String, Vec<u8>)]) -> Vec<Entry> {
    files.iter().map(|(path, bytes)| Entry::file(&path[1..], bytes.clone()).mode(0o755)).collect()
}

fn image(bench: &Bench, name: &str, entries: Vec<Entry>, architecture: &str, config: &Value) -> PathBuf {
    let layout = bench.shared(name);
    let image = Image::new([Layer::new(entries)]).platform(Platform::new("linux", architecture));
    image.config_field("config", config.clone()).write_layout(&layout, "latest").unwrap();
    layout
}

fn check(bench: &Bench, source: &str, architecture: &str, more: &[&str]) -> Output {
    let platform = format!("linux/{architecture}");
    bench.planish().args(["check", source, "--platform", &platform]).args(more).output().unwrap()
}

/// Requires an exit code, and returns what was found, a line each.
#[track_caller]
fn found(output: &Output, code: i32) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn mounts() -> Vec<Entry> {
    ["dev/", "proc/", "run/", "sys/", "tmp/"].into_iter().map(Entry::dir).collect()
}

#[test]
fn a_shell_with_all_its_libraries_boots_and_without_one_it_does_not() {
    let bench = Bench::new();
    let files = shell();
    let resolver = || Entry::file("etc/resolv.conf", "nameserver 192.0.2.1\n");
    let all = || [entries(&files), mounts(), vec![resolver()]].concat();
    let init = || Entry::file("sbin/init", "#!/bin/sh -e\nexec sleep 9\n").mode(0o755);
    let config = json!({"Cmd": ["sh"], "User": "7"});
    let layout = image(&bench, "all", [all(), vec![init()]].concat(), ARCHITECTURE, &config);
    let source = format!("oci:{}", layout.display());
    let lines = found(&check(&bench, &source, ARCHITECTURE, &[]), 0);
    assert_eq!(lines[0], "ok init /sbin/init (script for /bin/sh)");
    assert_eq!(lines[1], "ok mount-points /dev, /proc, /run, /sys and /tmp are there");
    assert_eq!(lines[2], "ok resolver /etc/resolv.conf is there");
    assert_eq!(lines[3], "ok user the image's user 7 is 7:0");
    let libraries = files.len() - 2;
    assert!(
        lines[4].starts_with(&format!("ok process the image's process is /bin/sh ({ARCHITECTURE}, loader /lib")),
        "{lines:?}"
    );
    let noun = if libraries == 1 { "library" } else { "libraries" };
    assert!(lines[4].ends_with(&format!(", {libraries} {noun})")), "{lines:?}");

    // The same in a filesystem.
    succeeded(
        &bench
            .planish()
            .args(["build", &source, "-o", "out.ext4", "--platform", &format!("linux/{ARCHITECTURE}")])
            .output()
            .unwrap(),
    );
    assert_eq!(found(&check(&bench, "out.ext4", ARCHITECTURE, &[]), 0)[..3], lines[..3]);

    for (number, (path, _)) in files.iter().enumerate().filter(|(_, (path, _))| path != "/bin/sh") {
        let rest: Vec<_> = files.iter().filter(|(other, _)| other != path).cloned().collect();
        let layout = image(&bench, &format!("without{number}"), entries(&rest), ARCHITECTURE, &config);
        let lines = found(&check(&bench, &format!("oci:{}", layout.display()), ARCHITECTURE, &[]), 8);
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        let expected = match name.starts_with("ld-") {
            true => format!("failure init /bin/sh needs the loader \"{path}\", which the image does not have"),
            false => format!(
                "failure init /bin/sh needs the library \"{name}\", which the image does not have for {ARCHITECTURE}"
            ),
        };
        assert_eq!(lines[0], expected);
        assert_eq!(lines.last().unwrap(), &format!("oci:{}: it would not boot", layout.display()));
    }
}

#[test]
fn a_file_that_is_no_filesystem_is_not_looked_for_in_a_registry() {
    let bench = Bench::new();
    std::fs::write(bench.at("junk.ext4"), [b'x'; 5000]).unwrap();
    std::fs::write(bench.at("empty"), "").unwrap();
    for (source, kind) in [("junk.ext4", "text"), ("./junk.ext4", "text"), ("empty", "empty")] {
        let output = bench.planish().args(["check", source]).output().unwrap();
        let expected = format!("{source} is no ext4 filesystem that can be read: it is {kind}");
        assert_eq!(failed(&output, 6), expected);
        assert!(stderr(&output).contains("hint: it is no archive of an image either\n"));
    }
    let output = bench.planish().args(["check", "none.ext4", "--offline", "--cache-dir", "cache"]).output().unwrap();
    failed(&output, 6);
    let hint = "hint: there is no file none.ext4 here, so it was taken for an image of a registry\n";
    assert!(stderr(&output).contains(hint));
}

/// A name, the entries and the architecture of an image, more arguments, and what is found.
type Row<'a> = (&'a str, Vec<Entry>, &'a str, &'a [&'a str], String);

#[test]
fn an_invalid_program_is_named() {
    let bench = Bench::new();
    let sh = || Entry::file("bin/sh", std::fs::read("/bin/sh").unwrap()).mode(0o755);
    let other = if ARCHITECTURE == "amd64" { "arm64" } else { "amd64" };
    let table: [Row<'_>; 7] = [
        (
            "nothing",
            vec![],
            ARCHITECTURE,
            &[],
            "there is no init: /sbin/init, /etc/init, /bin/init and /bin/sh are missing".into(),
        ),
        (
            "text",
            vec![Entry::file("sbin/init", "echo").mode(0o755)],
            ARCHITECTURE,
            &[],
            "/sbin/init is neither an ELF program nor a script with #!".into(),
        ),
        ("mode", vec![Entry::file("sbin/init", "\x7fELF")], ARCHITECTURE, &[], "/sbin/init is not executable".into()),
        ("directory", vec![Entry::dir("sbin/init/")], ARCHITECTURE, &[], "/sbin/init is no file".into()),
        (
            "script",
            vec![Entry::file("sbin/init", "#! /opt/\x1bx -f\n").mode(0o755)],
            ARCHITECTURE,
            &[],
            "/sbin/init is a script for \"/opt/\\x1bx\", which the image does not have".into(),
        ),
        ("machine", vec![sh()], other, &[], format!("/bin/sh is for {ARCHITECTURE}, the image is for {other}")),
        ("chosen", vec![sh()], ARCHITECTURE, &["--init-path", "/opt/init"], "there is no /opt/init".into()),
    ];
    for (name, entries, architecture, more, expected) in table {
        let layout = image(&bench, name, entries, architecture, &json!({}));
        let lines = found(&check(&bench, &format!("oci:{}", layout.display()), architecture, more), 8);
        assert_eq!(lines[0], format!("failure init {expected}"));
        assert!(lines[1].starts_with("hint: "), "{lines:?}");
    }
}

#[test]
fn an_uncertain_finding_is_a_warning() {
    let bench = Bench::new();
    let entries = [
        entries(&shell()),
        vec![
            Entry::symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
            Entry::symlink("sbin/init", "../lib/systemd/systemd"),
            Entry::dir("dev/"),
        ],
    ];
    let config = json!({"User": "nobody", "Entrypoint": ["/opt/none"]});
    let layout = image(&bench, "warnings", entries.concat(), ARCHITECTURE, &config);
    let output = check(&bench, &format!("oci:{}", layout.display()), ARCHITECTURE, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["boots"], &report["init"]), (&true.into(), &"/bin/sh".into()));
    let verdicts: Vec<(&str, &str)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["check"].as_str().unwrap(), finding["verdict"].as_str().unwrap()))
        .collect();
    let warnings = ["init", "mount-points", "resolver", "user"].map(|check| (check, "warning"));
    assert_eq!(verdicts, warnings);
    let text = |number: usize| report["findings"][number]["text"].as_str().unwrap();
    assert_eq!(text(1), "there is no directory /proc, /run, /sys, /tmp");
    assert_eq!(
        text(2),
        "/etc/resolv.conf is a symlink to ../run/systemd/resolve/stub-resolv.conf, which is not there yet"
    );
    assert!(text(3).ends_with("has the user \"nobody\", whom the image's /etc/passwd does not list"), "{report}");
}

#[test]
fn a_kernel_that_is_too_old_for_the_filesystem_is_found() {
    let bench = Bench::new();
    let layout = image(&bench, "kernel", entries(&shell()), ARCHITECTURE, &json!({}));
    let source = format!("oci:{}", layout.display());
    let platform = format!("linux/{ARCHITECTURE}");
    let features = ["--features", "metadata_csum_seed"];
    let build =
        bench.planish().args(["build", &source, "-o", "out.ext4", "--platform", &platform]).args(features).output();
    succeeded(&build.unwrap());
    let lines = found(&check(&bench, "out.ext4", ARCHITECTURE, &["--kernel", "4.3.0-generic"]), 8);
    assert_eq!(
        lines[0],
        "failure kernel Linux 4.3 does not mount the filesystem: it has metadata_csum_seed, which Linux 4.4 knows"
    );
    let lines = found(&check(&bench, "out.ext4", ARCHITECTURE, &["--kernel", "4.4"]), 0);
    assert_eq!(lines[0], "ok kernel Linux 4.4 mounts the filesystem");
    let lines = found(&check(&bench, &source, ARCHITECTURE, &["--kernel", "4.3"]), 0);
    assert_eq!(lines[0], "warning kernel Linux 4.3 is not checked: an image is no filesystem that it mounts");
    let error = failed(&check(&bench, "out.ext4", ARCHITECTURE, &["--kernel", "new"]), 2);
    assert!(error.ends_with("not a version of Linux, such as 5.10 or 6.1.0-18-amd64"), "{error}");
}
