//! `planish verify` of a complete Debian: it finds each single difference, and accepts filesystems of other builders.

use std::path::Path;
use std::process::Output;

use planish_proptests::writer::{Entry, Layer};

use crate::support::process::{command, publish, run};
use crate::support::{Bench, stderr, succeeded, tool};

/// One difference made with debugfs; path, field and new value of the one expected mismatch.
type Difference = (&'static [&'static str], &'static str, &'static str, Option<&'static str>);

const DIFFERENCES: &[Difference] = &[
    (&["sif /etc/passwd uid 5"], "/etc/passwd", "uid", Some("5")),
    (&["sif /usr/bin/bash uid 4294967294"], "/usr/bin/bash", "uid", Some("4294967294")),
    (&["sif /etc/shadow gid 0"], "/etc/shadow", "gid", Some("0")),
    (&["sif /var/mail gid 0"], "/var/mail", "gid", Some("0")),
    (&["sif /usr/bin/su mode 0100755"], "/usr/bin/su", "mode", Some("0755")),
    (&["sif /usr/bin/passwd mode 0102755"], "/usr/bin/passwd", "mode", Some("2755")),
    (&["sif /tmp mode 040777"], "/tmp", "mode", Some("0777")),
    (&["sif <2> mode 040700"], "/", "mode", Some("0700")),
    (&["sif <2> gid 9"], "/", "gid", Some("9")),
    (&["sif /usr/share/doc mtime_lo 1"], "/usr/share/doc", "mtime", None),
    (&["sif /opt/attributes mtime_extra 4"], "/opt/attributes", "mtime", Some("1700000000.000000001")),
    (&["sif /bin mtime_lo 1"], "/bin", "mtime", None),
    (&["sif /etc/debian_version size 3"], "/etc/debian_version", "size", Some("3")),
    (&["zap_block -f /etc/passwd -o 3 -l 1 -p 1 0"], "/etc/passwd", "content", Some("different from byte 3 on")),
    (
        &["zap_block -f /usr/bin/bash -o 100 -l 1 -p 171 200"],
        "/usr/bin/bash",
        "content",
        Some("different from byte 819300 on"),
    ),
    (&["sif /bin block[0] 0"], "/bin", "target", None),
    (&["sif /dev/planish block[0] 260"], "/dev/planish", "device", Some("1:4")),
    (&["sif /dev/planish mode 060666"], "/dev/planish", "type", Some("BlockDevice")),
    (&["ea_set /opt/attributes user.new 1"], "/opt/attributes", "xattrs", Some("user.new=\"1\"")),
    (&["ea_set /opt/attributes user.one 2"], "/opt/attributes", "xattrs", Some("user.one=\"2\"")),
    (&["ea_rm /opt/attributes user.one"], "/opt/attributes", "xattrs", Some("nothing")),
    (&["ea_rm /opt/ping security.capability"], "/opt/ping", "xattrs", Some("nothing")),
    (&["ea_set /usr/bin/su user.a b"], "/usr/bin/su", "xattrs", Some("user.a=\"b\"")),
    (&["unlink /etc/debian_version"], "/etc/debian_version", "names", Some("nothing")),
    (&["ln /etc/passwd /etc/passwd2"], "/etc/passwd2", "names", Some("a name")),
    (&["ln /etc/passwd /srv/new"], "/srv/new", "names", Some("a name")),
    (&["ln /etc/passwd /lost+found/x"], "/lost+found", "names", Some("a name")),
    (&["sif /etc/passwd links_count 2"], "/etc/passwd", "links", Some("2")),
    (&["unlink /opt/second", "ln /opt/third /opt/second"], "/opt/second", "inode", None),
    (&["ssv state 0"], "/", "state", Some("not clean")),
];

