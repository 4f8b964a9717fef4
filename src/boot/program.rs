//! A program of the image: can the kernel start it, and does its loader find its libraries?

use super::elf::{self, Elf, Machine};
use super::root::{End, Node, Root, follow};
use super::search::{self, Libraries};
use crate::error::Result;
use crate::path::{Quoted, Shortened};

/// The bytes of a file in which the kernel looks for `#!` (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;
/// The beginning of a script.
const SCRIPT: &[u8] = b"#!";
/// The number of interpreters in a row that the kernel starts.
const INTERPRETERS_MAX: usize = 4;

/// A program, and all that keeps it from running.
#[derive(Debug)]
pub(super) struct Program {
    /// The path without symlinks.
    pub path: Vec<u8>,
    /// The description: static, or with which loader and how many libraries.
    pub kind: String,
    pub problems: Vec<Problem>,
    /// What was not looked at.
    pub warnings: Vec<Problem>,
}

/// A fact, and what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    pub text: String,
    pub advice: &'static str,
    /// True if it ends a program that the kernel has started: no other init is tried then.
    pub is_late: bool,
}

impl Problem {
    fn new(text: String, advice: &'static str) -> Self {
        Self { text, advice, is_late: false }
    }

    fn late(text: String, advice: &'static str) -> Self {
        Self { text, advice, is_late: true }
    }
}

/// Looks at programs of one root, for one machine.
pub(super) struct Programs<'a, R> {
    pub root: &'a R,
    /// The machine of the image, if it is known.
    pub machine: Option<Machine>,
}

