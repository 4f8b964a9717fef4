//! The choice of the engine, with its reason.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::constants::BLOCK_SIZE;
use crate::error::{Error, ErrorKind, Fault, Result};
use crate::path::Escaped;

/// The engine that writes the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Engine {
    /// `mkfs.ext4 -d` and debugfs: the reference.
    E2fsprogs,
    /// One pass by planish itself, with directories indexed.
    Direct,
}

/// The caller's choice of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EngineChoice {
    /// e2fsprogs, unless it cannot write the tree or takes noticeably longer.
    #[default]
    Auto,
    /// This engine, or an error that says what it cannot write.
    Only(Engine),
}

impl EngineChoice {
    /// Returns true if the engine may be chosen.
    #[must_use]
    pub fn may_be(self, engine: Engine) -> bool {
        self == Self::Auto || self == Self::Only(engine)
    }
}

/// The reason for the choice of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The caller chose it.
    Requested,
    /// It is the reference, and nothing prevents its use.
    Reference,
    /// e2fsprogs would take noticeably longer.
    Slow(SlowShape),
    /// The other engine cannot write the tree, with its error, escaped.
    Refused(Engine, String),
}

/// The shape of a tree for which staging, `mkfs.ext4 -d` and debugfs take longer than the direct engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlowShape {
    /// Large directories: the time grows with the square of a directory's names.
    Directory(LargeDirectory),
    /// This number of inodes with several names: for each of those names it searches all of these inodes.
    Links(u64),
    /// Files with this number of blocks, each of which is staged and then copied alone.
    Data(u64),
    /// This number of inodes, each of which is staged, made and set by debugfs.
    Inodes(u64),
}

/// The directory with the most names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeDirectory {
    /// Its path.
    pub path: Box<[u8]>,
    /// The number of its names.
    pub names: u64,
}

/// The demand of one engine for a tree.
#[derive(Debug, Default)]
pub(super) struct EngineDemand {
    /// The number of blocks for files, directories, symlinks and xattrs.
    pub blocks: u64,
    /// The first error for which the engine cannot write the tree.
    pub refusal: Option<Error>,
}

impl EngineDemand {
    /// Adds blocks, or keeps the first refusal.
    pub fn add(&mut self, blocks: Result<u64>) {
        match blocks {
            Ok(blocks) => self.blocks += blocks,
            Err(error) => {
                self.refusal.get_or_insert(error);
            }
        }
    }
}

/// Chooses an engine; returns it with the blocks that it needs.
pub(super) fn choose(
    choice: EngineChoice,
    e2fsprogs: EngineDemand,
    direct: EngineDemand,
    slow: Option<SlowShape>,
) -> Result<(Engine, Reason, u64)> {
    let (engine, reason) = match (choice, e2fsprogs.refusal, direct.refusal, slow) {
        (EngineChoice::Only(Engine::E2fsprogs), Some(error), _, _)
        | (EngineChoice::Only(Engine::Direct), _, Some(error), _) => return Err(error),
        (EngineChoice::Only(engine), ..) => (engine, Reason::Requested),
        (EngineChoice::Auto, Some(e2fsprogs), Some(direct), _) => return Err(neither(e2fsprogs, direct)),
        (EngineChoice::Auto, _, None, Some(slow)) => (Engine::Direct, Reason::Slow(slow)),
        (EngineChoice::Auto, Some(error), None, None) => {
            (Engine::Direct, Reason::Refused(Engine::E2fsprogs, error.to_string()))
        }
        (EngineChoice::Auto, None, Some(error), Some(_)) => {
            (Engine::E2fsprogs, Reason::Refused(Engine::Direct, error.to_string()))
        }
        (EngineChoice::Auto, None, _, None) => (Engine::E2fsprogs, Reason::Reference),
    };
    let demand = if engine == Engine::Direct { direct.blocks } else { e2fsprogs.blocks };
    Ok((engine, reason, demand))
}

