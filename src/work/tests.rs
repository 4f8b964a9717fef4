use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::name::{BESIDE_PREFIX, fresh_name};
use super::*;
use crate::output::publish::{Output, SyncedFile, publish};
use crate::progress::NoProgress;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn create(parent: &Path) -> WorkDir {
    WorkDir::create(parent, &Cancel::default()).unwrap()
}

/// Leaves a directory as a killed run does: with the marker of a process that no longer exists.
fn abandon(work: WorkDir) -> PathBuf {
    let path = work.path().to_owned();
    let marker = path.join("planish-owner");
    let text = std::fs::read_to_string(&marker).unwrap();
    let pid = format!("\npid {}\n", std::process::id());
    std::fs::write(&marker, text.replace(&pid, "\npid 4194304\n")).unwrap();
    // The lock ends with the process, here with its descriptor.
    let WorkDir(private) = work;
    private.abandon();
    path
}

#[test]
fn a_work_directory_is_private_and_removed_with_its_owner() {
    let parent = tempfile::tempdir().unwrap();
    let work = create(parent.path());
    assert_eq!(work.path().metadata().unwrap().mode() & 0o7777, 0o700);
    std::fs::write(work.path().join("x"), "x").unwrap();
    assert!(work.is_locked());
    assert!(work.remove());
    assert_eq!(names(parent.path()), [""; 0]);
}

#[test]
fn a_moved_work_directory_is_found_and_removed() {
    let parent = tempfile::tempdir().unwrap();
    let work = create(parent.path());
    std::fs::write(work.path().join("x"), "x").unwrap();
    std::fs::rename(work.path(), parent.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("/etc", work.path()).unwrap();
    let link = work.path().file_name().unwrap().to_str().unwrap().to_owned();
    work.make_file("y").unwrap();
    drop(work);
    assert_eq!(names(parent.path()), [link]);
}

#[test]
fn directories_left_by_a_cancelled_run_are_listed_and_removed_ones_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let mut line = [0; crate::cancel::LINE_MAX];
    let cancel = Cancel::default();
    drop(WorkDir::create(parent.path(), &cancel.part()).unwrap());
    drop(Output::check(&parent.path().join("out"), false, &[]).unwrap().begin(&cancel).unwrap());
    assert_eq!(cancel.take_remains(&mut line), b"");
    cancel.raise(crate::Signal::Hangup);
    while !cancel.is_out_of_time() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let work = WorkDir::create(parent.path(), &cancel).unwrap();
    std::fs::write(work.path().join("x"), "x").unwrap();
    let path = work.path().to_owned();
    assert!(!work.remove());
    let text = format!("note: left behind: {}; the next run there cleans up\n", path.display());
    assert_eq!(cancel.take_remains(&mut line), text.as_bytes());
    assert_eq!(names(parent.path()).len(), 1);
}

#[test]
fn scratch_files_follow_a_moved_work_directory() {
    let parent = tempfile::tempdir().unwrap();
    let work = create(parent.path());
    let (reached, moved) = (work.scratch().reach("x"), parent.path().join("moved"));
    std::fs::rename(work.path(), &moved).unwrap();
    std::fs::create_dir(work.path()).unwrap();
    std::fs::write(reached, "x").unwrap();
    work.scratch().make().unwrap();
    assert_eq!((names(work.path()), names(&moved)), (vec![], vec!["planish-owner".into(), "x".into()]));
    std::fs::remove_dir(work.path()).unwrap();
    drop(work);
    assert_eq!(names(parent.path()), [""; 0]);
}

#[test]
fn only_directories_of_killed_runs_are_removed() {
    let parent = tempfile::tempdir().unwrap();
    let orphan = create(parent.path());
    std::fs::create_dir_all(orphan.path().join("a/b/c")).unwrap();
    std::os::unix::fs::symlink("/etc", orphan.path().join("a/link")).unwrap();
    let orphan = abandon(orphan);
    let first = create(parent.path());
    let second = create(parent.path());
    assert!(first.path().exists() && second.path().exists() && !orphan.exists());
    let output = Output::check(&parent.path().join("out"), false, &[]).unwrap();
    let file = output.begin(&Cancel::default()).unwrap();
    let again = output.begin(&Cancel::default()).unwrap();
    assert!(file.path().exists() && again.path().exists());
    drop((first, second, file, again));
    assert_eq!(names(parent.path()), [""; 0]);
}

#[test]
fn directories_of_runs_killed_while_they_began_are_removed() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let [bare, begun, written] = [(); 3].map(|()| fresh_name(WORK_PREFIX));
    for name in [&bare, &begun, &written] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    for name in [&begun, &written] {
        std::fs::write(at(name).join("planish-owner"), "").unwrap();
    }
    std::fs::write(at(&written).join("x"), "x").unwrap();
    drop(create(parent.path()));
    assert_eq!(names(parent.path()), [written], "files stay without a marker that names their owner");
}

