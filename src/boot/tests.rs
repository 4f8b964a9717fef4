//! Programs of a root directory in memory, with ELF files that a few lines write.

use super::program::{Program, Programs};
use super::root::{Node, Root};
use super::{Check, CheckOptions, Verdict};
use crate::error::Result;

/// Files in the order of their paths, each with its mode and bytes.
#[derive(Default)]
struct Files(Vec<(String, u16, Vec<u8>)>);

impl Files {
    fn with(mut self, path: &str, mode: u16, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.retain(|(other, ..)| other != path);
        let at = self.0.partition_point(|(other, ..)| &**other < path);
        self.0.insert(at, (path.to_owned(), mode, bytes.into()));
        self
    }

    fn program(&self) -> Program {
        let machine = super::elf::Machine::of("amd64");
        Programs { root: self, machine }.at(b"/sbin/init").unwrap().unwrap()
    }

    /// Returns the texts of the problems and of the warnings of `/sbin/init`.
    fn found(&self) -> (Vec<String>, Vec<String>) {
        let program = self.program();
        let texts = |problems: Vec<super::Problem>| problems.into_iter().map(|problem| problem.text).collect();
        (texts(program.problems), texts(program.warnings))
    }
}

/// A file, or a directory by the length of a path in it.
type Id = (usize, usize);

impl Root for Files {
    type Id = Id;

    fn root(&self) -> Id {
        (0, 0)
    }

    fn child(&self, (file, len): Id, name: &[u8]) -> Result<Option<Id>> {
        let path = [&self.0[file].0.as_bytes()[..len], b"/", name].concat();
        let at = |path: &[u8]| self.0.partition_point(|(other, ..)| other.as_bytes() < path);
        let inner = [&path[..], b"/"].concat();
        let is_file = |file: &usize| self.0.get(*file).is_some_and(|(other, ..)| other.as_bytes() == path);
        let is_directory =
            |file: &usize| self.0.get(*file).is_some_and(|(other, ..)| other.as_bytes().starts_with(&inner));
        let found = Some(at(&path)).filter(is_file).or_else(|| Some(at(&inner)).filter(is_directory));
        Ok(found.map(|file| (file, path.len())))
    }

    fn node(&self, (file, len): Id) -> Result<Node> {
        let (path, mode, bytes) = &self.0[file];
        let is_file = len == path.len();
        Ok(if is_file { Node::File { mode: *mode, size: bytes.len() as u64 } } else { Node::Directory })
    }

    fn read(&self, (file, _): Id, offset: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = &self.0[file].2;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..].iter().copied().take(len).collect())
    }

    fn names(&self, _: Id, _: usize) -> Result<Vec<Box<[u8]>>> {
        Ok(Vec::new())
    }
}

/// Returns an ELF file for amd64 (gABI, chapters 4 and 5): a segment with all of it, a loader, and a dynamic section.
fn elf(loader: &str, needed: &[String], rpath: &str) -> Vec<u8> {
    let mut strings = vec![0];
    let mut dynamic = Vec::new();
    let mut entry = |tag: u64, text: &str| {
        dynamic.extend([tag, strings.len() as u64]);
        strings.extend([text.as_bytes(), b"\0"].concat());
    };
    needed.iter().for_each(|name| entry(1, name));
    entry(15, rpath);
    let strings_at = 64 + 3 * 56 + loader.len();
    let dynamic_at = (strings_at + strings.len()).next_multiple_of(8);
    dynamic.extend([5, strings_at as u64, 10, strings.len() as u64, 0, 0]);
    let total = dynamic_at + dynamic.len() * 8;

    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    half(&mut file, &[3, 62, 1, 0]);
    word(&mut file, &[0x1000, 64, 0]);
    half(&mut file, &[0, 0, 64, 56, 3, 64, 0, 0]);
    for (kind, at, len) in [
        (1, 0, total),
        (if loader.is_empty() { 0 } else { 3 }, 64 + 3 * 56, loader.len()),
        (2, dynamic_at, dynamic.len() * 8),
    ] {
        let (at, len) = (at as u64, len as u64);
        word(&mut file, &[kind, at, at, at, len, len, 1]);
    }
    file.extend(loader.as_bytes());
    file.extend(strings);
    file.resize(dynamic_at, 0);
    word(&mut file, &dynamic);
    file
}

