//! The rows of `.github/FAULTS.md` about the build and its environment that no other module tests.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use planish_proptests::listing::Listing;
use planish_proptests::writer::{Content, Entry, Image, Layer};

use crate::support::process::{command, run};
use crate::support::{Bench, equal, failed, is_root, mounts, read_clean, set_mode, stderr, succeeded};

const PLATFORM: [&str; 2] = ["--platform", "linux/amd64"];
const ENGINES: [&str; 2] = ["e2fsprogs", "direct"];

fn layered(bench: &Bench) -> String {
    format!("oci:{}", bench.fixture("layered").display())
}

/// The expected listing of the fixture.
fn expected(bench: &Bench) -> Listing {
    succeeded(&bench.build(&layered(bench), "expected", &[]));
    let listing = read_clean(&bench.at("expected"));
    std::fs::remove_file(bench.at("expected")).unwrap();
    listing
}

fn layout(bench: &Bench, name: &str, entries: impl IntoIterator<Item = Entry>) -> String {
    let path = bench.shared(name);
    Image::new([Layer::new(entries)]).write_layout(&path, "latest").unwrap();
    format!("oci:{}", path.display())
}

/// A script, run by the ordinary user, with the binary as its `$@`.
fn in_shell(bench: &Bench, script: &str, arguments: &[&str]) -> Output {
    let planish = bench.planish();
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script, "bash"]).arg(planish.get_program()).args(arguments);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(bench.home());
    bench.as_user(&mut command);
    command.output().unwrap()
}

/// A directory of programs: those of a test, and links to the system's own.
fn programs(bench: &Bench, own: &[(&str, &str)]) -> PathBuf {
    let directory = bench.shared("bin");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in own {
        crate::support::script(&directory.join(name), text);
    }
    directory
}

#[test]
fn a_debugfs_error_with_exit_code_0_is_a_failure() {
    let bench = Bench::new();
    let says = "#!/bin/sh\necho 'debugfs 1.47.0 (5-Feb-2023)' >&2\necho 'x: File not found by ext2_lookup' >&2\n";
    let path = programs(&bench, &[("debugfs", says)]);
    let mut build = bench.planish();
    build.env("PATH", format!("{}:/usr/bin:/bin", path.display())).args(["build", &layered(&bench), "-o", "out.ext4"]);
    let output = build.args(PLATFORM).args(["--engine", "e2fsprogs"]).output().unwrap();
    let text = failed(&output, 6);
    assert!(text.starts_with("debugfs ") && text.contains("File not found by ext2_lookup"), "B04: {text}");
    assert_eq!(bench.left(), [""; 0], "B04");
}

#[test]
fn a_finding_of_e2fsck_prevents_publication() {
    for engine in ENGINES {
        let bench = Bench::new();
        let says = "#!/bin/sh\ncase $1 in -V) echo 'e2fsck 1.47.0 (5-Feb-2023)' >&2; exit 0;; esac\n\
                    echo 'image: Inode 12 seems to contain garbage.'\nexit 4\n";
        let path = programs(&bench, &[("e2fsck", says)]);
        let mut build = bench.planish();
        build.env("PATH", format!("{}:/usr/bin:/bin", path.display())).args(["build", &layered(&bench)]);
        let output = build.args(["-o", "out.ext4", "--engine", engine]).args(PLATFORM).output().unwrap();
        let code = output.status.code().unwrap();
        let text = failed(&output, code);
        assert!(matches!(code, 6 | 8), "B22, {engine}: {code}");
        assert!(text.contains("Inode 12 seems to contain garbage"), "B22, {engine}: {text}");
        assert_eq!(bench.left(), [""; 0], "B22, {engine}");
    }
}

#[test]
fn a_size_larger_than_the_disk_is_a_write_error() {
    for engine in ENGINES {
        let bench = Bench::new();
        let source = layout(&bench, "large", [Entry::file("f", Content::Repeat { byte: 7, count: 24 << 20 })]);
        let disk = bench.shared("disk");
        std::fs::create_dir(&disk).unwrap();
        let mount = format!("{} '{}'", mounts::private_tmpfs("8m"), disk.display());
        let script = format!("{mount}; trap 'ls -A {0} > {1}' EXIT", disk.display(), bench.at("left").display());
        std::fs::create_dir(bench.at("work")).unwrap();
        bench.give(&bench.at("work"));
        let output = disk.join("out.ext4");
        let mut build = bench.planish();
        build.args(["build", &source, "--size", "2G", "--engine", engine, "--work-dir", "work", "-o"]).arg(&output);
        let output = mounts::run(&bench, &script, build.args(PLATFORM));
        let text = failed(&output, 6);
        assert!(text.contains("space"), "B06, {engine}: {text}");
        assert_eq!(bench.at("work").read_dir().unwrap().count(), 0, "B06, {engine}");
    }
}

