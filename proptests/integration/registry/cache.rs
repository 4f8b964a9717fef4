//! Damaged and foreign files in the cache.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use crate::registry::day::{Day, files_below};
use crate::registry::sample::{LAYER, moved, sample};
use crate::support::process::{command, run, wait};
use crate::support::registry::{Kind, Plan};
use crate::support::{set_mode, stderr};

fn layer() -> &'static str {
    &sample().layer().digest
}

/// A day with the image already in the cache, and an empty log.
fn warm(id: &'static str) -> Day {
    let day = Day::new(id, Plan::new());
    day.warm();
    day
}

/// The GETs of a blob or a manifest since the cache was filled, which took one.
fn gets_since(day: &Day, digest: &str) -> usize {
    day.registry.log().gets(digest).len().saturating_sub(1)
}

#[test]
fn a_damaged_blob_is_fetched_again() {
    let empty: fn(&Path) = |path| std::fs::write(path, "").unwrap();
    let cut: fn(&Path) = |path| {
        let mut content = std::fs::read(path).unwrap();
        content.pop();
        std::fs::write(path, content).unwrap();
    };
    let flip: fn(&Path) = |path| {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(path, content).unwrap();
    };
    let sizes = [("C01", empty, 0), ("C02", cut, sample().layer().size - 1), ("C03", flip, sample().layer().size)];
    std::thread::scope(|scope| {
        for (id, damage, left) in sizes {
            for digest in [layer(), &sample().config, &sample().manifest] {
                scope.spawn(move || damaged(id, digest, damage, left));
            }
        }
    });
}

/// A blob cut to `left` bytes is an error offline, and is fetched again online.
fn damaged(id: &'static str, digest: &str, damage: fn(&Path), left: u64) {
    let day = warm(id);
    set_mode(&day.blob(digest), 0o644);
    damage(&day.damage(digest));
    let hex = digest.strip_prefix("sha256:").unwrap();
    let line = day.fails(&day.build(&["--offline"]), 5, &[hex]);
    if digest == layer() && id != "C03" {
        let promised = sample().layer().size;
        assert!(line.contains(&format!("holds {left} of the blob's {promised} bytes")), "{id}: {line}");
    }
    day.succeeds(&day.build(&[]));
    day.damage_is_over();
    day.equals_oracle("out.ext4");
    // The manifest is always fetched by the lookup of the tag.
    let again = gets_since(&day, digest);
    assert!(again == 1 || digest == sample().manifest, "{id}: {digest} was fetched {again} times more");
    day.succeeds(&day.build(&["--offline"]));
    day.equals_oracle("out.ext4");
}

#[test]
fn a_directory_named_like_a_blob_is_unchanged() {
    let day = warm("C05");
    let path = day.damage(layer());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("file"), "theirs").unwrap();
    day.bench.give(&path);
    for flags in [&[][..], &["--offline"]] {
        day.fails(&day.build(flags), 6, &[layer().split_at(7).1, "is not a regular file"]);
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"theirs");
    }
    std::fs::remove_dir_all(&path).unwrap();
    day.damage_is_over();
    day.recovers(&[]);
}

#[test]
fn a_symlink_named_like_a_blob_is_not_followed() {
    let day = warm("C06");
    let path = day.damage(layer());
    let right = day.bench.readable("right", &std::fs::read(&path).unwrap());
    let wrong = day.bench.at("canary/secret");
    for target in [right.as_path(), &wrong, Path::new("/nonexistent")] {
        std::fs::remove_file(&path).unwrap();
        symlink(target, &path).unwrap();
        let before = std::fs::read(target).ok();
        for flags in [&[][..], &["--offline"]] {
            day.fails(&day.build(flags), 6, &[layer().split_at(7).1, "is not a regular file"]);
            assert_eq!(std::fs::read(target).ok(), before);
            assert_eq!(std::fs::read_link(&path).unwrap(), target);
        }
    }
    std::fs::remove_file(&path).unwrap();
    day.damage_is_over();
    day.recovers(&[]);
}

#[test]
fn a_fifo_named_like_a_blob_does_not_hang() {
    let day = warm("C07");
    let path = day.damage(layer());
    std::fs::remove_file(&path).unwrap();
    run(command("mkfifo").arg(&path));
    day.bench.give(&path);
    for flags in [&[][..], &["--offline"]] {
        let mut build = day.build_command(&day.source(), "out.ext4", flags);
        let status = wait(&mut build.stderr(std::process::Stdio::null()).spawn().unwrap(), Duration::from_secs(20));
        assert_eq!(status.expect("a fifo is no file to read").code(), Some(6), "{}", day.id);
    }
    day.fails(&day.build(&[]), 6, &["is not a regular file"]);
    std::fs::remove_file(&path).unwrap();
    day.damage_is_over();
    day.recovers(&[]);
}

#[test]
fn a_complete_read_only_cache_is_read() {
    let day = warm("C08");
    run(command("chmod -R a-w").arg(day.cache()));
    let before = files_below(&day.cache());
    for flags in [&[][..], &["--offline"]] {
        day.succeeds(&day.build(flags));
        day.equals_oracle("out.ext4");
    }
    assert_eq!(gets_since(&day, layer()), 0);
    assert_eq!(files_below(&day.cache()), before);
    run(command("chmod -R u+w").arg(day.cache()));
    day.recovers(&[]);
}