/// Debian, and a layer with features that a minimal Debian does not have.
fn debian(bench: &Bench) -> String {
    let base = bench.shared("base.tar");
    run(command("mmdebstrap --mode=root --variant=minbase --format=tar bookworm").arg(&base));
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let acl = [&b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff"[..], b"\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff"];
    let acl = [acl[0], acl[1], b"\x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff"].concat();
    let added = [
        Entry::dir("opt").mtime(1_600_000_000, 1),
        Entry::file("opt/attributes", "x").mtime(1_700_000_000, 123_456_789).xattr("user.one", "1"),
        Entry::file("opt/ping", "x").mode(0o755).mtime(5, 999_999_999).xattr("security.capability", capability),
        Entry::file("opt/acl", "x").mode(0o660).mtime(6, 7).xattr("system.posix_acl_access", acl),
        Entry::file("opt/first", "x").owner(4_294_967_294, 70_000).mtime(-1, 5),
        Entry::hardlink("opt/second", "opt/first").owner(4_294_967_294, 70_000).mtime(-1, 5),
        Entry::file("opt/third", "x").mtime(7_258_118_400, 1),
        Entry::symlink("opt/link", vec![b't'; 100]).mtime(8, 9),
        Entry::dir("dev").mtime(1_600_000_000, 2),
        Entry::char_device("dev/planish", 1, 3).mode(0o666).mtime(3, 4),
        Entry::block_device("dev/planish-disk", 259, 70_000).mtime(3, 5),
        Entry::fifo("dev/planish-fifo").mtime(3, 6),
    ];
    let added = bench.readable("added.tar", &Layer::new(added).tar());
    let layout = bench.shared("debian");
    run(command("umoci init --layout").arg(&layout));
    let image = format!("{}:latest", layout.display());
    run(command("umoci new --image").arg(&image));
    for layer in [&base, &added] {
        run(command("umoci raw add-layer --image").arg(&image).arg(layer));
    }
    publish(&layout);
    format!("oci:{}", layout.display())
}

fn verify(bench: &Bench, source: &str, file: &Path) -> Output {
    bench.planish().args(["verify", source]).arg(file).arg("--json").output().unwrap()
}

#[track_caller]
fn accepted(bench: &Bench, source: &str, file: &Path) {
    let output = verify(bench, source, file);
    assert!(output.status.success(), "{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
}

/// Runs a program of e2fsprogs on a file.
fn change(bench: &Bench, program: &str, arguments: &[&str]) {
    let status = command(program).args(arguments).current_dir(bench.home()).output().unwrap().status;
    // e2fsck exits with 1 if it has changed the filesystem.
    assert!(matches!(status.code(), Some(0 | 1)), "{program} {arguments:?}");
}

fn found_one_by_one(bench: &Bench, source: &str) {
    let mut wrong = Vec::new();
    for (requests, path, field, actual) in DIFFERENCES {
        run(command("cp --sparse=always good.ext4 bad.ext4").current_dir(bench.home()));
        bench.give(&bench.at("bad.ext4"));
        for request in *requests {
            change(bench, tool("debugfs").to_str().unwrap(), &["-w", "-R", request, "bad.ext4"]);
        }
        let output = verify(bench, source, &bench.at("bad.ext4"));
        assert_eq!(output.status.code(), Some(8), "{requests:?}: {}", stderr(&output));
        let proof: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = proof["mismatches"].as_array().unwrap();
        let is_it = |mismatch: &serde_json::Value| {
            mismatch["path"] == *path
                && mismatch["field"] == *field
                && actual.is_none_or(|actual| mismatch["actual"] == actual)
        };
        if !(found.len() == 1 && is_it(&found[0])) {
            wrong.push(format!("{requests:?}: {found:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Waits until no loop device has a file: a mount namespace that another test has made meanwhile holds the mount until it
/// ends, and the journal is replayed then.
fn released(image: &Path) {
    let started = std::time::Instant::now();
    while !command("losetup -j").arg(image).output().unwrap().stdout.is_empty() {
        assert!(started.elapsed() < std::time::Duration::from_secs(300), "{} is still mounted", image.display());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Compares with the output of `umoci`, copied by `cp -a` to an ext4 that the kernel writes: both keep nanoseconds
/// and xattrs. umoci counts nanoseconds in 64 bits, so times after 2262 are excluded.
fn made_by_others(bench: &Bench, source: &str) {
    let (unpacked, mounted) = (bench.shared("unpacked"), bench.shared("mounted"));
    let layout = source.strip_prefix("oci:").unwrap();
    run(command("umoci raw unpack --image").arg(format!("{layout}:latest")).arg(&unpacked));
    std::fs::create_dir(&mounted).unwrap();
    let image = bench.at("other.ext4");
    run(command("mkfs.ext4 -q -I 256").arg(&image).arg("1G"));
    run(command("mount -o loop").arg(&image).arg(&mounted));
    let copied = command("cp -a --preserve=all").arg(unpacked.join(".")).arg(&mounted).output().unwrap();
    run(command("umount").arg(&mounted));
    released(&image);
    assert!(copied.status.success(), "{}", stderr(&copied));
    bench.give(&image);
    accepted(bench, source, &image);
}

#[test]
#[ignore = "needs root, mmdebstrap and umoci"]
fn verify_accepts_debian_of_other_builders_and_finds_each_difference() {
    let bench = Bench::new();
    let source = debian(&bench);
    succeeded(&bench.build(&source, "good.ext4", &["--free", "16M"]));
    assert!(DIFFERENCES.len() >= 20);
    found_one_by_one(&bench, &source);
    for engine in ["direct", "e2fsprogs"] {
        succeeded(&bench.build(&source, "made.ext4", &["--force", "--engine", engine]));
        accepted(&bench, &source, &bench.at("made.ext4"));
        change(&bench, "tune2fs", &["-L", "label", "made.ext4"]);
        accepted(&bench, &source, &bench.at("made.ext4"));
        change(&bench, "e2fsck", &["-fyD", "made.ext4"]);
        accepted(&bench, &source, &bench.at("made.ext4"));
        change(&bench, "resize2fs", &["made.ext4", "2G"]);
        accepted(&bench, &source, &bench.at("made.ext4"));
    }
    made_by_others(&bench, &source);
}
