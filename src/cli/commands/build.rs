//! `planish build`.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use planish::progress::Event;
use planish::{Builder, ConfigForm, DiskFormat, Error, Escaped, ImageReference, SharedCache, VerityPlace};

use crate::cli::arguments::{inject, read, reuse, shape, shared};
use crate::cli::commands::several;
use crate::cli::exit::Failure;
use crate::cli::{stdout, summary};

/// Builds an ext4 filesystem of an image and verifies that it equals the image
///
/// Runs as an ordinary user; needs mkfs.ext4, debugfs and e2fsck of e2fsprogs.
#[derive(Debug, clap::Args)]
pub struct BuildArguments {
    /// Path of the finished filesystem
    #[arg(short, long, value_name = "FILE", help_heading = "Output",
          required_unless_present = "output_dir", value_parser = OsStringValueParser::new().try_map(output_path))]
    output: Option<PathBuf>,
    /// Directory for the filesystems of several images, named by image and tag: app-1.2.ext4
    #[arg(long, value_name = "DIR", help_heading = "Output", conflicts_with_all = ["output", "report"])]
    output_dir: Option<PathBuf>,
    /// Build the images in a file, one SOURCE a line; # begins a comment line
    #[arg(long, value_name = "FILE", help_heading = "Output", requires = "output_dir", hide_short_help = true,
          conflicts_with_all = ["source", "more"])]
    from_list: Option<PathBuf>,
    /// Build the part with this number, from 0, of the N parts of the list: lines I, I+N, I+2N …
    #[arg(long, value_name = "I/N", help_heading = "Output", hide_short_help = true)]
    shard: Option<several::Shard>,
    /// Property of an image that decides its part
    #[arg(long, value_name = "HOW", default_value = "place", help_heading = "Output", hide_short_help = true)]
    shard_by: several::ShardBy,
    /// Replace an existing output, and any file at --report
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Write the report as JSON to a file after a successful build; an earlier report is replaced
    #[arg(long, value_name = "FILE", help_heading = "Output",
          value_parser = OsStringValueParser::new().try_map(report_path))]
    report: Option<PathBuf>,
    /// Format of the output; qcow2 needs qemu-img
    #[arg(long, value_name = "FORMAT", default_value = "raw", help_heading = "Output")]
    format: Format,
    /// Add a dm-verity tree, with which Linux checks each block it reads: in this file, or behind the filesystem
    #[arg(long, value_name = "FILE|append", help_heading = "Output",
          value_parser = OsStringValueParser::new().try_map(verity_place))]
    verity: Option<VerityPlace>,
    /// Write the image's runtime configuration, as a config.json of runtime-spec
    #[arg(long, value_name = "FILE", conflicts_with = "output_dir", help_heading = "Output")]
    config_out: Option<PathBuf>,
    /// Write the image's environment and process as variables for a shell
    #[arg(long, hide_short_help = true, value_name = "FILE", conflicts_with = "output_dir", help_heading = "Output")]
    config_env: Option<PathBuf>,
    /// Print the report as JSON on stdout
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Refuse an image that cannot be converted without a loss
    #[arg(long, help_heading = "Output")]
    strict: bool,
    /// Verification of the result before it is published
    #[arg(long, value_name = "HOW", default_value = "full", help_heading = "Output")]
    verify: Verify,
    #[command(flatten)]
    reuse: reuse::ReuseArguments,
    #[command(flatten)]
    shared: shared::SharedArguments,
    #[command(flatten)]
    shape: shape::ShapeArguments,
    #[command(flatten)]
    inject: inject::InjectArguments,
    #[command(flatten)]
    read: read::ReadArguments,
    /// More images, with --output-dir
    #[arg(value_name = "SOURCE", requires = "output_dir", help_heading = clap::builder::Resettable::Reset)]
    more: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The ext4 filesystem itself
    Raw,
    /// A disk image of QEMU
    Qcow2,
    /// The filesystem, compressed by zstd
    #[value(name = "raw.zst")]
    RawZst,
}

impl Format {
    fn disk_format(self) -> DiskFormat {
        match self {
            Self::Raw => DiskFormat::Raw,
            Self::Qcow2 => DiskFormat::Qcow2,
            Self::RawZst => DiskFormat::RawZst,
        }
    }

    /// Returns the ending of a file name in `--output-dir`.
    fn ending(self) -> &'static str {
        match self {
            Self::Raw => ".ext4",
            Self::Qcow2 => ".qcow2",
            Self::RawZst => ".ext4.zst",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Verify {
    /// Every inode and every byte, then e2fsck
    Full,
    /// Every inode and every byte, without e2fsck
    Compare,
    /// No verification
    None,
}

pub(super) fn output_path(path: OsString) -> Result<PathBuf, &'static str> {
    file_path(path, "a filesystem is made in a file, not on stdout: name a file, or ./- for one of this name")
}

pub(super) fn report_path(path: OsString) -> Result<PathBuf, &'static str> {
    file_path(path, "--json prints the report on stdout; a file of this name is ./-")
}

/// Parses the place of a dm-verity tree; a file of the name `append` is `./append`.
pub fn verity_place(path: OsString) -> Result<VerityPlace, &'static str> {
    match path.as_encoded_bytes() {
        b"append" => Ok(VerityPlace::Append),
        _ => {
            file_path(path, "a dm-verity tree is written to a file: a file of this name is ./-").map(VerityPlace::File)
        }
    }
}

