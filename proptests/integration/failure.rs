//! Failed builds: the error, the exit code, and no files left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use planish_proptests::writer::{Content, Entry, Image, Layer};

use crate::support::{Bench, failed, read_clean, set_mode, succeeded};

fn layered(bench: &Bench) -> String {
    format!("oci:{}", bench.fixture("layered").display())
}

/// An image with one file of `bytes` bytes that are not zero.
fn large(bench: &Bench, bytes: usize) -> String {
    let layout = bench.shared("large");
    let file = Entry::file("file", Content::Repeat { byte: 7, count: bytes });
    Image::new([Layer::new([file])]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// Runs a build in a mount namespace of its own, after `mounts` (a shell script), as the ordinary user.
fn with_mounts(bench: &Bench, mounts: &str, arguments: &[&str]) -> Output {
    crate::support::mounts::run(bench, mounts, bench.planish().args(arguments))
}

#[test]
fn a_missing_tool_is_named_before_anything_is_read() {
    let bench = Bench::new();
    let hide = "mount -t tmpfs none /usr/sbin; test -L /sbin || mount -t tmpfs none /sbin";
    let output = with_mounts(&bench, hide, &["build", "oci:/nowhere:x", "-o", "out.ext4"]);
    assert_eq!(failed(&output, 6), "mkfs.ext4 is not installed: not in PATH, /usr/sbin or /sbin");
    assert!(crate::support::stderr(&output).contains("hint: install e2fsprogs"));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn the_direct_engine_compares_without_any_program() {
    let bench = Bench::new();
    let hide = "mount -t tmpfs none /usr/sbin; test -L /sbin || mount -t tmpfs none /sbin";
    let source = format!("oci:{}:latest", bench.fixture("layered").display());
    let direct = ["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--engine", "direct"];
    let build = |verify: &str| with_mounts(&bench, hide, &[&direct[..], &["--verify", verify]].concat());
    assert_eq!(failed(&build("full"), 6), "e2fsck is not installed: not in PATH, /usr/sbin or /sbin");
    let output = build("compare");
    succeeded(&output);
    assert!(crate::support::stderr(&output).contains(" equal the image; e2fsck was not run\n"));
    // The hidden programs are not found either.
    read_clean(&bench.at("out.ext4"));
}

#[test]
fn impossible_outputs_are_refused_before_anything_is_read() {
    let bench = Bench::new();
    let refused = |output: &str, code: i32| {
        let result = bench.build("oci:/nowhere:x", output, &["--force"]);
        failed(&result, code)
    };
    std::fs::create_dir(bench.at("dir")).unwrap();
    std::fs::create_dir(bench.at("read-only")).unwrap();
    std::fs::write(bench.at("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("secret", bench.at("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.at("dangling")).unwrap();
    set_mode(&bench.at("read-only"), 0o555);
    succeeded_mkfifo(&bench.at("fifo"));
    for path in ["dir", "dir/.", "read-only", "secret", "fifo"] {
        bench.give(&bench.at(path));
    }
    assert_eq!(refused("dir", 2), "output dir: is a directory");
    assert_eq!(refused("dir/", 2), "output dir/: has no file name");
    let symlink = "is a symlink, and planish does not write through one";
    assert_eq!(refused("link", 2), format!("output link: {symlink}"));
    assert_eq!(refused("dangling", 2), format!("output dangling: {symlink}"));
    assert_eq!(refused("/dev/stdout", 2), format!("output /dev/stdout: {symlink}"));
    assert_eq!(refused("/dev/null", 2), "output /dev/null: is not a regular file");
    assert_eq!(refused("fifo", 2), "output fifo: is not a regular file");
    let missing = "output no/such/file: its directory cannot be used: No such file or directory (os error 2)";
    assert_eq!(refused("no/such/file", 6), missing);
    let denied = "output read-only/x: its directory cannot be used: Permission denied (os error 13)";
    assert_eq!(refused("read-only/x", 6), denied);
    assert_eq!(std::fs::read(bench.at("secret")).unwrap(), b"secret");
    assert_eq!(bench.left(), ["dangling", "dir", "fifo", "link", "read-only", "secret"]);
}

fn succeeded_mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn an_existing_output_is_replaced_with_force_by_a_finished_file_only() {
    let bench = Bench::new();
    std::fs::write(bench.at("out.ext4"), "old").unwrap();
    bench.give(&bench.at("out.ext4"));
    assert_eq!(failed(&bench.build(&layered(&bench), "out.ext4", &[]), 2), "output out.ext4: exists already");
    let layout = bench.shared("bad");
    Image::new([Layer::new([Entry::file("a", "a")]).wrong_digest()]).write_layout(&layout, "latest").unwrap();
    failed(&bench.build(&format!("oci:{}", layout.display()), "out.ext4", &["--force"]), 5);
    assert_eq!(std::fs::read(bench.at("out.ext4")).unwrap(), b"old");
    succeeded(&bench.build(&layered(&bench), "out.ext4", &["--force"]));
    read_clean(&bench.at("out.ext4"));
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn an_output_inside_the_image_is_refused() {
    let bench = Bench::new();
    let layout = bench.at("layout");
    Image::new([Layer::new([Entry::file("a", "a")])]).write_layout(&layout, "latest").unwrap();
    for path in [&layout, &layout.join("blobs")] {
        bench.give(path);
    }
    for output in ["layout/out.ext4", "layout/index.json"] {
        let text = failed(&bench.build("oci:layout", output, &["--force"]), 2);
        assert_eq!(text, format!("output {output}: is inside the image that is read"));
    }
}

#[test]
fn a_full_disk_under_the_output_is_named() {
    let bench = Bench::new();
    let source = large(&bench, 24 << 20);
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size=8m,mode=1777 none '{}'", disk.display());
    let script = format!("{mount}; trap 'ls -A {0} > {0}.left' EXIT", disk.display());
    let output = disk.join("out.ext4");
    let arguments =
        ["build", &source, "-o", output.to_str().unwrap(), "--platform", "linux/amd64", "--work-dir", "work"];
    let work = bench.at("work");
    std::fs::create_dir(&work).unwrap();
    bench.give(&work);
    let result = with_mounts(&bench, &script, &[&arguments[..], &["--engine", "e2fsprogs"]].concat());
    let text = failed(&result, 6);
    assert!(text.starts_with("mkfs.ext4 ran out of space in "), "{text}");
    assert!(text.contains(": the filesystem needs "), "{text}");
    assert_eq!(work.read_dir().unwrap().count(), 0);
}

#[test]
fn a_full_work_directory_is_named() {
    let bench = Bench::new();
    let source = large(&bench, 24 << 20);
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m,mode=1777 none '{}'", disk.display());
    let arguments = ["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--work-dir"];
    let result = with_mounts(&bench, &mount, &[&arguments[..], &[disk.to_str().unwrap()]].concat());
    let text = failed(&result, 6);
    assert!(text.starts_with(&format!("no space left in {}/planish-work-", disk.display())), "{text}");
    // The directory's marker takes a page, so the last of sixteen pieces does not fit.
    assert!(text.contains(" after 3932160 bytes, "), "{text}");
    assert!(crate::support::stderr(&result).contains("hint: choose another disk with --work-dir or TMPDIR"));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn a_full_disk_of_another_result_names_its_option() {
    let bench = Bench::new();
    let source = format!("oci:{}:latest", bench.fixture("layered").display());
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let result = disk.join("result");
    let result = result.to_str().unwrap();
    // The marker of a private directory takes the only page.
    let mount = format!("mount -t tmpfs -o size=4096,mode=1777 none '{}'", disk.display());
    let build = ["build", &source, "--platform", "linux/amd64", "-o", "out.ext4"];
    let export = ["export", &source, "--platform", "linux/amd64", "--work-dir", "."];
    for (command, option, hint) in [
        (&build[..], "--report", "--report"),
        (&build, "--config-out", "--config-out or --config-env"),
        (&build, "--config-env", "--config-out or --config-env"),
        (&build, "--verity", "--verity"),
        (&export, "--output", "--output"),
    ] {
        let output = with_mounts(&bench, &mount, &[command, &[option, result]].concat());
        let text = failed(&output, 6);
        assert!(text.starts_with(&format!("no space left in {}", disk.display())), "{option}: {text}");
        let said = crate::support::stderr(&output);
        assert!(said.contains(&format!("hint: choose another disk with {hint}\n")), "{option}: {said}");
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn a_given_size_is_exact_or_refused() {
    let bench = Bench::new();
    let text = failed(&bench.build(&large(&bench, 24 << 20), "out.ext4", &["--size", "8M"]), 7);
    let needed: u64 = text.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(text, format!("the tree needs {needed} bytes, --size allows 8388608"));
    for size in [needed, needed + 4096, 200 << 20, (200 << 20) + 1000] {
        succeeded(&bench.build(&large_again(&bench), "out.ext4", &["--force", "--size", &size.to_string()]));
        assert_eq!(bench.at("out.ext4").metadata().unwrap().len(), size);
        read_clean(&bench.at("out.ext4"));
    }
}

fn large_again(bench: &Bench) -> String {
    format!("oci:{}", bench.shared("large").display())
}

#[test]
fn limit_errors_name_their_flag() {
    let bench = Bench::new();
    let source = layered(&bench);
    let over = |flag: &str, value: &str| failed(&bench.build(&source, "out.ext4", &[flag, value]), 7);
    assert!(over("--max-layers", "3").ends_with(" has 4 layers, --max-layers allows 3"));
    assert_eq!(
        over("--max-entries", "50"),
        "the image has more than 50 entries in all layers, --max-entries allows 50"
    );
    assert_eq!(
        over("--max-bytes", "4096"),
        "the image has more than 4096 uncompressed bytes in all layers, --max-bytes allows 4096"
    );
    assert_eq!(
        over("--max-directory-entries", "10"),
        "/ has 11 names in one directory, --max-directory-entries allows 10"
    );
    assert!(over("--max-file-bytes", "30").ends_with(" bytes in one file, --max-file-bytes allows 30"));
    assert!(over("--max-manifest-bytes", "300").ends_with(", --max-manifest-bytes allows 300"));
    assert!(over("--max-extension-bytes", "100").ends_with(", --max-extension-bytes allows 100"));
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn losses_are_noted_and_strict_refuses_them() {
    let bench = Bench::new();
    let layout = bench.shared("losses");
    let file = Entry::file("a\x1b", "a").xattr("security.selinux", "label").mtime(1 << 40, 0);
    let layers = [Layer::new([file]), Layer::new([Entry::file("a\x1b/b", "b")])];
    Image::new(layers).write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    let text = failed(&bench.build(&source, "out.ext4", &["--strict"]), 5);
    assert!(text.starts_with("3 losses, and --strict allows none: layer 1: /a\\x1b: "), "{text}");
    let output = bench.build(&source, "out.ext4", &["--json"]);
    succeeded(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds: Vec<_> = report["notes"].as_array().unwrap().iter().map(|note| note["kind"].clone()).collect();
    assert_eq!(kinds, ["time-clamped", "xattr-dropped", "parent-replaced"]);
    assert!(crate::support::stderr(&output).contains("layer 1: /a\\x1b: xattr dropped: security.selinux"));
    succeeded(&bench.build(&source, "out.ext4", &["--force", "--keep-selinux"]));
}

#[test]
fn image_names_do_not_run_debugfs_requests() {
    let bench = Bench::new();
    let canary = bench.at("PWNED");
    let touch = format!("!touch {}", canary.display()).replace('/', "\t");
    let names = [
        format!("a\" uid 0\n{touch}"),
        format!("{touch}\n#"),
        "<2>".into(),
        "-w".into(),
        "$(touch PWNED)".into(),
        "a\rb".into(),
        "\"".repeat(200),
    ];
    let mut entries = Vec::new();
    for (name, n) in names.iter().zip(1..) {
        entries.push(Entry::file(format!("f/{name}"), "x").owner(n, n).mode(0o4755));
        entries.push(Entry::char_device(format!("d/{name}"), n, n));
        entries.push(Entry::symlink(format!("l/{name}"), name.clone()));
        entries.push(Entry::hardlink(format!("l/2{name}"), format!("l/{name}")));
        entries.push(Entry::dir(format!("n/{name}")).xattr(format!("user.{name}"), name.clone()));
    }
    let layout = bench.shared("names");
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    succeeded(&bench.build(&format!("oci:{}", layout.display()), "out.ext4", &[]));
    let found = read_clean(&bench.at("out.ext4"));
    for (name, n) in names.iter().zip(1..) {
        let file = found.get(format!("/f/{name}").as_bytes()).unwrap();
        assert_eq!((file.uid, file.mode), (n, 0o4755), "{name}");
        assert_eq!(found.names(format!("/l/{name}").as_bytes()).len(), 2);
        let directory = found.get(format!("/n/{name}").as_bytes()).unwrap();
        assert_eq!(directory.xattrs[format!("user.{name}").as_bytes()], name.as_bytes());
    }
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn output_of_a_failed_tool_is_escaped() {
    let bench = Bench::new();
    let fake = |script: &str| {
        let dir = bench.shared("bin");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("mkfs.ext4");
        crate::support::script(&path, &format!("#!/bin/sh\n{script}\n"));
        let mut command = bench.planish();
        command.env("PATH", format!("{}:/usr/bin:/bin", dir.display()));
        command.args(["build", &layered(&bench), "-o", "out.ext4", "--platform", "linux/amd64"]);
        command.output().unwrap()
    };
    let version = "case $1 in -V) echo 'mke2fs 1.47.0 (x)' >&2; exit 0;; esac";
    let old = failed(&fake("echo 'mke2fs 1.42.9 (x)' >&2"), 6);
    let path = bench.shared("bin/mkfs.ext4");
    assert_eq!(old, format!("mkfs.ext4 has version 1.42.9, planish needs 1.46 or later: {}", path.display()));
    let silent = format!("mkfs.ext4 is not of e2fsprogs: {} prints nothing as its version", path.display());
    assert_eq!(failed(&fake("exit 0"), 6), silent);
    let escaped = failed(&fake(&format!("{version}; printf '\\033[31mred\\n' >&2; exit 3")), 6);
    assert_eq!(escaped, r"mkfs.ext4 failed with exit code 3: \x1b[31mred");
    let killed = failed(&fake(&format!("{version}; kill -9 $$")), 6);
    assert_eq!(killed, "mkfs.ext4 was killed by signal 9");
    let lazy = failed(&fake(&format!("{version}; exit 0")), 6);
    assert!(lazy.starts_with("mkfs.ext4 wrote a filesystem that cannot be read back: "), "{lazy}");
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn the_output_mode_follows_the_umask() {
    let bench = Bench::new();
    for (umask, mode) in [("0000", 0o666), ("0027", 0o640), ("0777", 0)] {
        let build = bench.planish();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(build.get_program());
        command.args(["build", &layered(&bench), "-o", "out.ext4", "--force", "--platform", "linux/amd64"]);
        command.current_dir(bench.home());
        bench.as_user(&mut command);
        succeeded(&command.output().unwrap());
        let found = bench.at("out.ext4").metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{umask}");
    }
    assert_eq!(bench.left(), ["out.ext4"]);
}

#[test]
fn tools_do_not_interpret_output_names() {
    let bench = Bench::new();
    let source = layered(&bench);
    std::fs::write(bench.at("a"), "theirs").unwrap();
    let names = ["a?offset=8", "-F", "UUID=x", "a b", "\u{1b}[31m", "%s", &"n".repeat(255)];
    for name in names {
        succeeded(&bench.build(&source, &format!("./{name}"), &[]));
        // e2fsck would interpret these names, too.
        std::fs::rename(bench.at(name), bench.at("plain")).unwrap();
        read_clean(&bench.at("plain"));
        assert_eq!(bench.left(), ["a", "plain"]);
    }
    assert_eq!(std::fs::read(bench.at("a")).unwrap(), b"theirs");
}

/// Runs a build with failing system calls, selected by strace's `inject` expressions; its children are unaffected.
fn with_faults(bench: &Bench, faults: &[&str], more: &[&str]) -> Output {
    let build = bench.planish();
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null"]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.arg(build.get_program()).args(["build", &layered(bench), "-o", "out.ext4", "--platform", "linux/amd64"]);
    command.args(more).current_dir(bench.home()).env_clear().env("PATH", "/usr/bin:/bin");
    bench.as_user(&mut command);
    command.output().unwrap()
}

#[test]
#[ignore = "needs strace"]
fn a_build_without_locks_works_and_prints_one_verbose_note() {
    let bench = Bench::new();
    let remark = "there are no locks here, so what killed runs left is not removed";
    for errno in ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EIO", "EACCES", "EBADF"] {
        for (more, remarks) in [(&["--force"][..], 0), (&["--force", "-v", "--report", "report.json"], 1)] {
            let output = with_faults(&bench, &[&format!("flock:error={errno}")], more);
            succeeded(&output);
            assert_eq!(crate::support::stderr(&output).matches(remark).count(), remarks, "{errno}");
        }
        assert_eq!(bench.left(), ["out.ext4", "report.json"]);
    }
    let busy = with_faults(&bench, &["flock:error=EAGAIN"], &["--force"]);
    assert!(failed(&busy, 6).starts_with("make a directory in "));
    assert_eq!(bench.left(), ["out.ext4", "report.json"]);
}

#[test]
#[ignore = "needs strace"]
fn publication_without_rename_flags_uses_a_link_or_is_refused_early() {
    let bench = Bench::new();
    for errno in ["EINVAL", "ENOSYS", "EOPNOTSUPP"] {
        let rename = format!("renameat2:error={errno}");
        succeeded(&with_faults(&bench, &[&rename], &[]));
        read_clean(&bench.at("out.ext4"));
        assert_eq!(failed(&with_faults(&bench, &[&rename], &[]), 2), "output out.ext4: exists already");
        succeeded(&with_faults(&bench, &[&rename], &["--force"]));
        assert_eq!(bench.left(), ["out.ext4"]);
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
        let refused = with_faults(&bench, &[&rename, "linkat:error=EPERM"], &["--progress", "json"]);
        let text = failed(&refused, 6);
        assert!(text.ends_with("its filesystem cannot give a file a name without replacing another file"), "{text}");
        assert!(!crate::support::stderr(&refused).contains("begin"));
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
#[ignore = "needs strace"]
fn a_failed_sync_keeps_the_previous_output() {
    let bench = Bench::new();
    let syncs = ["fsync", "fdatasync", "syncfs", "sync_file_range"];
    for old in [None, Some("old")] {
        for rename in [None, Some("renameat2:error=EINVAL")] {
            let mut failures = 0;
            for nth in 1..=12 {
                let faults: Vec<String> = syncs.iter().map(|call| format!("{call}:error=EIO:when={nth}")).collect();
                let faults: Vec<&str> = faults.iter().map(String::as_str).chain(rename).collect();
                let _ = std::fs::remove_file(bench.at("out.ext4"));
                if let Some(old) = old {
                    std::fs::write(bench.at("out.ext4"), old).unwrap();
                    bench.give(&bench.at("out.ext4"));
                }
                let output = with_faults(&bench, &faults, &["--force"]);
                if output.status.success() {
                    read_clean(&bench.at("out.ext4"));
                    continue;
                }
                failures += 1;
                assert!(failed(&output, 6).starts_with("sync "));
                let left = std::fs::read_to_string(bench.at("out.ext4")).ok();
                assert_eq!(left.as_deref(), old, "{nth} {rename:?}");
                assert_eq!(bench.left().len(), usize::from(old.is_some()), "{nth} {rename:?}");
            }
            assert!(failures >= 2, "{failures}");
        }
    }
}

#[test]
fn an_unreadable_output_directory_is_accepted() {
    let bench = Bench::new();
    let blind = bench.at("blind");
    std::fs::create_dir(&blind).unwrap();
    set_mode(&blind, 0o300);
    bench.give(&blind);
    std::fs::create_dir(bench.at("work")).unwrap();
    bench.give(&bench.at("work"));
    for more in [&[][..], &["--force"], &["--force", "--work-dir", "work"]] {
        succeeded(&bench.build(&layered(&bench), "blind/out.ext4", more));
        set_mode(&blind, 0o700);
        assert_eq!(blind.read_dir().unwrap().count(), 1);
        read_clean(&blind.join("out.ext4"));
        set_mode(&blind, 0o300);
    }
    set_mode(&blind, 0o700);
}

#[test]
fn an_unwritable_report_leaves_no_filesystem() {
    let bench = Bench::new();
    let source = layered(&bench);
    let shell = |redirection: &str| {
        let build = bench.planish();
        let mut command = Command::new("/bin/bash");
        command.args(["-c", &format!("exec \"$@\" {redirection}"), "bash"]).arg(build.get_program());
        command.args(["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--json", "--force"]);
        command.current_dir(bench.home()).env_clear().env("PATH", "/usr/bin:/bin");
        bench.as_user(&mut command);
        command.output().unwrap()
    };
    let nobody = "> >(exec >&- <&-; sleep 0.1)";
    for old in [None, Some("old")] {
        for (redirection, why) in [(">/dev/full", "No space left on device"), (nobody, "Broken pipe")] {
            if let Some(old) = old {
                std::fs::write(bench.at("out.ext4"), old).unwrap();
                bench.give(&bench.at("out.ext4"));
            }
            let text = failed(&shell(redirection), 6);
            assert!(text.starts_with(&format!("write to standard output: {why}")), "{text}");
            assert_eq!(std::fs::read_to_string(bench.at("out.ext4")).ok().as_deref(), old);
            assert_eq!(bench.left().len(), usize::from(old.is_some()));
        }
    }
    std::fs::remove_file(bench.at("out.ext4")).unwrap();
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    // The directory's marker fits, the report does not.
    let script = format!("{} '{}'", crate::support::mounts::private_tmpfs("4k"), disk.display());
    let report = disk.join("report.json");
    let arguments = ["build", &source, "-o", "out.ext4", "--report", report.to_str().unwrap()];
    let output = with_mounts(&bench, &script, &[&arguments[..], &["--platform", "linux/amd64"]].concat());
    failed(&output, 6);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn files_of_other_users_in_the_output_directory_are_not_used() {
    let bench = Bench::new();
    let yard = bench.at("yard");
    std::fs::create_dir(&yard).unwrap();
    set_mode(&yard, 0o777);
    std::fs::write(bench.at("canary"), "precious").unwrap();
    bench.give(&bench.at("canary"));
    let done = std::sync::atomic::AtomicBool::new(false);
    let stolen = std::sync::atomic::AtomicUsize::new(0);
    let attack = || {
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            for entry in yard.read_dir().unwrap().flatten() {
                let path = entry.path();
                let name = entry.file_name().into_string().unwrap();
                if !name.contains("planish-") || name.ends_with("stolen") || path.is_symlink() {
                    continue;
                }
                let away = path.with_file_name(format!("{name}.stolen"));
                if std::fs::rename(&path, away).is_ok() {
                    stolen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    // In one of them, the name of the image is a symlink to another place.
                    if std::fs::create_dir(&path).is_ok() {
                        let _ = std::os::unix::fs::symlink(bench.at("canary"), path.join("image"));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(attack);
        for (engine, n) in [("e2fsprogs", 0), ("direct", 1), ("e2fsprogs", 2), ("direct", 3)] {
            let output = format!("yard/{n}.ext4");
            let result = bench.build(&layered(&bench), &output, &["--engine", engine]);
            match result.status.code() {
                Some(0) => drop(read_clean(&bench.at(&output))),
                _ => drop(failed(&result, 6)),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(stolen.into_inner() > 4);
    assert_eq!(std::fs::read_to_string(bench.at("canary")).unwrap(), "precious");
}
