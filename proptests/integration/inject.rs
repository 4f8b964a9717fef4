//! Injected files: they form a layer above the image's layers, follow the image's symlinks, and replace a file of the
//! image only on purpose.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use planish_proptests::Mtime;
use planish_proptests::listing::{Contents, Fields, Kind, Listing, Node, diff};
use planish_proptests::writer::{Compression, Entry, Image, Layer};

use crate::support::{Bench, equal, failed, read_clean, set_mode, stderr, succeeded};

/// The creation time of images that the harness writes.
const CREATED: i64 = 1_700_000_000;

fn image(bench: &Bench, name: &str, layers: impl IntoIterator<Item = Layer>) -> String {
    let layout = bench.shared(name);
    Image::new(layers).created(Some("2023-11-14T22:13:20Z")).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// Debian's way: `/sbin` is a symlink, and `/sbin/init` another one.
fn merged() -> Layer {
    Layer::new([
        Entry::dir("usr/").mode(0o755),
        Entry::dir("usr/sbin/").mode(0o711).owner(3, 4),
        Entry::symlink("sbin", "usr/sbin"),
        Entry::symlink("usr/sbin/init", "../lib/systemd/systemd"),
        Entry::dir("etc/").mode(0o755),
        Entry::symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        Entry::symlink("later", "not/yet"),
    ])
}

/// A directory of this machine with a file, a symlink and a directory.
fn overlay(bench: &Bench) -> std::path::PathBuf {
    let top = bench.shared("overlay");
    std::fs::create_dir_all(top.join("sbin/more")).unwrap();
    std::fs::write(top.join("sbin/tool"), "tool").unwrap();
    std::fs::write(top.join("sbin/more/x"), "x").unwrap();
    symlink("../etc/passwd", top.join("sbin/link")).unwrap();
    for (path, mode) in
        [("", 0o700), ("sbin", 0o777), ("sbin/more", 0o750), ("sbin/tool", 0o755), ("sbin/more/x", 0o640)]
    {
        set_mode(&top.join(path), mode);
        bench.give(&top.join(path));
    }
    top
}

fn seconds(seconds: i64) -> Mtime {
    Mtime { seconds, nanos: 0 }
}

fn node(kind: Kind, mode: u16, (uid, gid): (u32, u32)) -> Node {
    let mut node = Node::new(kind, mode);
    (node.uid, node.gid) = (uid, gid);
    node.mtime = seconds(CREATED);
    node
}

fn file(content: &str, mode: u16) -> Node {
    node(Kind::File(Contents::of(content.as_bytes())), mode, (0, 0))
}

fn built(bench: &Bench, source: &str, more: &[&str]) -> Listing {
    succeeded(&bench.build(source, "out.ext4", &[&["--force", "--free", "1M"], more].concat()));
    read_clean(&bench.at("out.ext4"))
}

fn verify(bench: &Bench, source: &str, more: &[&str]) -> Output {
    bench.planish().args(["verify", source, "out.ext4", "--platform", "linux/amd64"]).args(more).output().unwrap()
}

#[test]
fn an_injected_archive_is_one_more_layer() {
    let bench = Bench::new();
    let upper = || {
        Layer::new([
            Entry::dir("etc/").mode(0o700).mtime(5, 6),
            Entry::whiteout("usr/sbin/.wh.init"),
            Entry::file("sbin/tool", "tool").mode(0o4755).owner(7, 8).xattr("user.a", "b"),
            Entry::hardlink("etc/tool", "sbin/tool"),
        ])
    };
    let lower = image(&bench, "lower", [merged()]);
    let both = image(&bench, "both", [merged(), upper()]);
    let expected = built(&bench, &both, &[]);
    for (name, compression) in
        [("a.tar", Compression::None), ("a.tar.gz", Compression::Gzip), ("a.zst", Compression::Zstd)]
    {
        let tar = bench.readable(name, &upper().compression(compression).blob());
        let more = ["--inject-tar", tar.to_str().unwrap()];
        equal(&expected, &built(&bench, &lower, &more));
        succeeded(&verify(&bench, &lower, &more));
    }
    assert_eq!(verify(&bench, &lower, &[]).status.code(), Some(8));
}

#[test]
fn an_injected_directory_follows_symlinks_and_keeps_existing_directories() {
    let bench = Bench::new();
    let source = image(&bench, "merged", [merged()]);
    let mut expected = built(&bench, &source, &[]);
    let top = overlay(&bench);
    let all = format!("{}:/", top.display());
    let later = format!("{}/sbin:/later:600:5:6", top.display());
    let actual = built(&bench, &source, &["--inject", &all, "--inject", &later]);
    expected.insert(&b"/usr/sbin/tool"[..], file("tool", 0o755));
    expected.insert(&b"/usr/sbin/link"[..], node(Kind::Symlink(b"../etc/passwd".to_vec()), 0o777, (0, 0)));
    expected.insert(&b"/usr/sbin/more"[..], node(Kind::Directory, 0o750, (0, 0)));
    expected.insert(&b"/usr/sbin/more/x"[..], file("x", 0o640));
    // A dangling symlink is followed, too; MODE makes readable directories searchable.
    let mut not = node(Kind::Directory, 0o755, (0, 0));
    not.mtime = seconds(0);
    expected.insert(&b"/not"[..], not);
    expected.insert(&b"/not/yet"[..], node(Kind::Directory, 0o700, (5, 6)));
    expected.insert(&b"/not/yet/tool"[..], node(Kind::File(Contents::of(b"tool")), 0o600, (5, 6)));
    expected.insert(&b"/not/yet/link"[..], node(Kind::Symlink(b"../etc/passwd".to_vec()), 0o777, (5, 6)));
    expected.insert(&b"/not/yet/more"[..], node(Kind::Directory, 0o700, (5, 6)));
    expected.insert(&b"/not/yet/more/x"[..], node(Kind::File(Contents::of(b"x")), 0o600, (5, 6)));
    let differences: Vec<String> = diff(&expected, &actual, &Fields::all()).iter().map(ToString::to_string).collect();
    assert_eq!(differences, [""; 0]);
    succeeded(&verify(&bench, &source, &["--inject", &all, "--inject", &later]));
}

#[test]
fn single_options_set_up_a_machine() {
    let bench = Bench::new();
    let source = image(&bench, "merged", [merged()]);
    let init = bench.readable("my-init", b"#!/bin/sh\n");
    let hosts = bench.readable("my-hosts", b"127.0.0.1 localhost\n");
    let more = [
        "--init",
        init.to_str().unwrap(),
        "--hosts",
        hosts.to_str().unwrap(),
        "--hostname",
        "web-1.example",
        "--resolv-conf",
        "192.0.2.1,2001:db8::1",
        "--mkdir",
        "/data/a:1770:5:6",
        "--mkdir",
        "/usr/sbin",
        "--mkdir",
        "/etc:700:1:2",
    ];
    let mut expected = built(&bench, &source, &[]);
    let actual = built(&bench, &source, &more);
    expected.remove(b"/usr/sbin/init");
    expected.insert(&b"/usr/sbin/init"[..], file("#!/bin/sh\n", 0o755));
    expected.remove(b"/etc/resolv.conf");
    expected.insert(&b"/etc/resolv.conf"[..], file("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", 0o644));
    expected.insert(&b"/etc/hosts"[..], file("127.0.0.1 localhost\n", 0o644));
    expected.insert(&b"/etc/hostname"[..], file("web-1.example\n", 0o644));
    let etc = expected.get_mut(b"/etc").unwrap();
    (etc.mode, etc.uid, etc.gid, etc.mtime) = (0o700, 1, 2, seconds(CREATED));
    let mut data = node(Kind::Directory, 0o755, (0, 0));
    data.mtime = seconds(0);
    expected.insert(&b"/data"[..], data);
    expected.insert(&b"/data/a"[..], node(Kind::Directory, 0o1770, (5, 6)));
    for (name, mode) in [("/dev", 0o755), ("/proc", 0o555), ("/run", 0o755), ("/sys", 0o555), ("/tmp", 0o1777)] {
        expected.insert(name.as_bytes(), node(Kind::Directory, mode, (0, 0)));
    }
    equal(&expected, &actual);
    let text = stderr(&bench.build(&source, "out.ext4", &["--force", "--mount-points"]));
    assert!(text.contains("note        5: directory made to mount on\n              /dev: directory made"), "{text}");
}

#[test]
fn equal_injections_give_equal_bytes_and_others_another_uuid() {
    let bench = Bench::new();
    let source = image(&bench, "merged", [merged()]);
    let top = overlay(&bench);
    let more = format!("{}:/opt", top.display());
    let bytes = || {
        let output = bench.build(&source, "out.ext4", &["--force", "--json", "--inject", &more]);
        succeeded(&output);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (std::fs::read(bench.at("out.ext4")).unwrap(), report)
    };
    let (first, report) = bytes();
    // A copy has other times and another order of names in a directory.
    std::fs::rename(top.join("sbin/tool"), top.join("sbin/old")).unwrap();
    std::fs::write(top.join("sbin/tool"), "tool").unwrap();
    set_mode(&top.join("sbin/tool"), 0o755);
    std::fs::remove_file(top.join("sbin/old")).unwrap();
    let (second, _) = bytes();
    assert!(first == second);
    let injected = &report["injections"][0];
    assert_eq!(
        (&injected["kind"], &injected["path"], &injected["entries"]),
        (&"tree".into(), &"/opt".into(), &6.into())
    );

    std::fs::write(top.join("sbin/tool"), "TOOL").unwrap();
    let (_, other) = bytes();
    assert_ne!(report["filesystem"]["uuid"], other["filesystem"]["uuid"]);
    assert_ne!(injected["digest"], other["injections"][0]["digest"]);

    let tool = format!("{}:/opt/", top.join("sbin/tool").display());
    let plan =
        bench.planish().args(["plan", &source, "--platform", "linux/amd64", "--json", "--inject", &tool]).output();
    let plan: serde_json::Value = serde_json::from_slice(&plan.unwrap().stdout).unwrap();
    // The output of sha256sum.
    let digest = "sha256:91b097d7d4c6a45d9fbe081e0deda6905bb714203eda4271fd81d670be0b7485";
    assert_eq!(plan["injections"][0]["digest"], digest);
    assert_eq!(plan["injections"][0]["path"], "/opt/tool");
    assert_eq!(plan["tree"]["names"], 9);
    let key = |more: &[&str]| {
        let output = bench.planish().args(["key", &source, "--platform", "linux/amd64"]).args(more).output().unwrap();
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(key(&["--inject", &more]), other["key"], "the key of a build is known before it");
    assert_ne!(key(&[]), key(&["--inject", &more]));
}

#[test]
fn an_impossible_injection_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let lower = Layer::new([Entry::file("etc/passwd", "x"), Entry::symlink("loop", "loop"), Entry::dir("d/")]);
    let source = image(&bench, "refusals", [lower]);
    let top = overlay(&bench);
    std::fs::create_dir(bench.shared("odd")).unwrap();
    std::fs::write(bench.shared("odd/.wh.x"), "").unwrap();
    std::fs::create_dir(bench.shared("sockets")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.shared("sockets/s")).unwrap();
    let text = bench.readable("text", b"text");
    let tar = bench.readable("bad.tar", b"no tar");
    let climbs = bench.readable("climbs.tar", &Layer::new([Entry::file("../x", "")]).tar());
    let big = bench.shared("big");
    std::fs::File::create(&big).unwrap().set_len(1 << 20).unwrap();
    let at = |path: &Path| path.display().to_string();
    let (text, top, big) = (at(&text), at(&top), at(&big));
    let odd = at(&bench.shared("odd"));
    let sockets = at(&bench.shared("sockets"));
    let shown = |path: &str, what: &str| format!("injection {path} {what}");
    let no_file = "is a directory in the image, and a file does not replace one";
    let below_file = "has the parent \"etc/passwd\", which is no directory in the image";
    let only_file = |path: &str| shown(path, "is a directory, and only a file can be put there");
    let table: [(String, i32, String); 19] = [
        ("--mkdir /etc/passwd/x".into(), 5, format!("injection /etc/passwd/x: entry 1 \"etc/passwd/x\" {below_file}")),
        (
            format!("--inject {text}:/d/../etc/passwd/x/y"),
            5,
            format!("injection {text}: entry 1 \"etc/passwd/x/y\" {below_file}"),
        ),
        (
            "--config-inside=/etc/passwd".into(),
            5,
            format!("injection /etc/passwd/config.json: entry 1 \"etc/passwd/config.json\" {below_file}"),
        ),
        (format!("--init {top}"), 2, only_file(&top)),
        (format!("--hosts {top}"), 2, only_file(&top)),
        (format!("--resolv-conf {top}"), 2, only_file(&top)),
        (format!("--inject {text}:/etc"), 5, format!("injection {text}: entry 1 \"etc\" {no_file}")),
        (format!("--init {text} --mkdir /sbin/init"), 5, format!("injection {text}: entry 1 \"sbin/init\" {no_file}")),
        (
            format!("--inject {top}:/etc/passwd"),
            5,
            format!(
                "injection {top}: entry 1 \"etc/passwd\" is no directory in the image, and a directory does not replace a file"
            ),
        ),
        (
            format!("--inject {text}:/loop/x"),
            5,
            format!("injection {text}: entry 1 \"loop/x\" has more than 40 symlinks in its parents"),
        ),
        (
            format!("--inject {odd}:/"),
            2,
            shown(&format!("{odd}/.wh.x"), "has a name that begins with .wh., which deletes in a layer"),
        ),
        (format!("--inject {sockets}:/"), 2, shown(&format!("{sockets}/s"), "is a socket, not a file or a directory")),
        (
            format!("--inject {sockets}/s:/x"),
            2,
            shown(&format!("{sockets}/s"), "is a socket or a device, not a file or a directory"),
        ),
        ("--inject /dev/zero:/x".into(), 2, shown("/dev/zero", "is a device, not a file or a directory")),
        ("--inject /nothing:/x".into(), 6, "open /nothing: No such file or directory (os error 2)".into()),
        (
            format!("--inject {big}:/x --max-file-bytes 1000"),
            7,
            format!("{big} has 1048576 bytes in one file, --max-file-bytes allows 1000"),
        ),
        (
            format!("--inject {big}:/x --max-bytes 100000"),
            7,
            "the image has more than 100000 uncompressed bytes in all layers, --max-bytes allows 100000".into(),
        ),
        (
            format!("--inject-tar {}", at(&tar)),
            5,
            format!("injection {} is not a tar stream: it ends within a header", at(&tar)),
        ),
        (
            format!("--inject-tar {}", at(&climbs)),
            5,
            format!("injection {}: entry 1 \"../x\" climbs above the root", at(&climbs)),
        ),
    ];
    for (more, code, expected) in table {
        let output = bench.build(&source, "out.ext4", &more.split(' ').collect::<Vec<_>>());
        assert_eq!(failed(&output, code), expected);
        assert_eq!(bench.left(), [""; 0], "{more}");
    }
}

/// procfs says that its files have no byte, sysfs that they have a page.
#[test]
fn the_content_of_a_file_without_its_true_size_is_injected_or_refused() {
    let bench = Bench::new();
    let source = image(&bench, "unsized", [merged()]);
    let version = std::fs::read_to_string("/proc/version").unwrap();
    assert!(!version.is_empty());
    let mut expected = built(&bench, &source, &[]);
    expected.insert(&b"/version"[..], file(&version, 0o600));
    equal(&expected, &built(&bench, &source, &["--inject", "/proc/version:/version:600"]));
    succeeded(&verify(&bench, &source, &["--inject", "/proc/version:/version:600"]));
    let output = bench.build(&source, "x.ext4", &["--inject", "/proc/version:/version", "--max-file-bytes", "8"]);
    assert_eq!(failed(&output, 7), "/proc/version has more than 8 bytes in one file, --max-file-bytes allows 8");
    let shorter = "/sys/kernel/mm/transparent_hugepage/enabled";
    if Path::new(shorter).exists() {
        let output = bench.build(&source, "x.ext4", &["--inject", &format!("{shorter}:/x")]);
        assert_eq!(failed(&output, 6), format!("injection {shorter} changed while it was read"));
    }
}

#[test]
fn a_directory_with_the_work_directory_in_it_is_refused() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    std::fs::create_dir_all(bench.at("app/tmp")).unwrap();
    bench.give(&bench.at("app"));
    bench.give(&bench.at("app/tmp"));
    for command in ["build", "plan"] {
        let mut planish = bench.planish();
        planish.args([command, &source, "--platform", "linux/amd64", "--inject", "./app:/opt/app"]);
        planish.args(["--work-dir", "app/tmp"]);
        if command == "build" {
            planish.args(["--output", "out.ext4"]);
        }
        let output = planish.output().unwrap();
        let expected =
            format!("injection ./app has the directory for temporary files in it: {}", bench.at("app/tmp").display());
        assert_eq!(failed(&output, 2), expected);
        assert!(stderr(&output).contains("hint: choose another directory with --work-dir"), "{}", stderr(&output));
    }
    assert_eq!(bench.left(), ["app"]);
    assert_eq!(bench.at("app/tmp").read_dir().unwrap().count(), 0);
}

