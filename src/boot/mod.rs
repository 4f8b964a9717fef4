//! Would it boot? Looks for what a kernel and an init need in a tree or a filesystem, and runs nothing.
//!
//! The module knows neither where a tree came from nor how a filesystem was made.

mod elf;
mod kernel;
mod libraries;
mod program;
mod root;
mod search;
mod sources;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use kernel::KernelVersion;

use self::elf::Machine;
use self::program::{Problem, Program, Programs};
use self::root::{Node, Root, follow};
use self::sources::{FilesystemRoot, TreeRoot};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::ext4::{BlockSource, Features, Filesystem, ReadError};
use crate::path::{Escaped, Shortened};
use crate::tree::Tree;

/// Options of a check.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    init: Option<Vec<u8>>,
    kernel: Option<KernelVersion>,
}

impl CheckOptions {
    /// Sets the path in the image that the kernel gets as `init=`. Default: the kernel looks in its own places.
    #[must_use]
    pub fn init(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.init = Some(path.into());
        self
    }

    /// Sets the version of the kernel, which must mount the filesystem. Default: any.
    #[must_use]
    pub fn kernel(mut self, version: KernelVersion) -> Self {
        self.kernel = Some(version);
        self
    }
}

/// The result of a check, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The image reference, or the path of the filesystem, escaped.
    pub source: String,
    /// True if nothing was found that keeps it from booting.
    pub boots: bool,
    /// The path of the init, without symlinks, escaped; `None` if there is none that starts.
    pub init: Option<String>,
    /// The findings, in the order of a boot.
    pub findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The subject: `init`, `kernel`, `mount-points`, `resolver`, `user` or `process`.
    pub check: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The fact, as a sentence without a period.
    pub text: String,
    /// Advice to the user.
    pub advice: Option<&'static str>,
}

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It boots, and something in it may not work.
    Warning,
    /// It does not boot.
    Failure,
}

/// The places in which Linux looks for an init (`init/main.c`).
const INITS: [&[u8]; 4] = [b"/sbin/init", b"/etc/init", b"/bin/init", b"/bin/sh"];
const MOUNT_POINTS: [&[u8]; 5] = [b"/dev", b"/proc", b"/run", b"/sys", b"/tmp"];

/// The process of an image: its user or why there is none, its program, and the directories that are searched for it.
#[derive(Debug)]
pub(crate) struct ProcessToCheck {
    pub user: std::result::Result<String, String>,
    pub program: Option<Vec<u8>>,
    pub search: Vec<Vec<u8>>,
}

/// Checks the tree of an image for an architecture in the words of OCI.
///
/// # Errors
///
/// The run was cancelled.
pub(crate) fn of_tree(
    tree: &Tree,
    architecture: &str,
    process: Option<&ProcessToCheck>,
    options: &CheckOptions,
    cancel: &Cancel,
) -> Result<(Option<Vec<u8>>, Vec<Finding>)> {
    let root = TreeRoot { tree, cancel };
    let mut check = Check { programs: Programs { root: &root, machine: Machine::of(architecture) }, findings: vec![] };
    check.no_filesystem(options);
    let init = check.run(options)?;
    process.map_or(Ok(()), |process| check.process(process))?;
    Ok((init, check.findings))
}

/// Checks a filesystem.
///
/// # Errors
///
/// The filesystem cannot be read; the run was cancelled.
pub(crate) fn of_filesystem<R: BlockSource>(
    filesystem: &Filesystem<R>,
    unreadable: &dyn Fn(ReadError) -> Error,
    options: &CheckOptions,
    cancel: &Cancel,
) -> Result<(Option<Vec<u8>>, Vec<Finding>)> {
    let root = FilesystemRoot { filesystem, unreadable, cancel };
    let mut check = Check { programs: Programs { root: &root, machine: None }, findings: vec![] };
    check.kernel(filesystem.superblock().features, options);
    let init = check.run(options)?;
    Ok((init, check.findings))
}

