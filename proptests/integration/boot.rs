//! A Debian image, built by an ordinary user, boots to its shell.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use planish_proptests::listing::{Contents, Fields, Kind, Listing, diff};
use planish_proptests::writer::{Entry, Layer};

use crate::support::process::{command, publish, run, wait};
use crate::support::{Bench, read_clean, succeeded, tool};

/// The program that the image runs instead of an init: each line of its output begins with a key and a colon.
const CHECK: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo
echo "root: $(id)"
echo "user: $(su -c id tester)"
echo "shadow: $(su -c 'cat /etc/shadow' tester 2>&1)"
echo "setuid: $(su -c 'echo secret | su -c "id -u" root' tester 2>/dev/null)"
echo "capability: $(getcap /usr/bin/ping)"
mount -t proc proc /proc
echo "home: $(su -c 'echo mine > ~/written && sync && stat -c %U:%s ~/written' tester)"
echo written > /root/written && sync && echo 3 > /proc/sys/vm/drop_caches
echo "read: $(cat /root/written)"
mount -o remount,ro / && echo "done: yes"
echo o > /proc/sysrq-trigger
sleep 60
"#;

/// Debian with a user, a password for root, a file with a capability, and the check in a separate layer.
fn debian(bench: &Bench) -> PathBuf {
    let base = bench.shared("base.tar");
    run(command("mmdebstrap --mode=root --variant=minbase --include=iputils-ping --format=tar")
        .arg("--customize-hook=chroot \"$1\" useradd -m -s /bin/sh tester")
        .arg("--customize-hook=echo root:secret | chroot \"$1\" chpasswd")
        .arg("bookworm")
        .arg(&base));
    let check = Layer::new([Entry::file("sbin/check", CHECK).mode(0o755)]);
    let check = bench.readable("check.tar", &check.tar());
    let layout = bench.shared("debian");
    run(command("umoci init --layout").arg(&layout));
    let image = format!("{}:latest", layout.display());
    run(command("umoci new --image").arg(&image));
    for layer in [&base, &check] {
        run(command("umoci raw add-layer --image").arg(&image).arg(layer));
    }
    publish(&layout);
    layout
}

/// Debian's cloud kernel: ext4 and NVMe are built in, so it needs no initramfs.
pub(super) fn kernel(bench: &Bench) -> PathBuf {
    let dir = bench.shared("kernel");
    std::fs::create_dir(&dir).unwrap();
    let depends = run(&mut command("apt-cache depends --important linux-image-cloud-amd64"));
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).expect("apt knows a kernel");
    run(command("apt-get -q -o APT::Sandbox::User=root download").arg(package).current_dir(&dir));
    let archive = only(&dir, ".deb");
    run(command("dpkg-deb -x").arg(archive).arg(&dir));
    only(&dir.join("boot"), "vmlinuz-")
}

/// The only file in a directory whose name contains a text.
fn only(dir: &Path, part: &str) -> PathBuf {
    let mut found = dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part))).unwrap()
}

/// Boots a filesystem with more kernel arguments, and returns the output of its serial line.
pub(super) fn boot(bench: &Bench, kernel: &Path, image: &Path, more: &str) -> String {
    let serial = bench.shared("serial");
    let output = File::create(&serial).unwrap();
    let mut machine = command("qemu-system-x86_64 -accel tcg -m 512 -nographic -no-reboot -nic none -kernel")
        .arg(kernel)
        .args(["-append", &format!("root=/dev/nvme0n1 rw console=ttyS0 panic=-1 loglevel=4 {more}")])
        .arg("-drive")
        .arg(format!("file={},format=raw,if=none,id=root", image.display()))
        .args(["-device", "nvme,serial=planish,drive=root"])
        .stdin(Stdio::null())
        .stderr(output.try_clone().unwrap())
        .stdout(output)
        .spawn()
        .unwrap();
    let status = wait(&mut machine, Duration::from_secs(600));
    let log = String::from_utf8_lossy(&std::fs::read(&serial).unwrap()).replace('\r', "");
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{log}");
    log
}

pub(super) fn answer<'a>(log: &'a str, question: &str) -> &'a str {
    log.lines()
        .find_map(|line| line.strip_prefix(question)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no answer to {question}\n{log}"))
}

/// Paths whose inode differs, was added, or was removed.
fn changed(before: &Listing, after: &Listing) -> BTreeSet<String> {
    let differences = diff(before, after, &Fields::all());
    differences.iter().map(|difference| String::from_utf8_lossy(difference.path()).into_owned()).collect()
}

