//! Prints the growth of a build's cost when the image is doubled, for expensive images.
//!
//! `cargo run -p planish-proptests --example costs -- PROGRAM [ENGINE [SHAPE...]]`
//!
//! Each shape is built at two sizes; the CPU time includes that of the child processes. A factor of
//! more than 3 is a fault: the cost grows faster than the image. Layouts and filesystems are kept in `TMPDIR`.

#[path = "../shared/children.rs"]
mod children;
mod shapes;

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use planish_proptests::writer::Image;

use shapes::{SHAPES, Shape};

/// The time limit of a build.
const PATIENCE: Duration = Duration::from_secs(150);
/// The cost below which a difference is noise.
const NOISE: f64 = 0.3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("which program?")?;
    let engine = arguments.next().unwrap_or_else(|| "direct".into());
    let chosen: Vec<String> = arguments.collect();
    println!("| {engine} | size | compressed KiB | CPU s | exit | factor |");
    println!("|---|--:|--:|--:|--:|--:|");
    for shape in SHAPES.iter().filter(|shape| chosen.is_empty() || chosen.iter().any(|name| name == shape.name)) {
        let mut before = None;
        for factor in [1, 2] {
            let Cost { size, kib, cpu, code } = measure(&program, &engine, shape, factor)?;
            let growth = before.map(|before: f64| cpu / before.max(NOISE));
            let growth = growth.map_or(String::new(), |growth| format!("{growth:.1}"));
            let fault = if growth.parse().is_ok_and(|growth: f64| growth > 3.0) { " FAULT" } else { "" };
            println!("| {} | {size} | {kib} | {cpu:.2} | {code} | {growth}{fault} |", shape.name);
            before = Some(cpu);
        }
    }
    Ok(())
}

/// A build at one size.
struct Cost {
    size: u64,
    kib: u64,
    cpu: f64,
    code: String,
}

fn measure(program: &str, engine: &str, shape: &Shape, factor: u64) -> Result<Cost, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let layout = directory.path().join("layout");
    let size = if engine == "direct" { shape.direct } else { shape.e2fsprogs } * factor;
    Image::new((shape.layers)(size)).write_layout(&layout, "t")?;
    let blobs = std::fs::read_dir(layout.join("blobs/sha256"))?;
    let bytes: u64 = blobs.map(|blob| Ok(blob?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    let before = children::seconds()?;
    let status = run(program, engine, &layout, directory.path())?;
    let cpu = children::seconds()? - before;
    let code = status.map_or("late".to_owned(), |status| status.code().map_or("signal".into(), |n| n.to_string()));
    Ok(Cost { size, kib: bytes.div_ceil(1024), cpu, code })
}

fn run(program: &str, engine: &str, layout: &Path, directory: &Path) -> std::io::Result<Option<ExitStatus>> {
    let mut command = Command::new(program);
    command.arg("build").arg(format!("oci:{}:t", layout.display())).args(["--engine", engine, "--output"]);
    command.arg(directory.join("out.ext4")).env("TMPDIR", directory).stdin(Stdio::null()).stdout(Stdio::null());
    let log = std::fs::File::create(directory.join("stderr"))?;
    let mut child = command.args(["--platform", "linux/amd64"]).stderr(log).spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            // A stop lets it end its children, whose time counts, too.
            Command::new("kill").arg(child.id().to_string()).status()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = child.wait()?;
    if !status.success() {
        let text = std::fs::read_to_string(directory.join("stderr"))?;
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or_default();
        eprintln!("{error:.300}");
    }
    Ok(Some(status))
}