fn library(number: usize) -> String {
    format!("l{number}.so")
}

/// An init that needs the first of some libraries, and the loader of both.
fn dynamic(libraries: impl Iterator<Item = (usize, Vec<u8>)>) -> Files {
    let start = Files::default().with("/sbin/init", 0o755, elf("/lib/ld.so\0", &[library(0)], "")).with(
        "/lib/ld.so",
        0o755,
        elf("", &[], ""),
    );
    libraries.fold(start, |files, (number, bytes)| files.with(&format!("/lib/{}", library(number)), 0o644, bytes))
}

#[test]
fn libraries_that_need_each_other_are_searched_once() {
    let all: Vec<String> = (0..100).map(library).collect();
    let files = dynamic((0..100).map(|number| (number, elf("", &all, &format!("/{}", "q".repeat(3000))))));
    assert_eq!(files.program().kind, "amd64, loader /lib/ld.so, 100 libraries");
    assert_eq!(files.found(), (vec![], vec![]));
}

#[test]
fn a_search_that_ends_at_a_limit_says_so() {
    let chain = dynamic((0..2100).map(|number| (number, elf("", &[library(number + 1)], ""))));
    let many: Vec<String> = (0..1001).map(library).collect();
    let list: Vec<String> = (0..201).map(|number| format!("/d{number}")).collect();
    let table = [
        (chain, "it needs more than 2000 libraries"),
        (dynamic((0..1001).map(|number| (number, elf("", &many, "")))), "/lib/l0.so names more than 1000 libraries"),
        (
            dynamic([(0, elf("", &[library(1)], &list.join(":")))].into_iter()),
            "\"l1.so\" is not in the first 200 directories of a list",
        ),
    ];
    for (files, limit) in table {
        let text = format!("the search for the libraries of /sbin/init ended early: {limit}");
        assert_eq!(files.found(), (vec![], vec![text]));
    }
}

#[test]
fn a_list_of_directories_is_searched_up_to_a_number_of_paths() {
    let all: Vec<String> = (0..300).map(library).collect();
    let list: Vec<String> = (0..190).map(|number| format!("/d{number}")).collect();
    let files = dynamic((0..300).map(|number| (number, elf("", &all, &list.join(":")))));
    let text = "the search for the libraries of /sbin/init ended early: there are more than 50000 paths to look at";
    assert_eq!(files.found(), (vec![], vec![text.to_owned()]));
}

/// Returns the only problem of an init with a shell, a loader and a library beside it.
fn problem(init: impl Into<Vec<u8>>) -> (String, &'static str) {
    let program = dynamic([(0, elf("", &[], ""))].into_iter())
        .with("/bin/sh", 0o755, elf("", &[], ""))
        .with("/sbin/init", 0o755, init)
        .program();
    let [problem] = <[_; 1]>::try_from(program.problems).unwrap();
    (problem.text, problem.advice)
}

#[test]
fn the_first_line_of_a_script_is_read_as_by_linux() {
    let long = format!("#!{}/bin/sh\n", "/".repeat(300));
    let table = [
        ("#!/bin/sh\r\n", "is a script for \"/bin/sh\\x0d\", which the image does not have", true),
        ("#!/bin/sh -e\r\n", "is a script for \"/bin/sh\", which gets an argument that ends with CR", true),
        ("#!\n", "is a script that names no interpreter", false),
        ("#! \t\n/bin/sh", "is a script that names no interpreter", false),
        (&long, "is a script whose interpreter does not end within 256 bytes", false),
    ];
    for (script, expected, is_about_cr) in table {
        let (text, advice) = problem(script);
        assert_eq!((text, advice.contains("CR LF")), (format!("/sbin/init {expected}"), is_about_cr), "{script:?}");
    }
    for good in ["#!/bin/sh", "#! /bin/sh \t\n", "#!/bin/sh\0\r\n", "#!\t/bin/sh -e\necho\r\n"] {
        let files = Files::default().with("/bin/sh", 0o755, elf("", &[], "")).with("/sbin/init", 0o755, good);
        assert_eq!(files.found(), (vec![], vec![]), "{good:?}");
    }
}