#[test]
fn a_check_and_an_export_see_what_is_put_in() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let run = |command: &str, more: &[&str]| {
        let mut planish = bench.planish();
        planish.args([command, &source, "--platform", "linux/amd64"]).args(more).output().unwrap()
    };
    failed_check(&run("check", &[]));
    std::fs::write(bench.at("script"), "#!/usr/bin/run\n").unwrap();
    // A script needs its interpreter, which is put in as well.
    let refused = run("check", &["--init", "script"]);
    let text = String::from_utf8(refused.stdout.clone()).unwrap();
    failed_check(&refused);
    assert!(text.contains("/usr/bin/run"), "{text}");
    let exported = run("export", &["--hostname", "box-1", "--mkdir", "/new/dir"]);
    succeeded(&exported);
    bench.readable("x.tar", &exported.stdout);
    let names = Command::new("tar").arg("-tf").arg(bench.shared("x.tar")).output().unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    for name in ["./etc/hostname", "./new/dir/", "./etc/passwd"] {
        assert!(names.lines().any(|line| line == name), "{name}: {names}");
    }
    let plain = run("export", &[]);
    assert_ne!(plain.stdout, exported.stdout);
}

/// Requires that a check found that the image would not boot.
#[track_caller]
fn failed_check(output: &Output) {
    assert_eq!(output.status.code(), Some(8), "{}", stderr(output));
}

