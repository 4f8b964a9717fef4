//! The runtime configuration of an image: as runtime-spec writes it, and as a real shell reads it.

use std::process::Command;

use planish_proptests::writer::{Entry, Image, Layer};
use serde_json::{Value, json};

use crate::support::{Bench, failed, read_clean, succeeded};

/// Values that mean something to a shell, to JSON, or to a terminal.
const HOSTILE: [&str; 9] = [
    "it's",
    "$(touch pwned) `touch pwned` ${HOME}",
    "a\nB=c; touch pwned\n",
    "\"\\\u{1b}[31m",
    "'; touch pwned; '",
    "!!",
    "~ * ?",
    "# no comment",
    "ü€",
];

fn image(bench: &Bench, name: &str, config: &Value) -> String {
    let layer = Layer::new([
        Entry::file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/it's:/bin/sh\n"),
        Entry::file("etc/group", "www:x:34:\nadm:x:4:web\nvideo:x:44:root,web\n"),
        Entry::file("etc/hostname", "box\n"),
    ]);
    let layout = bench.shared(name);
    let image = Image::new([layer]).created(Some("2023-11-14T22:13:20Z")).config_field("config", config.clone());
    image.config_field("author", "someone".into()).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

fn env() -> Vec<String> {
    let hostile = HOSTILE.iter().enumerate().map(|(n, value)| format!("V{n}={value}"));
    hostile
        .chain(["PATH=/bin", "EMPTY=", "IFS=x", "not-a-name=1", "PLANISH_CWD=/nowhere", "A=b=c"].map(str::to_owned))
        .collect()
}

#[test]
fn a_configuration_is_published_with_the_filesystem() {
    let bench = Bench::new();
    let source = image(
        &bench,
        "configured",
        &json!({
            "Entrypoint": ["/entry"], "Cmd": HOSTILE, "Env": env(), "User": "web", "WorkingDir": "/srv/a b",
            "Labels": {"x": "y", "org.opencontainers.image.author": "another"}, "StopSignal": "SIGINT",
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}},
        }),
    );
    let more = ["--config-out", "c.json", "--config-env", "c.env", "--config-inside", "--hostname", "web-1"];
    succeeded(&bench.build(&source, "out.ext4", &more));
    assert_eq!(bench.left(), ["c.env", "c.json", "out.ext4"]);
    let text = std::fs::read(bench.at("c.json")).unwrap();
    let args: Vec<&str> = ["/entry"].into_iter().chain(HOSTILE).collect();
    let expected = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 33, "gid": 34, "additionalGids": [4, 44]}, "args": args, "env": env(), "cwd": "/srv/a b",
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "web-1",
        "annotations": {
            "org.opencontainers.image.os": "linux",
            "org.opencontainers.image.architecture": "amd64",
            "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
            "org.opencontainers.image.author": "another",
            "org.opencontainers.image.stopSignal": "SIGINT",
            "org.opencontainers.image.exposedPorts": "80/tcp",
            "planish.volumes": "/data",
            "x": "y",
        },
    });
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);

    let inside = read_clean(&bench.at("out.ext4"));
    for (name, copy) in [("/etc/planish/config.json", "c.json"), ("/etc/planish/config.env", "c.env")] {
        let node = inside.get(name.as_bytes()).unwrap();
        let contents = planish_proptests::listing::Contents::of(&std::fs::read(bench.at(copy)).unwrap());
        assert_eq!(node.kind, planish_proptests::listing::Kind::File(contents), "{name}");
    }
    let verify = |more: &[&str]| {
        let mut command = bench.planish();
        command.args(["verify", &source, "out.ext4", "--platform", "linux/amd64", "--hostname", "web-1"]).args(more);
        command.output().unwrap()
    };
    succeeded(&verify(&["--config-inside"]));
    assert_eq!(verify(&[]).status.code(), Some(8));
}