/// The positions are those of the gABI's `Elf64_Ehdr` and of the second `Elf64_Phdr`.
#[test]
fn an_elf_file_that_linux_does_not_start_is_a_problem() {
    let loader = "/lib/ld.so\0";
    let table: [(usize, &[u8], &str); 9] = [
        (16, &[1], "it is an object file, which is not linked"),
        (16, &[4], "it is a core dump"),
        (16, &[0], "its type is unknown"),
        (32, &[0xff; 7], "its program headers lie beyond its end"),
        (54, &[0], "its program headers have another size than those of its class"),
        (56, &[0xff, 0xff], "it has more than 64 KiB of program headers"),
        (56, &[0, 0], "it has no program headers"),
        (64 + 56 + 32, &[10], "the path of its loader does not end with NUL"),
        (64 + 56 + 32, &[1], "the path of its loader is empty"),
    ];
    for (at, value, expected) in table {
        let mut init = elf(loader, &[library(0)], "");
        init[at..at + value.len()].copy_from_slice(value);
        let (text, _) = problem(init);
        assert_eq!(text, format!("/sbin/init is an ELF file that Linux does not start: {expected}"));
    }
    let mut big = elf(loader, &[], "");
    big[5] = 2;
    let expected = "/sbin/init is for a 64-bit big-endian machine (number 15872), the image is for amd64";
    assert_eq!(problem(big).0, expected);
    let mut small = elf(loader, &[], "");
    small[4] = 1;
    let expected = "/sbin/init is for a 32-bit little-endian machine (number 62), the image is for amd64";
    assert_eq!(problem(small).0, expected);
}

#[test]
fn a_loader_is_an_executable_elf_file_of_the_same_machine() {
    let mut other = elf("", &[], "");
    other[18] = 183;
    let mut object = elf("", &[], "");
    object[16] = 1;
    let table = [
        (0o644, elf("", &[], ""), "is not executable"),
        (0o755, b"junk".to_vec(), "is no ELF file"),
        (0o755, other, "is for arm64"),
        (0o755, object, "Linux does not load: it is an object file, which is not linked"),
    ];
    for (mode, bytes, expected) in table {
        let files = Files::default().with("/sbin/init", 0o755, elf("/lib/ld.so\0", &[], ""));
        let text = format!("/sbin/init needs the loader \"/lib/ld.so\", which {expected}");
        assert_eq!(files.with("/lib/ld.so", mode, bytes).found(), (vec![text], vec![]));
    }
}

#[test]
fn the_kernel_tries_another_init_only_if_it_cannot_start_one() {
    let table: [(Vec<u8>, Verdict); 5] = [
        (b"#!/bin/sh\r\n".into(), Verdict::Warning),
        (b"#!/bin/sh -e\r\n".into(), Verdict::Failure),
        (b"echo".into(), Verdict::Warning),
        (elf("/lib/none\0", &[library(0)], ""), Verdict::Warning),
        (elf("/lib/ld.so\0", &[library(0)], ""), Verdict::Failure),
    ];
    for (init, verdict) in table {
        let files =
            dynamic(std::iter::empty()).with("/bin/sh", 0o755, elf("", &[], "")).with("/sbin/init", 0o755, init);
        let programs = Programs { root: &files, machine: None };
        let mut check = Check { programs, findings: vec![] };
        let init = check.init(&CheckOptions::default()).unwrap();
        assert_eq!((check.findings[0].verdict, init.is_some()), (verdict, verdict == Verdict::Warning));
    }
}
