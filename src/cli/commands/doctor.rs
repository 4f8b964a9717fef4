//! `planish doctor`.

use std::path::{Path, PathBuf};

use planish::cache::Cache;
use planish::host::{self, DirectoryState, ProgramState};
use serde::Serialize;

use crate::cli::arguments::cache::{CacheArguments, directory};
use crate::cli::exit::Failure;
use crate::cli::{distribution, environment, signals, stdout, summary};

/// The free space below which an ordinary image may not fit.
const LITTLE_SPACE: u64 = 4 << 30;
/// Checks what this machine has for a build: programs, directories, free space, cache, locks
///
/// Ends with 6 if a build with default options cannot run here.
#[derive(Debug, clap::Args)]
pub struct DoctorArguments {
    /// Directory for temporary files [default: TMPDIR, else the current directory]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArguments,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// The findings about this machine.
#[derive(Debug, Serialize)]
struct Findings {
    planish: &'static str,
    target: &'static str,
    programs: Vec<ProgramState>,
    /// Not needed for a build of the default format.
    qemu_img: ProgramState,
    work_dir: DirectoryState,
    output_dir: DirectoryState,
    cache_dir: Option<DirectoryState>,
    cache_writer: Option<String>,
    user_namespaces: bool,
    install: Option<&'static str>,
    ready: bool,
}

/// Runs the command.
pub fn run(arguments: &DoctorArguments) -> Result<(), Failure> {
    let cancel = signals::cancel()?;
    let programs = host::programs(&environment("PATH").unwrap_or_default(), &cancel);
    let here = PathBuf::from(".");
    let work_dir = arguments.work_dir.clone().or_else(|| environment("TMPDIR").map(PathBuf::from));
    let cache_dir = directory(&arguments.cache).ok().flatten();
    let state = |path: &Path| host::directory(path, &cancel);
    let (work_dir, output_dir) = (state(work_dir.as_ref().unwrap_or(&here)), state(&here));
    let usable = |directory: &DirectoryState| directory.problem.is_none();
    let ready = programs.iter().all(|program| program.usable) && usable(&work_dir) && usable(&output_dir);
    let install = programs.iter().any(|program| !program.usable).then(distribution::install).flatten();
    let cache_dir = cache_dir.filter(|path| path.exists());
    let writer = cache_dir.as_deref().map(|path| Cache::at(path).other_writer()).transpose()?.flatten();
    let findings = Findings {
        planish: env!("CARGO_PKG_VERSION"),
        target: std::env::consts::ARCH,
        cache_dir: cache_dir.map(|path| state(&path)),
        cache_writer: writer.map(|writer| writer.to_string()),
        user_namespaces: has_user_namespaces(),
        programs,
        qemu_img: host::qemu_img(&environment("PATH").unwrap_or_default(), &cancel),
        work_dir,
        output_dir,
        install,
        ready,
    };
    cancel.check().map_err(Failure::Library)?;
    if arguments.json {
        stdout::print_json(&findings)?;
    } else {
        stdout::print(text(&findings).trim_end())?;
    }
    if ready { Ok(()) } else { Err(Failure::NotReady) }
}

fn text(findings: &Findings) -> String {
    let mut lines: Vec<String> = findings.programs.iter().map(program).collect();
    lines.push(qemu_img(&findings.qemu_img));
    lines.push(place("temporary files", &findings.work_dir, None));
    lines.push(place("output", &findings.output_dir, None));
    lines.push(match &findings.cache_dir {
        Some(cache) => place("cache", cache, findings.cache_writer.as_deref()),
        None => "ok       cache            none yet; the first image from a registry creates it".into(),
    });
    let namespaces = if findings.user_namespaces { "available" } else { "not available" };
    lines.push(format!("ok       user namespaces  {namespaces}; planish does not need them"));
    if let Some(install) = findings.install {
        lines.push(format!("hint     {install}"));
    }
    lines.join("\n")
}

fn program(state: &ProgramState) -> String {
    let word = match (state.usable, &state.problem) {
        (true, None) => "ok",
        (true, Some(_)) => "warning",
        (false, _) if state.missing => "missing",
        (false, _) => "broken",
    };
    let found = state.version.iter().chain(&state.path).chain(&state.problem).cloned();
    format!("{word:8} {:16} {}", state.name, found.collect::<Vec<_>>().join(", "))
}

/// Describes `qemu-img`, which a build may do without.
fn qemu_img(state: &ProgramState) -> String {
    if state.missing {
        return format!("ok       {:16} not installed; only --format qcow2 needs it", state.name);
    }
    program(state)
}

/// Describes a directory; `warning` is one more reason to warn.
fn place(purpose: &str, state: &DirectoryState, warning: Option<&str>) -> String {
    let little = state.free_bytes.is_some_and(|bytes| bytes < LITTLE_SPACE);
    let word = match (&state.problem, little || !state.locks || warning.is_some()) {
        (Some(_), _) => "broken",
        (None, true) => "warning",
        (None, false) => "ok",
    };
    let mut parts = vec![state.path.clone()];
    parts.extend(state.free_bytes.map(|bytes| format!("{} free", summary::bytes(bytes))));
    match &state.problem {
        Some(problem) => parts.push(problem.clone()),
        None if state.locks => parts.push("locks work".into()),
        None => parts.push("no locks: what killed runs leave is not removed".into()),
    }
    parts.extend(warning.map(str::to_owned));
    format!("{word:8} {purpose:16} {}", parts.join(", "))
}

/// Returns true if an ordinary user may make user namespaces, as some other tools need.
fn has_user_namespaces() -> bool {
    let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    number("/proc/sys/user/max_user_namespaces").is_some_and(|max| max > 0)
        && number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != Some(1)
}
