//! Where the cache is, whose it is, and what becomes of it on a disk that is full.

use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use planish::Cancel;
use planish::cache::{Cache, Found, Reserved};

use crate::day::{Day, files_below};
use crate::origin::Plan;
use crate::sample::{QUICK, sample};
use crate::support::process::{command, run};
use crate::support::{mounts, set_mode};

#[test]
fn a_blob_that_is_dropped_unfinished_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(&directory.path().join("cache"));
    let blob = sample().layer();
    let digest: planish::Digest = blob.digest.parse().unwrap();
    let reserve = || match cache.reserve(&digest, blob.size, false, &|_| {}, &Cancel::default()).unwrap() {
        Reserved::Mine(partial) => partial,
        Reserved::Present(_) => panic!("C04: the blob is there"),
    };
    drop(reserve());
    let mut partial = reserve();
    partial.write(b"x").unwrap();
    drop(partial);
    let mut partial = reserve();
    partial.write(b"x").unwrap();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _partial = partial;
        std::panic::resume_unwind(Box::new("C04"));
    }));
    assert!(panicked.is_err());
    assert!(matches!(cache.find(&digest, Some(blob.size)).unwrap(), Found::Missing), "C04");
    let left: Vec<PathBuf> = files_below(directory.path());
    assert!(left.iter().all(|file| file.metadata().unwrap().len() <= 64), "C04: {left:?}");
}

