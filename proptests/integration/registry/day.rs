//! One run with faults: a registry, a new cache, an ordinary user, and the conditions after every run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::registry::documents::digest;
use crate::registry::sample::{QUICK, oracle, sample};
use crate::support::registry::{Plan, Registry};
use crate::support::{self, Bench, set_mode, stderr, succeeded};

const OLD: &[u8] = b"an older filesystem";
const CANARY: &[u8] = b"untouched";

/// The secrets that no output may contain: the login of plans, plain and encoded, an identity token, a signature in a
/// URL.
pub const SECRETS: [&str; 4] = ["hunter2", "dXNlcjpodW50ZXIy", "identity-t0ken", "s3cret"];

/// The place of a row: the registry has the row's image as `img`, and one without faults as `good`.
pub struct Day {
    pub id: &'static str,
    pub bench: Bench,
    pub registry: Registry,
    /// Blobs that the row itself damaged in the cache.
    damaged: RefCell<BTreeSet<String>>,
}

impl Day {
    /// A day with the sample as the image.
    pub fn new(id: &'static str, plan: Plan) -> Self {
        Self::of(id, plan, &|layout| sample().write(layout))
    }

    /// A day with an image that `write` writes.
    pub fn of(id: &'static str, plan: Plan, write: &dyn Fn(&Path)) -> Self {
        let bench = Bench::new();
        let (image, good) = (bench.shared("image"), bench.shared("good"));
        write(&image);
        sample().write(&good);
        for (name, content) in [("canary/secret", CANARY), ("out.ext4", OLD)] {
            let path = bench.at(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            bench.give(&path);
        }
        std::fs::create_dir(bench.at("tmp")).unwrap();
        for name in ["canary", "tmp"] {
            bench.give(&bench.at(name));
        }
        let registry = Registry::start(&[("img", &image), ("good", &good)], plan);
        Self { id, bench, registry, damaged: RefCell::default() }
    }

    /// The row's image by its tag.
    pub fn source(&self) -> String {
        self.reference("img:latest")
    }

    /// The source of any image in the registry.
    pub fn reference(&self, rest: &str) -> String {
        format!("docker://{}/{rest}", self.registry.host())
    }

    pub fn cache(&self) -> PathBuf {
        self.bench.at("cache")
    }

    /// Returns the path of a blob in the cache.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.cache().join("blobs").join(digest.replace(':', "/"))
    }

    /// Allows a blob of the cache to be damaged from now on, and returns its path.
    pub fn damage(&self, digest: &str) -> PathBuf {
        self.damaged.borrow_mut().insert(digest.to_owned());
        self.blob(digest)
    }

    /// Requires every blob to be intact from now on.
    pub fn damage_is_over(&self) {
        self.damaged.borrow_mut().clear();
    }

    /// Writes a file of credentials for a host and returns its path.
    pub fn authfile(&self, host: &str, user: &str, password: &str) -> String {
        let login = STANDARD.encode(format!("{user}:{password}"));
        self.auths(&serde_json::json!({"auths": {host: {"auth": login}}}))
    }

    pub fn auths(&self, document: &serde_json::Value) -> String {
        let path = self.bench.at("auth.json");
        std::fs::write(&path, document.to_string()).unwrap();
        set_mode(&path, 0o600);
        self.bench.give(&path);
        path.to_str().unwrap().to_owned()
    }

    /// The binary with a home and a temporary directory, before its subcommand.
    pub fn planish(&self) -> Command {
        let mut command = self.bench.planish();
        command.env("HOME", self.bench.home()).env("TMPDIR", self.bench.at("tmp"));
        command
    }

    pub fn pull_command(&self, source: &str, more: &[&str]) -> Command {
        let mut command = self.planish();
        command.args(["pull", source, "--platform", "linux/amd64"]).args(more);
        cached(command, more)
    }

    pub fn build_command(&self, source: &str, output: &str, more: &[&str]) -> Command {
        let mut command = self.planish();
        command.args(["build", source, "--output", output]).args(QUICK).args(more);
        cached(command, more)
    }

    /// Fills the cache with the row's image.
    #[track_caller]
    pub fn pull(&self, more: &[&str]) -> Output {
        self.run(&mut self.pull_command(&self.source(), more))
    }

    /// Builds the row's image over an older output.
    #[track_caller]
    pub fn build(&self, more: &[&str]) -> Output {
        self.run(&mut self.build_command(&self.source(), "out.ext4", more))
    }

    /// Runs a command and checks the files that it leaves.
    #[track_caller]
    pub fn run(&self, command: &mut Command) -> Output {
        let before = self.names();
        let output = command.output().unwrap();
        let after: BTreeSet<String> = self.names();
        let new: Vec<&String> = after.difference(&before).filter(|name| *name != "cache").collect();
        assert!(new.iter().all(|name| name.ends_with(".ext4")), "{}: left {new:?}", self.id);
        assert!(output.status.success() || new.is_empty(), "{}: failed, and made {new:?}", self.id);
        if !output.status.success() && after.contains("out.ext4") {
            let found = std::fs::read(self.bench.at("out.ext4")).unwrap();
            assert!(found == OLD || found == oracle(), "{}: the older result is not what it was", self.id);
        }
        self.says_nothing_secret(&output);
        self.nothing_outside();
        self.cache_is_sound();
        self.no_partial();
        output
    }

