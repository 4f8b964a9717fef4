//! The programs `docker-credential-NAME`, with a name from a file of the user.

use std::ffi::OsStr;
use std::fmt;

use super::{Program, is_executable};

/// A name of letters, digits, `-`, `_` and `.` (`desktop.exe`, under WSL), which cannot lead out of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperName(String);

impl HelperName {
    /// Returns a valid name; `None` if it is invalid.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
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
    /// Errors of running it call it `docker-credential`: the caller knows its name.
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
    fn a_helper_name_has_no_path_and_no_control_bytes() {
        for name in ["a_b-1", "desktop.exe", "ECR"] {
            assert_eq!(HelperName::new(name).unwrap().to_string(), format!("docker-credential-{name}"));
        }
        for name in ["", "../x", "x/y", "/x", "a b", "a\0", "a\n", "ä"] {
            assert_eq!(HelperName::new(name), None, "{name:?}");
        }
        assert_eq!(HelperName::new(&"x".repeat(200)), None);
    }

    #[test]
    fn a_helper_is_searched_in_absolute_directories_only() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", directory.path().join("docker-credential-pass")).unwrap();
        let found = |name, path: &OsStr| Program::credential_helper(&HelperName::new(name).unwrap(), path).is_some();
        let path = std::env::join_paths(["relative".as_ref(), directory.path()]).unwrap();
        assert!(found("pass", &path));
        assert!(!found("other", &path));
        assert!(!found("pass", OsStr::new("relative:")));
    }
}