#[test]
fn a_malformed_injection_is_refused_with_a_reason() {
    let bench = Bench::new();
    let table = [
        ("--inject x", "not FILE:PATH[:MODE[:UID:GID]], with a PATH that begins with /"),
        ("--inject :/x", "not FILE:PATH[:MODE[:UID:GID]], with a PATH that begins with /"),
        ("--inject a:/x:9", "MODE is not an octal number up to 7777"),
        ("--inject a:/x:10000", "MODE is not an octal number up to 7777"),
        ("--inject a:/x:644:1", "PATH is not followed by :MODE, or by :MODE:UID:GID"),
        ("--inject a:/x:644:1:-1", "UID and GID are not numbers below 4294967295"),
        (
            "--inject a:/x:644:1:4294967295",
            "injection a has an owner that no file can have: the largest ID is 4294967294",
        ),
        ("--inject a:/.wh.x", "injection /.wh.x has a name that begins with .wh., which deletes in a layer"),
        ("--mkdir x", "PATH does not begin with /"),
        ("--mkdir /", "injection / has the root of the image as its destination"),
        ("--resolv-conf 1.2.3", "neither IP addresses with commas between nor a file that exists"),
        ("--resolv-conf 8.8.8.8,nope", "neither IP addresses with commas between nor a file that exists"),
        ("--resolv-conf fe80::1%eth0", "neither IP addresses with commas between nor a file that exists"),
        ("--config-inside=etc", "DIR does not begin with /"),
        ("--hostname a_b", "injection a_b is no host name: letters, digits and inner hyphens between dots, 64 at most"),
    ];
    for (option, expected) in table {
        let mut words = option.split(' ');
        let error = failed(&bench.build("oci:image", "out.ext4", &words.by_ref().collect::<Vec<_>>()), 2);
        assert!(error.ends_with(expected), "{option}: {error}");
    }
    std::fs::create_dir(bench.at("own")).unwrap();
    bench.give(&bench.at("own"));
    let source = image(&bench, "own", [merged()]);
    let inside = bench.build(&source, "own/out.ext4", &["--inject", "own:/x"]);
    assert_eq!(failed(&inside, 2), "output own/out.ext4: is inside the image that is read");
}
