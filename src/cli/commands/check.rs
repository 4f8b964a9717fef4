//! `planish check`.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use planish::{Builder, CheckOptions, CheckReport, KernelVersion, Verdict};

use crate::cli::arguments::{inject, read};
use crate::cli::exit::Failure;
use crate::cli::{hint, stdout};

/// Checks whether an image, or an ext4 filesystem, would boot
///
/// The source is an image, with what is put into it, or the file of a filesystem. Looks for an init, its loader and
/// libraries, mount points, a resolver, and the image's user and program. Nothing is run. The exit code is 8 if it
/// would not boot.
#[derive(Debug, clap::Args)]
pub struct CheckArguments {
    /// Path in the image that the kernel gets as init= [default: where Linux looks]
    #[arg(long, value_name = "PATH", help_heading = "Check")]
    init_path: Option<OsString>,
    /// Version of the kernel, which must mount the filesystem
    #[arg(long, value_name = "VERSION", help_heading = "Check")]
    kernel: Option<KernelVersion>,
    /// Print the findings as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    inject: inject::InjectArguments,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let mut options = CheckOptions::default();
    if let Some(init) = &arguments.init_path {
        options = options.init(init.as_bytes());
    }
    if let Some(version) = arguments.kernel {
        options = options.kernel(version);
    }
    let source = &arguments.read.source;
    let file = Path::new(source);
    let result = if planish::is_filesystem(file) {
        if arguments.inject.are_some() {
            // A variable may be meant for other commands. A closed stderr must not end the run.
            let text = "warning: the filesystem is checked as it is: files are put into images only\n";
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        planish::check_filesystem(file, &options, &arguments.read.cancel()?)
    } else {
        let job = read::Job::of(&arguments.read)?;
        let builder = arguments.inject.apply(job.builder()?)?;
        let builder = job.clock.into_iter().fold(builder, Builder::clock);
        let result = builder.check(&options);
        job.observer.end();
        result
    };
    let report = result.map_err(|error| match hint::of_check(&error, source) {
        Some(advice) => Failure::Advised(error, advice),
        None => error.into(),
    })?;
    if arguments.json {
        stdout::print_json(&report)?;
    } else {
        stdout::print(lines(&report).trim_end())?;
    }
    if report.boots { Ok(()) } else { Err(Failure::Different) }
}

fn lines(report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            _ => "failure",
        };
        text.push_str(&format!("{verdict:8} {:13} {}\n", finding.check, finding.text));
        if let Some(advice) = finding.advice {
            text.push_str(&format!("{:22} hint: {advice}\n", ""));
        }
    }
    let end = if report.boots { "nothing was found that keeps it from booting" } else { "it would not boot" };
    text.push_str(&format!("{}: {end}\n", report.source));
    text
}
