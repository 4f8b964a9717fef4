//! The search for the libraries of one program, as its loader makes it: breadth first, each name once.

use std::collections::{HashSet, VecDeque};

use super::elf::{self, Elf, Machine, NEEDED_MAX};
use super::libraries::{self, DIRECTORIES_MAX, Directories};
use super::root::{Node, Root, follow};
use crate::error::Result;
use crate::path::{Quoted, Shortened};

/// The most libraries of one program.
const LIBRARIES_MAX: usize = 2000;
/// The most paths at which libraries are looked for.
const PATHS_MAX: usize = 50_000;

/// The libraries of a program.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    pub count: usize,
    /// A sentence for each that is missing.
    pub missing: Vec<String>,
    /// The limit at which the search ended, if it did.
    pub cut: Option<String>,
}

/// Searches the libraries of a program for a machine, which has a path and a loader.
pub(super) fn libraries<R: Root>(
    root: &R,
    machine: Machine,
    loader: &[u8],
    (path, program): (&[u8], &Elf),
) -> Result<Libraries> {
    let system = libraries::system(root, loader, machine)?;
    let own = libraries::of_path(&program.rpath, parent(path));
    let loader = loader.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut search =
        Search { root, machine, loader, system, own, seen: HashSet::new(), paths: 0, found: Libraries::default() };
    let mut waiting: VecDeque<File> = search.file(path.to_vec(), program.clone()).into_iter().collect();
    while let Some(file) = waiting.pop_front() {
        waiting.extend(search.libraries_of(file)?);
    }
    search.found.count = search.seen.len();
    Ok(search.found)
}

struct Search<'a, R> {
    root: &'a R,
    machine: Machine,
    /// The name of the loader.
    loader: &'a [u8],
    /// The directories for every program, and those of this one.
    system: Directories,
    own: Directories,
    seen: HashSet<Vec<u8>>,
    /// The number of paths that were looked at.
    paths: usize,
    found: Libraries,
}

/// A file that needs libraries that no file before it needs: all names together are at most [`LIBRARIES_MAX`].
struct File {
    path: Vec<u8>,
    rpath: Vec<u8>,
    runpath: Vec<u8>,
    needed: Vec<Vec<u8>>,
}

impl<R: Root> Search<'_, R> {
    fn cut(&mut self, text: impl FnOnce() -> String) {
        self.found.cut.get_or_insert_with(text);
    }

    /// Returns a file with the names that are new, if there are any.
    fn file(&mut self, path: Vec<u8>, elf: Elf) -> Option<File> {
        if elf.is_cut {
            self.cut(|| format!("{} names more than {NEEDED_MAX} libraries", Shortened(&path)));
        }
        let mut needed = Vec::new();
        for name in elf.needed {
            if self.is_loader(&name) || self.seen.contains(&name) {
                continue;
            }
            if self.seen.len() >= LIBRARIES_MAX {
                self.cut(|| format!("it needs more than {LIBRARIES_MAX} libraries"));
                break;
            }
            self.seen.insert(name.clone());
            needed.push(name);
        }
        (!needed.is_empty()).then_some(File { path, rpath: elf.rpath, runpath: elf.runpath, needed })
    }

    /// A loader is there already: it is a library of glibc's, too, and musl's is the C library under every name.
    fn is_loader(&self, name: &[u8]) -> bool {
        name == self.loader || self.loader.starts_with(b"ld-musl-") && name.starts_with(b"libc.")
    }

    /// Finds the libraries of a file, and returns those that need others.
    fn libraries_of(&mut self, file: File) -> Result<Vec<File>> {
        let origin = parent(&file.path);
        // A file with RUNPATH is searched for there only, and not where RPATHs of it and of the program lead.
        let has_runpath = !file.runpath.is_empty();
        let local = libraries::of_path(if has_runpath { &file.runpath } else { &file.rpath }, origin);
        let is_cut = local.is_cut || self.system.is_cut || !has_runpath && self.own.is_cut;
        let mut found = Vec::new();
        for name in &file.needed {
            match self.one(name, &local, has_runpath)? {
                Some((path, elf)) => found.extend(self.file(path, elf)),
                None if self.paths >= PATHS_MAX => {
                    self.cut(|| format!("there are more than {PATHS_MAX} paths to look at"));
                    break;
                }
                None if is_cut => {
                    self.cut(|| {
                        format!("{} is not in the first {DIRECTORIES_MAX} directories of a list", Quoted(name))
                    });
                }
                None => self.found.missing.push(format!(
                    "{} needs the library {}, which the image does not have for {}",
                    Shortened(&file.path),
                    Quoted(name),
                    self.machine.name()
                )),
            }
        }
        Ok(found)
    }

    fn one(&mut self, name: &[u8], local: &Directories, has_runpath: bool) -> Result<Option<(Vec<u8>, Elf)>> {
        if name.contains(&b'/') {
            self.paths += 1;
            return self.fits(name);
        }
        let own: &[Vec<u8>] = if has_runpath { &[] } else { &self.own.paths };
        let mut paths = self.paths;
        let mut found = None;
        for directory in local.paths.iter().chain(own).chain(&self.system.paths) {
            if found.is_some() || paths >= PATHS_MAX {
                break;
            }
            paths += 1;
            found = self.fits(&[directory, &b"/"[..], name].concat())?;
        }
        self.paths = paths;
        Ok(found)
    }

    /// Returns the library at a path, if it is for this machine.
    fn fits(&self, path: &[u8]) -> Result<Option<(Vec<u8>, Elf)>> {
        let Some(end) = follow(self.root, path)? else { return Ok(None) };
        if !matches!(end.node, Node::File { .. }) {
            return Ok(None);
        }
        let elf = elf::parse(&|offset, len| self.root.read(end.id, offset, len), Some(self.machine))?;
        Ok(elf.filter(|elf| elf.fault.is_none()).map(|elf| (end.path, elf)))
    }
}

/// Returns the directory of a path.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&b"/"[..], |slash| &path[..slash])
}