#[test]
fn runs_that_begin_together_keep_their_directories() {
    let parent = tempfile::tempdir().unwrap();
    let begin = || {
        for _ in 0..50 {
            let work = create(parent.path());
            assert!(work.make_file("x").is_ok() && work.path().exists());
            assert!(work.remove());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(begin);
        }
    });
    assert_eq!(names(parent.path()), [""; 0]);
}

#[test]
fn directories_without_our_marker_stay() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    // Only a name; a name with another directory's marker, as a copy has; a name with a checksum, a file and no marker.
    std::fs::create_dir(at("planish-work-notes")).unwrap();
    std::fs::write(at("planish-work-notes/thesis"), "x").unwrap();
    std::fs::write(at(".out.planish-mine.tmp"), "x").unwrap();
    let copied = fresh_name(WORK_PREFIX);
    let copied_from = abandon(create(parent.path()));
    std::fs::create_dir(at(&copied)).unwrap();
    std::fs::copy(copied_from.join("planish-owner"), at(&copied).join("planish-owner")).unwrap();
    let unmarked = fresh_name(BESIDE_PREFIX);
    std::fs::create_dir(at(&unmarked)).unwrap();
    std::fs::write(at(&unmarked).join("x"), "x").unwrap();
    // Other users that may enter it could have put files there.
    let open = abandon(create(parent.path()));
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in [&copied, &unmarked] {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let open = open.file_name().unwrap().to_str().unwrap().to_owned();
    drop(create(parent.path()));
    let mut expected: Vec<String> =
        [".out.planish-mine.tmp", "planish-work-notes"].map(String::from).into_iter().collect();
    expected.extend([copied, unmarked, open]);
    expected.sort();
    assert_eq!(names(parent.path()), expected);
}

fn ready(path: &Path, text: &str, replace: bool) -> SyncedFile {
    let cancel = Cancel::default();
    let output = Output::check(path, replace, &[]).unwrap();
    let file = output.begin(&cancel).unwrap();
    std::io::Write::write_all(&mut file.file(), text.as_bytes()).unwrap();
    SyncedFile::settle(output, file, &cancel).unwrap()
}

#[test]
fn an_unpublished_file_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    drop(ready(&target, "x", false));
    assert_eq!(names(parent.path()), [""; 0]);
    let [first, second] = ["1", "2"].map(|text| ready(&target, text, false));
    publish(vec![first], &NoProgress, &Cancel::default()).unwrap();
    let error = publish(vec![second], &NoProgress, &Cancel::default()).unwrap_err();
    assert!(error.to_string().ends_with("out: exists already"), "{error}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "1");
    publish(vec![ready(&target, "3", true)], &NoProgress, &Cancel::default()).unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "3");
    assert_eq!(names(parent.path()), ["out"]);
}

#[test]
fn several_files_appear_together_or_not_at_all() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    std::fs::write(at("old"), "old").unwrap();
    let files = vec![ready(&at("old"), "new", true), ready(&at("fresh"), "x", false), ready(&at("taken"), "x", false)];
    std::fs::write(at("taken"), "theirs").unwrap();
    assert_eq!(publish(files, &NoProgress, &Cancel::default()).unwrap_err().fault().exit_code(), 2);
    assert_eq!(names(parent.path()), ["old", "taken"]);
    assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "old");
    assert_eq!(std::fs::read_to_string(at("taken")).unwrap(), "theirs");
}

#[test]
fn an_output_in_a_moved_directory_is_withdrawn() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    std::fs::create_dir(at("out")).unwrap();
    let file = ready(&at("out/x"), "x", false);
    std::fs::rename(at("out"), at("moved")).unwrap();
    std::fs::create_dir(at("out")).unwrap();
    let error = publish(vec![file], &NoProgress, &Cancel::default()).unwrap_err();
    assert_eq!(error.fault().exit_code(), 6);
    assert_eq!((names(&at("out")), names(&at("moved"))), (vec![], vec![]));
}

#[test]
fn a_special_file_created_during_the_build_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("out");
    for (make, text) in [
        ((|path| std::fs::create_dir(path).unwrap()) as fn(&Path), "is a directory"),
        (|path| std::os::unix::fs::symlink("x", path).unwrap(), "is a symlink, and planish does not write through one"),
    ] {
        let file = ready(&target, "x", true);
        make(&target);
        let error = publish(vec![file], &NoProgress, &Cancel::default()).unwrap_err();
        assert!(error.to_string().ends_with(text), "{error}");
        assert_eq!(names(parent.path()), ["out"]);
        let _ = std::fs::remove_file(&target).or_else(|_| std::fs::remove_dir(&target));
    }
}
