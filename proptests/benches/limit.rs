//! Compares whole builds with the work that no build avoids: `cargo bench --bench limit -- PLANISH LAYOUT...`
//!
//! Each LAYOUT is an OCI layout of one image. Its limit is the CPU time to inflate every layer once, to hash the blobs and
//! the streams with SHA-256, and to write the allocated bytes of the filesystem once, from memory. gzip is inflated with the
//! inflater of planish, and with `igzip` where that is installed; the faster one counts. T is the wall time of the limit on
//! two processors, or the longest step of one layer, whichever is more.
//!
//! The limit and the builds are measured in turn, and the least times of `RUNS` (3) count. The files are in the directory
//! for temporary files: choose one in memory with `TMPDIR`.

mod clock;

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clock::cpu;
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes that are inflated, hashed or written at once; they stay in the processor's cache.
const BLOCK: usize = 128 << 10;

/// The builds that are compared, each with its options.
const BUILDS: [(&str, &[&str]); 4] = [
    ("direct", &["--engine", "direct"]),
    ("direct, not verified", &["--engine", "direct", "--verify", "none"]),
    ("default", &[]),
    ("e2fsprogs", &["--engine", "e2fsprogs"]),
];

fn main() -> Result<()> {
    // `cargo bench` adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let planish = PathBuf::from(words.next().ok_or("usage: limit PLANISH LAYOUT...")?).canonicalize()?;
    let runs = std::env::var("RUNS").map_or(Ok(3), |runs| runs.parse())?;
    println!("| image | limit, CPU s | T, s | build | CPU s | × limit | wall s | × T |");
    println!("|---|--:|--:|---|--:|--:|--:|--:|");
    for layout in words.map(PathBuf::from) {
        let layers = layers(&layout)?;
        let scratch = tempfile::tempdir()?;
        let output = scratch.path().join("out.ext4");
        let mut builds = [Times::MOST; BUILDS.len()];
        let mut limit = Limit { steps: vec![Steps::MOST; layers.len()], write: Duration::MAX };
        for _ in 0..runs {
            for ((_, options), least) in BUILDS.iter().zip(&mut builds) {
                *least = least.min(build(&planish, &layout, &output, options)?);
            }
            for (layer, least) in layers.iter().zip(&mut limit.steps) {
                *least = least.min(Steps::of(layer)?);
            }
            limit.write = limit.write.min(write(&output, &scratch.path().join("copy"))?);
        }
        let (total, shortest) = (limit.total(), limit.wall());
        for ((name, _), times) in BUILDS.iter().zip(builds) {
            let [all, t, cpu, wall] = [total, shortest, times.cpu, times.wall].map(|time| time.as_secs_f64());
            let image = layout.file_name().unwrap_or_default().display();
            println!(
                "| {image} | {all:.2} | {t:.2} | {name} | {cpu:.2} | {:.2} | {wall:.2} | {:.2} |",
                cpu / all,
                wall / t
            );
        }
    }
    Ok(())
}

/// Returns the paths of the layers of a layout's only image, and their media types.
fn layers(layout: &Path) -> Result<Vec<(PathBuf, String)>> {
    let blob = |descriptor: &Value| -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().ok_or("a descriptor has no digest")?;
        Ok(layout.join("blobs").join(digest.replace(':', "/")))
    };
    let json = |path: &Path| -> Result<Value> { Ok(serde_json::from_reader(File::open(path)?)?) };
    let manifest = json(&blob(&json(&layout.join("index.json"))?["manifests"][0])?)?;
    let layers = manifest["layers"].as_array().ok_or("the first manifest of the layout has no layers")?;
    let media_type = |layer: &Value| layer["mediaType"].as_str().unwrap_or_default().to_owned();
    layers.iter().map(|layer| Ok((blob(layer)?, media_type(layer)))).collect()
}

/// The CPU times of one layer.
#[derive(Clone, Copy)]
struct Steps {
    hash_blob: Duration,
    inflate: Duration,
    hash_stream: Duration,
}

