//! Support for tests of the real binary: an ordinary user, a directory for each test, and a check for leftover files.

pub mod generated;
pub mod mounted;
pub mod mounts;
pub mod process;
pub mod raw;
pub mod registry;
pub mod tree_listing;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use planish_proptests::listing::{Field, Fields, Listing, diff};

/// The id of the user nobody.
const USER: u32 = 65534;

/// A world-readable directory with a copy of the binary, and one that belongs to an ordinary user.
pub struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("planish-test-").tempdir_in("/tmp").unwrap();
        set_mode(root.path(), 0o755);
        let bench = Self { root };
        // Another process makes it: a child that another test starts at this time would hold the copy open for writing,
        // and
        // "Text file busy" would prevent its execution.
        process::run(process::command("cp").arg(env!("CARGO_BIN_EXE_planish")).arg(bench.binary()));
        set_mode(&bench.binary(), 0o755);
        std::fs::create_dir(bench.home()).unwrap();
        bench.give(&bench.home());
        bench
    }

    fn binary(&self) -> PathBuf {
        self.root.path().join("planish")
    }

    /// The user's own directory, for outputs and temporary files.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// A path in the user's directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    /// Gives a path to the user when tests run as root.
    pub fn give(&self, path: &Path) {
        if is_root() {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
    }

    /// Copies a fixture, readable for the user, and returns the copy's path.
    pub fn fixture(&self, name: &str) -> PathBuf {
        let from = fixtures().join(name);
        let to = self.root.path().join(name);
        if !to.exists() {
            copy(&from, &to);
        }
        to
    }

    /// The files in a directory of the cache `cache`, in their order.
    pub fn cached(&self, directory: &str) -> Vec<PathBuf> {
        let files = self.at("cache").join(directory).read_dir().into_iter().flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Runs `planish cache` on the cache `cache`.
    pub fn cache(&self, words: &str) -> Output {
        self.planish().arg("cache").args(words.split(' ')).args(["--cache-dir", "cache"]).output().unwrap()
    }

    /// Writes bytes, readable for the user.
    pub fn readable(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A directory outside the user's own, which the user can read.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The binary as an ordinary user runs it: a user's `PATH` without `/usr/sbin`, and no other variables.
    pub fn planish(&self) -> Command {
        let mut command = Command::new(self.binary());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(self.home());
        self.as_user(&mut command);
        command
    }

    /// Makes a command run as the ordinary user.
    pub fn as_user(&self, command: &mut Command) {
        if is_root() {
            command.uid(USER).gid(USER);
        }
    }

    /// Runs `planish build SOURCE --output OUTPUT` for linux/amd64, with more arguments.
    pub fn build(&self, source: &str, output: &str, more: &[&str]) -> Output {
        let mut command = self.planish();
        command.args(["build", source, "--output", output, "--platform", "linux/amd64"]).args(more);
        command.output().unwrap()
    }

    /// The names in the user's directory.
    pub fn left(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .home()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Writes an executable script, by another process for the same reason as the binary.
pub fn script(path: &Path, text: &str) {
    let mut command = Command::new("/bin/sh");
    let written = command.args(["-c", "printf %s \"$1\" > \"$2\"", "sh", text]).arg(path).status().unwrap();
    assert!(written.success());
    set_mode(path, 0o755);
}

pub fn is_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir(to).unwrap();
        set_mode(to, 0o755);
        for entry in from.read_dir().unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
        set_mode(to, 0o644);
    }
}

/// The text of a run's stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is UTF-8")
}

/// Requires success.
#[track_caller]
pub fn succeeded(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

/// Requires a documented exit code and one clear error line, and returns that line.
#[track_caller]
pub fn failed(output: &Output, code: i32) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.bytes().all(|b| b == b'\n' || !b.is_ascii_control()), "{text:?}");
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

/// Requires a filesystem that passes e2fsck, and returns its listing.
#[track_caller]
pub fn read_clean(image: &Path) -> Listing {
    let checked = Command::new(e2fsck()).arg("-fn").arg(image).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    Listing::read_ext4(image).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

/// Requires two listings to be equal.
#[track_caller]
pub fn equal(expected: &Listing, actual: &Listing) {
    let fields: Fields = Field::ALL.into_iter().collect();
    let differences: Vec<String> = diff(expected, actual, &fields).iter().map(ToString::to_string).collect();
    assert_eq!(differences, [""; 0]);
}

/// Reads a listing written by hand.
pub fn listing(name: &str) -> Listing {
    std::fs::read_to_string(fixtures().join(name)).unwrap().parse().unwrap()
}

fn e2fsck() -> PathBuf {
    tool("e2fsck")
}

/// Finds a program of e2fsprogs.
pub fn tool(name: &str) -> PathBuf {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}
