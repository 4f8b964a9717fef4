//! The conditions after a run with a failed call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use planish_proptests::listing::Listing;
use planish_proptests::{Stack, model};
use sha2::{Digest as _, Sha256};

use crate::calls::call::{Call, Name};
use crate::calls::scene::{self, Scene};
use crate::calls::tracer::{Fault, Run, Whose};
use crate::support::{equal, read_clean};

/// The checked results of a run without a fault.
pub struct Good {
    results: BTreeMap<&'static str, Vec<u8>>,
    listing: Option<Listing>,
    stdout: String,
}

impl Good {
    /// Checks a run without a fault, the filesystem by another reader and e2fsck.
    #[track_caller]
    pub fn check(scene: &Scene, run: &Run) -> Self {
        assert_eq!(run.code, Some(0), "{}: {}", scene.name, scene.stream_text("stderr"));
        let results = scene.results();
        assert_eq!(results.len(), scene.outputs.len(), "{}", scene.name);
        let listing = results.contains_key("out.ext4").then(|| read_clean(&scene.bench.at("out.ext4")));
        if let Some(listing) = &listing {
            equal(&expected(), listing);
        }
        Self { results, listing, stdout: scene.stream_text("stdout") }
    }
}

/// The tree of the image as the reference model flattens it.
fn expected() -> Listing {
    let stack = Stack { layers: scene::image().layers };
    model::flatten(&stack).expect("every entry has a meaning").listing
}

/// Returns the violations after a run, one for each line.
pub fn faults(scene: &Scene, run: &Run, whose: Whose, fault: Fault, good: &Good) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |text: String| wrong.push(text);
    let stderr = scene.stream_text("stderr");
    let failed = run.failed.is_some();
    match run.code {
        _ if run.hung => say("it hangs".into()),
        None => say("a signal ended it".into()),
        Some(0) => {}
        Some(code) if !failed => say(format!("exit code {code}, and no call failed")),
        Some(3) if scene.name == "pull" => {}
        Some(6) => {}
        // debugfs takes a script that cannot be read to its end for a short one; the comparison finds what is missing.
        Some(8) if whose == Whose::Children => {}
        Some(code) => say(format!("exit code {code}")),
    }
    let again = run.failed.is_some_and(Call::is_made_again) && fault.error == Errno::EINTR;
    // planish cannot change the effect of an interruption on e2fsprogs.
    if again && whose == Whose::Own && run.code != Some(0) {
        say("an interrupted call was not made again".into());
    }
    if stderr.contains("panicked") {
        say("it panicked".into());
    }
    let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let muted = run.failed.is_some_and(|call| Name(call.number).to_string().starts_with("write"));
    if run.code.is_some_and(|code| (errors == 0) != (code == 0)) && !muted || errors > 1 {
        say(format!("{errors} error lines"));
    }
    if !scene.canary_is_whole() {
        say("a file beside was touched".into());
    }
    files(scene, run, good, &mut say);
    cache(&scene.bench.at("cache"), &mut say);
    for process in processes(&scene.bench.home()) {
        say(format!("a process is left: {process}"));
    }
    wrong
}

/// Exit code and files agree, and no other file exists.
fn files(scene: &Scene, run: &Run, good: &Good, say: &mut impl FnMut(String)) {
    let mut added = scene.added();
    added.retain(|name| !(run.code == Some(0) && scene.outputs.contains(&&**name)));
    if !added.is_empty() {
        added.iter_mut().for_each(|name| name.retain(|c| !c.is_ascii_digit()));
        say(format!("left: {}", added.join(", ")));
    }
    if run.code != Some(0) {
        if scene.replaces && !scene.is_old() {
            say("the older file is not what it was".into());
        }
        return;
    }
    let results = scene.results();
    for (name, expected) in &good.results {
        match results.get(name) {
            None => say(format!("exit code 0, and no {name}")),
            Some(found) if found == expected => {}
            // Another way to the same tree.
            Some(_) if *name == "out.ext4" => {
                let found = read_clean(&scene.bench.at("out.ext4"));
                if Some(&found) != good.listing.as_ref() {
                    say("exit code 0, and the filesystem is not the image".into());
                }
            }
            Some(found) if serde_json::from_slice::<serde_json::Value>(found).is_err() => {
                say(format!("exit code 0, and {name} is not whole"));
            }
            Some(_) => {}
        }
    }
    if scene.stream_text("stdout").lines().count() < good.stdout.lines().count() {
        say("exit code 0, and stdout is not whole".into());
    }
}

/// Blobs are whole, and no other file of the cache has content.
fn cache(directory: &Path, say: &mut impl FnMut(String)) {
    for path in below(directory) {
        let inside = path.strip_prefix(directory).unwrap().to_owned();
        let content = std::fs::read(&path).unwrap();
        let document = path.extension().is_some_and(|extension| extension == "json");
        if let Ok(name) = inside.strip_prefix("blobs/sha256") {
            let hex: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            if Path::new(&hex) != name {
                say(format!("a blob of {} bytes does not hash to its name", content.len()));
            }
        } else if !document && inside != Path::new("oci-layout") && content.len() > 64 {
            say(format!("left in the cache: {} with {} bytes", inside.display(), content.len()));
        }
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// The processes that run in a directory or below it.
fn processes(directory: &Path) -> Vec<String> {
    let alive = |process: &PathBuf| process.join("cwd").read_link().is_ok_and(|cwd| cwd.starts_with(directory));
    let all = Path::new("/proc").read_dir().unwrap().flatten().map(|entry| entry.path());
    let name = |process: PathBuf| std::fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
    all.filter(alive).map(name).collect()
}
