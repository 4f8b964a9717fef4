//! Many hosts that build images which share layers, through one registry: each key is built once or twice, and every file
//! equals that of a direct build, whatever happens to hosts, answers and entries.
//!
//! `PLANISH_FLEET=HOSTSxBUILDSxIMAGES` sets the size; with it, the same builds run without shared filesystems too, and the
//! figures are printed.

pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use planish_proptests::writer::{Entry, Image, Layer, Layout};
use serde_json::Value;

use self::wire::{Dice, Wire};
use super::written::digest;
use crate::support::generated::noise;
use crate::support::process::{command, publish, run};
use crate::support::{Bench, stderr, succeeded};

/// The number of builds at the same time. Both may miss an entry that the other one is building.
const TOGETHER: usize = 2;
const QUICK: [&str; 5] = ["--platform", "linux/amd64", "--free", "1M", "--json"];

/// The number of hosts, builds and images.
fn size() -> (usize, usize, usize, bool) {
    let Ok(text) = std::env::var("PLANISH_FLEET") else { return (5, 30, 6, false) };
    let numbers: Vec<usize> = text.split('x').map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2], true)
}

struct Fleet {
    bench: Bench,
    wire: Wire,
    images: usize,
    /// The digest of each image's filesystem, built from a layout without any cache.
    direct: Vec<String>,
    keys: Vec<String>,
}

/// One build of the plan.
#[derive(Clone, Copy)]
struct Task {
    number: usize,
    host: usize,
    image: usize,
    /// The time after which the host is killed.
    dies: Option<Duration>,
}

/// The end of a build.
struct Done {
    image: usize,
    is_new: bool,
    is_clean: bool,
    is_dead: bool,
}

