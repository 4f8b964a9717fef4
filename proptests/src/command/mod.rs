//! Commands as subjects: any program that unpacks an OCI layout into a directory, or converts it to an ext4 image or a
//! tar.

mod private;
mod process;
mod said;
mod tar;
mod template;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use tar::{TarError, TarProblem};
pub use template::{Template, TemplateSyntax};

use crate::listing::{Listing, ReadError, escape};
use crate::subject::{Outcome, Subject};
use crate::writer::{Image, Layer};
use private::Private;
use process::{Ended, ProcessError};
use template::Values;

/// The tag of the image in the layout that a command receives.
pub const TAG: &str = "latest";

/// The kind of output that a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputKind {
    /// A directory.
    #[default]
    Directory,
    /// An ext4 image; see [`Listing::read_ext4`] for the supported features.
    Ext4,
    /// An uncompressed tar; see [`Listing::read_tar`] for the supported formats.
    Tar,
}

/// A command that flattens the image of an OCI layout.
///
/// Each run has a private directory, removed afterwards, with the layout, the output, which does not exist when the
/// command starts, and temporary files (`TMPDIR`). The command runs in the caller's working directory, with the
/// caller's environment and an empty standard input.
///
/// The command refuses an image by an exit code other than 0. It is unusable if it cannot be started, is killed,
/// exceeds the time limit, or leaves an output that cannot be read.
///
/// ```
/// use planish_proptests::command::CommandSubject;
/// use planish_proptests::subject::{Outcome, Subject};
///
/// let mut subject = CommandSubject::new("sh -c 'mkdir {out} && test -f {layout}/index.json'".parse()?);
/// assert!(matches!(subject.flatten(&[]), Outcome::Tree(_)));
/// # Ok::<(), planish_proptests::command::TemplateSyntax>(())
/// ```
#[derive(Debug, Clone)]
pub struct CommandSubject {
    template: Template,
    output_kind: OutputKind,
    below: Option<PathBuf>,
    time_limit: Duration,
    stop: Arc<AtomicBool>,
}

/// An error of reading a command's output.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error("is not there")]
    Missing,
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("cannot be listed: {}", chain(.0))]
    Read(#[from] ReadError),
    #[error("cannot be listed: {0}")]
    Tar(#[from] TarError),
}

impl CommandSubject {
    /// The default time limit of a command.
    pub const TIME_LIMIT: Duration = Duration::from_secs(60);

    /// Returns a command that writes a directory.
    #[must_use]
    pub fn new(template: Template) -> Self {
        Self {
            template,
            output_kind: OutputKind::default(),
            below: None,
            time_limit: Self::TIME_LIMIT,
            stop: Arc::default(),
        }
    }

    /// Sets the kind of output that the command writes.
    #[must_use]
    pub fn output_kind(self, output_kind: OutputKind) -> Self {
        Self { output_kind, ..self }
    }

    /// Sets the path of the filesystem in the output: `rootfs` for an OCI bundle.
    #[must_use]
    pub fn below(self, below: impl Into<PathBuf>) -> Self {
        Self { below: Some(below.into()), ..self }
    }

    /// Sets the time limit of a run.
    #[must_use]
    pub fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// Sets a flag that ends a run early, for a signal handler: the command is killed and its directory removed.
    #[must_use]
    pub fn stop(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Returns the program and its arguments for an image under the tag [`TAG`].
    #[must_use]
    pub fn command_line(&self, layout: &Path, out: &Path) -> Vec<OsString> {
        self.template.fill(Values { layout: layout.as_os_str(), tag: TAG, out: out.as_os_str() })
    }

    fn run(&self, layers: &[Layer]) -> io::Result<Outcome> {
        let private = Private::new()?;
        let (layout, out, temporary) = (private.path("layout"), private.path("out"), private.path("tmp"));
        fs::create_dir(&temporary)?;
        Image::new(layers.to_vec()).write_layout(&layout, TAG)?;
        let words = self.command_line(&layout, &out);
        let root = self.below.as_ref().map_or_else(|| out.clone(), |below| out.join(below));
        let readable = |bytes: &[u8]| said::readable(bytes, &[(&layout, "{layout}"), (&out, "{out}")]);
        Ok(match process::run(&words, &temporary, self.time_limit, &self.stop) {
            Ok(Ended { status, stderr, stdout }) => match status.code() {
                Some(0) => match self.read(&root) {
                    Ok(listing) => Outcome::Tree(listing),
                    Err(error) => Outcome::Unusable(format!("the output {error}{}", said::after(&readable(&stderr)))),
                },
                Some(code) => {
                    let said = if stderr.trim_ascii().is_empty() { stdout } else { stderr };
                    Outcome::Refused(format!("exit code {code}{}", said::after(&readable(&said))))
                }
                None => {
                    Outcome::Unusable(format!("the command was killed: {status}{}", said::after(&readable(&stderr))))
                }
            },
            Err(ProcessError::TimeLimit { limit, stderr }) => {
                let said = said::after(&readable(&stderr));
                Outcome::Unusable(format!("the command does not end within {} s{said}", limit.as_secs_f64()))
            }
            Err(error @ ProcessError::Start(_)) => {
                let program = words.first().map(|word| escape(word.as_encoded_bytes())).unwrap_or_default();
                Outcome::Unusable(format!("{program} {error}"))
            }
            Err(error) => Outcome::Unusable(format!("the command {error}")),
        })
    }

    fn read(&self, out: &Path) -> Result<Listing, OutputError> {
        match (fs::metadata(out), self.output_kind) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Err(OutputError::Missing),
            (Err(error), _) => Err(error.into()),
            (Ok(_), OutputKind::Directory) => read_directory(out),
            (Ok(_), OutputKind::Ext4) => Ok(Listing::read_ext4(out)?),
            (Ok(_), OutputKind::Tar) => Ok(Listing::read_tar(&fs::read(out)?)?),
        }
    }
}

impl Subject for CommandSubject {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        self.run(layers).unwrap_or_else(|error| Outcome::Unusable(format!("no image can be written for it: {error}")))
    }
}

