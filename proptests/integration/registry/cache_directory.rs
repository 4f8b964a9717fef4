//! The directory of the cache: its path, its owner, and a full disk.

use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use planish::Cancel;
use planish::cache::{Cache, Lookup, Reservation};

use crate::registry::day::{Day, files_below};
use crate::registry::sample::{QUICK, sample};
use crate::support::process::{command, run};
use crate::support::registry::Plan;
use crate::support::{mounts, set_mode};

#[test]
fn an_unfinished_blob_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(&directory.path().join("cache"));
    let blob = sample().layer();
    let digest: planish::Digest = blob.digest.parse().unwrap();
    let reserve = || match cache.reserve(&digest, blob.size, false, &|_| {}, &Cancel::default()).unwrap() {
        Reservation::Granted(partial) => partial,
        Reservation::Present(_) => panic!("C04: the blob is there"),
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
    assert!(matches!(cache.find(&digest, Some(blob.size)).unwrap(), Lookup::Miss), "C04");
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
fn a_file_size_limit_is_an_error_and_not_a_signal() {
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
fn a_blob_is_synced_before_its_rename_and_the_directory_after_it() {
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
fn a_cache_writable_by_others_is_made_private() {
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

/// Runs `build --offline` with a directory as the cache, and returns its warnings.
fn offline(day: &Day, cache: &Path) -> (Output, Vec<String>) {
    let mut command = day.planish();
    command.args(["build", &day.source(), "--output", "out.ext4", "--offline", "--cache-dir"]).arg(cache).args(QUICK);
    let output = day.run(&mut command);
    let warnings = crate::support::stderr(&output);
    let warnings = warnings.lines().filter_map(|line| line.strip_prefix("warning: cache: ")).map(str::to_owned);
    (output, warnings.collect())
}

#[test]
fn names_in_a_cache_writable_by_others_are_not_trusted() {
    let day = Day::new("C23", Plan::new());
    day.warm();
    let (above, cache) = (day.bench.home(), day.cache());
    let link = day.bench.at("link.ext4");
    std::os::unix::fs::symlink("cache", &link).unwrap();
    let index = cache.join("index.json");
    // The opened path, its mode, the cache path of the build, and true if a warning is expected.
    let table: [(&Path, u32, &Path, bool); 9] = [
        (&cache, 0o700, &cache, false),
        (&cache, 0o777, &cache, true),
        (&cache, 0o1777, &cache, true),
        (&index, 0o666, &cache, true),
        (&above, 0o777, &cache, true),
        (&above, 0o1777, &cache, false),
        (&above, 0o777, &link, true),
        (&cache, 0o777, &link, true),
        (&cache, 0o755, &link, false),
    ];
    for (open, mode, way, warned) in table {
        let before = open.metadata().unwrap().permissions().mode();
        set_mode(open, mode);
        let (output, warnings) = offline(&day, way);
        day.succeeds(&output);
        day.equals_oracle("out.ext4");
        let warning = format!("{} may be written by others (mode {mode:04o})", open.display());
        let right = match warned {
            true => {
                warnings.len() == 1 && warnings[0].starts_with(&warning) && warnings[0].contains(&sample().manifest)
            }
            false => warnings.is_empty(),
        };
        assert!(right, "C23: {} {mode:o} by {}: {warnings:?}", open.display(), way.display());
        let mut list = day.planish();
        let listed = day.run(list.args(["cache", "list", "--cache-dir"]).arg(way));
        day.succeeds(&listed);
        assert_eq!(crate::support::stderr(&listed).contains(&warning), warned, "C23: {} {mode:o}", open.display());
        set_mode(open, before);
    }
    std::fs::remove_file(link).unwrap();
    day.recovers(&[]);
}

#[test]
#[ignore = "needs root"]
fn names_in_a_cache_of_another_user_are_not_trusted() {
    let day = Day::new("C23", Plan::new());
    day.warm();
    run(command("chown -R 4242:4242").arg(day.cache()));
    run(command("chmod -R a+rX").arg(day.cache()));
    let manifest = &sample().manifest;
    let (output, _) = offline(&day, &day.cache());
    day.fails(&output, 6, &["belongs to another user (uid 4242)", "who may have chosen", manifest]);
    let by_digest = day.reference(&format!("img@{manifest}"));
    let mut command = day.build_command(&by_digest, "out.ext4", &["--offline"]);
    day.succeeds(&day.run(&mut command));
    day.equals_oracle("out.ext4");
    // Only the names, or the parent directory, belong to another user.
    run(crate::support::process::command("chown -R 65534:65534").arg(day.cache()));
    let index = day.cache().join("index.json");
    std::os::unix::fs::chown(&index, Some(4242), None).unwrap();
    day.fails(&offline(&day, &day.cache()).0, 6, &["index.json belongs to another user (uid 4242)"]);
    std::os::unix::fs::chown(&index, Some(65534), None).unwrap();
    let above = day.bench.shared("above");
    std::fs::create_dir(&above).unwrap();
    std::fs::rename(day.cache(), above.join("cache")).unwrap();
    std::os::unix::fs::chown(&above, Some(4242), None).unwrap();
    let (output, warnings) = offline(&day, &above.join("cache"));
    day.succeeds(&output);
    assert!(warnings[0].contains("above belongs to another user (uid 4242)"), "C23: {warnings:?}");
    std::fs::rename(above.join("cache"), day.cache()).unwrap();
    day.recovers(&[]);
}

/// Builds with the cache in the directory that the environment selects.
fn in_environment(day: &Day, variables: &[(&str, &str)], more: &[&str]) -> Output {
    let mut command = day.bench.planish();
    command.env("TMPDIR", day.bench.at("tmp")).envs(variables.iter().copied());
    command.args(["build", &day.source(), "--output", "out.ext4"]).args(QUICK).args(more);
    command.output().unwrap()
}

#[test]
fn the_environment_names_the_cache_directory() {
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
fn a_missing_cache_directory_is_an_error_only_when_it_is_needed() {
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