impl Steps {
    const MOST: Self = Self { hash_blob: Duration::MAX, inflate: Duration::MAX, hash_stream: Duration::MAX };

    fn of((path, media_type): &(PathBuf, String)) -> Result<Self> {
        let blob = std::fs::read(path)?;
        let before = cpu();
        Sha256::digest(&blob);
        let hash_blob = cpu().saturating_sub(before);
        let mut stream: Box<dyn Read> = if media_type.ends_with("gzip") {
            Box::new(MultiGzDecoder::new(&blob[..]))
        } else if media_type.ends_with("zstd") {
            Box::new(zstd::Decoder::with_buffer(&blob[..])?)
        } else {
            Box::new(&blob[..])
        };
        let (mut inflate, mut hash_stream) = (Duration::ZERO, Duration::ZERO);
        let (mut block, mut hasher) = (vec![0; BLOCK], Sha256::new());
        loop {
            let before = cpu();
            let count = stream.read(&mut block)?;
            let inflated = cpu();
            hasher.update(&block[..count]);
            inflate += inflated.saturating_sub(before);
            hash_stream += cpu().saturating_sub(inflated);
            if count == 0 {
                break;
            }
        }
        if media_type.ends_with("gzip") {
            inflate = inflate.min(igzip(path));
        }
        Ok(Self { hash_blob, inflate, hash_stream })
    }

    fn min(self, other: Self) -> Self {
        Self {
            hash_blob: self.hash_blob.min(other.hash_blob),
            inflate: self.inflate.min(other.inflate),
            hash_stream: self.hash_stream.min(other.hash_stream),
        }
    }
}

/// Returns the CPU time of `igzip`; the most if it is not installed.
fn igzip(path: &Path) -> Duration {
    let before = cpu();
    let mut command = Command::new("igzip");
    let status = command.args(["-d", "-c"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) { cpu().saturating_sub(before) } else { Duration::MAX }
}

/// Returns the CPU time to write as many bytes as a file has on its disk.
fn write(like: &Path, path: &Path) -> Result<Duration> {
    let bytes = std::os::unix::fs::MetadataExt::blocks(&like.metadata()?) * 512;
    let mut file = File::create(path)?;
    let block = [1; BLOCK];
    let before = cpu();
    for _ in 0..bytes.div_ceil(BLOCK as u64) {
        file.write_all(&block)?;
    }
    let taken = cpu().saturating_sub(before);
    std::fs::remove_file(path)?;
    Ok(taken)
}

/// The work that no build avoids.
struct Limit {
    steps: Vec<Steps>,
    write: Duration,
}

impl Limit {
    fn total(&self) -> Duration {
        self.steps.iter().map(|steps| steps.hash_blob + steps.inflate + steps.hash_stream).sum::<Duration>()
            + self.write
    }

    /// Returns T.
    fn wall(&self) -> Duration {
        let longest = self.steps.iter().map(|steps| steps.inflate.max(steps.hash_blob).max(steps.hash_stream)).max();
        (self.total() / 2).max(longest.unwrap_or_default())
    }
}

/// The times of a build.
#[derive(Clone, Copy)]
struct Times {
    /// Of the program and of all that it has waited for.
    cpu: Duration,
    wall: Duration,
}

impl Times {
    const MOST: Self = Self { cpu: Duration::MAX, wall: Duration::MAX };

    fn min(self, other: Self) -> Self {
        Self { cpu: self.cpu.min(other.cpu), wall: self.wall.min(other.wall) }
    }
}

fn build(planish: &Path, layout: &Path, output: &Path, options: &[&str]) -> Result<Times> {
    let mut command = Command::new(planish);
    let source = format!("oci:{}", layout.display());
    command.args(["build", &source, "--force", "--quiet", "--no-reuse", "--output"]).arg(output).args(options);
    command.stdout(Stdio::null());
    let (before, began) = (cpu(), Instant::now());
    if !command.status()?.success() {
        return Err(format!("{} did not build {}", planish.display(), layout.display()).into());
    }
    Ok(Times { cpu: cpu().saturating_sub(before), wall: began.elapsed() })
}
