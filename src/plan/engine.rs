//! Which of the two engines writes the filesystem, and why.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Fault, Result};
use crate::path::Escaped;

/// What writes a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// `mkfs.ext4 -d` and debugfs: the reference.
    E2fsprogs,
    /// One pass by planish itself, with directories indexed.
    Direct,
}

/// Which engine the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// e2fsprogs, unless the tree holds what it cannot write, or not in time.
    #[default]
    Auto,
    /// This one, or an error that says what it cannot write.
    Only(Engine),
}

/// Why an engine was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The caller said so.
    Asked,
    /// Nothing speaks against the reference.
    Reference,
    /// `mkfs.ext4 -d` would take long: its time grows with the square of a directory's names.
    LargeDirectory(LargeDirectory),
    /// The other engine cannot write the tree; its error, escaped.
    Refused(Engine, String),
}

/// The directory with the most names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeDirectory {
    /// Its path.
    pub path: Box<[u8]>,
    /// Its names.
    pub names: u64,
}

/// What one engine needs for a tree.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Blocks that files, directories, symlinks and xattrs take.
    pub blocks: u64,
    /// The first thing in the tree that it cannot write.
    pub refusal: Option<Error>,
}

impl Demand {
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
    e2fsprogs: Demand,
    direct: Demand,
    slow: Option<LargeDirectory>,
) -> Result<(Engine, Reason, u64)> {
    let (engine, reason) = match (choice, e2fsprogs.refusal, direct.refusal, slow) {
        (EngineChoice::Only(Engine::E2fsprogs), Some(error), _, _)
        | (EngineChoice::Only(Engine::Direct), _, Some(error), _) => return Err(error),
        (EngineChoice::Only(engine), ..) => (engine, Reason::Asked),
        (EngineChoice::Auto, Some(e2fsprogs), Some(direct), _) => return Err(neither(e2fsprogs, direct)),
        (EngineChoice::Auto, _, None, Some(directory)) => (Engine::Direct, Reason::LargeDirectory(directory)),
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

/// Returns the error of a tree that both engines refuse: one when they agree, else both.
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
            Self::Asked => f.write_str("asked for"),
            Self::Reference => f.write_str("the reference"),
            Self::LargeDirectory(LargeDirectory { path, names }) => {
                write!(f, "mkfs.ext4 takes long for directories like /{} with {names} names", Escaped(path))
            }
            Self::Refused(engine, error) => write!(f, "{engine} cannot write the tree: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Found, ImageProblem, Place};
    use crate::limits::Limit;

    fn refuse(problem: ImageProblem) -> Demand {
        Demand { blocks: 1, refusal: Some(Error::image(Place::Path((*b"x").into()), problem)) }
    }

    fn limit(allowed: u64) -> Demand {
        let (place, limit, found) = (Place::Layers, Limit::DirectoryEntries, Found::Exactly(9));
        Demand { blocks: 1, refusal: Some(ErrorKind::Limit { place, limit, allowed, found }.into()) }
    }

    fn chosen(choice: EngineChoice, e2fsprogs: Demand, direct: Demand, slow: bool) -> String {
        let slow = slow.then(|| LargeDirectory { path: (*b"a\n").into(), names: 9 });
        match choose(choice, e2fsprogs, direct, slow) {
            Ok((engine, reason, blocks)) => format!("{engine} {blocks}: {reason}"),
            Err(error) => format!("{}: {error}", error.fault().exit_code()),
        }
    }

    #[test]
    fn auto_takes_the_reference_unless_it_is_slow_or_cannot() {
        let auto = |e2fsprogs, direct, slow| chosen(EngineChoice::Auto, e2fsprogs, direct, slow);
        let free = |blocks| Demand { blocks, refusal: None };
        let own = || refuse(ImageProblem::OwnLostAndFound);
        let links = || refuse(ImageProblem::TooManySubdirectories(7));
        assert_eq!(auto(free(1), free(2), false), "e2fsprogs 1: the reference");
        assert_eq!(auto(free(1), own(), false), "e2fsprogs 1: the reference");
        let large = r"direct 2: mkfs.ext4 takes long for directories like /a\x0a with 9 names";
        assert_eq!(auto(free(1), free(2), true), large);
        assert_eq!(auto(limit(5), free(2), true), large);
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
    fn an_engine_that_was_asked_for_is_taken_or_refuses() {
        let free = |blocks| Demand { blocks, refusal: None };
        let only = EngineChoice::Only;
        assert_eq!(chosen(only(Engine::E2fsprogs), free(1), limit(6), true), "e2fsprogs 1: asked for");
        assert_eq!(chosen(only(Engine::Direct), limit(5), free(2), false), "direct 2: asked for");
        let over =
            |allowed| format!("7: the image has 9 names in one directory, --max-directory-entries allows {allowed}");
        assert_eq!(chosen(only(Engine::E2fsprogs), limit(5), free(2), true), over(5));
        assert_eq!(chosen(only(Engine::Direct), free(1), limit(6), true), over(6));
    }
}
