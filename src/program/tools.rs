//! The programs of e2fsprogs: found and checked for their version once, before any work.

use std::ffi::OsStr;
use std::path::Path;

use super::{Invocation, Program, Stdout};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::path::Escaped;
use crate::progress::{Event, Progress};

/// The oldest e2fsprogs whose `mkfs.ext4 -d` sorts the names of a directory.
const OLDEST: [u32; 3] = [1, 46, 0];
const OLDEST_TEXT: &str = "1.46";
/// The version whose `mkfs.ext4 -d` computes file offsets with signed 32-bit numbers (misc/create_inode.c, `write_all`;
/// e2fsprogs issue 264), and the largest file that it can copy.
const LARGE_FILES_FAIL: ([u32; 3], u64) = ([1, 47, 3], 1 << 31);
/// The names that the programs of e2fsprogs print.
const NAMES: [&[u8]; 3] = [b"mke2fs", b"debugfs", b"e2fsck"];
/// The most bytes of a program's version line in messages.
const SAID_MAX: usize = 80;

/// The tasks that need e2fsprogs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// True to make filesystems with `mkfs.ext4` and `debugfs`.
    pub make: bool,
    /// True to check them with `e2fsck`.
    pub check: bool,
}

/// The programs of e2fsprogs that the tasks need.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    mkfs: Option<Tool>,
    debugfs: Option<Tool>,
    e2fsck: Option<Tool>,
}

/// A known fault of a version of e2fsprogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFault {
    /// The version.
    pub version: String,
    /// The size of the largest file that it can copy, in bytes.
    pub file_bytes_max: u64,
}

impl Tools {
    /// Finds the programs in the directories of `search_path` (in the form of `PATH`), `/usr/sbin` and `/sbin`, and
    /// reads their versions.
    ///
    /// # Errors
    ///
    /// A program is missing, or is a different one than its name says; e2fsprogs is too old.
    pub fn find(search_path: &OsStr, tasks: Tasks, progress: &dyn Progress, cancel: &Cancel) -> Result<Self> {
        let find = |name, needed: bool| -> Result<Option<Tool>> {
            needed.then(|| Tool::probe(Program::find(name, search_path)?, cancel)).transpose()
        };
        let tools = Self {
            mkfs: find("mkfs.ext4", tasks.make)?,
            debugfs: find("debugfs", tasks.make)?,
            e2fsck: find("e2fsck", tasks.check)?,
        };
        tools.report(progress);
        Ok(tools)
    }

    /// Finds each program of e2fsprogs on its own, and reads its version.
    pub fn each(search_path: &OsStr, cancel: &Cancel) -> [(&'static str, Result<Self>); 3] {
        let probe = |name| Program::find(name, search_path).and_then(|program| Tool::probe(program, cancel)).map(Some);
        [
            ("mkfs.ext4", probe("mkfs.ext4").map(|mkfs| Self { mkfs, ..Self::default() })),
            ("debugfs", probe("debugfs").map(|debugfs| Self { debugfs, ..Self::default() })),
            ("e2fsck", probe("e2fsck").map(|e2fsck| Self { e2fsck, ..Self::default() })),
        ]
    }

    /// Returns the path and the version of the first program.
    #[must_use]
    pub fn first(&self) -> Option<(&Path, &str)> {
        let tool = self.mkfs.as_ref().or(self.debugfs.as_ref()).or(self.e2fsck.as_ref())?;
        Some((&tool.program.path, &tool.version.text))
    }

    /// Reports the path and version of each program, and warns about different versions.
    fn report(&self, progress: &dyn Progress) {
        let found: Vec<&Tool> = [&self.mkfs, &self.debugfs, &self.e2fsck].into_iter().flatten().collect();
        for Tool { program, version } in &found {
            progress.event(&Event::Tool { name: program.name, path: &program.path, version: &version.text });
        }
        if found.iter().any(|tool| tool.version.numbers != found[0].version.numbers) {
            let each = found.iter().map(|Tool { program, version }| {
                format!("{} {} in {}", program.name, version.text, ShownPath(&program.path))
            });
            let each = each.collect::<Vec<_>>().join(", ");
            progress.event(&Event::Warning(&format!("the programs of e2fsprogs have several versions: {each}")));
        }
    }

    /// Returns `mkfs.ext4`, which creates the filesystem.
    ///
    /// # Errors
    ///
    /// The program was not needed by the tasks.
    pub fn mkfs(&self) -> Result<&Program> {
        program(self.mkfs.as_ref())
    }

    /// Returns `debugfs`, which corrects what `mkfs.ext4 -d` cannot carry.
    ///
    /// # Errors
    ///
    /// The program was not needed by the tasks.
    pub fn debugfs(&self) -> Result<&Program> {
        program(self.debugfs.as_ref())
    }

    /// Returns `e2fsck`, which checks the result.
    ///
    /// # Errors
    ///
    /// The program was not needed by the tasks.
    pub fn e2fsck(&self) -> Result<&Program> {
        program(self.e2fsck.as_ref())
    }

    /// Returns the version of e2fsprogs, if it is used: that of `mkfs.ext4`, else of `e2fsck`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.first().map(|(_, version)| version)
    }