#[test]
fn an_empty_read_only_cache_is_named() {
    let day = Day::new("C09", Plan::new());
    std::fs::create_dir(day.cache()).unwrap();
    day.bench.give(&day.cache());
    set_mode(&day.cache(), 0o555);
    let output = day.build(&[]);
    day.fails(&output, 6, &["cache", "cannot be written"]);
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    assert_eq!(day.registry.log().blobs().len(), 0, "blobs were fetched that nothing could keep");
    day.succeeds(&day.build(&["--no-cache"]));
    day.equals_oracle("out.ext4");
    set_mode(&day.cache(), 0o755);
    day.recovers(&[]);
}

#[test]
fn a_damaged_index_keeps_the_blobs() {
    let cases = [
        ("index.json", ""),
        ("index.json", "{\"schemaVersion\": 2, \"mani"),
        ("oci-layout", ""),
        ("index.json", "\x1b[]"),
    ];
    for (file, content) in cases {
        let day = warm("C21");
        let path = day.cache().join(file);
        set_mode(&path, 0o644);
        std::fs::write(&path, content).unwrap();
        let output = day.build(&[]);
        match output.status.code() {
            Some(0) => day.equals_oracle("out.ext4"),
            _ => {
                day.fails(&output, 6, &[file]);
                std::fs::remove_file(&path).unwrap();
                day.succeeds(&day.build(&[]));
                day.equals_oracle("out.ext4");
            }
        }
        for digest in [layer(), &sample().config] {
            assert_eq!(gets_since(&day, digest), 0, "{}: {digest} was fetched again", day.id);
        }
        day.recovers(&[]);
    }
}

/// A day on which the tag has moved after the cache was filled.
fn after_a_move() -> Day {
    let write = |directory: &Path| {
        sample().write(directory);
        let index = std::fs::read(directory.join("index.json")).unwrap();
        moved().write(directory);
        std::fs::write(directory.join("index.json"), index).unwrap();
    };
    let day = Day::of("C22", Plan::new(), &write);
    day.warm();
    day.registry.follow(Plan::new().tag("latest", vec![moved().manifest.clone()]));
    day
}

#[test]
fn a_tag_is_looked_up_each_time_by_default() {
    let printed = |day: &Day, flags: &[&str]| {
        let output = day.pull(flags);
        day.succeeds(&output);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let day = after_a_move();
    let requests = day.registry.log().len();
    for flag in ["--offline", "--pull=never", "--pull=missing"] {
        assert_eq!(printed(&day, &[flag]), sample().manifest);
        day.succeeds(&day.build(&[flag]));
        day.equals_oracle("out.ext4");
    }
    assert_eq!(day.registry.log().len(), requests, "the registry was asked");
    // A tag in the cache is not looked up, and a missing blob is fetched.
    std::fs::remove_file(day.blob(layer())).unwrap();
    assert_eq!(printed(&day, &["--pull=missing"]), sample().manifest);
    assert_eq!(day.registry.log().gets(layer()).len(), 2);
    assert_eq!(printed(&day, &["--pull=newer"]), moved().manifest);
    let blobs = day.registry.log().blobs();
    assert_eq!(blobs.gets(layer()).len(), 2, "what both images have was fetched again");
    assert_eq!(printed(&day, &[]), moved().manifest);
    assert_eq!(printed(&day, &["--offline"]), moved().manifest, "the cache's name moved too");
    assert_eq!(printed(&day, &["--pull=always"]), moved().manifest);
    day.recovers(&[]);
}

#[test]
fn a_complete_cached_digest_sends_no_request() {
    let day = warm("C22");
    let requests = day.registry.log().len();
    let source = day.reference(&format!("img@{}", sample().manifest));
    let output = day.run(&mut day.build_command(&source, "out.ext4", &[]));
    day.succeeds(&output);
    day.equals_oracle("out.ext4");
    assert_eq!(day.registry.log().len(), requests, "the registry was asked");
}

#[test]
fn missing_blobs_are_named_when_fetching_is_forbidden() {
    let day = Day::new("C22", Plan::new());
    for flag in ["--offline", "--pull=never"] {
        day.fails(&day.build(&[flag]), 6, &["img", "nothing may be fetched"]);
    }
    assert_eq!(day.registry.log().len(), 0);
    day.warm();
    std::fs::remove_file(day.blob(layer())).unwrap();
    day.fails(&day.build(&["--offline"]), 6, &[layer().split_at(7).1, "nothing may be fetched"]);
    day.succeeds(&day.build(&[]));
    assert_eq!(day.registry.log().gets(layer()).len(), 2);
    day.recovers(&[]);
}

#[test]
fn a_warm_cache_fetches_no_blob_and_verifies_itself() {
    let day = warm("C08");
    let fetched = day.registry.log().blobs().len();
    assert_eq!(fetched, sample().layers.len() + 1);
    day.succeeds(&day.build(&[]));
    day.equals_oracle("out.ext4");
    assert_eq!(day.registry.log().blobs().len(), fetched);
    assert_eq!(day.registry.log().kind(Kind::Layer).0[LAYER].status, Some(200));
    let verify = |day: &Day| {
        let mut command = day.planish();
        command.args(["cache", "verify", "--cache-dir", "cache"]);
        day.run(&mut command)
    };
    day.succeeds(&verify(&day));
    let path = day.damage(layer());
    set_mode(&path, 0o644);
    std::fs::write(&path, "wrong").unwrap();
    assert_ne!(verify(&day).status.code(), Some(0));
}