/// Lists a directory that a command wrote.
fn read_directory(out: &Path) -> Result<Listing, OutputError> {
    // Permissions may exclude the owner from their own files, but not root.
    let is_root = rustix::process::geteuid().is_root();
    let closed = if is_root { BTreeMap::new() } else { private::open_all(out)? };
    let mut listing = Listing::read_directory(out)?;
    for (path, mode) in closed {
        listing.get_mut(&path).into_iter().for_each(|node| node.mode = mode);
    }
    // A kernel with SELinux labels every file of the output.
    let paths: Vec<Vec<u8>> = listing.iter().map(|(path, _)| path.to_vec()).collect();
    for path in paths {
        listing.get_mut(&path).into_iter().for_each(|node| _ = node.xattrs.remove(&b"security.selinux"[..]));
    }
    Ok(listing)
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Entry;

    fn outcome(template: &str) -> Outcome {
        subject(template).flatten(&layers())
    }

    fn subject(template: &str) -> CommandSubject {
        CommandSubject::new(template.parse().unwrap())
    }

    fn layers() -> Vec<Layer> {
        vec![Layer::new([Entry::dir("d"), Entry::file("d/f", "1")])]
    }

    fn paths(outcome: &Outcome) -> Vec<&[u8]> {
        let Outcome::Tree(listing) = outcome else { panic!("{outcome:?}") };
        listing.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_directory_is_listed() {
        let outcome = outcome("sh -c 'mkdir -p \"$1\"/d; cat \"$0\"/oci-layout > \"$1\"/d/f' {layout} {out}");
        assert_eq!(paths(&outcome), [&b"/"[..], b"/d", b"/d/f"]);
    }

    #[test]
    fn a_filesystem_below_the_output_is_listed_alone() {
        let mut subject = subject("sh -c 'mkdir -p {out}/rootfs/d; echo {layout} > {out}/config.json'").below("rootfs");
        assert_eq!(paths(&subject.flatten(&layers())), [&b"/"[..], b"/d"]);
    }

    #[test]
    fn a_tar_is_listed() {
        let script = "sh -c 'mkdir {layout}/d; tar -C {layout} -cf {out} --owner=0 --group=0 d'";
        let outcome = subject(script).output_kind(OutputKind::Tar).flatten(&layers());
        assert_eq!(paths(&outcome), [&b"/"[..], b"/d"]);
    }

    #[test]
    fn an_ext4_is_listed() {
        let script = "sh -c 'PATH=$PATH:/sbin:/usr/sbin; mkdir {layout}/d; truncate -s 8M {out}; \
                      mkfs.ext4 -q -b 4096 -O ^64bit -d {layout}/d {out}'";
        let outcome = subject(script).output_kind(OutputKind::Ext4).flatten(&layers());
        assert_eq!(paths(&outcome), [b"/"]);
    }

    #[test]
    fn an_exit_code_is_a_refusal_with_the_output() {
        let refused = outcome("sh -c 'echo \"{layout} is \\033[31mbad\" >&2; exit 7; {out}'");
        assert_eq!(refused, Outcome::Refused("exit code 7:\n{layout} is \\x1b[31mbad".to_owned()));
        let refused = outcome("sh -c 'echo on stdout; exit 1' {layout} {out}");
        assert_eq!(refused, Outcome::Refused("exit code 1:\non stdout".to_owned()));
        assert_eq!(outcome("false {layout} {out}"), Outcome::Refused("exit code 1".to_owned()));
    }

    #[test]
    fn a_command_without_a_result_is_unusable() {
        for (template, expected) in [
            (
                "/nowhere/at/all {layout} {out}",
                "/nowhere/at/all cannot be started: No such file or directory (os error 2)",
            ),
            ("true {layout} {out}", "the output is not there"),
            ("sh -c 'echo why >&2; kill -9 $$' {layout} {out}", "the command was killed: signal: 9 (SIGKILL):\nwhy"),
            ("sh -c 'echo {layout} > {out}'", "the output cannot be listed: /: Not a directory (os error 20)"),
        ] {
            assert_eq!(outcome(template), Outcome::Unusable(expected.to_owned()));
        }
        let mut slow = subject("sh -c 'echo slow >&2; sleep 60' {layout} {out}").time_limit(Duration::from_millis(300));
        let expected = "the command does not end within 0.3 s:\nslow";
        assert_eq!(slow.flatten(&layers()), Outcome::Unusable(expected.to_owned()));
    }

    #[test]
    fn outputs_of_another_kind_are_unusable() {
        let mut subject = subject("sh -c 'head -c 2000 {layout}/index.json > {out}; truncate -s 8K {out}'");
        for (kind, expected) in [
            (
                OutputKind::Tar,
                "the output cannot be listed: at byte 0 of the archive: the checksum is no number in range",
            ),
            (OutputKind::Ext4, "the output cannot be listed: the image is no sound ext4: "),
        ] {
            subject = subject.output_kind(kind);
            let outcome = subject.flatten(&layers());
            assert!(matches!(&outcome, Outcome::Unusable(text) if text.starts_with(expected)), "{outcome:?}");
        }
    }

    #[test]
    fn every_run_has_a_private_directory_and_removes_it() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sh -c 'mkdir {{out}}; echo {{layout}} $TMPDIR >> {}'", log.path().display());
        let mut subject = subject(&script);
        subject.flatten(&layers());
        subject.flatten(&layers());
        let text = fs::read_to_string(log.path()).unwrap();
        let paths: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(paths.len(), 4);
        assert_ne!(paths[0], paths[2]);
        for path in paths {
            assert!(!Path::new(path).parent().unwrap().exists(), "{path}");
        }
    }

    #[test]
    #[ignore = "needs umoci and root"]
    fn umoci_unpacks_what_was_written() {
        let outcome = outcome("umoci raw unpack --image {layout}:{tag} {out}");
        let Outcome::Tree(listing) = outcome else { panic!("{outcome:?}") };
        let expected = "/d d 0755 0:0 0\n/d/f f 0644 0:0 0 text=\"1\"\n";
        assert!(listing.to_string().ends_with(expected), "{listing}");
        let mut bundle = subject("umoci unpack --image {layout}:{tag} {out}").below("rootfs");
        let Outcome::Tree(listing) = bundle.flatten(&layers()) else { panic!() };
        assert!(listing.to_string().ends_with(expected), "{listing}");
    }
}