#[test]
fn a_full_disk_under_the_cache_is_named() {
    let day = Day::new("C10", Plan::new());
    std::fs::create_dir(day.cache()).unwrap();
    day.bench.give(&day.cache());
    let mount = format!("{} '{}'", mounts::private_tmpfs("400k"), day.cache().display());
    let pull = day.pull_command(&day.source(), &[]);
    let mut listed = Command::new("sh");
    let list =
        "\"$@\"; code=$?; find cache -type f ! -path '*/blobs/*' ! -name '*.json' ! -name oci-layout; exit $code";
    listed.args(["-c", list, "sh"]).arg(pull.get_program()).args(pull.get_args());
    listed.env_clear().envs(pull.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = mounts::run(&day.bench, &mount, &listed);
    day.fails(&output, 6, &["has no room left", "cache"]);
    day.says_nothing_secret(&output);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "C10: left in the cache");
    day.recovers(&[]);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_end() {
    let day = Day::new("C11", Plan::new());
    let pull = day.pull_command(&day.source(), &[]);
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=100000").arg(pull.get_program()).args(pull.get_args()).current_dir(day.bench.home());
    limited.env_clear().envs(pull.get_envs().filter_map(|(name, value)| Some((name, value?))));
    day.bench.as_user(&mut limited);
    let output = day.run(&mut limited);
    day.fails(&output, 6, &["cache"]);
    day.recovers(&[]);
}

/// The calls that publish blobs, as strace shows them with the paths of descriptors.
fn traced(day: &Day) -> Vec<String> {
    let trace = day.bench.at("trace.ext4");
    let pull = day.pull_command(&day.source(), &["--jobs", "1"]);
    let mut strace = Command::new("strace");
    let calls = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat";
    strace
        .args(["-f", "-y", "-s", "4096", "-e", calls, "-o"])
        .arg(&trace)
        .arg(pull.get_program())
        .args(pull.get_args());
    strace.env_clear().envs(pull.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(day.bench.home());
    day.bench.as_user(&mut strace);
    day.succeeds(&day.run(&mut strace));
    std::fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs strace"]
fn a_blob_is_synced_before_it_has_its_name_and_its_directory_after() {
    let day = Day::new("C15", Plan::new());
    let trace = traced(&day);
    let sync = |line: &str| line.contains("fsync(") || line.contains("fdatasync(");
    for digest in sample().digests() {
        let hex = &digest["sha256:".len()..];
        let named = |line: &String| !sync(line) && line.contains(&format!("{hex}\"")) && !line.contains("= -1");
        let at = trace.iter().position(named).unwrap_or_else(|| panic!("C15: {digest} was never named: {trace:#?}"));
        assert!(trace[..at].iter().any(|line| sync(line)), "C15: {digest} was not synced: {trace:#?}");
        let directory = trace[at..].iter().any(|line| sync(line) && line.contains("blobs/sha256>"));
        assert!(directory, "C15: the directory was not synced after {digest}: {trace:#?}");
    }
    let names = |line: &&String| !sync(line) && line.contains("blobs/sha256");
    let syncs = trace.iter().filter(|line| sync(line) && !line.contains("blobs/sha256>")).count();
    assert!(syncs >= trace.iter().filter(names).count(), "C15: more names than synced files: {trace:#?}");
}

#[test]
fn a_cache_that_others_may_write_is_closed_to_them() {
    let day = Day::new("C18", Plan::new());
    std::fs::create_dir(day.cache()).unwrap();
    day.bench.give(&day.cache());
    set_mode(&day.cache(), 0o777);
    day.succeeds(&day.pull(&[]));
    let mode = day.cache().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "C18: {mode:o}");
    day.recovers(&[]);
}

#[test]
#[ignore = "needs root"]
fn a_cache_of_another_user_is_read_and_not_written() {
    let day = Day::new("C18", Plan::new());
    std::fs::create_dir(day.cache()).unwrap();
    set_mode(&day.cache(), 0o777);
    day.fails(&day.build(&[]), 6, &["cache", "belongs to another user"]);
    std::fs::remove_dir(day.cache()).unwrap();
    day.warm();
    run(command("chown -R 0:0").arg(day.cache()));
    run(command("chmod -R a+rX").arg(day.cache()));
    for flags in [&[][..], &["--offline"]] {
        day.succeeds(&day.build(flags));
        day.equals_oracle("out.ext4");
    }
    run(command("chown -R 65534:65534").arg(day.cache()));
    day.recovers(&[]);
}

/// Builds with the cache where the environment puts it.
fn in_environment(day: &Day, variables: &[(&str, &str)], more: &[&str]) -> Output {
    let mut command = day.bench.planish();
    command.env("TMPDIR", day.bench.at("tmp")).envs(variables.iter().copied());
    command.args(["build", &day.source(), "--output", "out.ext4"]).args(QUICK).args(more);
    command.output().unwrap()
}

#[test]
fn the_cache_is_where_the_environment_says() {
    let home = |day: &Day| day.bench.at("canary").parent().unwrap().to_owned();
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("XDG_CACHE_HOME", "HOME/xdg")], "xdg/planish"),
        (&[("HOME", "HOME")], ".cache/planish"),
        (&[("HOME", "HOME"), ("XDG_CACHE_HOME", "")], ".cache/planish"),
        (&[("HOME", "HOME"), ("XDG_CACHE_HOME", "relative/path")], ".cache/planish"),
    ];
    for (variables, expected) in cases {
        let day = Day::new("C19", Plan::new());
        let home = home(&day);
        let values: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, value.replace("HOME", home.to_str().unwrap()))).collect();
        let variables: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        day.succeeds(&in_environment(&day, &variables, &[]));
        day.equals_oracle("out.ext4");
        let blob = home.join(expected).join("blobs").join(sample().layer().digest.replace(':', "/"));
        assert!(blob.is_file(), "C19: {}", blob.display());
        assert!(!day.bench.at("relative").exists(), "C19");
        day.recovers(&[]);
    }
}

#[test]
fn without_a_place_for_the_cache_the_build_says_so_or_needs_none() {
    let day = Day::new("C19", Plan::new());
    day.fails(&in_environment(&day, &[], &[]), 6, &["cache"]);
    let file = day.bench.readable("file", b"no directory");
    let file = file.to_str().unwrap();
    day.fails(&in_environment(&day, &[("XDG_CACHE_HOME", file)], &[]), 6, &["is not a directory"]);
    day.succeeds(&in_environment(&day, &[], &["--no-cache"]));
    day.equals_oracle("out.ext4");
    assert!(Path::new(file).is_file());
    day.recovers(&[]);
}
