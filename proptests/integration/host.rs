//! Other hosts: inherited process state, refused resources, and other versions of the tools.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use planish_proptests::writer::{Entry, Image, Layer, SparseFormat};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Bench, failed, process, read_clean, stderr, succeeded, tool};

/// The commands, with placeholders for an image and a filesystem.
const COMMANDS: &[&[&str]] = &[
    &["build", "LAYOUT", "-o", "out.ext4"],
    &["build", "LAYOUT", "-o", "out.ext4", "--engine", "direct", "--jobs", "4"],
    &["build", "ARCHIVE", "-o", "out.ext4", "--verbose"],
    &["build", "-", "-o", "out.ext4", "--progress", "json"],
    &["plan", "LAYOUT"],
    &["verify", "LAYOUT", "GOOD"],
    &["cache", "list"],
    &["cache", "verify"],
    &["cache", "prune"],
    &["pull", "docker://127.0.0.1:1/x:y", "--retry", "1"],
    &["--help"],
    &["--version"],
    &["build", "--help"],
    &["no-such-command"],
];
/// The exit codes of the table in `--help`, except those of a difference, a bug and a signal.
const DOCUMENTED: [i32; 7] = [0, 2, 3, 4, 5, 6, 7];

/// An image in several forms, and its filesystem.
struct Host {
    bench: Bench,
    archive: PathBuf,
    good: Vec<u8>,
}

impl Host {
    fn new() -> Self {
        let bench = Bench::new();
        let source = format!("oci:{}", bench.fixture("layered").display());
        succeeded(&bench.build(&source, "good.ext4", &["--free", "1M"]));
        let good = std::fs::read(bench.at("good.ext4")).unwrap();
        let archive = bench.shared("image.tar");
        let mut tar = process::command("tar --format=ustar -cf");
        process::run(tar.arg(&archive).arg("-C").arg(bench.fixture("layered")).arg("."));
        Self { bench, archive, good }
    }

