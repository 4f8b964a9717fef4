//! Small images that are expensive to read: each is built or refused with the name of a limit, in little memory.
//!
//! The peak is the anonymous memory of planish and of each tool that it runs; the kernel cannot reclaim it.

mod bomb;
mod image;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bomb::{BOMBS, Bomb};

use crate::support::Bench;

/// The memory not counted as metadata: buffers, windows of decoders, stacks, the program's own data.
const FIXED: u64 = 40 << 20;
const PROMISE: u64 = 256 << 20;
/// The memory that a tool of e2fsprogs may take.
const TOOLS: u64 = 320 << 20;
const PATIENCE: Duration = Duration::from_secs(120);
const PRINTED: u64 = 4 << 20;

/// The result of a run.
struct Run {
    code: Option<i32>,
    error: String,
    printed: u64,
    seconds: f64,
    /// The peak of anonymous memory of each program.
    peaks: BTreeMap<String, u64>,
}

impl Run {
    fn peak(&self) -> u64 {
        self.peaks.get("planish").copied().unwrap_or(0)
    }

    /// Returns the reason why the run is invalid for a bomb, if there is one.
    fn fault(&self, most: u64) -> Option<String> {
        let refused = self.code == Some(7) && self.error.contains(", --max-");
        let tool = self.peaks.values().max().copied().unwrap_or(0);
        if self.code != Some(0) && !refused {
            return Some(format!("exit {:?}: {}", self.code, self.error));
        }
        if self.peak() > most || tool > TOOLS.max(most) {
            return Some(format!("{:?} bytes of {most}", self.peaks));
        }
        (self.printed > PRINTED).then(|| format!("{} bytes printed", self.printed))
    }
}

fn run(bench: &Bench, layout: &Path, how: &str, more: &[&str]) -> Run {
    let mut command: Command = bench.planish();
    let source = format!("oci:{}", layout.display());
    match how {
        "plan" => command.args(["plan", &source]),
        "verify" => command.args(["verify", &source, "out.ext4", "--json"]),
        engine => {
            command.args(["build", &source, "--force", "--output", "out.ext4", "--free", "1M", "--engine", engine])
        }
    };
    if !matches!(how, "plan" | "verify") {
        command.args(["--report", "report.json"]);
    }
    command.args(["--platform", "linux/amd64"]).args(more);
    let log = bench.at("said");
    let stderr = std::fs::File::create(&log).unwrap();
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let mut peaks = BTreeMap::new();
    let code = loop {
        for id in [vec![child.id()], children(child.id())].concat() {
            if let Some((name, bytes)) = anonymous(id) {
                let peak = peaks.entry(name).or_insert(0);
                *peak = bytes.max(*peak);
            }
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > PATIENCE * 5 {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let text = String::from_utf8(std::fs::read(&log).unwrap()).unwrap();
    let error = text.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default().to_owned();
    Run { code, error, printed: text.len() as u64, seconds: started.elapsed().as_secs_f64(), peaks }
}

/// The name of a process and its anonymous memory.
fn anonymous(id: u32) -> Option<(String, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
    let kib: u64 = field("RssAnon:")?.trim_end_matches(" kB").parse().ok()?;
    Some((field("Name:")?, kib << 10))
}

fn children(id: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    texts.flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn written(bench: &Bench, bomb: &Bomb, count: usize) -> std::path::PathBuf {
    let layout = bench.shared("bomb");
    let _ = std::fs::remove_dir_all(&layout);
    image::write(&layout, (bomb.layers)(count));
    layout
}

/// Metadata takes no more memory than the budget allows.
#[test]
fn the_budget_limits_the_memory_of_metadata() {
    let bench = Bench::new();
    let mut faults = Vec::new();
    for bomb in BOMBS {
        let layout = written(&bench, bomb, bomb.count / 20);
        for how in ["plan", "direct"] {
            let run = run(&bench, &layout, how, &["--max-metadata-bytes", "8M"]);
            faults.extend(run.fault((8 << 20) + FIXED).map(|fault| format!("{} {how}: {fault}", bomb.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A larger limit accepts an image that a smaller one refuses.
#[test]
fn a_larger_budget_accepts_a_refused_image() {
    let bench = Bench::new();
    let bomb = BOMBS.iter().find(|bomb| bomb.name == "files").unwrap();
    let layout = written(&bench, bomb, 40_000);
    for (budget, code) in [("2M", 7), ("4M", 7), ("16M", 0)] {
        let run = run(&bench, &layout, "plan", &["--max-metadata-bytes", budget]);
        assert_eq!(run.code, Some(code), "{budget}: {}", run.error);
        assert!(
            code == 0 || run.error.ends_with(&format!("--max-metadata-bytes allows {}", bytes(budget))),
            "{}",
            run.error
        );
    }
}

fn bytes(text: &str) -> u64 {
    text.trim_end_matches('M').parse::<u64>().unwrap() << 20
}

/// Each bomb is run at a fraction of its size, with each engine and by `verify`. With `PLANISH_EVERY_BOMB` set it is
/// run at full and double size, and the printed table shows the growth of the costs.
#[test]
#[ignore = "takes minutes"]
fn bombs_are_refused_in_256_mib() {
    let bench = Bench::new();
    let mut faults = Vec::new();
    let whole = std::env::var_os("PLANISH_EVERY_BOMB").is_some();
    for bomb in BOMBS {
        let counts = if whole { vec![bomb.count, bomb.count * 2] } else { vec![bomb.count / 8] };
        for count in counts {
            let layout = written(&bench, bomb, count);
            for how in ["plan", "direct", "e2fsprogs", "verify"] {
                // mkfs is slow for many small files.
                if how == "e2fsprogs" && !whole {
                    continue;
                }
                if how == "verify" && !bench.at("out.ext4").exists() {
                    continue;
                }
                let run = run(&bench, &layout, how, &[]);
                println!(
                    "{:12} {count:8} {how:9} exit {:?} {:6.1} s {} {}",
                    bomb.name,
                    run.code,
                    run.seconds,
                    run.peaks
                        .iter()
                        .map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20))
                        .collect::<Vec<_>>()
                        .join(", "),
                    run.error
                );
                faults.extend(run.fault(PROMISE).map(|fault| format!("{} {count} {how}: {fault}", bomb.name)));
            }
            let _ = std::fs::remove_file(bench.at("out.ext4"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
