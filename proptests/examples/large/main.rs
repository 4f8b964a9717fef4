//! Prints the cost of builds from small to large images, and draws CPU time and memory.
//!
//! `cargo run --release -p planish-proptests --example large -- PROGRAM [PLOT.svg [SHAPE...]]`
//!
//! For each size: CPU seconds, those of the programs that PROGRAM runs included, wall seconds, and the peak of anonymous
//! memory, looked at a hundred times a second. Layouts and filesystems are in the directory for temporary files. The
//! largest image has a million inodes; `MOST` builds no larger ones than that number of the shape's unit.

#[path = "../shared/children.rs"]
mod children;
mod plot;
mod shapes;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use planish_proptests::writer::Image;

use plot::{Curve, Point};
use shapes::{SHAPES, Shape};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("which program?")?;
    let plot = arguments.next();
    let chosen: Vec<String> = arguments.collect();
    let most = std::env::var("MOST").map_or(Ok(u64::MAX), |most| most.parse())?;
    println!("shape\tsize\tCPU s\twall s\tanonymous MiB");
    let mut curves = Vec::new();
    for shape in SHAPES.iter().filter(|shape| chosen.is_empty() || chosen.iter().any(|name| name == shape.name)) {
        let mut points = Vec::new();
        for size in shape.sizes.iter().copied().filter(|size| *size <= most) {
            let (point, wall) = measure(&program, shape, size)?;
            println!("{}\t{size}\t{:.2}\t{wall:.2}\t{:.0}", shape.name, point.cpu, point.memory);
            points.push(point);
        }
        curves.push(Curve { title: shape.title, points });
    }
    if let Some(plot) = plot {
        std::fs::write(plot, plot::svg(&curves))?;
    }
    Ok(())
}

/// Builds an image of a size; returns the wall seconds, too.
fn measure(program: &str, shape: &Shape, size: u64) -> Result<(Point, f64)> {
    let directory = tempfile::tempdir()?;
    let layout = directory.path().join("layout");
    Image::new((shape.layers)(size)).write_layout(&layout, "t")?;
    let before = children::seconds()?;
    let began = Instant::now();
    let memory = build(program, &layout, directory.path())?;
    let wall = began.elapsed().as_secs_f64();
    let size = f64::from(u32::try_from(size)?);
    Ok((Point { size, cpu: children::seconds()? - before, memory }, wall))
}

/// Builds an image; returns the peak of anonymous memory in MiB.
fn build(program: &str, layout: &Path, directory: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    command.arg("build").arg(format!("oci:{}:t", layout.display())).arg("--output").arg(directory.join("out.ext4"));
    command.args(["--platform", "linux/amd64", "--no-reuse", "--quiet"]).env("TMPDIR", directory);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(anonymous_kib(child.id()).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if status.success() { Ok(f64::from(peak) / 1024.0) } else { Err(format!("{program}: {status}").into()) }
}

fn anonymous_kib(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
