//! `planish verify` of files that are not ext4.

use std::fs::File;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::images::files::Files;
use crate::support::{Bench, failed, process, stderr, tool};

fn source(bench: &Bench) -> String {
    crate::images::one(bench, "image", |files: &mut Files| {
        let (image, _) = files.plain("amd64", "image");
        files.index(&[image]);
    })
}

fn verify(bench: &Bench, source: &str, file: &str) -> std::process::Output {
    let mut command = bench.planish();
    command.args(["verify", source, file, "--platform", "linux/amd64"]);
    command.output().unwrap()
}

#[test]
fn other_file_formats_are_refused_by_name() {
    let bench = Bench::new();
    let source = source(&bench);
    let at = |offset: usize, magic: &[u8]| [&vec![0; offset], magic, &[1; 5000]].concat();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "it is empty"),
        ("zeros", vec![0; 1 << 20], "its beginning is zeros"),
        ("text", b"hello\n".repeat(1000), "it is text"),
        ("gzip", at(0, b"\x1f\x8b\x08"), "it is compressed with gzip"),
        ("zstd", at(0, b"\x28\xb5\x2f\xfd"), "it is compressed with zstd"),
        ("qcow2", at(0, b"QFI\xfb\0\0\0\x03"), "it is a disk image of the format qcow2"),
        ("squashfs", at(0, b"hsqs"), "it is squashfs"),
        ("xfs", at(0, b"XFSB"), "it is XFS"),
        ("btrfs", at(65_600, b"_BHRfS_M"), "it is btrfs"),
        ("disk", at(510, b"\x55\xaa"), "it is a disk with partitions"),
        ("tar", at(257, b"ustar\x0000"), "it is a tar archive"),
        (
            "short",
            [vec![0; 1080], b"\x53\xef".to_vec(), vec![1; 100]].concat(),
            "it ends after 1182 bytes, before the end of a superblock",
        ),
    ];
    for (name, bytes, is) in table {
        bench.readable(name, &bytes);
        let path = bench.shared(name).display().to_string();
        let text = failed(&verify(&bench, &source, &path), 6);
        assert_eq!(text, format!("{path} is no ext4 filesystem that can be read: {is}"));
    }
    let qcow2 = bench.shared("qcow2").display().to_string();
    let hint = format!("hint: make it raw first: qemu-img convert -O raw {qcow2} RAW\n");
    assert!(stderr(&verify(&bench, &source, &qcow2)).ends_with(&hint));
}

#[test]
fn a_truncated_filesystem_is_refused() {
    let bench = Bench::new();
    let source = source(&bench);
    let built = bench.build(&source, "out.ext4", &["--free", "0"]);
    crate::support::succeeded(&built);
    let whole = bench.at("out.ext4").metadata().unwrap().len();
    File::options().write(true).open(bench.at("out.ext4")).unwrap().set_len(whole - 4096).unwrap();
    let text = failed(&verify(&bench, &source, "out.ext4"), 6);
    let is = format!("it ends after {} bytes, and its superblock says {whole}", whole - 4096);
    assert_eq!(text, format!("out.ext4 is no ext4 filesystem that can be read: {is}"));
}

#[test]
fn special_files_are_refused_without_waiting() {
    let bench = Bench::new();
    let source = source(&bench);
    std::fs::create_dir(bench.at("directory")).unwrap();
    process::run(Command::new("mkfifo").arg(bench.at("fifo")));
    let _socket = UnixListener::bind(bench.at("socket")).unwrap();
    for path in ["directory", "fifo"] {
        bench.give(&bench.at(path));
    }
    for (path, is) in [
        ("directory", "it is a directory"),
        ("fifo", "it is a FIFO, not a file or a block device"),
        ("/dev/null", "it is a character device, not a file or a block device"),
        ("/dev/zero", "it is a character device, not a file or a block device"),
    ] {
        let text = failed(&verify(&bench, &source, path), 6);
        assert_eq!(text, format!("{path} is no ext4 filesystem that can be read: {is}"));
    }
    // A socket cannot be opened.
    failed(&verify(&bench, &source, "socket"), 6);
}

#[test]
fn ext2_and_ext3_are_refused_by_name() {
    let bench = Bench::new();
    let source = source(&bench);
    for kind in ["ext2", "ext3", "ext4"] {
        let path = bench.shared(kind);
        File::create(&path).unwrap().set_len(8 << 20).unwrap();
        process::run(Command::new(tool("mke2fs")).args(["-q", "-t", kind]).arg(&path));
        let path = path.display().to_string();
        let output = verify(&bench, &source, &path);
        if kind == "ext4" {
            assert_eq!(output.status.code(), Some(8), "an empty one differs: {}", stderr(&output));
        } else {
            assert_eq!(failed(&output, 6), format!("{path} is no ext4 filesystem that can be read: it is {kind}"));
        }
    }
}