#[test]
fn a_shell_reads_the_configuration() {
    let bench = Bench::new();
    let config = json!({"Entrypoint": ["/entry", ""], "Cmd": HOSTILE, "Env": env(), "User": "web", "WorkingDir": "w"});
    let source = image(&bench, "shell", &config);
    succeeded(&bench.build(&source, "out.ext4", &["--config-env", "c.env"]));
    let mut shells = vec!["/bin/sh"];
    shells.extend(["/bin/bash", "/bin/busybox"].into_iter().filter(|shell| std::path::Path::new(shell).exists()));
    for shell in shells {
        let script = ". ./c.env; eval \"set -- $PLANISH_ARGS\"; for v in \"$V0\" \"$V1\" \"$V2\" \"$V3\" \"$V4\" \"$V5\" \
                      \"$V6\" \"$V7\" \"$V8\" \"$A\" \"$EMPTY\" \"$IFS\" \"$PLANISH_CWD\" \"$PLANISH_UID\" \"$PLANISH_GID\" \
                      \"$PLANISH_GROUPS\" \"$PLANISH_HOME\" \"$@\"; do printf '%s\\0' \"$v\"; done";
        let mut command = Command::new(shell);
        let command = if shell.ends_with("busybox") { command.arg("sh") } else { &mut command };
        let command = command.args(["-u", "-e", "-c", script]).current_dir(bench.home()).env_clear();
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        let actual = String::from_utf8(output.stdout).unwrap();
        let actual: Vec<&str> = actual.strip_suffix('\0').unwrap().split('\0').collect();
        let mut expected = HOSTILE.to_vec();
        expected.extend(["b=c", "", " \t\n", "/w", "33", "34", "4 44", "/var/it's", "/entry", ""]);
        expected.extend(HOSTILE);
        assert_eq!(actual, expected, "{shell}");
        assert_eq!(bench.left(), ["c.env", "out.ext4"], "{shell}");
    }
}

#[test]
fn an_invalid_configuration_is_refused_only_on_request() {
    let bench = Bench::new();
    let table = [
        (json!({"User": "nobody"}), "has the user \"nobody\", whom the image's /etc/passwd does not list"),
        (json!({"User": "web:x"}), "has the group \"x\", which the image's /etc/group does not list"),
        (json!({"Cmd": "/bin/sh"}), "is not valid JSON of its kind: its config.Cmd is not a list of strings"),
        (json!(["x"]), "is not valid JSON of its kind: its config is not an object"),
    ];
    for (number, (config, expected)) in table.iter().enumerate() {
        let source = image(&bench, &format!("odd{number}"), config);
        for more in [["--config-out", "c"], ["--config-env", "c"], ["--config-inside", "--strict"]] {
            let error = failed(&bench.build(&source, "out.ext4", &more), 5);
            assert!(error.starts_with("config sha256:") && error.ends_with(expected), "{error}");
            assert_eq!(bench.left(), [""; 0]);
        }
        succeeded(&bench.build(&source, "out.ext4", &[]));
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
    }
}

#[test]
fn a_configuration_needs_a_separate_path() {
    let bench = Bench::new();
    let source = image(&bench, "paths", &json!({}));
    std::fs::write(bench.at("there"), "mine").unwrap();
    let table = [
        (vec!["--config-out", "there"], "configuration there: exists already"),
        (
            vec!["--config-out", "out.ext4"],
            "configuration out.ext4: another result of this run would have the same path",
        ),
        (
            vec!["--config-out", "a", "--config-env", "a"],
            "configuration a: another result of this run would have the same path",
        ),
        (
            vec!["--config-out", "a", "--report", "a"],
            "configuration a: another result of this run would have the same path",
        ),
        (vec!["--config-inside=/"], "injection / has the root of the image as its destination"),
    ];
    for (more, expected) in table {
        assert_eq!(failed(&bench.build(&source, "out.ext4", &more), 2), expected);
        assert_eq!(bench.left(), ["there"]);
    }
    succeeded(&bench.build(&source, "out.ext4", &["--config-out", "there", "--force"]));
    let config: Value = serde_json::from_slice(&std::fs::read(bench.at("there")).unwrap()).unwrap();
    assert_eq!(config["process"], json!({"user": {"uid": 0, "gid": 0}, "env": [], "cwd": "/"}));
}
