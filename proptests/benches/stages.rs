//! Measures each stage of a build, for images that occupy one stage each: `cargo bench --bench stages -- [SHAPE...]`
//!
//! | shape | the stage that it is about |
//! |---|---|
//! | `content` | decoding: one layer of one large file |
//! | `names` | the tar walk, applying and planning: one layer of empty files |
//! | `layers` | applying: many layers that replace and hide each other's names |
//! | `files` | staging, the debugfs script, the direct engine and the read-back: small files of many owners |
//! | `holes` | zeros: a file of which every other MiB is zero |
//!
//! Each is built several times with each engine; the least CPU and wall time of a stage count. CPU times include those of
//! programs, in the stage that waits for them. `RUNS` is the number of builds (3), and `SCALE` multiplies the images (1).

mod clock;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clock::cpu;
use planish::plan::{Engine, EngineChoice};
use planish::progress::{Progress, Stage};
use planish::{Builder, Image};
use planish_proptests::writer::{Entry, Image as Sample, Layer};

/// A kind of image, by its scale.
type Shape = (&'static str, fn(usize) -> Vec<Layer>);

const SHAPES: [Shape; 5] =
    [("content", content), ("names", names), ("layers", layers), ("files", files), ("holes", holes)];

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (runs, scale) = (number("RUNS", 3)?, number("SCALE", 1)?);
    println!("| shape | engine | stage | CPU ms | wall ms |\n|---|---|---|--:|--:|");
    for (name, layers) in SHAPES.iter().filter(|(name, _)| chosen.is_empty() || chosen.iter().any(|word| word == name))
    {
        let directory = tempfile::tempdir()?;
        let layout = directory.path().join("layout");
        Sample::new(layers(scale)).write_layout(&layout, "latest")?;
        for engine in [Engine::Direct, Engine::E2fsprogs] {
            for (stage, Times { cpu, wall }) in measure(&layout, directory.path(), engine, runs)? {
                let [cpu, wall] = [cpu, wall].map(|time| time.as_secs_f64() * 1000.0);
                println!("| {name} | {engine} | {} | {cpu:.1} | {wall:.1} |", stage.text());
            }
        }
    }
    Ok(())
}

fn number(variable: &str, default: usize) -> Result<usize, Box<dyn Error>> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable} is no number").into()),
        Err(_) => Ok(default),
    }
}

/// Builds an image several times and returns the least times of each stage.
fn measure(
    layout: &Path,
    directory: &Path,
    engine: Engine,
    runs: usize,
) -> Result<BTreeMap<Stage, Times>, Box<dyn Error>> {
    let mut least: BTreeMap<Stage, Times> = BTreeMap::new();
    for _ in 0..runs {
        let clock = Arc::new(StageClock::default());
        let options = Image::options()
            .platform("linux/amd64".parse()?)
            .work_dir(directory)
            .progress(Arc::clone(&clock) as Arc<dyn Progress>);
        let source = format!("oci:{}:latest", layout.display());
        let builder = Builder::from_source(&*source, options)?.engine(EngineChoice::Only(engine)).digests(true);
        builder.replace(true).build(directory.join("out.ext4"))?;
        for (stage, times) in std::mem::take(&mut *clock.lock()).done {
            let before = least.entry(stage).or_insert(times);
            *before = Times { cpu: before.cpu.min(times.cpu), wall: before.wall.min(times.wall) };
        }
    }
    Ok(least)
}

/// The times of a stage.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Of this process and of the programs that it has waited for.
    cpu: Duration,
    wall: Duration,
}

/// An observer that takes the time of each stage.
#[derive(Debug, Default)]
struct StageClock(Mutex<Clocked>);

#[derive(Debug, Default)]
struct Clocked {
    current: Option<(Stage, Duration, Instant)>,
    done: Vec<(Stage, Times)>,
}

impl StageClock {
    fn lock(&self) -> std::sync::MutexGuard<'_, Clocked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for StageClock {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        self.lock().current = Some((stage, cpu(), Instant::now()));
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {
        let mut clocked = self.lock();
        if let Some((stage, before, began)) = clocked.current.take() {
            clocked.done.push((stage, Times { cpu: cpu().saturating_sub(before), wall: began.elapsed() }));
        }
    }
}

fn content(scale: usize) -> Vec<Layer> {
    vec![Layer::new([Entry::file("model.bin", bytes((64 * scale) << 20, 1))])]
}

fn names(scale: usize) -> Vec<Layer> {
    vec![Layer::new((0..20_000 * scale).map(|n| Entry::file(format!("srv/{:03}/{n}", n % 200), "")))]
}

fn layers(scale: usize) -> Vec<Layer> {
    let layer = |step: usize| {
        let replaced = (0..500 * scale).map(move |n| Entry::file(format!("srv/{}/{n}", n % 20), step.to_string()));
        let hidden = (0..10).map(move |n| Entry::whiteout(format!("srv/{n}/.wh.{}", n + 20 * (step % 5))));
        Layer::new(replaced.chain(hidden))
    };
    (0..40).map(layer).collect()
}

fn files(scale: usize) -> Vec<Layer> {
    let file = |n: usize| {
        let owner = i64::try_from(n % 100).unwrap_or(0);
        Entry::file(format!("usr/lib/{:03}/{n}", n % 100), bytes(n * 37 % 16_384, n)).owner(owner, owner)
    };
    vec![Layer::new((0..8000 * scale).map(file))]
}

fn holes(scale: usize) -> Vec<Layer> {
    let mut disk = bytes((64 * scale) << 20, 2);
    disk.chunks_mut(1 << 20).step_by(2).for_each(|mib| mib.fill(0));
    vec![Layer::new([Entry::file("disk.img", disk)])]
}

/// Returns bytes that gzip halves, the same for the same seed.
fn bytes(count: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A byte of four bits.
        b'a' + (state >> 60).to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
