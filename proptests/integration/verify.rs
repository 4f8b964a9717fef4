//! `planish verify`: it finds each single difference by path and field, and accepts equal filesystems of other
//! builders.

use std::process::{Command, Output};

use crate::support::{Bench, failed, stderr, succeeded, tool};

/// One difference made with debugfs, and the beginning of the line that must report it.
const DIFFERENCES: &[(&[&str], &str)] = &[
    (&["sif /etc/passwd uid 5"], "/etc/passwd: uid is 5, expected 0"),
    (&["sif /home/alice/.profile uid 232704"], "/home/alice/.profile: uid is 232704, expected 1000660000"),
    (&["sif /etc/shadow gid 0"], "/etc/shadow: gid is 0, expected 42"),
    (&["sif /etc/passwd mode 0100600"], "/etc/passwd: mode is 0600, expected 0644"),
    (&["sif /usr/bin/su mode 0100755"], "/usr/bin/su: mode is 0755, expected 4755"),
    (&["sif /tmp mode 040777"], "/tmp: mode is 0777, expected 1777"),
    (&["sif <2> mode 040755"], "/: mode is 0755, expected 0711"),
    (&["sif <2> gid 0"], "/: gid is 0, expected 3"),
    (&["sif /etc mtime_lo 1"], "/etc: mtime is 1.000000000, expected 1700000000.000000000"),
    (&["sif /times/nanoseconds mtime_extra 0"], "/times/nanoseconds: mtime is 1700000000.000000000, "),
    (&["sif /times/after-2038 mtime_extra 4"], "/times/after-2038: mtime is -192"),
    (&["sif /bin mtime_lo 1"], "/bin: mtime is 1.000000000, "),
    (&["sif /etc/passwd size 25"], "/etc/passwd: size is 25, expected 26"),
    (&["zap_block -f /etc/passwd -o 3 -l 1 -p 1 0"], "/etc/passwd: content is different from byte 3 on"),
    (&["zap_block -f /etc/passwd -p 0 0"], "/etc/passwd: content is different from byte 0 on"),
    (&["sif /bin block[0] 0"], "/bin: target is "),
    (&["sif /dev/null block[0] 260"], "/dev/null: device is 1:4, expected 1:3"),
    (&["sif /dev/null mode 060666"], "/dev/null: type is BlockDevice, expected CharacterDevice"),
    (&["ea_set /opt user.origin x"], "/opt: xattr is user.origin=\"x\", expected user.origin=\"layer 2\""),
    (&["ea_rm /opt user.origin"], "/opt: xattr is nothing, expected user.origin=\"layer 2\""),
    (&["ea_set /etc user.new 1"], "/etc: xattr is user.new=\"1\", expected nothing"),
    (&["ea_rm /usr/bin/ping security.capability"], "/usr/bin/ping: xattr is nothing, expected security.capability="),
    (&["unlink /etc/passwd"], "/etc/passwd: names is nothing, expected a name"),
    (&["ln /etc/passwd /etc/passwd2"], "/etc/passwd2: names is a name, expected nothing"),
    (&["mkdir /new"], "/new: names is a name, expected nothing"),
    (&["ln /etc/passwd /lost+found/x"], "/lost+found: names is a name, expected nothing"),
    (&["sif /etc/passwd links_count 2"], "/etc/passwd: link count is 2, expected 1"),
    (&["unlink /usr/bin/sh", "ln /usr/bin/ls /usr/bin/sh"], "/usr/bin/sh: inode is "),
    (&["sif /etc/passwd flags 0x80080"], "/etc/passwd: flags is 0x80, expected none"),
    (&["sif /etc flags 0x20080000"], "/etc: flags is 0x20000000, expected none"),
    (&["sif /bin flags 0x10"], "/bin: flags is 0x10, expected none"),
    (&["sif /dev/null flags 0x8"], "/dev/null: flags is 0x8, expected none"),
    (&["ssv state 0"], "/: state is not clean, expected clean"),
];

