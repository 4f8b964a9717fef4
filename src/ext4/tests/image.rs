//! Filesystems made by e2fsprogs from a list of nodes; the only module here that runs programs.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::node::{Kind, Node};
use crate::ext4::Filesystem;
use crate::time::Timestamp;

/// An image in a directory of its own, removed when dropped.
pub struct Image {
    directory: TempDir,
}

impl Image {
    /// Stages the nodes, copies them with `mkfs.ext4 -d`, and sets the other attributes with debugfs.
    pub fn make(options: &[&str], size: &str, nodes: &[Node]) -> Self {
        let image = Self::stage(options, size, nodes);
        image.debugfs(&script(&image, nodes));
        image
    }

    fn stage(options: &[&str], size: &str, nodes: &[Node]) -> Self {
        // Beside the test program, so on a disk: staging can be large, and /tmp may be in memory.
        let beside = std::env::current_exe().unwrap();
        let image = Self { directory: TempDir::new_in(beside.parent().unwrap()).unwrap() };
        let root = image.directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        for node in nodes {
            stage_node(&root, node);
        }
        let mut arguments = vec!["-q", "-F"];
        arguments.extend(options);
        arguments.extend(["-E", "no_copy_xattrs,lazy_itable_init=0", "-d", "root", "image", size]);
        image.run("mkfs.ext4", &arguments, &[0]);
        image
    }

    /// Runs requests that must all succeed: debugfs reports failures only on its standard error.
    pub fn debugfs(&self, requests: &str) {
        self.write("script", requests.as_bytes());
        let stderr = self.run("debugfs", &["-w", "-f", "script", "image"], &[0]);
        assert_eq!(stderr.lines().count(), 1, "debugfs: {stderr}");
    }

    /// Checks that e2fsck, which shares no code with the reader, finds no problem.
    pub fn check(&self) {
        self.run("e2fsck", &["-fn", "image"], &[0]);
    }

    pub fn index_directories(&self) {
        self.run("e2fsck", &["-fyD", "image"], &[0, 1]);
    }

    pub fn open(&self) -> Filesystem<File> {
        Filesystem::open(File::open(self.path("image")).unwrap()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path("image")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str], good: &[i32]) -> String {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", path).env("LC_ALL", "C").current_dir(self.directory.path());
        let output = command.output().unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let good = output.status.code().is_some_and(|code| good.contains(&code));
        assert!(good, "{program} {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
        stderr
    }
}

fn stage_node(root: &Path, node: &Node) {
    let path = root.join(&node.names[0][1..]);
    match &node.kind {
        Kind::Directory if node.names[0] == "/" => {}
        Kind::Directory => std::fs::create_dir(&path).unwrap(),
        Kind::File { size, pieces } => {
            let file = File::create(&path).unwrap();
            file.set_len(*size).unwrap();
            for (offset, bytes) in pieces {
                file.write_all_at(bytes, *offset).unwrap();
            }
        }
        Kind::Symlink(target) => symlink(target, &path).unwrap(),
        Kind::Fifo => mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap(),
        Kind::Socket => mknodat(CWD, &path, FileType::Socket, Mode::from(0o600), 0).unwrap(),
        // Needs root on the host; debugfs creates it instead.
        Kind::Device(..) => return,
    }
    for name in &node.names[1..] {
        std::fs::hard_link(&path, root.join(&name[1..])).unwrap();
    }
}

fn script(image: &Image, nodes: &[Node]) -> String {
    let mut script = String::new();
    for (number, node) in nodes.iter().enumerate() {
        let name = &node.names[0];
        if let Kind::Device(kind, major, minor) = node.kind {
            // The mknod request refuses numbers over 65,535; the new form works for every number.
            let number = minor & 0xff | major << 8 | (minor & !0xff) << 12;
            let (major, minor, word) = if number < 1 << 16 { (major, minor, None) } else { (0, 256, Some(number)) };
            writeln!(script, "mknod {} {kind} {major} {minor}", &name[1..]).unwrap();
            if let Some(word) = word {
                writeln!(script, "sif {name} block[1] {word}").unwrap();
            }
        }
        for (index, xattr) in node.xattrs.iter().enumerate() {
            let value = format!("value-{number}-{index}");
            image.write(&value, &xattr.set);
            writeln!(script, "ea_set -f {value} {name} {}", xattr.name).unwrap();
        }
        if let Kind::File { size, .. } = node.kind {
            // With inline_data, mkfs.ext4 1.47.0 loses a hole at the end of a file.
            writeln!(script, "sif {name} size {size}").unwrap();
        }
        writeln!(script, "sif {name} mode 0{:o}", node.mode()).unwrap();
        writeln!(script, "sif {name} uid {}\nsif {name} gid {}", node.uid, node.gid).unwrap();
        writeln!(script, "sif {name} generation {}", node.generation).unwrap();
        for (field, time) in ["atime", "ctime", "mtime"].into_iter().zip(node.times) {
            set_time(&mut script, name, field, time, node.wide_times);
        }
        if node.wide_times {
            set_time(&mut script, name, "crtime", node.times[3], true);
        }
    }
    script
}

fn set_time(script: &mut String, name: &str, field: &str, time: Timestamp, wide: bool) {
    let low = time.seconds.rem_euclid(1 << 32);
    writeln!(script, "sif {name} {field}_lo {low}").unwrap();
    if wide {
        let signed = if low >= 1 << 31 { low - (1 << 32) } else { low };
        let epoch = (time.seconds - signed) / (1 << 32);
        writeln!(script, "sif {name} {field}_extra {}", i64::from(time.nanos) * 4 + epoch).unwrap();
    }
}
