//! Writes the fixtures: `make-fixtures [DIRECTORY]`, by default `fixtures`.
//!
//! The output is deterministic, so a difference in version control is a deliberate change. Listings are not written
//! here: people write them, from image-spec and the design.

mod layered;
mod single;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use planish_proptests::writer::{Flavour, Layout};

/// One fixture: a directory or file below the directory of fixtures.
struct Fixture {
    name: &'static str,
    form: Form,
}

enum Form {
    Layout(Layout),
    File(Vec<u8>),
}

fn fixtures() -> Vec<Fixture> {
    let layouts = [
        ("layered", Layout::new().tag("latest", &layered::image())),
        ("whiteout", Layout::new().tag("latest", &single::whiteout())),
        ("opaque", Layout::new().tag("latest", &single::opaque())),
        ("hardlink", Layout::new().tag("latest", &single::hardlink())),
        ("symlinked-parent", Layout::new().tag("latest", &single::symlinked_parent())),
        ("devices", Layout::new().tag("latest", &single::devices())),
        ("sparse", Layout::new().tag("latest", &single::sparse())),
        ("two-tags", single::two_tags()),
    ];
    let files = [
        ("docker-save.tar", single::repeated_layer().docker_archive(Flavour::Legacy, "planish/repeated:latest")),
        ("oci.tar", Layout::new().tag("latest", &single::repeated_layer()).to_tar()),
    ];
    let layouts = layouts.map(|(name, layout)| Fixture { name, form: Form::Layout(layout) });
    let files = files.map(|(name, bytes)| Fixture { name, form: Form::File(bytes) });
    layouts.into_iter().chain(files).collect()
}

/// Writes all fixtures; of the existing files only those with the names of fixtures are replaced.
fn write(directory: &Path) -> io::Result<()> {
    for Fixture { name, form } in fixtures() {
        let path = directory.join(name);
        match form {
            Form::Layout(layout) => {
                // A blob that the fixture no longer has must be removed.
                if path.is_dir() {
                    fs::remove_dir_all(&path)?;
                }
                layout.write(&path)?;
            }
            Form::File(bytes) => {
                fs::create_dir_all(directory)?;
                fs::write(path, bytes)?;
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("fixtures"), PathBuf::from);
    if arguments.next().is_some() || directory.as_os_str().as_encoded_bytes().starts_with(b"-") {
        eprintln!("usage: make-fixtures [DIRECTORY]");
        return ExitCode::from(2);
    }
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make-fixtures: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use planish_proptests::listing::Listing;

    use super::*;

    fn committed() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
    }

    fn files_below(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files_below(&path, found);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }

    fn files_of(directory: &Path, fixture: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let path = directory.join(fixture);
        let mut found = BTreeMap::new();
        if path.is_dir() {
            files_below(&path, &mut found);
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
        found.into_iter().map(|(path, bytes)| (path.strip_prefix(directory).unwrap().to_owned(), bytes)).collect()
    }

    #[test]
    fn the_committed_fixtures_equal_the_written_ones() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        for Fixture { name, .. } in fixtures() {
            let (ours, theirs) = (files_of(directory.path(), name), files_of(&committed(), name));
            assert!(ours == theirs, "run make-fixtures and commit {name}");
        }
    }

    #[test]
    fn every_fixture_is_small_and_has_a_listing_for_each_tag() {
        for Fixture { name, .. } in fixtures() {
            let bytes: usize = files_of(&committed(), name).values().map(Vec::len).sum();
            assert!(bytes < 20_000, "{name} has {bytes} bytes");
            let stem = name.trim_end_matches(".tar");
            let listings = if name == "two-tags" {
                vec!["two-tags.first.listing".to_owned(), "two-tags.second.listing".to_owned()]
            } else {
                vec![format!("{stem}.listing")]
            };
            for listing in listings {
                let text = fs::read_to_string(committed().join(&listing)).unwrap();
                let parsed = text.parse::<Listing>().unwrap_or_else(|error| panic!("{listing}: {error}"));
                assert!(parsed.get(b"/").is_some(), "{listing} has no root");
            }
        }
    }

    #[test]
    fn only_fixtures_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("layered/blobs/sha256/stale");
        let foreign = directory.path().join("README.md");
        fs::create_dir_all(stale.parent().unwrap()).unwrap();
        fs::write(&stale, "").unwrap();
        fs::write(&foreign, "").unwrap();
        write(directory.path()).unwrap();
        assert!(!stale.exists());
        assert!(foreign.exists());
    }
}