#[test]
#[ignore = "needs root, mmdebstrap, umoci, qemu-system-x86 and the Debian archive"]
fn a_debian_filesystem_boots_to_a_shell() {
    assert!(crate::support::is_root(), "mmdebstrap and umoci need root here");
    let bench = Bench::new();
    let layout = debian(&bench);
    let kernel = kernel(&bench);
    succeeded(&bench.build(&format!("oci:{}", layout.display()), "out.ext4", &[]));
    let image = bench.at("out.ext4");
    let before = read_clean(&image);

    let log = boot(&bench, &kernel, &image, "init=/sbin/check");
    assert_eq!(answer(&log, "root"), "uid=0(root) gid=0(root) groups=0(root)", "{log}");
    assert_eq!(answer(&log, "user"), "uid=1000(tester) gid=1000(tester) groups=1000(tester)", "{log}");
    assert_eq!(answer(&log, "shadow"), "cat: /etc/shadow: Permission denied", "{log}");
    assert_eq!(answer(&log, "setuid"), "0", "{log}");
    assert_eq!(answer(&log, "capability"), "/usr/bin/ping cap_net_raw=ep", "{log}");
    assert_eq!(answer(&log, "home"), "tester:5", "{log}");
    assert_eq!(answer(&log, "read"), "written", "{log}");
    assert_eq!(answer(&log, "done"), "yes", "{log}");

    let replayed = Command::new(tool("e2fsck")).arg("-fp").arg(&image).output().unwrap();
    assert!(matches!(replayed.status.code(), Some(0 | 1)), "{replayed:?}");
    let after = read_clean(&image);
    let kind = |path: &[u8]| after.get(path).unwrap().kind.clone();
    assert_eq!(kind(b"/root/written"), Kind::File(Contents::of(b"written\n")));
    assert_eq!(kind(b"/home/tester/written"), Kind::File(Contents::of(b"mine\n")));
    let state = |path: &String| path.starts_with("/run") || path.starts_with("/var");
    let changed: Vec<String> = changed(&before, &after).into_iter().filter(|path| !state(path)).collect();
    assert_eq!(changed, ["/home/tester", "/home/tester/written", "/root", "/root/written"]);
}

/// The commands of a section of the README, as a script: its first console block.
fn commands_of(title: &str) -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split(&format!("\n### {title}\n")).nth(1).expect("the README has the section");
    let block = section.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(|line| format!("{}\n", line.strip_prefix("$ ").unwrap_or(line))).collect()
}

#[test]
#[ignore = "needs root, mmdebstrap, umoci, qemu-system-x86 and the Debian archive"]
fn the_commands_of_the_readme_boot_an_image() {
    let bench = Bench::new();
    let layout = debian(&bench);
    let image = format!("{}:latest", layout.display());
    run(command("umoci config --config.workingdir /srv --config.env GREETING=hello --config.cmd /bin/sh --config.cmd -c")
        .args(["--config.cmd", "echo; echo \"host: $(hostname)\"; echo \"place: $PWD\"; echo \"greeting: $GREETING\"; test -t 0 && echo terminal: yes"])
        .args(["--image", &image]));
    publish(&layout);
    let commands = commands_of("Boot it with QEMU");
    // What the caller has: packages that are installed, an image that is here, and root.
    let commands: String = commands
        .lines()
        .filter(|line| !line.starts_with("apt-get install"))
        .fold(String::new(), |all, line| all + line + "\n");
    let commands = commands.replace("debian:bookworm", &format!("oci:{image}"));
    let commands = commands.replace("apt-get download", "apt-get -q -o APT::Sandbox::User=root download");
    let directory = bench.shared("newcomer");
    std::fs::create_dir(&directory).unwrap();
    let output = File::create(bench.shared("walk")).unwrap();
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut shell = command("sh -e -c");
    shell.arg(&commands).current_dir(&directory).stdin(Stdio::null());
    shell.env("PATH", format!("{}:{system}", bench.shared("").display()));
    let mut shell = shell.stderr(output.try_clone().unwrap()).stdout(output).spawn().unwrap();
    let status = wait(&mut shell, Duration::from_secs(900));
    let log = String::from_utf8_lossy(&std::fs::read(bench.shared("walk")).unwrap()).replace('\r', "");
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{log}");
    for (question, expected) in [("host", "web-1"), ("place", "/srv"), ("greeting", "hello"), ("terminal", "yes")] {
        assert_eq!(answer(&log, question), expected, "{log}");
    }
}