#[test]
fn zeros_in_a_layer_take_no_space_in_the_work_directory() {
    let bench = Bench::new();
    let zeros = Content::Repeat { byte: 0, count: 40 << 20 };
    let files = [Entry::file("a", "x"), Entry::file("b", zeros), Entry::file("c", "y")];
    let source = layout(&bench, "zeros", files);
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("{} '{}'", mounts::private_tmpfs("8m"), disk.display());
    let run = |arguments: &[&str]| {
        let mut command = bench.planish();
        command.args(arguments).args([&source, "--work-dir"]).arg(&disk).args(PLATFORM);
        succeeded(&mounts::run(&bench, &mount, &command));
    };
    for engine in ENGINES {
        let output = format!("{engine}.ext4");
        // The report has the digests of all contents.
        run(&["build", "--engine", engine, "--report", "report.json", "--force", "--output", &output]);
    }
    equal(&read_clean(&bench.at("e2fsprogs.ext4")), &read_clean(&bench.at("direct.ext4")));
    run(&["export", "--output", "out.tar"]);
    let list = command("tar -tvf").arg(bench.at("out.tar")).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains(" 41943040 "), "{list:?}");
}

#[test]
fn a_size_too_small_for_the_inodes_is_refused_with_the_required_size() {
    let bench = Bench::new();
    let files = (0..3000).map(|n| Entry::file(format!("d{}/f{n}", n % 30), ""));
    let source = layout(&bench, "many", files);
    for engine in ENGINES {
        let output = bench.build(&source, "out.ext4", &["--size", "512K", "--engine", engine]);
        let text = failed(&output, 7);
        assert!(text.contains("--size allows 524288"), "B07, {engine}: {text}");
        assert_eq!(bench.left(), [""; 0], "B07, {engine}");
    }
}

#[test]
fn a_block_device_is_refused_as_output() {
    let bench = Bench::new();
    let device = bench.shared("device");
    // Only root can make a device; the system's own may be absent.
    if !is_root() {
        return;
    }
    run(command("mknod").arg(&device).args(["b", "7", "250"]));
    run(command("chmod 666").arg(&device));
    let text = failed(&bench.build(&layered(&bench), "../device", &["--force"]), 2);
    assert_eq!(text, "output ../device: is not a regular file", "B10");
    assert!(device.symlink_metadata().unwrap().file_type().is_block_device(), "B10");
}

#[test]
fn two_builds_to_one_output_leave_a_whole_file() {
    let bench = Bench::new();
    let expected = expected(&bench);
    let start = |more: &[&str]| {
        let mut build = bench.planish();
        build.args(["build", &layered(&bench), "-o", "out.ext4", "--free", "1M"]).args(PLATFORM).args(more);
        build.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(&["--force"]), start(&["--force"]), start(&["--force", "--engine", "direct"])];
    for child in children {
        succeeded(&child.wait_with_output().unwrap());
    }
    equal(&expected, &read_clean(&bench.at("out.ext4")));
    assert_eq!(bench.left(), ["out.ext4"], "B11");
    std::fs::remove_file(bench.at("out.ext4")).unwrap();
    let children = [start(&[]), start(&[])];
    let codes = children.map(|child| child.wait_with_output().unwrap().status.code().unwrap());
    assert!(matches!(codes, [0, 2] | [2, 0]), "B11: {codes:?}");
    equal(&expected, &read_clean(&bench.at("out.ext4")));
    assert_eq!(bench.left(), ["out.ext4"], "B11");
}

#[test]
fn a_closed_stdout_does_not_fail_a_build() {
    let bench = Bench::new();
    let source = layered(&bench);
    for script in ["set -o pipefail; \"$@\" | true", "set -o pipefail; \"$@\" | head -c 1 > /dev/null"] {
        let plan = in_shell(&bench, script, &["plan", &source, PLATFORM[0], PLATFORM[1]]);
        assert!(matches!(plan.status.code(), Some(0 | 141)), "B13: {:?} {}", plan.status, stderr(&plan));
        assert!(!stderr(&plan).contains("panicked"), "B13");
    }
}