fn file_path(path: OsString, not_stdout: &'static str) -> Result<PathBuf, &'static str> {
    match path.as_encoded_bytes() {
        b"" => Err("a file name is required"),
        b"-" => Err(not_stdout),
        _ => Ok(path.into()),
    }
}

/// Runs the command.
pub fn run(arguments: &BuildArguments) -> Result<(), Failure> {
    if arguments.shared.push() && arguments.verify != Verify::Full {
        return Err(Failure::Usage("--cache-to pushes what was verified: it needs --verify full".into()));
    }
    // The parser does not miss a list where the source contradicts it.
    if arguments.shard.is_some() && arguments.from_list.is_none() {
        return Err(Failure::Usage("--shard is a part of a list: it needs --from-list".into()));
    }
    let cancel = arguments.read.cancel()?;
    let Some(directory) = &arguments.output_dir else {
        if arguments.from_list.is_some() {
            return Err(Failure::Usage("--from-list needs --output-dir in place of --output".into()));
        }
        if let Some(more) = arguments.more.first() {
            let shown = Escaped(more.as_bytes());
            return Err(Failure::Usage(format!("a second image, {shown}, needs --output-dir in place of --output")));
        }
        let source = ImageReference::parse(&arguments.read.source).map_err(Error::from)?;
        let job = read::Job::of_sources(&arguments.read, &[source], &arguments.shared.repositories(), cancel)?;
        let output = arguments.output.as_deref().unwrap_or(Path::new(""));
        let shared = arguments.shared.cache(&job.cancel)?;
        return build(arguments, &job, shared.as_ref(), job.source.clone(), output);
    };
    if matches!(arguments.verity, Some(VerityPlace::File(_))) {
        return Err(Failure::Usage("--verity FILE is for one image: with --output-dir, use --verity append".into()));
    }
    let texts = match &arguments.from_list {
        Some(list) => several::read_list(list, &cancel)?,
        None => std::iter::once(&arguments.read.source).chain(&arguments.more).cloned().collect(),
    };
    // The names of all images count, so that those of two shards can be in one directory.
    let sources = several::named(&texts, directory, arguments.format.ending())?;
    let references: Vec<_> = sources.iter().map(|named| named.source.clone()).collect();
    let job = read::Job::of_sources(&arguments.read, &references, &arguments.shared.repositories(), cancel)?;
    several::make_directory(directory)?;
    let shared = arguments.shared.cache(&job.cancel)?;
    let is_cancelled = || job.cancel.check().is_err();
    let sources = match (arguments.shard, arguments.shard_by) {
        (None, _) => sources,
        (Some(shard), several::ShardBy::Place) => shard.by_place(sources),
        (Some(shard), several::ShardBy::Key) => {
            let key = |named: &several::NamedSource| Ok(builder(arguments, &job, &named.source)?.key()?.key);
            let found = shard.by_key(sources, key, is_cancelled, |named, part| {
                let source = named.source.to_string();
                let text = format!("{}: no build key: part {part} of the list reports it", Escaped(source.as_bytes()));
                job.observer.event(&Event::Warning(&text));
            });
            job.observer.end();
            found?
        }
    };
    let one = |named: several::NamedSource| build(arguments, &job, shared.as_ref(), named.source, &named.output);
    several::each(sources, one, is_cancelled, job.summary == read::Summary::None)
}

/// Returns a builder with all that the build key depends on.
fn builder(arguments: &BuildArguments, job: &read::Job, source: &ImageReference) -> Result<Builder, Failure> {
    let builder = arguments.inject.apply(job.builder_of(source.clone())?)?;
    arguments.shape.apply(builder, job.clock)
}

fn build(
    arguments: &BuildArguments,
    job: &read::Job,
    shared: Option<&SharedCache>,
    source: ImageReference,
    output: &Path,
) -> Result<(), Failure> {
    let builder = builder(arguments, job, &source)?;
    let mut builder = builder.replace(arguments.force).strict(arguments.strict);
    builder = match arguments.verify {
        Verify::Full => builder,
        Verify::Compare => builder.without_fsck(),
        Verify::None => builder.without_verification(),
    };
    builder = builder.format(arguments.format.disk_format());
    if let Some(place) = &arguments.verity {
        builder = builder.verity(place.clone());
    }
    let configs = [(ConfigForm::Json, &arguments.config_out), (ConfigForm::Shell, &arguments.config_env)];
    for (form, path) in configs {
        if let Some(path) = path {
            builder = builder.config_file(form, path);
        }
    }
    builder = arguments.reuse.apply(builder, &source, arguments.read.cache(), &*job.observer)?;
    if let Some(shared) = shared {
        builder = builder.shared_cache(shared.clone());
    }
    if let Some(path) = &arguments.report {
        builder = builder.report_file(path);
    }
    if arguments.json {
        let cancel = job.cancel.clone();
        // Everything that can fail is done before the filesystem is published.
        builder = builder.digests(true).before_publish(move |report| stdout::print_report(report, &cancel));
    }
    let result = builder.build(output);
    job.observer.end();
    let report = result?;
    // The filesystem is published: a closed stderr is not an error.
    let _ = std::io::stderr().write_all(summary::of(&report, job.summary).as_bytes());
    Ok(())
}
