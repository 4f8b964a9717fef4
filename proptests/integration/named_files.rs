//! Files that a user names: one that is a pipe is read to its end where that makes sense, and never waited for beyond the
//! deadline.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::process::{command, run, wait};
use crate::support::{Bench, failed, stderr, succeeded};

/// A run that takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Runs a command that must end by itself.
#[track_caller]
fn ended(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(wait(&mut child, HANGS).is_some(), "{command:?} hangs");
    child.wait_with_output().unwrap()
}

/// A filesystem and its report, the keys of minisign, and a pipe.
fn scene() -> (Bench, String) {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "fs.ext4", &["--free", "1M", "--report", "fs.json"]));
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    for (name, text) in [("key.pub", pair.pk.to_base64()), ("key.sec", pair.sk.to_box(None).unwrap().to_string())] {
        std::fs::write(bench.at(name), text).unwrap();
        bench.give(&bench.at(name));
    }
    run(command("mkfifo -m 0666").arg(bench.at("pipe")));
    (bench, source)
}

/// A registry that nobody listens at.
const REFERENCE: &str = "127.0.0.1:1/fs:x";

fn planish(bench: &Bench, words: &str) -> Command {
    let mut command = bench.planish();
    command.env("HOME", bench.home()).args(words.split(' ')).args(["--platform", "linux/amd64"]);
    command
}

#[test]
fn a_pipe_that_nobody_writes_to_ends_at_the_deadline() {
    let (bench, source) = scene();
    let build = format!("build {source} -o out.ext4 --cache-from 127.0.0.1:1/c --cache-to 127.0.0.1:1/c");
    for words in [
        &format!("{build} --verify-key pipe"),
        &format!("{build} --sign-key pipe"),
        "build --from-list pipe --output-dir out",
        &format!("push fs.ext4 {REFERENCE} --report pipe"),
        &format!("push fs.ext4 {REFERENCE} --sign-key pipe"),
        &format!("pull {REFERENCE} -o out.ext4 --verify-key pipe"),
        "inspect docker-archive:pipe",
    ] {
        let before = bench.left();
        let line = failed(&ended(planish(&bench, words).args(["--deadline", "1"])), 7);
        assert!(line.contains("--deadline allows"), "{words}: {line}");
        assert_eq!(bench.left(), before, "{words}");
    }
    // The writing end stays open.
    let mut pull = planish(&bench, &format!("pull {REFERENCE} --creds user --password-stdin --deadline 1"));
    let (read, write) = std::io::pipe().unwrap();
    assert!(failed(&ended(pull.stdin(read)), 7).contains("--deadline allows"));
    drop(write);
    // These files are small and few: their own limit of five seconds applies.
    for words in ["--ca-file pipe --tls-verify", "--authfile pipe"] {
        let output = ended(&mut planish(&bench, &format!("pull {REFERENCE} --retry 1 {words}")));
        assert!(matches!(output.status.code(), Some(3..=6)), "{words}: {}", stderr(&output));
    }
}

#[test]
fn a_pipe_is_no_file_with_blocks() {
    let (bench, source) = scene();
    let root = "0".repeat(64);
    for words in [
        &format!("verify {source} fs.ext4 --root-hash {root} --verity pipe"),
        &format!("verify {source} pipe"),
        "push pipe 127.0.0.1:1/fs:x",
        "check ./pipe --deadline 1",
    ] {
        let output = ended(&mut planish(&bench, words));
        assert!(matches!(output.status.code(), Some(6 | 7)), "{words}: {}", stderr(&output));
    }
    let man = bench.at("man");
    std::fs::create_dir(&man).unwrap();
    run(command("mkfifo -m 0666").arg(man.join("planish.1")));
    failed(&ended(bench.planish().args(["man", "--output-dir", "man"])), 6);
}

/// Runs planish with words of bash, such as `<(cat file)`.
fn in_bash(bench: &Bench, words: &str) -> Output {
    let mut bash = Command::new("/bin/bash");
    let planish = bench.planish();
    bash.arg("-c").arg(format!("\"$0\" {words} --platform linux/amd64")).arg(planish.get_program());
    bash.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", bench.home()).current_dir(bench.home());
    bench.as_user(&mut bash);
    ended(bash.stdin(Stdio::null()))
}

#[test]
fn a_pipe_with_data_is_the_file() {
    let (bench, source) = scene();
    // Each key and report was read: what follows is the registry's failure.
    let pushed = |words: &str| in_bash(&bench, &format!("push fs.ext4 {REFERENCE} --retry 1 {words}"));
    for words in ["--report <(cat fs.json)", "--sign-key <(cat key.sec)"] {
        assert!(failed(&pushed(words), 3).contains("cannot be reached"), "{words}");
    }
    assert!(failed(&pushed("--report <(cat key.pub)"), 2).ends_with("is not that of the filesystem"));
    assert!(failed(&pushed("--sign-key <(cat key.pub)"), 6).contains("holds no secret key"));
    let pull = format!("pull {REFERENCE} --retry 1 -o out.ext4 --verify-key <(cat key.pub)");
    assert!(failed(&in_bash(&bench, &pull), 3).contains("cannot be reached"));
    let name = Path::new("layered.ext4");
    for list in ["--from-list <(echo LINE)", "--from-list /dev/stdin < <(sleep 0.2; echo LINE)"] {
        let list = list.replace("LINE", &source);
        succeeded(&in_bash(&bench, &format!("build --output-dir out {list} --free 1M")));
        std::fs::remove_file(bench.at("out").join(name)).unwrap();
    }
}