#[test]
fn a_closed_stdout_is_an_error_where_the_result_goes_there() {
    let bench = Bench::new();
    let source = layered(&bench);
    let commands = [
        "key SOURCE".to_owned(),
        "plan SOURCE --json".into(),
        "inspect SOURCE".into(),
        "ls SOURCE".into(),
        "export SOURCE".into(),
        "build SOURCE -o out.ext4 --json".into(),
        "completion bash".into(),
        "man".into(),
        "--version".into(),
        "help build".into(),
    ];
    for line in commands {
        let words = line.replace("SOURCE", &format!("{source} {}", PLATFORM.join(" ")));
        let words: Vec<&str> = words.split(' ').collect();
        let output = in_shell(&bench, "exec \"$@\" >&-", &words);
        let text = failed(&output, 6);
        assert!(text.contains("Bad file descriptor"), "{line}: {text}");
        assert_eq!(bench.left(), [""; 0], "{line}");
        // What is thrown away on purpose is none, however the caller opened it.
        for null in ["> /dev/null", "1<> /dev/null"] {
            succeeded(&in_shell(&bench, &format!("exec \"$@\" {null}"), &words));
            let _ = std::fs::remove_file(bench.at("out.ext4"));
        }
    }
}

#[test]
fn umask_does_not_widen_private_files() {
    let bench = Bench::new();
    let list = "#!/bin/sh\ncase $1 in -V) echo 'mke2fs 1.47.0 (x)' >&2; exit 0;; esac\n\
                find . .. -maxdepth 1 -name '*planish*' -printf '%m %y\\n' >> HOME/modes\n\
                find . -maxdepth 1 -type d -printf '%m %y\\n' >> HOME/modes\nexit 3\n";
    let path = programs(&bench, &[("mkfs.ext4", &list.replace("HOME", &bench.home().display().to_string()))]);
    for umask in ["0000", "0777", "0022"] {
        let script = format!("umask {umask}; PATH={}:$PATH; exec \"$@\"", path.display());
        let source = layered(&bench);
        let arguments = ["build", &source, "-o", "out.ext4", "--engine", "e2fsprogs", PLATFORM[0], PLATFORM[1]];
        failed(&in_shell(&bench, &script, &arguments), 6);
        run(command("chmod 644").arg(bench.at("modes")));
        let modes = std::fs::read_to_string(bench.at("modes")).unwrap();
        let open = |line: &&str| !(line.starts_with("700 ") || line.starts_with("600 "));
        assert!(modes.lines().count() >= 2, "B16, {umask}: {modes}");
        assert_eq!(modes.lines().find(open), None, "B16, {umask}: {modes}");
        std::fs::remove_file(bench.at("modes")).unwrap();
        assert_eq!(bench.left(), [""; 0], "B16, {umask}");
    }
}

#[test]
fn root_of_a_user_namespace_builds_the_same_bytes() {
    let bench = Bench::new();
    let source = layered(&bench);
    let arguments = ["build", &source, "-o", "out.ext4", "--force", "--free", "1M", PLATFORM[0], PLATFORM[1]];
    let built = |script: &str| {
        succeeded(&in_shell(&bench, script, &arguments));
        std::fs::read(bench.at("out.ext4")).unwrap()
    };
    assert!(built("exec \"$@\"") == built("exec unshare -r \"$@\""), "B17");
}

#[test]
fn the_temporary_directory_is_used_or_named_in_the_error() {
    let bench = Bench::new();
    let expected = expected(&bench);
    std::fs::create_dir(bench.at("real")).unwrap();
    std::fs::create_dir(bench.at("closed")).unwrap();
    symlink("real", bench.at("link")).unwrap();
    std::fs::write(bench.at("file"), "").unwrap();
    for name in ["real", "closed", "file"] {
        bench.give(&bench.at(name));
    }
    set_mode(&bench.at("closed"), 0o555);
    let source = layered(&bench);
    let build = |tmpdir: Option<&str>| {
        let mut build = bench.planish();
        build.args(["build", &source, "-o", "out.ext4", "--free", "1M"]).args(PLATFORM);
        build.envs(tmpdir.map(|value| ("TMPDIR", value)));
        build.output().unwrap()
    };
    for good in [None, Some(""), Some("real"), Some("link"), Some("./link/../real")] {
        succeeded(&build(good));
        equal(&expected, &read_clean(&bench.at("out.ext4")));
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
    }
    for bad in ["nowhere", "closed", "file", "/proc"] {
        let text = failed(&build(Some(bad)), 6);
        assert!(text.contains(bad), "B18, {bad}: {text}");
    }
    assert_eq!(bench.left(), ["closed", "file", "link", "real"], "B18");
    assert_eq!(bench.at("real").read_dir().unwrap().count(), 0, "B18");
}

