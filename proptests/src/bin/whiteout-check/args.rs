//! The command line.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use planish_proptests::command::{CommandSubject, OutputKind, Template};
use planish_proptests::laws::{self, Law};
use planish_proptests::level::Level;
use planish_proptests::listing::Fields;

const EXAMPLES: &str = "\
Examples:
  whiteout-check --command 'umoci raw unpack --image {layout}:{tag} {out}'
  whiteout-check --command 'umoci unpack --image {layout}:{tag} {out}' --below rootfs
  whiteout-check --output-kind tar --command 'sh -c \"my-flatten {layout} > {out}\"'

Exit codes:
  0  all laws hold
  1  a law is broken
  2  the command line is wrong, or the report cannot be written
  3  the command cannot be used: not found, killed, too slow, without a readable output, or it refuses so much that
     a law is unjudged

A command that ends with another exit code than 0 refuses an image. That is counted and shown, but breaks no law.";

/// Checks that a command applies the layers of an OCI image as image-spec says.
///
/// The command is run on many small images: stacks of layers with whiteouts, opaque directories, hard links and
/// replaced types. The report says for each law if it holds; for a broken law, the smallest image that breaks it is
/// printed and written to a directory.
#[derive(Debug, Parser)]
#[command(name = "whiteout-check", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The command; {layout} is replaced by an OCI layout, {tag} by the image's tag, {out} by the path of the output.
    ///
    /// The text is split into words by the rules of a shell, but no shell is started. {out} does not exist yet; its
    /// directory exists, is private, and is removed afterwards.
    #[arg(long, value_name = "COMMAND", required_unless_present = "list_laws")]
    pub(crate) command: Option<Template>,

    /// The kind of output that the command writes.
    #[arg(long, value_name = "KIND", default_value = "directory")]
    pub(crate) output_kind: Kind,

    /// The path of the filesystem in the output directory, such as `rootfs`.
    #[arg(long, value_name = "PATH", value_parser = below)]
    pub(crate) below: Option<PathBuf>,

    /// The time limit of one run in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = CommandSubject::TIME_LIMIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub(crate) time_limit: u64,

    /// The level of the laws: only the text of image-spec (spec), also what the common runtimes agree on (consensus),
    /// also what planish decides where they disagree (planish).
    #[arg(long, value_name = "LEVEL", default_value_t)]
    pub(crate) level: Level,

    /// The fields to compare, names between commas: type, mode, uid, gid, mtime, content, target, device, xattrs,
    /// links. By default all of them. A command of an ordinary user, who cannot change owners, is compared without uid,
    /// gid and device.
    #[arg(long, value_name = "FIELDS")]
    pub(crate) compare: Option<Fields>,

    /// A law to check; may be given several times. By default all are checked.
    #[arg(long = "law", value_name = "NAME", value_parser = law)]
    pub(crate) laws: Vec<&'static Law>,

    /// The number of images for each law.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cases: u32,

    /// The seed of the images; printed, so that a run can be repeated. By default a new one for each run.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,

    /// Prints one JSON document instead of text.
    #[arg(long)]
    pub(crate) json: bool,

    /// Lists the laws with the sentences behind them, and exits.
    #[arg(long)]
    pub(crate) list_laws: bool,

    /// The directory for images that break a law, with a subdirectory for each law.
    #[arg(long, value_name = "DIR", default_value = "whiteout-check-out")]
    pub(crate) reproduce: PathBuf,

    /// Continues with the next law if the command cannot be used on an image.
    #[arg(long)]
    pub(crate) keep_going: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// An ext4 image with blocks of 4096 bytes and without the feature 64bit.
    Ext4,
    /// An uncompressed tar.
    Tar,
}

impl Args {
    /// Returns the command as given; empty if there is none.
    pub(crate) fn template(&self) -> &str {
        self.command.as_ref().map(Template::as_str).unwrap_or_default()
    }

    /// Returns the command to be checked; `None` if there is none.
    pub(crate) fn subject(&self) -> Option<CommandSubject> {
        let subject = CommandSubject::new(self.command.clone()?)
            .output_kind(match self.output_kind {
                Kind::Directory => OutputKind::Directory,
                Kind::Ext4 => OutputKind::Ext4,
                Kind::Tar => OutputKind::Tar,
            })
            .time_limit(Duration::from_secs(self.time_limit));
        Some(match &self.below {
            Some(below) => subject.below(below),
            None => subject,
        })
    }
}

fn law(name: &str) -> Result<&'static Law, &'static str> {
    laws::named(name).ok_or("no law has this name; --list-laws shows them")
}

fn below(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    let normal = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if path.components().all(normal) { Ok(path.to_owned()) } else { Err("a relative path without .. is expected") }
}