struct Check<'a, R> {
    programs: Programs<'a, R>,
    findings: Vec<Finding>,
}

impl<R: Root> Check<'_, R> {
    fn add(&mut self, check: &'static str, verdict: Verdict, text: String, advice: Option<&'static str>) {
        self.findings.push(Finding { check, verdict, text, advice });
    }

    fn run(&mut self, options: &CheckOptions) -> Result<Option<Vec<u8>>> {
        let init = self.init(options)?;
        self.mount_points()?;
        self.resolver()?;
        Ok(init)
    }

    /// Says that an image has nothing that a kernel must mount.
    fn no_filesystem(&mut self, options: &CheckOptions) {
        let Some(version) = options.kernel else { return };
        let text = format!("Linux {version} is not checked: an image is no filesystem that it mounts");
        self.add("kernel", Verdict::Warning, text, Some("build it, and check the file: check FILE --kernel VERSION"));
    }

    fn kernel(&mut self, features: Features, options: &CheckOptions) {
        let Some(version) = options.kernel else { return };
        let beyond = kernel::beyond(features, version);
        for (feature, reads) in &beyond {
            let (verdict, what) = match reads {
                true => (Verdict::Failure, "mounts the filesystem read-only at best"),
                false => (Verdict::Failure, "does not mount the filesystem"),
            };
            let text = format!("Linux {version} {what}: it has {}, which Linux {} knows", feature.name, feature.since);
            self.add(
                "kernel",
                verdict,
                text,
                Some("take a newer kernel, or build without the feature (--features ^NAME)"),
            );
        }
        if beyond.is_empty() {
            self.add("kernel", Verdict::Ok, format!("Linux {version} mounts the filesystem"), None);
        }
    }

    /// Finds the program that the kernel starts, as the kernel does: the first that can be started, even if it fails then.
    fn init(&mut self, options: &CheckOptions) -> Result<Option<Vec<u8>>> {
        let places: Vec<&[u8]> = options.init.as_deref().map_or(INITS.to_vec(), |init| vec![init]);
        let is_chosen = options.init.is_some();
        let mut broken: Vec<Problem> = Vec::new();
        for place in places {
            match self.programs.at(place)? {
                None if is_chosen => {
                    let text = format!("there is no {}", Shortened(place));
                    self.add("init", Verdict::Failure, text, Some("--init-path takes a path of the image"));
                    return Ok(None);
                }
                None => {}
                Some(program) if program.problems.is_empty() => {
                    for Problem { text, advice, .. } in broken {
                        self.add("init", Verdict::Warning, text, Some(advice));
                    }
                    self.found(place, &program, is_chosen);
                    self.warnings("init", program.warnings);
                    return Ok(Some(program.path));
                }
                Some(program) => {
                    let is_started = program.problems.iter().all(|problem| problem.is_late);
                    broken.extend(program.problems);
                    self.warnings("init", program.warnings);
                    if is_started {
                        break;
                    }
                }
            }
        }
        if broken.is_empty() {
            let text = "there is no init: /sbin/init, /etc/init, /bin/init and /bin/sh are missing".to_owned();
            self.add("init", Verdict::Failure, text, Some("put a static program there: build --init FILE"));
        }
        for Problem { text, advice, .. } in broken {
            self.add("init", Verdict::Failure, text, Some(advice));
        }
        Ok(None)
    }

    fn warnings(&mut self, check: &'static str, warnings: Vec<Problem>) {
        for Problem { text, advice, .. } in warnings {
            self.add(check, Verdict::Warning, text, Some(advice));
        }
    }

    fn found(&mut self, place: &[u8], program: &Program, is_chosen: bool) {
        let mut text = Shortened(place).to_string();
        if program.path != place {
            text.push_str(&format!(" is {}", Shortened(&program.path)));
        }
        text.push_str(&format!(" ({})", program.kind));
        if program.path.ends_with(b"/systemd") {
            text.push_str(": systemd");
        }
        let is_shell = place == b"/bin/sh" && !is_chosen;
        let (verdict, advice) = match is_shell {
            false => (Verdict::Ok, None),
            true => {
                text.push_str(": a shell, for lack of an init");
                (
                    Verdict::Warning,
                    Some("put an init there with build --init FILE, or name a program with init= on the command line"),
                )
            }
        };
        self.add("init", verdict, text, advice);
    }

    fn mount_points(&mut self) -> Result<()> {
        let mut missing = Vec::new();
        for path in MOUNT_POINTS {
            if !follow(self.programs.root, path)?.is_some_and(|end| end.node == Node::Directory) {
                missing.push(Escaped(path).to_string());
            }
        }
        match missing.is_empty() {
            true => self.add("mount-points", Verdict::Ok, "/dev, /proc, /run, /sys and /tmp are there".into(), None),
            false => {
                let text = format!("there is no directory {}", missing.join(", "));
                self.add("mount-points", Verdict::Warning, text, Some("build with --mount-points"));
            }
        }
        Ok(())
    }

    fn resolver(&mut self) -> Result<()> {
        let place: &[u8] = b"/etc/resolv.conf";
        let advice = Some("build with --resolv-conf, or let the init write it");
        match follow(self.programs.root, place)? {
            Some(end) if matches!(end.node, Node::File { size: 0, .. }) => {
                self.add(
                    "resolver",
                    Verdict::Warning,
                    "/etc/resolv.conf is empty: names are not resolved".into(),
                    advice,
                );
            }
            Some(end) if matches!(end.node, Node::File { .. }) => {
                self.add("resolver", Verdict::Ok, "/etc/resolv.conf is there".into(), None);
            }
            Some(_) => {
                let text = "/etc/resolv.conf is no file: names are not resolved".into();
                self.add("resolver", Verdict::Warning, text, advice);
            }
            None => {
                let parent = follow(self.programs.root, b"/etc")?;
                let link = parent.map_or(Ok(None), |etc| self.programs.root.child(etc.id, b"resolv.conf"))?;
                let text = match link.map(|link| self.programs.root.node(link)).transpose()? {
                    // Made when the system runs.
                    Some(Node::Symlink(target)) => {
                        format!("/etc/resolv.conf is a symlink to {}, which is not there yet", Shortened(&target))
                    }
                    _ => "there is no /etc/resolv.conf: names are not resolved".to_owned(),
                };
                self.add("resolver", Verdict::Warning, text, advice);
            }
        }
        Ok(())
    }

    fn process(&mut self, process: &ProcessToCheck) -> Result<()> {
        match &process.user {
            Ok(text) => self.add("user", Verdict::Ok, text.clone(), None),
            Err(text) => {
                self.add("user", Verdict::Warning, text.clone(), Some("the image names a user whom it does not have"));
            }
        }
        let Some(program) = &process.program else { return Ok(()) };
        let places: Vec<Vec<u8>> = match program.contains(&b'/') {
            true => vec![program.clone()],
            false => process.search.iter().map(|directory| [directory, &b"/"[..], program].concat()).collect(),
        };
        let advice = Some("the image's own process would not start: see its entrypoint");
        for place in places {
            let Some(found) = self.programs.at(&place)? else { continue };
            for Problem { text, .. } in &found.problems {
                self.add("process", Verdict::Warning, text.clone(), advice);
            }
            if found.problems.is_empty() {
                let text = format!("the image's process is {} ({})", Shortened(&found.path), found.kind);
                self.add("process", Verdict::Ok, text, None);
            }
            self.warnings("process", found.warnings);
            return Ok(());
        }
        let text = format!("the image's process {} is not there", Shortened(program));
        self.add("process", Verdict::Warning, text, advice);
        Ok(())
    }
}