#[test]
fn a_missing_null_device_is_an_error() {
    let bench = Bench::new();
    let mut build = bench.planish();
    build.args(["build", &layered(&bench), "-o", "out.ext4", "--free", "1M"]).args(PLATFORM);
    let output = mounts::run(&bench, "mount -t tmpfs none /dev", &build);
    assert_eq!(failed(&output, 6), "open /dev/null: No such file or directory (os error 2)");
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn a_noexec_temporary_directory_is_accepted() {
    let bench = Bench::new();
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("{} -o noexec,nosuid,nodev '{}'", mounts::private_tmpfs("64m"), disk.display());
    let mut build = bench.planish();
    build.env("TMPDIR", &disk).args(["build", &layered(&bench), "-o", "out.ext4", "--free", "1M"]).args(PLATFORM);
    succeeded(&mounts::run(&bench, &mount, &build));
    read_clean(&bench.at("out.ext4"));
    assert_eq!(bench.left(), ["out.ext4"], "B18");
}

#[test]
fn arguments_are_escaped_in_errors() {
    let bench = Bench::new();
    let strange = bench.shared("lay\u{1b}[31mout");
    std::fs::rename(bench.fixture("layered"), &strange).unwrap();
    let source = format!("oci:{}", strange.display());
    let built = bench.build(&source, "out\u{1b}.ext4", &["--report", "rep\u{1b}ort.json"]);
    succeeded(&built);
    let [plan, verify] = [&["plan"][..], &["verify"]].map(|words| {
        let mut command = bench.planish();
        command.args(words).arg(&source).args(PLATFORM);
        if words == ["verify"] {
            command.arg("out\u{1b}.ext4");
        }
        command.output().unwrap()
    });
    for output in [built, plan, verify] {
        succeeded(&output);
        let text = [output.stdout, output.stderr].concat();
        assert!(text.iter().all(|&byte| byte == b'\n' || !byte.is_ascii_control()), "{}", text.escape_ascii());
        assert!(String::from_utf8(text).unwrap().contains("lay\\x1b[31mout"));
    }
}

#[test]
fn an_invalid_source_date_is_a_usage_error() {
    let bench = Bench::new();
    let source = layered(&bench);
    let build = |date: &str| {
        let mut build = bench.planish();
        build.env("SOURCE_DATE_EPOCH", date).args(["build", &source, "-o", "out.ext4", "--free", "1M"]).args(PLATFORM);
        build.output().unwrap()
    };
    for junk in ["yesterday", "1.5", "0x10", " 1", "1 ", "99999999999999999999999"] {
        let text = failed(&build(junk), 2);
        assert!(text.contains("SOURCE_DATE_EPOCH"), "B21, {junk:?}: {text}");
        assert_eq!(bench.left(), [""; 0], "B21, {junk:?}");
    }
    for date in ["0", "2208988800"] {
        succeeded(&build(date));
        read_clean(&bench.at("out.ext4"));
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
    }
}

/// Every limit is in the README's table and in the help, with its flag.
#[test]
fn every_limit_is_documented() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table = readme.split("\n## Limits\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    let bench = Bench::new();
    let help = bench.planish().args(["help", "build"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut missing = Vec::new();
    for limit in planish::limits::Limit::ALL {
        let flag = format!("--{}", limit.flag());
        let in_table = rows.iter().filter(|row| row.contains(&format!("`{flag}`"))).count();
        let in_help = help.lines().filter(|line| line.trim_start().starts_with(&format!("{flag} "))).count();
        if (in_table, in_help) != (1, 1) {
            missing.push(format!("{flag}: {in_table} in the README, {in_help} in the help"));
        }
    }
    assert_eq!(missing, [""; 0]);
    assert!(rows.len() >= planish::limits::Limit::ALL.len());
}

/// Adds the Rust sources below a directory.
fn sources(directory: &Path, found: &mut String) {
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Other tests check the rows of registries and caches.
#[test]
fn every_row_about_layers_and_builds_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = std::fs::read_to_string(root.join(".github/FAULTS.md")).unwrap();
    let mut tests = String::new();
    sources(&root.join("src"), &mut tests);
    sources(&root.join("proptests/integration"), &mut tests);
    let mut missing = Vec::new();
    for id in (1..=27)
        .map(|n| format!("L{n:02}"))
        .chain((1..=30).map(|n| format!("B{n:02}")))
        .chain((1..=11).map(|n| format!("F{n:02}")))
    {
        let Some(row) = catalogue.lines().find(|line| line.starts_with(&format!("| {id} |"))) else {
            missing.push(id);
            continue;
        };
        let named: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        // There is no such option.
        if named.is_empty() && id != "B23" {
            missing.push(id.clone());
        }
        let there = |test: &&&str| tests.contains(&format!("fn {test}()"));
        missing.extend(named.iter().filter(|test| !there(test)).map(|test| format!("{id}: {test}")));
    }
    assert_eq!(missing, [""; 0]);
}
