//! Both engines write the same tree, and each refuses by name the attributes that it cannot write.

use std::ffi::OsStr;
use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use planish::ext4::{Chunk, Filesystem, Inode, InodeNumber};
use planish::plan::{Engine, EngineChoice};
use planish::progress::{Progress, Stage};
use planish::{Builder, Cancel, ErrorKind, Signal};
use planish_proptests::cases::{self, Expect};
use planish_proptests::listing::{Field, Fields, Listing, diff};
use planish_proptests::writer::{Content, Entry, Image, Layer, SparseFormat};

use crate::support::{Bench, equal, failed, fixtures, is_root, listing, read_clean, stderr, succeeded};

const ENGINES: [&str; 2] = ["e2fsprogs", "direct"];

/// Writes an image of one layer, readable for the user.
fn image(bench: &Bench, name: &str, entries: impl IntoIterator<Item = Entry>) -> String {
    let layout = bench.shared(name);
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// Builds with an engine, including verification and e2fsck, and returns the listing of the filesystem.
#[track_caller]
fn built(bench: &Bench, source: &str, engine: &str) -> Listing {
    succeeded(&bench.build(source, "out.ext4", &["--force", "--engine", engine]));
    read_clean(&bench.at("out.ext4"))
}

/// Returns the engine that `auto` selects, and the reason.
#[track_caller]
fn taken(bench: &Bench, source: &str) -> (String, String) {
    let output = bench.build(source, "out.ext4", &["--force", "--json"]);
    succeeded(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |field: &str| report["engine"][field].as_str().unwrap().to_owned();
    let line = format!("engine      {}: {}\n", text("name"), text("reason"));
    assert!(stderr(&output).contains(&line), "{}", stderr(&output));
    read_clean(&bench.at("out.ext4"));
    (text("name"), text("reason"))
}

#[test]
fn fixtures_equal_their_listings_with_either_engine() {
    let bench = Bench::new();
    let mut sources: Vec<(String, String)> =
        ["layered", "whiteout", "opaque", "hardlink", "symlinked-parent", "devices", "sparse"]
            .map(|name| (format!("oci:{}", bench.fixture(name).display()), format!("{name}.listing")))
            .into();
    for tag in ["first", "second"] {
        sources.push((format!("oci:{}:{tag}", bench.fixture("two-tags").display()), format!("two-tags.{tag}.listing")));
    }
    sources.push((format!("oci-archive:{}", bench.fixture("oci.tar").display()), "oci.listing".into()));
    for (source, expected) in sources {
        for engine in ENGINES {
            equal(&listing(&expected), &built(&bench, &source, engine));
        }
    }
}

#[test]
fn cases_give_equal_listings_with_both_engines() {
    let bench = Bench::new();
    let cases = cases::parse(&std::fs::read_to_string(fixtures().join("cases.json")).unwrap()).unwrap();
    let fields: Fields = Field::ALL.into_iter().collect();
    let (mut compared, mut refused, mut broken) = (0, Vec::new(), Vec::new());
    for case in cases.iter().filter(|case| matches!(case.expect, Expect::Tree(_))) {
        let layout = bench.shared(&case.id);
        case.image.write_layout(&layout, "latest").unwrap();
        let listings = ENGINES.map(|engine| {
            let output =
                bench.build(&format!("oci:{}", layout.display()), "out.ext4", &["--force", "--engine", engine]);
            let written = output.status.code() == Some(0);
            if !written {
                refused.push(format!("{} {engine}: {}", case.id, failed(&output, 5)));
            }
            written.then(|| read_clean(&bench.at("out.ext4")))
        });
        let [Some(reference), Some(direct)] = listings else { continue };
        compared += 1;
        broken.extend(diff(&reference, &direct, &fields).iter().map(|found| format!("{}: {found}", case.id)));
    }
    assert_eq!(broken, [""; 0]);
    let own = "/lost+found is a directory of the image, and only the e2fsprogs engine can write its own";
    assert_eq!(refused, [format!("weird-names direct: {own}")]);
    assert!(compared > 90, "{compared}");
}

/// Entries of every type with every attribute.
fn odd_entries() -> Vec<Entry> {
    let capability = b"\x01\0\0\x02\0\x04\n\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let acl =
        [2_u32.to_le_bytes(), [1, 0, 6, 0], [0xff; 4], [4, 0, 4, 0], [0xff; 4], [0x20, 0, 0, 0], [0xff; 4]].concat();
    let mut entries = vec![
        Entry::dir("./").mode(0o1755).owner(1, 2).mtime(-1, 5).xattr("trusted.root", "r"),
        Entry::dir("d")
            .mode(0o2750)
            .owner(4_294_967_294, 70_000)
            .mtime(-2_147_483_648, 1)
            .xattr("user.k", vec![7; 200]),
        Entry::dir(*b"d/!touch x\n\xff\"<2>").xattr("system.posix_acl_default", acl.clone()),
        Entry::file("d/suid", "x")
            .mode(0o6755)
            .mtime(15_032_385_535, 999_999_999)
            .xattr("security.capability", capability),
        Entry::hardlink("d/second", "d/suid"),
        Entry::file("acl", "").mode(0o640).xattr("system.posix_acl_access", acl).xattr("user.empty", ""),
        Entry::file("large", Content::Repeat { byte: 7, count: 9_000_001 }),
        Entry::symlink("short", "t"),
        Entry::hardlink("short2", "short"),
        Entry::symlink("edge", vec![b't'; 59]),
        Entry::symlink("slow", vec![b't'; 60]).xattr("trusted.on-link", "v"),
        Entry::hardlink("d/slow2", "slow"),
        Entry::symlink("longest", vec![b't'; 4095]),
        Entry::fifo("fifo"),
        Entry::char_device("null", 1, 3),
        Entry::hardlink("null2", "null"),
        Entry::char_device("zero", 0, 0),
        Entry::block_device("most", 4095, 1_048_575).xattr("trusted.on-device", "v"),
        Entry::file(vec![b'n'; 255], "long"),
    ];
    let mut holes = vec![0; 50_000];
    holes[20_000] = 1;
    holes[49_999] = 2;
    entries.push(Entry::file("zeros", vec![0; 10_000]));
    entries.push(Entry::file("holes", holes));
    entries.push(Entry::sparse("sparse", SparseFormat::OldGnu, [(5_000, 3), (1 << 20, 2)], 5 << 20, "abcde"));
    entries
}

#[test]
fn both_engines_write_every_attribute() {
    let bench = Bench::new();
    let source = image(&bench, "odd", odd_entries());
    let [reference, direct] = ENGINES.map(|engine| built(&bench, &source, engine));
    equal(&reference, &direct);
    assert_eq!(reference.len(), 22);
}

#[test]
fn blocks_of_zeros_are_holes_with_either_engine() {
    let bench = Bench::new();
    let source = image(&bench, "odd", odd_entries());
    for engine in ENGINES {
        built(&bench, &source, engine);
        let filesystem = Filesystem::open(File::open(bench.at("out.ext4")).unwrap()).unwrap();
        let data = |path: &str| {
            let content = filesystem.content(&find(&filesystem, path)).unwrap();
            let data = content.chunks().filter_map(|chunk| match chunk {
                Chunk::Data { offset, length } => Some((offset, length)),
                Chunk::Hole { .. } => None,
            });
            data.collect::<Vec<_>>()
        };
        assert_eq!(data("zeros"), [], "{engine}");
        assert_eq!(data("holes"), [(16_384, 4096), (49_152, 848)], "{engine}");
        assert_eq!(data("sparse"), [(4096, 4096), (1 << 20, 4096)], "{engine}");
    }
}

fn find(filesystem: &Filesystem<File>, path: &str) -> Inode {
    path.split('/').fold(filesystem.inode(InodeNumber::ROOT).unwrap(), |directory, name| {
        let entries = filesystem.entries(&directory).unwrap();
        let entry = entries.iter().find(|entry| *entry.name == *name.as_bytes()).unwrap();
        filesystem.inode(entry.inode).unwrap()
    })
}

#[test]
fn large_directories_are_written_in_seconds_and_indexed() {
    let bench = Bench::new();
    let files = (0..50_000).map(|n| Entry::file(format!("d/file-{n}"), ""));
    let directories = (0..20_000).map(|n| Entry::dir(format!("d/directory-{n}")));
    let sources = [(image(&bench, "files", files), 50_000), (image(&bench, "directories", directories), 20_000)];
    for (source, count) in sources {
        let started = Instant::now();
        let (engine, reason) = taken(&bench, &source);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        assert_eq!(engine, "direct");
        assert_eq!(reason, format!("mkfs.ext4 takes longer for directories like /d with {count} names"));
        let filesystem = Filesystem::open(File::open(bench.at("out.ext4")).unwrap()).unwrap();
        assert!(find(&filesystem, "d").is_indexed());
    }
}

#[test]
fn small_trees_are_built_by_e2fsprogs_and_others_by_the_faster_engine() {
    let bench = Bench::new();
    let files = |count| (0..count).map(|n| Entry::file(format!("d/{:03}/{n:04}", n / 10), "x"));
    let source = image(&bench, "few", files(300));
    assert_eq!(taken(&bench, &source), ("e2fsprogs".into(), "the reference".into()));
    let source = image(&bench, "more", files(3000));
    let reason = "staging, mkfs.ext4 and debugfs take longer for 3302 inodes";
    assert_eq!(taken(&bench, &source), ("direct".into(), reason.into()));
    let [reference, direct] = ENGINES.map(|engine| built(&bench, &source, engine));
    equal(&reference, &direct);
}

#[test]
fn each_engine_has_its_limit_of_names() {
    let bench = Bench::new();
    let source = image(&bench, "names", (0..20_001).map(|n| Entry::file(format!("d/{n}"), "")));
    let over = |engine: &str, more: &[&str]| {
        failed(&bench.build(&source, "out.ext4", &[&["--engine", engine], more].concat()), 7)
    };
    assert_eq!(over("e2fsprogs", &[]), "/d has 20001 names in one directory, --max-directory-entries allows 20000");
    for engine in ["e2fsprogs", "direct", "auto"] {
        let text = over(engine, &["--max-directory-entries", "9"]);
        assert_eq!(text, "/d has 20001 names in one directory, --max-directory-entries allows 9", "{engine}");
    }
    built(&bench, &source, "direct");
}

#[test]
fn xattrs_that_debugfs_cannot_write_are_written_directly() {
    let bench = Bench::new();
    let entries = [
        Entry::file("file", "").xattr("trusted.odd \" \n!name", b"v"),
        Entry::symlink("link", "target").xattr("trusted.<2>", vec![1; 300]),
        Entry::fifo("fifo").xattr("security.a b", ""),
    ];
    let source = image(&bench, "xattrs", entries);
    let refused = r#"/fifo has the xattr "security.a b", whose name only the direct engine could write"#;
    assert_eq!(failed(&bench.build(&source, "none.ext4", &["--engine", "e2fsprogs"]), 5), refused);
    assert_eq!(taken(&bench, &source), ("direct".into(), format!("e2fsprogs cannot write the tree: {refused}")));
    let text = read_clean(&bench.at("out.ext4")).to_string();
    for xattr in ["trusted.odd", "trusted.<2>", "security.a"] {
        assert!(text.contains(xattr), "{text}");
    }
}

#[test]
fn an_image_with_lost_and_found_is_built_by_e2fsprogs() {
    let bench = Bench::new();
    let names = (0..6000).map(|n| Entry::file(format!("d/{n}"), ""));
    let own = || Entry::dir("lost+found").mode(0o700);
    let refused = "/lost+found is a directory of the image, and only the e2fsprogs engine can write its own";
    let source = image(&bench, "own", [own()]);
    assert_eq!(failed(&bench.build(&source, "none.ext4", &["--engine", "direct"]), 5), refused);
    assert_eq!(taken(&bench, &source), ("e2fsprogs".into(), "the reference".into()));
    let source = image(&bench, "own-and-large", names.chain([own()]));
    assert_eq!(taken(&bench, &source), ("e2fsprogs".into(), format!("direct cannot write the tree: {refused}")));
    let source = image(&bench, "neither", [own(), Entry::fifo("x").xattr("trusted.a b", "")]);
    let other = r#"/x has the xattr "trusted.a b", whose name only the direct engine could write"#;
    let text = failed(&bench.build(&source, "none.ext4", &[]), 5);
    assert_eq!(text, format!("neither engine can write this image: e2fsprogs: {other}; direct: {refused}"));
}

#[test]
fn the_direct_engine_keeps_or_refuses_a_given_size() {
    let bench = Bench::new();
    let source = image(&bench, "size", [Entry::file("file", Content::Repeat { byte: 7, count: 24 << 20 })]);
    let build = |more: &[&str]| bench.build(&source, "out.ext4", &[&["--force", "--engine", "direct"], more].concat());
    let text = failed(&build(&["--size", "20M"]), 7);
    let needed: u64 = text.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(text, format!("the tree needs {needed} bytes, --size allows 20971520"));
    for size in [needed, needed + 4096, 200 << 20, (200 << 20) + 1000] {
        succeeded(&build(&["--size", &size.to_string()]));
        assert_eq!(bench.at("out.ext4").metadata().unwrap().len(), size);
        read_clean(&bench.at("out.ext4"));
    }
    let less = failed(&build(&["--size", &(needed - 4096).to_string()]), 7);
    assert_eq!(less, format!("the tree needs {needed} bytes, --size allows {}", needed - 4096));
    let over = failed(&build(&["--size", "17T"]), 7);
    assert!(over.ends_with(" bytes, planish makes at most 17592186036224"), "{over}");
    let empty = image(&bench, "empty", []);
    let small = failed(&bench.build(&empty, "out.ext4", &["--force", "--engine", "direct", "--size", "8M"]), 7);
    assert_eq!(small, "the tree needs 16777216 bytes, --size allows 8388608");
}

#[test]
fn free_space_is_as_requested_and_hardly_more() {
    let bench = Bench::new();
    let mut entries: Vec<Entry> = (0..2000).map(|n| Entry::file(format!("f/a-longer-name-{n}"), "x")).collect();
    entries.extend((0..300).map(|n| Entry::file(format!("l/{}{n}", "n".repeat(200)), "")));
    entries.extend([Entry::file("large", Content::Repeat { byte: 7, count: 160 << 20 })]);
    let source = image(&bench, "free", entries);
    for (free, minimum) in [("0", 0), ("3M", 3 << 20), ("300M", 300 << 20)] {
        succeeded(&bench.build(&source, "out.ext4", &["--force", "--engine", "direct", "--free", free]));
        let filesystem = Filesystem::open(File::open(bench.at("out.ext4")).unwrap()).unwrap();
        let superblock = filesystem.superblock();
        let more = (superblock.free_blocks * 4096).checked_sub(minimum).unwrap() / 4096;
        assert!(more <= (superblock.block_count / 100).max(16), "{free}: {more} blocks more are free");
    }
}

#[test]
fn jobs_and_directories_change_no_byte() {
    let bench = Bench::new();
    let files = (0..200).map(|n| Entry::file(format!("f{n}"), vec![n; 3000 * usize::from(n)]));
    let source = image(&bench, "bytes", odd_entries().into_iter().chain(files));
    std::fs::create_dir(bench.at("work")).unwrap();
    bench.give(&bench.at("work"));
    let [first, second] = [&["--jobs", "1"][..], &["--jobs", "7", "--work-dir", "work"]].map(|more| {
        succeeded(&bench.build(&source, "out.ext4", &[&["--force", "--engine", "direct"], more].concat()));
        std::fs::read(bench.at("out.ext4")).unwrap()
    });
    assert!(first == second);
}

#[test]
fn a_full_disk_is_named_with_the_required_space() {
    let bench = Bench::new();
    let source = image(&bench, "large", [Entry::file("file", Content::Repeat { byte: 7, count: 24 << 20 })]);
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let build = "build \"$1\" -o \"$2\" --platform linux/amd64 --engine direct --free 0 --work-dir work";
    let script = format!(
        "mount -t tmpfs -o size=8m,mode=1777 none \"$3\"; cd \"$4\"; \"$0\" {build}; code=$?; ls -A \"$3\" >&2; exit $code"
    );
    std::fs::create_dir(bench.at("work")).unwrap();
    let output = Command::new("unshare")
        .args([if is_root() { "-m" } else { "-rm" }, "/bin/sh", "-c", &script])
        .arg(bench.planish().get_program())
        .args([OsStr::new(&source), disk.join("out.ext4").as_os_str(), disk.as_os_str(), bench.home().as_os_str()])
        .output()
        .unwrap();
    let text = failed(&output, 6);
    let expected = format!("the direct engine ran out of space in {}/.planish-", disk.display());
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains(": the filesystem needs "), "{text}");
    let hint = "hint: free some space, or choose an --output on another disk\n";
    assert!(stderr(&output).ends_with(hint), "nothing is left on the disk: {}", stderr(&output));
    assert_eq!(bench.at("work").read_dir().unwrap().count(), 0);
}

/// An observer that requests a stop when writing begins, or after a number of bytes.
struct StopWriting {
    after: u64,
    done: std::sync::atomic::AtomicU64,
    writing: std::sync::atomic::AtomicBool,
    cancel: Cancel,
}

impl Progress for StopWriting {
    fn begin(&self, stage: Stage, _: Option<u64>) {
        self.writing.store(stage == Stage::Write, std::sync::atomic::Ordering::Relaxed);
        self.advance(0);
    }

    fn advance(&self, amount: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        if self.writing.load(Relaxed) && self.done.fetch_add(amount, Relaxed) + amount >= self.after {
            self.cancel.raise(Signal::Terminate);
        }
    }

    fn end(&self) {}
}

#[test]
fn a_stop_while_writing_leaves_nothing() {
    let bench = Bench::new();
    let home = tempfile::tempdir().unwrap();
    let files = (0..100).map(|n| Entry::file(format!("f{n}"), vec![1; 10_000]));
    let source = image(&bench, "stop", (0..100).map(|n| Entry::dir(format!("d{n}"))).chain(files));
    for after in [0, 50, 150] {
        let cancel = Cancel::default();
        let observer = StopWriting { after, done: 0.into(), writing: false.into(), cancel: cancel.clone() };
        let options = planish::Image::options()
            .platform("linux/amd64".parse().unwrap())
            .jobs(2)
            .progress(Arc::new(observer))
            .cancel(cancel);
        let builder = Builder::new(options.open(&*source).unwrap()).engine(EngineChoice::Only(Engine::Direct));
        let error = builder.build(home.path().join("out.ext4")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled(Signal::Terminate)), "{after}: {error}");
        assert_eq!(home.path().read_dir().unwrap().count(), 0, "{after}");
    }
}
