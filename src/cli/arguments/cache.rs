//! The arguments that select the cache.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use planish::cache::Cache;

use crate::cli::environment;
use crate::cli::exit::Failure;

/// The cache of a command that pulls images.
#[derive(Debug, clap::Args)]
pub struct CacheArguments {
    /// The cache [default: $XDG_CACHE_HOME/planish, else $HOME/.cache/planish]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Use no cache beyond this run
    #[arg(long, conflicts_with = "cache_dir")]
    no_cache: bool,
}

impl CacheArguments {
    /// Returns true if a directory is named.
    pub fn is_named(&self) -> bool {
        self.cache_dir.is_some()
    }
}

/// The cache that a command is about.
#[derive(Debug, clap::Args)]
pub struct ThisCache {
    /// The cache [default: $XDG_CACHE_HOME/planish, else $HOME/.cache/planish]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// Returns the directory of the cache; `None` with `--no-cache`.
pub fn directory(arguments: &CacheArguments) -> Result<Option<PathBuf>, Failure> {
    if arguments.no_cache { Ok(None) } else { chosen(arguments.cache_dir.as_deref()).map(Some) }
}

/// Returns the cache that a command is about, and warns if others can write it.
pub fn cache(arguments: &ThisCache) -> Result<Cache, Failure> {
    let cache = Cache::at(&chosen(arguments.cache_dir.as_deref())?);
    if let Some(writer) = cache.other_writer()? {
        // A closed stderr must not end the run.
        let text = format!("warning: cache: {writer}, who may have chosen the digests of its references\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    Ok(cache)
}

fn chosen(flag: Option<&Path>) -> Result<PathBuf, Failure> {
    let flag = flag.map(Path::to_owned);
    flag.or_else(|| usual(environment("XDG_CACHE_HOME"), environment("HOME"))).ok_or(Failure::NoCacheDirectory)
}

/// Returns the directory according to the XDG Base Directory Specification, which ignores relative paths.
fn usual(cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let cache_home = absolute(cache_home).or_else(|| absolute(home).map(|home| home.join(".cache")));
    cache_home.map(|directory| directory.join("planish"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_of_the_environment_are_ignored() {
        let table = [
            (Some("/c"), Some("/h"), Some("/c/planish")),
            (Some("c"), Some("/h"), Some("/h/.cache/planish")),
            (None, Some("/h"), Some("/h/.cache/planish")),
            (Some("/c"), None, Some("/c/planish")),
            (Some("c"), Some("h"), None),
            (None, None, None),
        ];
        for (cache_home, home, want) in table {
            let found = usual(cache_home.map(OsString::from), home.map(OsString::from));
            assert_eq!(found, want.map(PathBuf::from), "{cache_home:?} {home:?}");
        }
    }

    #[test]
    fn a_flag_comes_before_the_environment() {
        let arguments =
            |cache_dir: Option<&str>, no_cache| CacheArguments { cache_dir: cache_dir.map(PathBuf::from), no_cache };
        assert_eq!(directory(&arguments(Some("mine"), false)).unwrap(), Some("mine".into()));
        assert_eq!(directory(&arguments(None, true)).unwrap(), None);
    }
}
