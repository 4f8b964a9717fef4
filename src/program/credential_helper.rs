//! The programs `docker-credential-NAME`, whose name a file of the user gives.

use std::ffi::OsStr;
use std::fmt;

use super::{Program, is_executable};

/// A name of lower-case letters, digits, `-` and `_`, which cannot lead out of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperName(String);

impl HelperName {
    /// Takes a name; `None` if it cannot be one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (!name.is_empty() && name.len() < 200 && name.bytes().all(plain)).then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

impl Program {
    /// Finds a credential helper in the directories of `search_path`, as `PATH` spells them.
    ///
    /// Errors about running it call it `docker-credential`: the caller knows its name.
    #[must_use]
    pub fn credential_helper(name: &HelperName, search_path: &OsStr) -> Option<Self> {
        std::env::split_paths(search_path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name.to_string()))
            .find(|path| is_executable(path))
            .map(|path| Self { name: "docker-credential", path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain() {
        assert_eq!(HelperName::new("a_b-1").unwrap().to_string(), "docker-credential-a_b-1");
        for name in ["", "../x", "x/y", "A", "a b", "a\0", "a\n", "ä"] {
            assert_eq!(HelperName::new(name), None, "{name:?}");
        }
        assert_eq!(HelperName::new(&"x".repeat(200)), None);
    }

    #[test]
    fn a_helper_is_found_in_absolute_directories_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", directory.path().join("docker-credential-pass")).unwrap();
        let found = |name, path: &OsStr| Program::credential_helper(&HelperName::new(name).unwrap(), path).is_some();
        let path = std::env::join_paths(["relative".as_ref(), directory.path()]).unwrap();
        assert!(found("pass", &path));
        assert!(!found("other", &path));
        assert!(!found("pass", OsStr::new("relative:")));
    }
}
