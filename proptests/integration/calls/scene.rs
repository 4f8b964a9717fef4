//! Commands with failing calls, and the directory in which each runs.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use planish_proptests::writer::{Compression, Entry, Flavour, Image, Layer};

use crate::support::registry::{Plan, Registry};
use crate::support::{Bench, generated::noise, process::publish};

/// The content of the output to be replaced.
pub const OLD: &[u8] = b"an older filesystem";
const CANARY: &[u8] = b"untouched";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A command, and the files that it makes on success.
pub struct Scene {
    pub name: &'static str,
    pub bench: Bench,
    arguments: Vec<String>,
    /// The input on standard input.
    input: Option<PathBuf>,
    /// Names in the user's directory that appear exactly with exit code 0.
    pub outputs: &'static [&'static str],
    /// The output exists before the run.
    pub replaces: bool,
    registry: Option<Registry>,
}

/// Two layers with one inode of each kind, and enough bytes for several reads.
pub fn image() -> Image {
    let lower = [
        Entry::dir("etc/").mode(0o750).owner(3, 4),
        Entry::file("etc/long", noise(7, 70_000)).mode(0o4755).mtime(5, 6),
        Entry::hardlink("etc/second", "etc/long"),
        Entry::file("etc/gone", "gone"),
    ];
    let upper = [
        Entry::symlink("link", "etc/long").owner(1, 2),
        Entry::char_device("null", 1, 3),
        Entry::whiteout("etc/.wh.gone"),
        Entry::file("capable", "x").xattr("user.a", "1").xattr("user.b", noise(1, 600).to_vec()),
    ];
    Image::new([Layer::new(lower), Layer::new(upper).compression(Compression::Zstd)])
}