/// Returns the error of a tree that both engines refuse: one error if they are equal, else both.
fn neither(e2fsprogs: Error, direct: Error) -> Error {
    let limits = e2fsprogs.fault() == Fault::Limit && direct.fault() == Fault::Limit;
    if limits || e2fsprogs.to_string() == direct.to_string() {
        return direct;
    }
    ErrorKind::NoEngine { e2fsprogs: Box::new(e2fsprogs), direct: Box::new(direct) }.into()
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::E2fsprogs => "e2fsprogs",
            Self::Direct => "direct",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("requested"),
            Self::Reference => f.write_str("the reference"),
            Self::Slow(SlowShape::Directory(LargeDirectory { path, names })) => {
                write!(f, "mkfs.ext4 takes longer for directories like /{} with {names} names", Escaped(path))
            }
            Self::Slow(SlowShape::Links(inodes)) => {
                write!(f, "mkfs.ext4 takes longer for {inodes} inodes with several names")
            }
            Self::Slow(SlowShape::Data(blocks)) => {
                write!(f, "staging and mkfs.ext4 take longer for {} MiB of data", (blocks * BLOCK_SIZE) >> 20)
            }
            Self::Slow(SlowShape::Inodes(inodes)) => {
                write!(f, "staging, mkfs.ext4 and debugfs take longer for {inodes} inodes")
            }
            Self::Refused(engine, error) => write!(f, "{engine} cannot write the tree: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Amount, ImageProblem, Place};
    use crate::limits::Limit;

    fn refuse(problem: ImageProblem) -> EngineDemand {
        EngineDemand { blocks: 1, refusal: Some(Error::image(Place::Path((*b"x").into()), problem)) }
    }

    fn limit(allowed: u64) -> EngineDemand {
        let (place, limit, found) = (Place::Layers, Limit::DirectoryEntries, Amount::Exactly(9));
        EngineDemand { blocks: 1, refusal: Some(ErrorKind::Limit { place, limit, allowed, found }.into()) }
    }

    fn chosen(choice: EngineChoice, e2fsprogs: EngineDemand, direct: EngineDemand, slow: bool) -> String {
        let slow = slow.then(|| SlowShape::Directory(LargeDirectory { path: (*b"a\n").into(), names: 9 }));
        match choose(choice, e2fsprogs, direct, slow) {
            Ok((engine, reason, blocks)) => format!("{engine} {blocks}: {reason}"),
            Err(error) => format!("{}: {error}", error.fault().exit_code()),
        }
    }

    #[test]
    fn auto_selects_e2fsprogs_unless_it_is_slow_or_unable() {
        let auto = |e2fsprogs, direct, slow| chosen(EngineChoice::Auto, e2fsprogs, direct, slow);
        let free = |blocks| EngineDemand { blocks, refusal: None };
        let own = || refuse(ImageProblem::OwnLostAndFound);
        let links = || refuse(ImageProblem::TooManySubdirectories(7));
        assert_eq!(auto(free(1), free(2), false), "e2fsprogs 1: the reference");
        assert_eq!(auto(free(1), own(), false), "e2fsprogs 1: the reference");
        let large = r"direct 2: mkfs.ext4 takes longer for directories like /a\x0a with 9 names";
        assert_eq!(auto(free(1), free(2), true), large);
        assert_eq!(auto(limit(5), free(2), true), large);
        let many = choose(EngineChoice::Auto, free(1), free(2), Some(SlowShape::Links(7))).unwrap().1;
        assert_eq!(many.to_string(), "mkfs.ext4 takes longer for 7 inodes with several names");
        let data = choose(EngineChoice::Auto, free(1), free(2), Some(SlowShape::Data(128 << 10))).unwrap().1;
        assert_eq!(data.to_string(), "staging and mkfs.ext4 take longer for 512 MiB of data");
        let inodes = choose(EngineChoice::Auto, free(1), free(2), Some(SlowShape::Inodes(800))).unwrap().1;
        assert_eq!(inodes.to_string(), "staging, mkfs.ext4 and debugfs take longer for 800 inodes");
        let links_text = "/x has 7 subdirectories, and without an index ext4 allows 64998";
        assert_eq!(auto(links(), free(2), false), format!("direct 2: e2fsprogs cannot write the tree: {links_text}"));
        let own_text = "/x is a directory of the image, and only the e2fsprogs engine can write its own";
        assert_eq!(auto(free(1), own(), true), format!("e2fsprogs 1: direct cannot write the tree: {own_text}"));
        let both = format!("neither engine can write this image: e2fsprogs: {links_text}; direct: {own_text}");
        assert_eq!(auto(links(), own(), true), format!("5: {both}"));
        assert_eq!(auto(own(), own(), true), format!("5: {own_text}"));
        let over = "the image has 9 names in one directory, --max-directory-entries allows 6";
        assert_eq!(auto(limit(5), limit(6), true), format!("7: {over}"));
    }

    #[test]
    fn a_requested_engine_is_selected_or_refused() {
        let free = |blocks| EngineDemand { blocks, refusal: None };
        let only = EngineChoice::Only;
        assert_eq!(chosen(only(Engine::E2fsprogs), free(1), limit(6), true), "e2fsprogs 1: requested");
        assert_eq!(chosen(only(Engine::Direct), limit(5), free(2), false), "direct 2: requested");
        let over =
            |allowed| format!("7: the image has 9 names in one directory, --max-directory-entries allows {allowed}");
        assert_eq!(chosen(only(Engine::E2fsprogs), limit(5), free(2), true), over(5));
        assert_eq!(chosen(only(Engine::Direct), free(1), limit(6), true), over(6));
    }
}