fn run(bench: &Bench, program: &str, arguments: &[&str]) {
    let status = Command::new(tool(program)).args(arguments).current_dir(bench.home()).output().unwrap().status;
    // e2fsck exits with 1 if it has changed the filesystem.
    assert!(matches!(status.code(), Some(0 | 1)), "{program} {arguments:?}");
}

fn verify(bench: &Bench, source: &str, file: &str) -> Output {
    let mut command = bench.planish();
    command.args(["verify", source, file, "--platform", "linux/amd64"]).output().unwrap()
}

fn built(bench: &Bench) -> String {
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "good.ext4", &["--free", "1M"]));
    source
}

#[test]
fn every_single_difference_is_found_by_path_and_field() {
    let bench = Bench::new();
    let source = built(&bench);
    for (requests, expected) in DIFFERENCES {
        std::fs::copy(bench.at("good.ext4"), bench.at("bad.ext4")).unwrap();
        bench.give(&bench.at("bad.ext4"));
        for request in *requests {
            run(&bench, "debugfs", &["-w", "-R", request, "bad.ext4"]);
        }
        let output = verify(&bench, &source, "bad.ext4");
        assert_eq!(output.status.code(), Some(8), "{requests:?}: {}", stderr(&output));
        let found = String::from_utf8(output.stdout).unwrap();
        assert!(found.lines().any(|line| line.starts_with(expected)), "{requests:?}: {found}");
    }
}

#[test]
fn equal_filesystems_of_other_builders_are_accepted() {
    let bench = Bench::new();
    let source = built(&bench);
    let output = verify(&bench, &source, "good.ext4");
    succeeded(&output);
    assert_eq!(output.stdout, b"");
    run(&bench, "tune2fs", &["-L", "label", "-i", "30d", "good.ext4"]);
    succeeded(&verify(&bench, &source, "good.ext4"));
    run(&bench, "e2fsck", &["-fyD", "good.ext4"]);
    succeeded(&verify(&bench, &source, "good.ext4"));
    run(&bench, "resize2fs", &["good.ext4", "64M"]);
    succeeded(&verify(&bench, &source, "good.ext4"));
    assert_eq!(bench.left(), ["good.ext4"]);
}

#[test]
fn the_verification_is_printed_as_json() {
    let bench = Bench::new();
    let source = built(&bench);
    run(&bench, "debugfs", &["-w", "-R", "sif /etc/passwd uid 5", "good.ext4"]);
    let mut command = bench.planish();
    let output =
        command.args(["verify", &source, "good.ext4", "--platform", "linux/amd64", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    let proof: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proof["mismatch_count"], 1);
    let expected = serde_json::json!({ "path": "/etc/passwd", "field": "uid", "expected": "0", "actual": "5" });
    assert_eq!(proof["mismatches"][0], expected);
    assert_eq!(proof["fsck_found"], serde_json::Value::Null);
}

#[test]
fn other_files_are_named_as_no_filesystem() {
    let bench = Bench::new();
    std::fs::write(bench.at("zeros"), vec![0; 1 << 20]).unwrap();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let text = failed(&verify(&bench, &source, "zeros"), 6);
    assert_eq!(text, "zeros is no ext4 filesystem that can be read: its beginning is zeros");
    let missing = failed(&verify(&bench, &source, "none"), 6);
    assert_eq!(missing, "open none: No such file or directory (os error 2)");
}

#[test]
fn the_progress_counts_each_inode_once() {
    let bench = Bench::new();
    // A symlink of the fixture has two names.
    let source = format!("oci:{}", bench.fixture("layered").display());
    let output = bench.build(&source, "out.ext4", &["--progress", "json"]);
    succeeded(&output);
    let text = stderr(&output);
    let mut events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let end = events.find(|event| event["event"] == "end" && event["stage"] == "verify").unwrap();
    assert_eq!((&end["done"], &end["total"]), (&43.into(), &43.into()));
}
