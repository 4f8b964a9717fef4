//! Where the cache is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use planish::cache::Cache;

use crate::cli::environment;
use crate::cli::exit::Failure;

/// Where blobs from registries are kept.
#[derive(Debug, clap::Args)]
pub struct CacheArguments {
    /// The cache [default: $XDG_CACHE_HOME/planish, else $HOME/.cache/planish]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Keep nothing of what comes from a registry
    #[arg(long, conflicts_with = "cache_dir")]
    no_cache: bool,
}

/// Which cache a command is about.
#[derive(Debug, clap::Args)]
pub struct ThisCache {
    /// The cache [default: $XDG_CACHE_HOME/planish, else $HOME/.cache/planish]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// Returns the directory of the cache; `None` where none is wanted.
pub fn directory(arguments: &CacheArguments) -> Result<Option<PathBuf>, Failure> {
    if arguments.no_cache { Ok(None) } else { chosen(arguments.cache_dir.as_deref()).map(Some) }
}

/// Returns the cache that a command is about.
pub fn cache(arguments: &ThisCache) -> Result<Cache, Failure> {
    chosen(arguments.cache_dir.as_deref()).map(|directory| Cache::at(&directory))
}

fn chosen(flag: Option<&Path>) -> Result<PathBuf, Failure> {
    let flag = flag.map(Path::to_owned);
    flag.or_else(|| usual(environment("XDG_CACHE_HOME"), environment("HOME"))).ok_or(Failure::NoCacheDirectory)
}

/// Returns the directory that the XDG Base Directory Specification gives; a relative path is invalid there.
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