impl Fleet {
    fn new(images: usize, is_large: bool) -> Self {
        let bench = Bench::new();
        let wire = Wire::new(&bench);
        let length = if is_large { 4 << 20 } else { 200_000 };
        let layer = |name: String, seed: usize, length: usize| {
            Layer::new([
                Entry::dir("data"),
                Entry::file(format!("data/{name}"), noise(u32::try_from(seed).unwrap(), length)),
            ])
        };
        let base = [layer("base".into(), 1, length), layer("common".into(), 2, length / 2)];
        let image = |number: usize| {
            let shared = layer(format!("team{}", number % 5), 10 + number % 5, length / 4);
            let own = layer("own".into(), 100 + number, 50_000);
            Image::new(base.iter().cloned().chain([shared, own]))
        };
        let layout = bench.shared("layout");
        let all = (0..images).fold(Layout::new(), |layout, number| layout.tag(&format!("v{number}"), &image(number)));
        for (path, content) in all.files() {
            let path = layout.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        publish(&layout);
        let (mut direct, mut keys) = (Vec::new(), Vec::new());
        for number in 0..images {
            let from = format!("oci:{}:v{number}", layout.display());
            let to = format!("docker://{}/app:v{number}", wire.images());
            run(command("skopeo copy -q --insecure-policy --dest-tls-verify=false").args([&from, &to]));
            let mut build = bench.planish();
            build.args(["build", &from, "-o", "direct.ext4", "--force", "--report", "direct.json"]).args(QUICK);
            let output = build.output().unwrap();
            succeeded(&output);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            direct.push(digest(&std::fs::read(bench.at("direct.ext4")).unwrap()));
            keys.push(report["key"].as_str().unwrap().to_owned());
        }
        wire.bytes();
        Self { bench, wire, images, direct, keys }
    }

    fn cache(&self) -> String {
        format!("{}/cache", self.wire.filesystems())
    }

    fn plan(&self, hosts: usize, builds: usize) -> Vec<Task> {
        let mut dice = Dice(7);
        let mut below = |end: usize| usize::try_from(dice.below(end as u64)).unwrap();
        (0..builds).map(|number| Task { number, host: below(hosts), image: below(self.images), dies: None }).collect()
    }

    /// Runs the tasks; a host that was killed builds no more.
    fn run(&self, tasks: &[Task], flags: &[&str]) -> Vec<Done> {
        let (queue, done) = (Mutex::new(tasks.iter().copied().collect::<VecDeque<_>>()), Mutex::new(Vec::new()));
        let dead = Mutex::new(BTreeSet::new());
        std::thread::scope(|scope| {
            for _ in 0..TOGETHER {
                scope.spawn(|| {
                    loop {
                        let Some(task) = queue.lock().unwrap().pop_front() else { return };
                        if task.dies.is_some() && !dead.lock().unwrap().insert(task.host) {
                            continue;
                        }
                        if task.dies.is_none() && dead.lock().unwrap().contains(&task.host) {
                            continue;
                        }
                        let end = self.build(task, flags);
                        done.lock().unwrap().push(end);
                    }
                });
            }
        });
        done.into_inner().unwrap()
    }

    fn build(&self, task: Task, flags: &[&str]) -> Done {
        let Task { number, host, image, dies } = task;
        let home = self.bench.at(&format!("host{host}"));
        std::fs::create_dir_all(&home).unwrap();
        self.bench.give(&home);
        let output = home.join(format!("{number}.ext4"));
        let source = format!("docker://{}/app:v{image}", self.wire.images());
        let mut command = self.bench.planish();
        command.env("HOME", &home).args(["build", &source, "-o"]).arg(&output).args(QUICK).args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if let Some(after) = dies {
            std::thread::sleep(after);
            let _ = child.kill();
        }
        let ended = child.wait_with_output().unwrap();
        let is_dead = ended.status.code().is_none();
        assert!(is_dead && dies.is_some() || ended.status.success(), "{}", stderr(&ended));
        // A killed build has published its file whole, or not at all.
        if !is_dead || output.exists() {
            assert_eq!(digest(&std::fs::read(&output).unwrap()), self.direct[image], "build {number}");
            std::fs::remove_file(&output).unwrap();
        }
        Done { image, is_new: !is_dead && is_new(&ended), is_clean: !stderr(&ended).contains("warning: "), is_dead }
    }

    /// Pushes a forged filesystem as the entry of an image's key: another one of the same form, whose digests are right.
    fn poison(&self, image: usize) {
        let (file, report) = (self.bench.at("direct.ext4"), self.bench.at("direct.json"));
        let mut bytes = std::fs::read(&file).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        let mut forged: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        forged["filesystem"]["digest"] = digest(&bytes).into();
        forged["key"] = self.keys[image].clone().into();
        let place = |name: &str, bytes: &[u8]| -> PathBuf { self.bench.readable(name, bytes) };
        let (file, report) = (place("forged.ext4", &bytes), place("forged.json", forged.to_string().as_bytes()));
        let tag = format!("{}:planish-{}", self.cache(), &self.keys[image]["sha256:".len()..][..32]);
        let mut push = self.bench.planish();
        push.env("HOME", self.bench.home()).arg("push").arg(file).arg(tag).arg("--report").arg(report);
        succeeded(&push.output().unwrap());
    }
}

fn is_new(output: &Output) -> bool {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["reused"] == false
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_fleet_builds_each_key_at_most_twice_and_fetches_the_rest() {
    let (hosts, builds, images, is_large) = size();
    let fleet = Fleet::new(images, is_large);
    let tasks = fleet.plan(hosts, builds);
    let cache = fleet.cache();
    let shared = ["--cache-from", &cache, "--cache-to", &cache];
    let started = Instant::now();
    let done = fleet.run(&tasks, &shared);
    let (took, bytes) = (started.elapsed(), fleet.wire.bytes());
    assert_eq!(done.len(), builds);
    let mut built: BTreeMap<usize, usize> = BTreeMap::new();
    // A slow machine may fail to ask in time: the warning says so.
    done.iter().filter(|done| done.is_new && done.is_clean).for_each(|done| *built.entry(done.image).or_default() += 1);
    assert!(built.values().all(|count| *count <= TOGETHER), "{built:?}");
    let new = done.iter().filter(|done| done.is_new).count();
    if is_large {
        let started = Instant::now();
        std::fs::remove_dir_all(fleet.bench.at("host0")).unwrap();
        let everywhere = {
            for host in 1..hosts {
                let _ = std::fs::remove_dir_all(fleet.bench.at(&format!("host{host}")));
            }
            fleet.run(&tasks, &["--no-reuse"])
        };
        let (alone, other) = (started.elapsed(), fleet.wire.bytes());
        assert_eq!(everywhere.len(), builds);
        println!(
            "shared:     {new} of {builds} built, {took:.1?}, {} MB received, {} MB sent",
            bytes.0 >> 20,
            bytes.1 >> 20
        );
        println!("everywhere: {builds} built, {alone:.1?}, {} MB received, {} MB sent", other.0 >> 20, other.1 >> 20);
    }
}

/// Faults, kills and a forged entry cost builds, and no wrong file.
#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_fleet_on_a_bad_day_makes_the_same_files() {
    let (hosts, builds, images, is_large) = size();
    let fleet = Fleet::new(images, is_large);
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let public = fleet.bench.readable("key.pub", pair.pk.to_box().unwrap().to_string().as_bytes());
    let secret = fleet.bench.readable("key.sec", pair.sk.to_box(None).unwrap().to_string().as_bytes());
    fleet.poison(0);
    let mut tasks = fleet.plan(hosts, builds);
    let mut dice = Dice(11);
    // Each tenth host, and at least one, is killed during one of its builds.
    for host in (0..hosts).filter(|host| host % 10 == 1) {
        let own: Vec<usize> = tasks.iter().filter(|task| task.host == host).map(|task| task.number).collect();
        if let Some(middle) = own.get(own.len() / 2) {
            tasks[*middle].dies = Some(Duration::from_millis(dice.below(400)));
        }
    }
    tasks[0].image = 0;
    fleet.wire.damage();
    let cache = fleet.cache();
    let (public, secret) = (public.to_str().unwrap(), secret.to_str().unwrap());
    let started = Instant::now();
    let flags = ["--cache-from", &cache, "--cache-to", &cache, "--verify-key", public, "--sign-key", secret];
    let done = fleet.run(&tasks, &flags);
    let count = |is: fn(&Done) -> bool| done.iter().filter(|done| is(done)).count();
    let (new, warned, dead) = (count(|done| done.is_new), count(|done| !done.is_clean), count(|done| done.is_dead));
    assert!(warned > 0, "the forged entry is a warning, at least");
    assert!(new < done.len(), "something was fetched or reused");
    if is_large {
        let (took, builds) = (started.elapsed(), done.len());
        println!("bad day:    {new} of {builds} built, {dead} killed, {warned} with warnings, {took:.1?}");
    }
}