    /// Returns the names and versions of the programs that write filesystems, as far as they are needed.
    #[must_use]
    pub fn writers(&self) -> Vec<(&'static str, &str)> {
        let tools = [&self.mkfs, &self.debugfs].into_iter().flatten();
        tools.map(|tool| (tool.program.name, tool.version.text.as_str())).collect()
    }

    /// Returns the known fault of the version of `mkfs.ext4`.
    #[must_use]
    pub fn fault(&self) -> Option<KnownFault> {
        self.mkfs.as_ref().and_then(|tool| tool.version.fault())
    }
}

fn program(tool: Option<&Tool>) -> Result<&Program> {
    tool.map(|tool| &tool.program).ok_or_else(|| ErrorKind::Bug("a tool is run that was not looked for").into())
}

/// A program with its version.
#[derive(Debug, Clone)]
struct Tool {
    program: Program,
    version: Version,
}

impl Tool {
    /// Runs a program to get its version, which is in a line that begins with a name of e2fsprogs.
    fn probe(program: Program, cancel: &Cancel) -> Result<Self> {
        let arguments = vec!["-V".into()];
        let invocation = Invocation { arguments, stdout: Stdout::End, ..Invocation::new(Path::new("/"), 10) };
        let output = program.run(&invocation, cancel)?;
        let lines = || output.stderr.split(|b| *b == b'\n').chain(output.stdout.split(|b| *b == b'\n'));
        let failed = |problem| Error::tool(program.name, problem);
        let path = || ShownPath(&program.path).to_string();
        let Some(version) = lines().find_map(Version::of) else {
            let line = lines().find(|line| !line.is_empty()).unwrap_or(b"nothing");
            let said = Escaped(&line[..line.len().min(SAID_MAX)]).to_string();
            return Err(failed(ToolProblem::Stranger { path: path(), said }));
        };
        if version.numbers < OLDEST {
            let problem = ToolProblem::TooOld { path: path(), found: version.text, needed: OLDEST_TEXT };
            return Err(failed(problem));
        }
        Ok(Self { program, version })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    numbers: [u32; 3],
    /// The version, escaped.
    text: String,
}

impl Version {
    /// Parses a line like `mke2fs 1.47.0 (5-Feb-2023)`.
    fn of(line: &[u8]) -> Option<Self> {
        let mut words = line.split(u8::is_ascii_whitespace);
        let version = words.next().filter(|word| NAMES.contains(word)).and_then(|_| words.next())?;
        let mut parts = std::str::from_utf8(version).ok()?.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return None };
        let patch = parts.next().and_then(std::result::Result::ok).unwrap_or(0);
        let text = Escaped(&version[..version.len().min(SAID_MAX)]).to_string();
        Some(Self { numbers: [major, minor, patch], text })
    }

    fn fault(&self) -> Option<KnownFault> {
        let (numbers, file_bytes_max) = LARGE_FILES_FAIL;
        (self.numbers == numbers).then(|| KnownFault { version: self.text.clone(), file_bytes_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let version = |line: &str| Version::of(line.as_bytes());
        for (line, numbers) in [
            ("mke2fs 1.47.0 (5-Feb-2023)", [1, 47, 0]),
            ("mke2fs 1.46-WIP (20-Mar-2020)", [1, 46, 0]),
            ("mke2fs 1.47.3", [1, 47, 3]),
            ("mke2fs 1.47.3-rc2 (x)", [1, 47, 3]),
            ("mke2fs 2.0 (x)", [2, 0, 0]),
        ] {
            assert_eq!(version(line).unwrap().numbers, numbers, "{line}");
        }
        for line in ["", "mke2fs", "mke2fs (x)", "BusyBox v1.36.1 (x)", " mke2fs 1.47.0", "mke2fs 1 (x)", "mke2fs 1.x"]
        {
            assert_eq!(version(line), None, "{line}");
        }
        assert!(version("mke2fs 1.42.9 (x)").unwrap().numbers < OLDEST);
        assert!(version("mke2fs 1.46.2 (x)").unwrap().numbers >= OLDEST);
    }

    #[test]
    fn only_faulty_versions_have_a_fault() {
        let fault = |text: &str| Version::of(format!("mke2fs {text} (x)").as_bytes()).unwrap().fault();
        for good in ["1.46.2", "1.47.0", "1.47.2", "1.47.4", "1.47.30", "1.48.3"] {
            assert_eq!(fault(good), None, "{good}");
        }
        assert_eq!(fault("1.47.3"), Some(KnownFault { version: "1.47.3".into(), file_bytes_max: 2_147_483_648 }));
    }
}