    /// Runs a command of the table by `before`, the words of a program that runs its arguments.
    fn run(&self, before: &[&str], command: &[&str]) -> Output {
        let planish = self.bench.planish();
        let program = planish.get_program().to_str().unwrap().to_owned();
        let mut words: Vec<String> = before.iter().map(ToString::to_string).chain([program]).collect();
        words.extend(command.iter().map(|word| match *word {
            "LAYOUT" => format!("oci:{}", self.bench.fixture("layered").display()),
            "ARCHIVE" => format!("oci-archive:{}", self.archive.display()),
            "GOOD" => "good.ext4".into(),
            word => word.into(),
        }));
        if matches!(command, ["build", ..] if !command.contains(&"--help")) {
            words.extend(["--platform", "linux/amd64", "--free", "1M"].map(String::from));
        }
        let mut run = Command::new(&words[0]);
        run.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin");
        run.env("HOME", self.bench.home()).env("TMPDIR", self.bench.home());
        run.current_dir(self.bench.home()).stdin(Stdio::null());
        if command.contains(&"-") {
            run.stdin(std::fs::File::open(&self.archive).unwrap());
        }
        self.bench.as_user(&mut run);
        run.output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Requires a documented exit code, the filesystem exactly if the code is 0, and no other file.
    #[track_caller]
    fn judge(&self, before: &[&str], command: &[&str]) -> i32 {
        let output = self.run(before, command);
        let text = String::from_utf8_lossy(&output.stderr);
        let context = format!("{before:?} {command:?}: {}\n{text}", output.status);
        assert!(output.status.code().is_some_and(|code| DOCUMENTED.contains(&code)), "{context}");
        assert!(!text.contains("panicked") && !text.contains("is a bug of planish"), "{context}");
        let mut left = self.bench.left();
        left.retain(|name| !matches!(name.as_str(), ".cache" | "good.ext4"));
        let there = left == ["out.ext4"];
        assert!(there || left.is_empty(), "{context}{left:?}");
        let builds = command[0] == "build" && !command.contains(&"--help");
        assert_eq!(there, builds && output.status.success(), "{context}");
        if there {
            if !command.contains(&"direct") {
                assert!(std::fs::read(self.bench.at("out.ext4")).unwrap() == self.good, "{context}");
            }
            std::fs::remove_file(self.bench.at("out.ext4")).unwrap();
        }
        output.status.code().unwrap()
    }

    fn judge_all(&self, before: &[&str]) -> Vec<i32> {
        COMMANDS.iter().map(|command| self.judge(before, command)).collect()
    }
}

#[test]
fn resource_limits_are_errors() {
    let host = Host::new();
    let limits = [
        // Descriptors; with fewer than four, no library can be loaded.
        "--nofile=4",
        "--nofile=5",
        "--nofile=6",
        "--nofile=7",
        "--nofile=8",
        "--nofile=9",
        "--nofile=10",
        "--nofile=11",
        "--nofile=12",
        "--nofile=13",
        "--nofile=14",
        "--nofile=16",
        "--nofile=20",
        "--nofile=32",
        // Bytes of a file.
        "--fsize=0",
        "--fsize=4096",
        "--fsize=1000000",
        // Bytes of the stack.
        "--stack=131072",
        "--stack=1048576",
        "--stack=unlimited",
    ];
    for limit in limits {
        host.judge_all(&["prlimit", limit, "--"]);
    }
}

#[test]
fn exhausted_memory_is_an_error() {
    let host = Host::new();
    for limit in
        ["--as=60000000", "--as=80000000", "--as=100000000", "--as=200000000", "--data=4000000", "--data=12000000"]
    {
        host.judge_all(&["prlimit", limit, "--"]);
    }
}

#[test]
fn commands_run_without_additional_threads() {
    let host = Host::new();
    let alone = ["prlimit", "--nproc=1", "--"];
    let unproven = ["build", "LAYOUT", "-o", "out.ext4", "--engine", "direct", "--verify", "none", "--jobs", "4"];
    for command in [&unproven[..], &["plan", "LAYOUT"], &["plan", "ARCHIVE"], &["cache", "list"], &["--help"]] {
        assert_eq!(host.judge(&alone, command), 0, "{command:?}");
    }
    // A registry request needs no thread either; no server listens here.
    assert_eq!(host.judge(&alone, &["pull", "docker://127.0.0.1:1/x:y", "--retry", "1"]), 3);
    assert_eq!(host.judge(&alone, &["pull", "docker://localhost:1/x:y", "--retry", "1"]), 3);
    let output = host.run(&alone, &["build", "LAYOUT", "-o", "out.ext4"]);
    let text = failed(&output, 6);
    assert_eq!(text, "mkfs.ext4 cannot be started: Resource temporarily unavailable (os error 11)");
}

#[test]
fn closed_and_full_standard_streams_are_handled() {
    let host = Host::new();
    for stdin in ["", "<&-"] {
        for stdout in ["", ">&-", ">/dev/full"] {
            for stderr in ["", "2>&-", "2>/dev/full"] {
                let script = format!("exec \"$@\" {stdin} {stdout} {stderr}");
                let before = ["sh", "-c", &script, "sh"];
                for command in COMMANDS {
                    let code = host.judge(&before, command);
                    // A build needs none of the three streams unless its image is on standard input.
                    if command[0] == "build" && !["-", "--help"].iter().any(|word| command.contains(word)) {
                        assert_eq!(code, 0, "{script} {command:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_environment_of_the_caller_changes_no_byte() {
    let host = Host::new();
    let config = host.bench.readable(
        "mke2fs.conf",
        b"[defaults]\nbase_features = sparse_super,quota,project,orphan_file\nblocksize = 1024\ninode_size = 512\n\
          reserved_ratio = 50\n[fs_types]\next4 = {\nfeatures = inline_data,casefold,ea_inode\n}\n",
    );
    let config = config.to_str().unwrap();
    let variables = [
        format!("MKE2FS_CONFIG={config}"),
        format!("E2FSCK_CONFIG={config}"),
        "MKE2FS_SYNC=1".into(),
        "MKE2FS_DEVICE_SECTSIZE=512".into(),
        "MKE2FS_DEVICE_PHYS_SECTSIZE=4096".into(),
        "MKE2FS_FIRST_META_BG=3".into(),
        "MKE2FS_SKIP_PROGRESS=x".into(),
        "E2FSPROGS_FAKE_TIME=1".into(),
        "E2FSPROGS_UNDO_DIR=/nowhere".into(),
        "E2FSCK_TIME=1".into(),
        "DEBUGFS_PAGER=/bin/false".into(),
        "PAGER=/bin/false".into(),
        "BLKID_FILE=/nowhere".into(),
        "LIBMOUNT_FSTAB=/nowhere".into(),
        "TZ=Asia/Tokyo".into(),
        "LANG=de_DE.UTF-8".into(),
        "LC_ALL=tr_TR.UTF-8".into(),
        "POSIXLY_CORRECT=1".into(),
        "MALLOC_ARENA_MAX=1".into(),
        "MALLOC_PERTURB_=90".into(),
        "GLIBC_TUNABLES=glibc.malloc.check=3".into(),
        "LD_BIND_NOW=1".into(),
        "RUST_MIN_STACK=1".into(),
        "RUST_BACKTRACE=full".into(),
    ];
    let variables: Vec<&str> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let descriptors = "exec 3</etc/passwd 4>/dev/null 9<. ; exec \"$@\"";
    for before in [
        &variables[..],
        &["sh", "-c", "umask 0; exec \"$@\"", "sh"],
        &["sh", "-c", "umask 077; exec \"$@\"", "sh"],
        &["sh", "-c", descriptors, "sh"],
        &["env", "--ignore-signal=CHLD"],
        &["env", "--ignore-signal"],
        &["env", "--block-signal"],
        &["prlimit", "--stack=131072", "--"],
    ] {
        for command in &COMMANDS[..4] {
            assert_eq!(host.judge(before, command), 0, "{before:?} {command:?}");
        }
    }
}

#[test]
fn a_deleted_directory_and_non_utf8_arguments_do_not_panic() {
    let host = Host::new();
    let gone = "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"";
    host.judge_all(&["sh", "-c", gone, "sh"]);
    let mut command = host.bench.planish();
    let bytes = OsStr::from_bytes(b"\xff\xfe\x1b[31m");
    command.env("HOME", bytes).env("TMPDIR", bytes).env("XDG_CACHE_HOME", bytes).env("NO_COLOR", bytes);
    command.env("COLUMNS", bytes).env("TERM", bytes).env("SOURCE_DATE_EPOCH", bytes).env("HTTPS_PROXY", bytes);
    for words in [&[b"build".as_slice(), b"\xff", b"-o", b"\xff"], &[b"\xff".as_slice(), b"--\xff", b"-\xff", b""]] {
        let output = command.args(words.iter().map(|word| OsStr::from_bytes(word))).output().unwrap();
        failed(&output, 2);
    }
}

#[test]
fn a_blocked_signal_is_received() {
    let bench = Bench::new();
    let planish = bench.planish();
    let mut command = Command::new("env");
    // The caller of the tests may ignore SIGHUP.
    command
        .args(["--default-signal", "--block-signal"])
        .arg(planish.get_program())
        .args(["build", "-", "-o", "out.ext4"]);
    command.current_dir(bench.home()).stdin(Stdio::piped()).stderr(Stdio::null());
    bench.as_user(&mut command);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut child = command.spawn().unwrap();
        while !bench.left().iter().any(|name| name.starts_with("planish-work-")) {
            assert_eq!(child.try_wait().unwrap(), None, "it reads standard input");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = process::wait(&mut child, Duration::from_secs(60)).expect("it stops");
        assert_eq!(status.code(), Some(code));
        assert_eq!(bench.left(), [""; 0]);
    }
}

/// Replaces a tool by a script; `$REAL` is the tool itself.
fn replace(bench: &Bench, name: &str, script: &str) -> String {
    let directory = bench.shared("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let text = format!("#!/bin/sh\nREAL={}\n{script}\n", tool(name).display());
    crate::support::script(&directory.join(name), &text);
    format!("{}:/usr/bin:/bin", directory.display())
}

/// A tool that prints another version and is otherwise unchanged.
fn calls_itself(bench: &Bench, name: &str, line: &str) -> String {
    replace(bench, name, &format!("case $1 in -V) echo '{line}' >&2; exit 0;; esac\nexec $REAL \"$@\""))
}

fn build_with(bench: &Bench, path: &str, source: &str, more: &[&str]) -> Output {
    let mut command = bench.planish();
    command.env("PATH", path).args(["build", source, "-o", "out.ext4", "--platform", "linux/amd64", "--force"]);
    command.args(more).output().unwrap()
}

#[test]
fn a_tool_is_identified_by_its_version_output() {
    let bench = Bench::new();
    let at = |name: &str| bench.shared("bin").join(name).display().to_string();
    for (name, line) in
        [("mkfs.ext4", "BusyBox v1.36.1 () 1.47.0"), ("debugfs", "coredebugfs 1.47.0 (x)"), ("e2fsck", "")]
    {
        let path = calls_itself(&bench, name, line);
        let text = failed(&build_with(&bench, &path, "oci:/nowhere:x", &[]), 6);
        let version = if line.is_empty() { "nothing" } else { line };
        assert_eq!(text, format!("{name} is not of e2fsprogs: {} prints {version} as its version", at(name)));
        std::fs::remove_file(at(name)).unwrap();
    }
    let path = calls_itself(&bench, "debugfs", "debugfs 1.42.9 (x)");
    let text = failed(&build_with(&bench, &path, "oci:/nowhere:x", &[]), 6);
    assert_eq!(text, format!("debugfs has version 1.42.9, planish needs 1.46 or later: {}", at("debugfs")));
    let path = calls_itself(&bench, "debugfs", "debugfs 1.46.5 (x)");
    let source = format!("oci:{}", bench.fixture("layered").display());
    let output = build_with(&bench, &path, &source, &["-v"]);
    succeeded(&output);
    let text = stderr(&output);
    assert!(text.contains(&format!("planish: debugfs 1.46.5: {}\n", at("debugfs"))), "{text}");
    let mixture = format!(", debugfs 1.46.5 in {}, e2fsck ", at("debugfs"));
    let warning =
        text.lines().find(|line| line.starts_with("warning: the programs of e2fsprogs have several versions"));
    assert!(warning.is_some_and(|line| line.contains(&mixture)), "{text}");
}

#[test]
fn the_direct_engine_needs_only_its_own_tools() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let hide = "mount -t tmpfs none /usr/sbin; test -L /sbin || mount -t tmpfs none /sbin";
    let direct = ["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--engine", "direct"];
    let run = |mounts: &str, more: &[&str]| {
        let mut command = bench.planish();
        crate::support::mounts::run(&bench, mounts, command.args(direct).args(more))
    };
    let text = failed(&run(hide, &[]), 6);
    assert_eq!(text, "e2fsck is not installed: not in PATH, /usr/sbin or /sbin");
    let output = run(hide, &["--verify", "none", "--json"]);
    succeeded(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["e2fsprogs"], serde_json::Value::Null);
    let checker = format!(
        "cp {} /tmp/kept-e2fsck-$$; {hide}; cp /tmp/kept-e2fsck-$$ /usr/sbin/e2fsck; rm /tmp/kept-e2fsck-$$",
        tool("e2fsck").display()
    );
    succeeded(&run(&checker, &["--force"]));
    read_clean(&bench.at("out.ext4"));
}

#[test]
fn files_above_2_gib_avoid_the_faulty_mkfs() {
    let bench = Bench::new();
    let path = calls_itself(&bench, "mkfs.ext4", "mke2fs 1.47.3 (8-Jul-2025)");
    let layout = |size: u64| {
        let directory = bench.shared(&size.to_string());
        let file = Entry::sparse("large", SparseFormat::Pax10, [(0, 1), (size - 1, 1)], size, "xy");
        Image::new([Layer::new([file])]).write_layout(&directory, "latest").unwrap();
        format!("oci:{}", directory.display())
    };
    let taken = |output: &Output| stderr(output).lines().find(|line| line.starts_with("engine ")).unwrap().to_owned();
    let (small, large) = (layout(1 << 31), layout((1 << 31) + 1));
    for engine in [&["--engine", "e2fsprogs"][..], &[]] {
        let output = build_with(&bench, &path, &small, engine);
        succeeded(&output);
        assert!(taken(&output).starts_with("engine      e2fsprogs: "), "{}", taken(&output));
    }
    let why = "mkfs.ext4 of version 1.47.3 fails on files above 2147483648 bytes, and /large has 2147483649";
    let output = build_with(&bench, &path, &large, &["--engine", "e2fsprogs"]);
    assert_eq!(failed(&output, 6), why);
    assert!(stderr(&output).contains("hint: drop --engine"), "{}", stderr(&output));
    let output = build_with(&bench, &path, &large, &[]);
    succeeded(&output);
    assert_eq!(taken(&output), format!("engine      direct: e2fsprogs cannot write the tree: {why}"));
    let plan = bench.planish().env("PATH", &path).args(["plan", &large, "--platform", "linux/amd64"]).output().unwrap();
    succeeded(&plan);
    assert!(String::from_utf8(plan.stdout).unwrap().contains(&format!("{why}\n")));
}

#[test]
fn inherited_flags_and_xattrs_are_removed() {
    let bench = Bench::new();
    // mkfs.ext4 -d of newer e2fsprogs copies these from a work directory with flags or labels.
    let requests = "sif <2> flags 0x80080\\nsif <11> flags 0x80040\\nsif <12> flags 0x80088\\nsif <13> flags 0x20080000\\n\
                    ea_set <12> security.selinux system_u\\nea_set <13> security.selinux system_u\\n";
    let script = format!(
        "$REAL \"$@\" || exit\ncase $1 in -V) exit;; esac\nprintf '{requests}' > inherited\n\
         {} -w -f inherited image 2> /dev/null > /dev/null",
        tool("debugfs").display()
    );
    let path = replace(&bench, "mkfs.ext4", &script);
    let layout = bench.shared("layout");
    let entries = [
        Entry::file("a", "a").xattr("user.not a word", "staged"),
        Entry::dir("b").xattr("user.word", "set").mode(0o751),
        Entry::file("b/c", "c"),
    ];
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    let output = build_with(&bench, &path, &format!("oci:{}", layout.display()), &["--engine", "e2fsprogs"]);
    succeeded(&output);
    let found = read_clean(&bench.at("out.ext4"));
    assert_eq!(found.get(b"/a").unwrap().xattrs.keys().collect::<Vec<_>>(), [b"user.not a word"]);
    assert_eq!(found.get(b"/b").unwrap().xattrs.keys().collect::<Vec<_>>(), [b"user.word"]);
    for inode in ["<2>", "<11>", "<12>", "<13>"] {
        let mut debugfs = Command::new(tool("debugfs"));
        let text = process::run(debugfs.args(["-R", &format!("stat {inode}")]).arg(bench.at("out.ext4")));
        assert!(text.contains("Flags: 0x80000"), "{text}");
    }
}

#[test]
fn a_default_acl_of_the_work_directory_changes_no_byte() {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    let entries = [Entry::file("a", "a").xattr("user.not a word", "x"), Entry::dir("b"), Entry::file("b/c", "c")];
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    succeeded(&bench.build(&source, "plain.ext4", &[]));
    // A default ACL in the form that Linux accepts: user::rwx, user:1:rwx, group::rwx, mask::rwx, other::rwx.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, id) in [(1_u16, u32::MAX), (2, 1), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)] {
        acl.extend(tag.to_le_bytes());
        acl.extend(7_u16.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let work = bench.at("work");
    std::fs::create_dir(&work).unwrap();
    bench.give(&work);
    let set = rustix::fs::setxattr(&work, "system.posix_acl_default", &acl, rustix::fs::XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        eprintln!("NOT TESTED: this filesystem has no ACLs");
        return;
    }
    set.unwrap();
    crate::support::set_mode(&work, 0o2777);
    for engine in ["e2fsprogs", "direct"] {
        succeeded(&bench.build(&source, "out.ext4", &["--work-dir", "work", "--force", "--engine", engine]));
        if engine == "e2fsprogs" {
            let same = std::fs::read(bench.at("out.ext4")).unwrap() == std::fs::read(bench.at("plain.ext4")).unwrap();
            assert!(same);
        }
    }
    // Flags that a directory's children inherit: no access times, no dump, synchronous.
    if Command::new("chattr").arg("+AdS").arg(&work).output().unwrap().status.success() {
        succeeded(&bench.build(&source, "out.ext4", &["--work-dir", "work", "--force", "--engine", "e2fsprogs"]));
        assert!(std::fs::read(bench.at("out.ext4")).unwrap() == std::fs::read(bench.at("plain.ext4")).unwrap());
    } else {
        eprintln!("NOT TESTED: this filesystem has no inode flags");
    }
}

/// Fetches e2fsprogs of Debian's other suites, each with its libraries, from the mirror of this machine.
pub(super) const FETCH: &str = r#"set -e
site=$(apt-get indextargets --format '$(SITE) $(LABEL)' 'Created-By: Packages' | sed -n 's/ Debian$//p' | head -n 1)
test -n "$site"
mkdir -p etc/preferences.d etc/apt.conf.d etc/sources.list.d state/lists/partial cache/archives/partial
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in $SUITES; do echo "deb [signed-by=$keys] $site $suite main"; done > etc/sources.list
cat > apt.conf <<EOF
Dir::Etc "$PWD/etc"; Dir::State "$PWD/state"; Dir::Cache "$PWD/cache"; Dir::State::status "/var/lib/dpkg/status";
APT::Sandbox::User "root"; Acquire::Check-Valid-Until "false"; Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
EOF
export APT_CONFIG="$PWD/apt.conf"
apt-get update -q
for suite in $SUITES; do
    mkdir -p $suite/root $suite/bin
    for package in e2fsprogs libext2fs2 libext2fs2t64 libcom-err2 libss2 libblkid1 libuuid1 libc6; do
        (cd $suite && apt-get download -q $package/$suite) || test $package = libext2fs2 -o $package = libext2fs2t64
    done
    for package in $suite/*.deb; do dpkg-deb -x $package $suite/root; done
    loader=$(find "$PWD/$suite/root" -name 'ld-linux*.so.*' | head -n 1)
    libraries=$(find "$PWD/$suite/root" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' :)
    for tool in mkfs.ext4 debugfs e2fsck; do
        real=$(find "$PWD/$suite/root" -path "*/sbin/$tool" | head -n 1)
        printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' "$loader" "$libraries" "$real" > $suite/bin/$tool
        chmod 755 $suite/bin/$tool
    done
done
"#;

#[test]
#[ignore = "needs root, apt and Debian's archive"]
fn every_e2fsprogs_of_debian_builds_the_tree_of_the_image() {
    let bench = Bench::new();
    let suites = bench.shared("suites");
    std::fs::create_dir(&suites).unwrap();
    let names = ["bullseye", "bookworm", "trixie", "sid"];
    process::run(process::command("sh -c").arg(FETCH).env("SUITES", names.join(" ")).current_dir(&suites));
    process::publish(&suites);
    let work = bench.at("work");
    std::fs::create_dir(&work).unwrap();
    bench.give(&work);
    // The newest versions copy inode flags, if the filesystem has them.
    let flags = Command::new("chattr").arg("+AdS").arg(&work).output().unwrap().status.success();
    let mut versions = Vec::new();
    for suite in names {
        let path = format!("{}:/usr/bin:/bin", suites.join(suite).join("bin").display());
        for fixture in ["layered", "devices", "hardlink", "opaque", "sparse", "symlinked-parent", "whiteout"] {
            let source = format!("oci:{}", bench.fixture(fixture).display());
            let more = ["--engine", "e2fsprogs", "--work-dir", "work", "--json"];
            let output = build_with(&bench, &path, &source, &more);
            succeeded(&output);
            crate::support::equal(
                &crate::support::listing(&format!("{fixture}.listing")),
                &read_clean(&bench.at("out.ext4")),
            );
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            versions.push(format!("{suite} {}", report["e2fsprogs"].as_str().unwrap()));
        }
    }
    versions.dedup();
    eprintln!("{versions:?}, inherited flags: {flags}");
    assert_eq!(versions.len(), names.len());
}
