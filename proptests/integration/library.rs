//! The public library: from a reader, from a registry, and inside another program's runtime.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use planish::plan::{Engine, EngineChoice};
use planish::progress::{Event, Progress, Stage};
use planish::{Builder, Cancel, ErrorKind, Fault, Image, ImageOptions, Signal};
use planish_proptests::writer::{self, Flavour};

use crate::support::registry::{Plan, Registry};
use crate::support::{Bench, fixtures};

fn options() -> ImageOptions {
    Image::options().platform("linux/amd64".parse().unwrap())
}

fn layered() -> String {
    format!("oci:{}:latest", fixtures().join("layered").display())
}

#[test]
fn an_open_image_can_be_built_planned_and_verified_more_than_once() {
    let home = tempfile::tempdir().unwrap();
    let image = options().work_dir(home.path()).open(&*layered()).unwrap();
    let output = home.path().join("out.ext4");
    let report = Builder::new(image.clone()).free_bytes(8 << 20).build(&output).unwrap();
    assert_eq!(Some(&report.config_digest), Some(image.config_digest()));
    assert_eq!(report.verified.as_ref().map(|verified| verified.inodes), Some(report.tree.inodes));
    let plan = Builder::new(image.clone()).free_bytes(8 << 20).plan().unwrap();
    assert_eq!(plan.bytes, output.metadata().unwrap().len());
    assert!(Builder::new(image.clone()).verify(&output).unwrap().holds());
    let second = home.path().join("second.ext4");
    let direct = Builder::new(image.clone()).free_bytes(8 << 20).engine(EngineChoice::Only(Engine::Direct));
    direct.build(&second).unwrap();
    assert!(Builder::new(image.clone()).verify(&second).unwrap().holds());
    let refused = direct.build(&second).unwrap_err();
    assert_eq!(refused.fault(), Fault::Usage, "{refused}");
    drop(direct);
    drop(image);
    let left: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_reader_gives_the_same_image_as_the_file() {
    let image = writer::Image::new([writer::Layer::new([writer::Entry::file("a", "b")])]);
    let archive = image.docker_archive(Flavour::Skopeo, "a:b");
    let read = options().from_reader(&archive[..]).unwrap();
    let tree = read.flatten().unwrap().tree;
    let file = tree.get(b"a").unwrap();
    assert!(matches!(&tree.inode(file).node, planish::tree::Node::File(content) if content.size() == 1));
    let empty = options().from_reader(std::io::empty()).unwrap_err();
    assert_eq!(empty.fault(), Fault::Image, "{empty}");
    let broken = options().from_reader(File::open("/").unwrap()).unwrap_err();
    assert_eq!(broken.fault(), Fault::Machine, "{broken}");
}

#[test]
fn a_hook_that_fails_before_publication_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let image = options().work_dir(home.path()).open(&*layered()).unwrap();
    let output = home.path().join("out.ext4");
    let builder = Builder::new(image).report_file(home.path().join("report.json"));
    let failing = builder.before_publish(|_| Err(ErrorKind::NoMemory.into()));
    assert!(matches!(failing.build(&output).unwrap_err().kind(), ErrorKind::NoMemory));
    drop(failing);
    assert_eq!(home.path().read_dir().unwrap().count(), 0);
}

/// Counts the progress events.
#[derive(Default)]
struct Counter {
    stages: AtomicU64,
    blobs: AtomicU64,
}

impl Progress for Counter {
    fn begin(&self, _: Stage, _: Option<u64>) {
        self.stages.fetch_add(1, Ordering::Relaxed);
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}

    fn event(&self, event: &Event<'_>) {
        if let Event::Fetched { .. } = event {
            self.blobs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Opens an image of a registry and flattens it, without any runtime of the caller.
fn from_registry(source: &str) -> usize {
    let counter = Arc::new(Counter::default());
    let image = options().progress(Arc::clone(&counter) as Arc<dyn Progress>).open(source).unwrap();
    let tree = image.flatten().unwrap().tree;
    assert_eq!(counter.blobs.load(Ordering::Relaxed), image.diff_ids().len() as u64);
    let mut walk = tree.walk();
    std::iter::from_fn(|| walk.advance().map(|_| ())).count()
}

#[test]
fn a_registry_image_is_read_inside_and_outside_a_runtime() {
    let layout = fixtures().join("layered");
    let registry = Registry::start(&[("img", &layout)], Plan::new());
    let source = format!("docker://{}/img:latest", registry.host());
    let expected = from_registry(&source);
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for runtime in [one, many] {
        let inside = runtime.block_on(async { from_registry(&source) });
        assert_eq!(inside, expected, "called by a task that waits");
        let (copy, expected) = (source.clone(), expected);
        let spawned = runtime.block_on(async { tokio::task::spawn_blocking(move || from_registry(&copy)).await });
        assert_eq!(spawned.unwrap(), expected);
        let copy = source.clone();
        // A task with an exhausted budget must not block the requests.
        let task = runtime.block_on(async {
            tokio::task::spawn(async move {
                for _ in 0..500 {
                    tokio::task::consume_budget().await;
                }
                from_registry(&copy)
            })
            .await
        });
        assert_eq!(task.unwrap(), expected);
    }
}

#[test]
fn a_raised_flag_stops_a_job() {
    let bench = Bench::new();
    let cancel = Cancel::default();
    let image = options().cancel(cancel.clone()).open(&*layered()).unwrap();
    cancel.raise(Signal::Interrupt);
    let stopped = Builder::new(image).build(bench.at("out.ext4")).unwrap_err();
    assert!(matches!(stopped.kind(), ErrorKind::Cancelled(Signal::Interrupt)), "{stopped}");
}