impl Scene {
    fn new(name: &'static str, arguments: &[&str], outputs: &'static [&'static str]) -> Self {
        let bench = Bench::new();
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Self { name, bench, arguments, input: None, outputs, replaces: false, registry: None }
    }

    /// `build` with the e2fsprogs engine, from a layout, with every kind of output.
    pub fn build_e2fsprogs() -> Self {
        let arguments = ["build", "oci:../layout:latest", "-o", "out.ext4", "--engine", "e2fsprogs", "--free", "0"];
        let more = ["--platform", "linux/amd64", "--report", "report.json", "--json", "-j", "2"];
        let scene = Self::new("build, e2fsprogs", &[&arguments[..], &more].concat(), &["out.ext4", "report.json"]);
        scene.layout()
    }

    /// `build` with the direct engine, from an archive on standard input, over an older file.
    pub fn build_direct() -> Self {
        let arguments = ["build", "-", "-o", "out.ext4", "--engine", "direct", "--free", "0", "--force"];
        let more = ["--platform", "linux/amd64", "-j", "2"];
        let mut scene = Self::new("build, direct", &[&arguments[..], &more].concat(), &["out.ext4"]);
        let archive = image().docker_archive(Flavour::Legacy, "a/b:c");
        scene.input = Some(scene.bench.readable("archive.tar", &archive));
        scene.replaces = true;
        scene
    }

    /// `plan`, from an archive.
    pub fn plan() -> Self {
        let arguments = ["plan", "docker-archive:../archive.tar", "--platform", "linux/amd64", "-j", "1"];
        let scene = Self::new("plan", &arguments, &[]);
        scene.bench.readable("archive.tar", &image().docker_archive(Flavour::Legacy, "a/b:c"));
        scene
    }

    /// `verify`, with a filesystem that equals the image.
    pub fn verify() -> Self {
        let arguments = ["verify", "oci:../layout:latest", "../good.ext4", "--platform", "linux/amd64", "-j", "2"];
        let scene = Self::new("verify", &arguments, &[]).layout();
        crate::support::succeeded(&scene.bench.build("oci:../layout:latest", "good.ext4", &["--free", "0"]));
        std::fs::rename(scene.bench.at("good.ext4"), scene.bench.shared("good.ext4")).unwrap();
        scene
    }

    /// `pull`, from a registry into an empty cache.
    pub fn pull() -> Self {
        let mut scene = Self::new("pull", &["pull"], &[]).layout();
        let registry = Registry::start(&[("img", &scene.bench.shared("layout"))], Plan::new());
        let source = format!("docker://{}/img:latest", registry.host());
        scene.arguments.extend([source, "--cache-dir".into(), "cache".into(), "--platform".into()]);
        scene.arguments.extend(["linux/amd64".into(), "--retry".into(), "2".into(), "-j".into(), "2".into()]);
        scene.registry = Some(registry);
        scene
    }

    fn layout(self) -> Self {
        let layout = self.bench.shared("layout");
        image().write_layout(&layout, "latest").unwrap();
        publish(&layout);
        self
    }

    /// Restores the user's directory to its state before a run.
    pub fn prepare(&self) {
        let home = self.bench.home();
        std::fs::remove_dir_all(&home).unwrap();
        for directory in ["", "tmp", "canary"] {
            let path = home.join(directory);
            std::fs::create_dir(&path).unwrap();
            self.bench.give(&path);
        }
        let old = self.replaces.then_some(("out.ext4", OLD));
        for (name, content) in [("canary/secret", CANARY), ("stdout", b""), ("stderr", b"")].into_iter().chain(old) {
            std::fs::write(home.join(name), content).unwrap();
            self.bench.give(&home.join(name));
        }
    }

    /// The command with files as its standard streams.
    pub fn command(&self) -> Command {
        let mut command = self.bench.planish();
        let written = |name: &str| File::options().append(true).open(self.bench.at(name)).unwrap();
        let input = self.input.as_ref().map_or_else(Stdio::null, |path| File::open(path).unwrap().into());
        // One file instead of a directory of hundreds: each is opened, read and closed in the same way.
        if Path::new(CERTIFICATES).exists() {
            command.env("SSL_CERT_FILE", CERTIFICATES);
        }
        command.env("HOME", self.bench.home()).env("TMPDIR", self.bench.at("tmp")).args(&self.arguments);
        command.stdin(input).stdout(written("stdout")).stderr(written("stderr"));
        command
    }

    /// Returns the output of a run on a standard stream.
    pub fn stream_text(&self, stream: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.bench.at(stream)).unwrap()).into_owned()
    }

    /// The names that a run added to the user's directory, and those in its temporary directory.
    pub fn added(&self) -> Vec<String> {
        let known = ["tmp", "canary", "stdout", "stderr", "cache"];
        let mut added: Vec<String> = self.bench.left().into_iter().filter(|name| !known.contains(&&**name)).collect();
        let old = |name: &String| self.replaces && name == "out.ext4" && self.is_old();
        added.retain(|name| !old(name));
        let within = self.bench.at("tmp").read_dir().unwrap().map(|entry| entry.unwrap().path());
        added.extend(within.map(|path| path.display().to_string()));
        added
    }

    /// Returns true if the output is unchanged.
    pub fn is_old(&self) -> bool {
        std::fs::read(self.bench.at("out.ext4")).is_ok_and(|found| found == OLD)
    }

    /// Returns true if the neighbouring files are unchanged.
    pub fn canary_is_whole(&self) -> bool {
        let secret = self.bench.at("canary/secret");
        let mode = |path: &Path| path.metadata().map(|found| found.permissions()).ok();
        std::fs::read(&secret).is_ok_and(|found| found == CANARY)
            && mode(&secret) == Some(Permissions::from_mode(0o100_644))
            && self.bench.at("canary").read_dir().is_ok_and(|names| names.count() == 1)
    }

    /// The outputs of a run, by name.
    pub fn results(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let read = |name: &&'static str| Some((*name, std::fs::read(self.bench.at(name)).ok()?));
        self.outputs.iter().filter_map(read).collect()
    }
}