impl<R: Root> Programs<'_, R> {
    /// Looks at the program at a path; `None` if there is nothing.
    pub fn at(&self, path: &[u8]) -> Result<Option<Program>> {
        match follow(self.root, path)? {
            None => Ok(None),
            Some(end) => self.look(&end, 0).map(Some),
        }
    }

    fn look(&self, end: &End<R::Id>, depth: usize) -> Result<Program> {
        let mut program = Program { path: end.path.clone(), kind: String::new(), problems: vec![], warnings: vec![] };
        let shown = Shortened(&end.path);
        let mut problem = |text: String, advice| program.problems.push(Problem::new(text, advice));
        let Node::File { mode, .. } = end.node else {
            problem(format!("{shown} is no file"), "put a program there with --inject or --init");
            return Ok(program);
        };
        if mode & 0o111 == 0 {
            problem(format!("{shown} is not executable"), "give it an execute bit, or put it there with :755");
        }
        let head = self.root.read(end.id, 0, HEAD)?;
        if let Some(line) = head.strip_prefix(SCRIPT) {
            return self.script(program, line, depth);
        }
        match elf::parse(&|offset, len| self.root.read(end.id, offset, len), None)? {
            Some(elf) => self.binary(program, &elf),
            None => {
                problem(format!("{shown} is neither an ELF program nor a script with #!"), "put a program there");
                Ok(program)
            }
        }
    }

    /// Reads the first line as the kernel does (`fs/binfmt_script.c`): blanks and NUL end the interpreter, CR does not.
    fn script(&self, mut program: Program, rest: &[u8], depth: usize) -> Result<Program> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let is_end = |byte: &u8| is_blank(byte) || *byte == 0;
        let first = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let start = first.iter().position(|byte| !is_blank(byte)).unwrap_or(first.len());
        let end = first.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
        let line = &first[start..end];
        let interpreter = line.split(is_end).next().unwrap_or_default();
        let advice = match line.last() {
            Some(b'\r') => {
                "its lines end with CR LF, and Linux takes the CR for a part of them: dos2unix makes them LF"
            }
            _ => "install the interpreter in the image, or correct the first line of the script",
        };
        let shown = Shortened(&program.path).to_string();
        let problem =
            |fact: &str| Problem::new(format!("{shown} is a script for {}, {fact}", Quoted(interpreter)), advice);
        if interpreter.is_empty() {
            program.problems.push(Problem::new(format!("{shown} is a script that names no interpreter"), advice));
            return Ok(program);
        }
        if first.len() == HEAD - SCRIPT.len() && !first[start..].iter().any(is_end) {
            let text = format!("{shown} is a script whose interpreter does not end within {HEAD} bytes");
            program.problems.push(Problem::new(text, advice));
            return Ok(program);
        }
        let argument = line.split(|byte| *byte == 0).next().unwrap_or_default();
        if argument.len() > interpreter.len() && argument.ends_with(b"\r") {
            let text =
                format!("{shown} is a script for {}, which gets an argument that ends with CR", Quoted(interpreter));
            program.problems.push(Problem::late(text, advice));
        }
        if depth >= INTERPRETERS_MAX {
            let found = problem("one of too many scripts in a row");
            program.problems.push(found);
            return Ok(program);
        }
        match follow(self.root, interpreter)? {
            None => {
                let found = problem("which the image does not have");
                program.problems.push(found);
            }
            Some(end) => {
                let inner = self.look(&end, depth + 1)?;
                program.kind = format!("script for {}", Shortened(&inner.path));
                program.problems.extend(inner.problems);
                program.warnings.extend(inner.warnings);
            }
        }
        Ok(program)
    }

    fn binary(&self, mut program: Program, elf: &Elf) -> Result<Program> {
        let shown = Shortened(&program.path).to_string();
        let Some(machine) = elf.machine else { return Ok(program) };
        if let Some(wanted) = self.machine.filter(|wanted| *wanted != machine && !runs(*wanted, machine)) {
            let text = format!("{shown} is for {}, the image is for {}", machine.name(), wanted.name());
            program.problems.push(Problem::new(text, "choose the architecture with --platform"));
            return Ok(program);
        }
        if let Some(fault) = elf.fault {
            let text = format!("{shown} is an ELF file that Linux does not start: {fault}");
            program.problems.push(Problem::new(text, "put a whole and linked program there"));
            return Ok(program);
        }
        let loader = match &elf.loader {
            None => {
                program.kind = format!("static, {}", machine.name());
                return Ok(program);
            }
            Some(Err(fault)) => {
                let text = format!("{shown} is an ELF file that Linux does not start: {fault}");
                program.problems.push(Problem::new(text, "put a whole and linked program there"));
                return Ok(program);
            }
            Some(Ok(loader)) => loader,
        };
        if let Some(fault) = self.loader_fault(loader, machine)? {
            let text = format!("{shown} needs the loader {}, which {fault}", Quoted(loader));
            let advice = "install the C library that it was built for, or build it statically";
            program.problems.push(Problem::new(text, advice));
            return Ok(program);
        }
        let Libraries { count, missing, cut } = search::libraries(self.root, machine, loader, (&program.path, elf))?;
        let least = if cut.is_some() { "at least " } else { "" };
        let libraries = if count == 1 { "library" } else { "libraries" };
        program.kind = format!("{}, loader {}, {least}{count} {libraries}", machine.name(), Shortened(loader));
        let advice = "install the package of the library, or build the program statically";
        program.problems.extend(missing.into_iter().map(|text| Problem::late(text, advice)));
        if let Some(cut) = cut {
            let text = format!("the search for the libraries of {shown} ended early: {cut}");
            program.warnings.push(Problem::new(text, "a library that was not looked for may be missing"));
        }
        Ok(program)
    }

    /// Returns the reason for which the kernel does not load a loader.
    fn loader_fault(&self, loader: &[u8], machine: Machine) -> Result<Option<String>> {
        let Some(end) = follow(self.root, loader)? else { return Ok(Some("the image does not have".into())) };
        let Node::File { mode, .. } = end.node else { return Ok(Some("is no file".into())) };
        if mode & 0o111 == 0 {
            return Ok(Some("is not executable".into()));
        }
        let elf = elf::parse(&|offset, len| self.root.read(end.id, offset, len), None)?;
        Ok(match elf.map(|elf| (elf.machine, elf.fault)) {
            None => Some("is no ELF file".into()),
            Some((Some(other), _)) if other != machine => Some(format!("is for {}", other.name())),
            Some((_, fault)) => fault.map(|fault| format!("Linux does not load: {fault}")),
        })
    }
}

/// Returns true if a kernel for one machine also runs programs for another.
fn runs(kernel: Machine, program: Machine) -> bool {
    matches!((&*kernel.name(), &*program.name()), ("amd64", "386") | ("arm64", "arm"))
}