    fn names(&self) -> BTreeSet<String> {
        self.bench.left().into_iter().collect()
    }

    /// I5 and I6: no control bytes, no secrets.
    #[track_caller]
    pub fn says_nothing_secret(&self, output: &Output) {
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8(text).unwrap_or_else(|_| panic!("{}: the output is no text", self.id));
        let plain = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\u{202a}'..='\u{202e}'));
        assert!(text.chars().all(plain), "{}: {text:?}", self.id);
        let tokens = self.registry.tokens();
        for secret in tokens.iter().map(String::as_str).chain(SECRETS) {
            assert!(!text.contains(secret), "{}: {secret:?} is in {text:?}", self.id);
        }
    }

    /// I3 and I4: the temporary directory is empty, and the neighbouring files are unchanged.
    #[track_caller]
    pub fn nothing_outside(&self) {
        let left = files_below(&self.bench.at("tmp"));
        let count = self.bench.at("tmp").read_dir().unwrap().count();
        assert_eq!(count, 0, "{}: files in TMPDIR: {left:?}", self.id);
        let canary: Vec<_> = self.bench.at("canary").read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(canary, ["secret"], "{}", self.id);
        let secret = self.bench.at("canary/secret");
        assert_eq!(std::fs::read(&secret).unwrap(), CANARY, "{}", self.id);
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o7777, 0o644, "{}", self.id);
    }

    /// I2: every blob hashes to its name, except those that the row itself damaged.
    #[track_caller]
    pub fn cache_is_sound(&self) {
        let directory = self.cache().join("blobs/sha256");
        for entry in directory.read_dir().into_iter().flatten() {
            let entry = entry.unwrap();
            let name = format!("sha256:{}", entry.file_name().to_string_lossy());
            if self.damaged.borrow().contains(&name) {
                continue;
            }
            assert!(entry.file_type().unwrap().is_file(), "{}: {name} is no regular file", self.id);
            let content = std::fs::read(entry.path()).unwrap();
            assert_eq!(digest(&content), name, "{}: {} bytes in the cache", self.id, content.len());
        }
    }

    /// I3: besides blobs, records and documents, the cache has only small and empty files, and no part of a blob.
    #[track_caller]
    pub fn no_partial(&self) {
        for file in files_below(&self.cache()) {
            let inside = file.strip_prefix(self.cache()).unwrap().to_owned();
            let document = file.extension().is_some_and(|extension| extension == "json");
            let known = inside.starts_with("blobs/sha256")
                || inside.starts_with("built")
                || inside == Path::new("oci-layout")
                || document;
            let length = file.symlink_metadata().unwrap().len();
            assert!(known || length <= 64, "{}: {} has {length} bytes", self.id, inside.display());
        }
    }

    /// I7: without faults, the same cache gives the same bytes as the layout.
    #[track_caller]
    pub fn recovers(&self, more: &[&str]) {
        self.registry.heal();
        let source = self.reference("good:latest");
        let output = self.run(&mut self.build_command(&source, "again.ext4", more));
        assert_eq!(output.status.code(), Some(0), "{}: without a fault: {}", self.id, stderr(&output));
        self.equals_oracle("again.ext4");
    }

    /// Requires an output to equal the sample's, and removes it.
    #[track_caller]
    pub fn equals_oracle(&self, name: &str) {
        let path = self.bench.at(name);
        assert!(std::fs::read(&path).unwrap() == oracle(), "{}: {name} is not the filesystem of the image", self.id);
        std::fs::remove_file(path).unwrap();
    }

    /// Requires success.
    #[track_caller]
    pub fn succeeds(&self, output: &Output) {
        assert_eq!(output.status.code(), Some(0), "{}: {}", self.id, stderr(output));
    }

    /// Requires an exit code and one error line that names all of `says`, and returns that line.
    #[track_caller]
    pub fn fails(&self, output: &Output, code: i32, says: &[&str]) -> String {
        assert_eq!(output.status.code(), Some(code), "{}: {}", self.id, stderr(output));
        let text = support::failed(output, code);
        for part in says {
            assert!(text.contains(part), "{}: {part:?} is not in: {text}", self.id);
        }
        text
    }

    /// Fills the cache without any check.
    #[track_caller]
    pub fn warm(&self) {
        succeeded(&self.pull_command(&self.source(), &[]).output().unwrap());
    }
}

/// Gives a command the day's cache, unless it has `--no-cache`.
fn cached(mut command: Command, more: &[&str]) -> Command {
    if !more.contains(&"--no-cache") {
        command.args(["--cache-dir", "cache"]);
    }
    command
}

/// Every file below a directory, except directories.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir().into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}
