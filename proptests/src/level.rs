//! The levels of the requirements on a subject.

use std::fmt;
use std::str::FromStr;

use crate::listing::Fields;

/// The level of the laws: how far they go beyond the text of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// The text of image-spec's `layer.md`.
    ///
    /// The metadata of directories without an entry are not compared, nor are the mtimes of directories in which a
    /// later layer adds or hides a name, or in which their own layer implies a directory.
    #[default]
    Spec,
    /// Also what the common runtimes agree on: such directories have mode 0755 and belong to root; the last of two
    /// entries in a layer is used; parents may be symlinks.
    Consensus,
    /// Also what planish decides where the runtimes disagree.
    Planish,
}

impl Level {
    /// All levels, the lowest first.
    pub const ALL: [Self; 3] = [Self::Spec, Self::Consensus, Self::Planish];

    /// Returns the name of the level in messages and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Consensus => "consensus",
            Self::Planish => "planish",
        }
    }

    /// Returns the fields that are compared by default.
    #[must_use]
    pub fn fields(self) -> Fields {
        Fields::all()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not the name of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a level is one of spec, consensus, planish")]
pub struct LevelSyntax;

impl FromStr for Level {
    type Err = LevelSyntax;

    fn from_str(name: &str) -> Result<Self, LevelSyntax> {
        Self::ALL.into_iter().find(|level| level.name() == name).ok_or(LevelSyntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_names_are_parsed() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("strict".parse::<Level>(), Err(LevelSyntax));
        assert_eq!(LevelSyntax.to_string(), "a level is one of spec, consensus, planish");
    }
}
