//! The files by which a machine is set up: its init, its name, and its resolver.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{Injection, Source};
use crate::error::{ErrorKind, InjectionProblem, Result};

/// The longest host name in Linux (`HOST_NAME_MAX`).
const HOST_NAME_MAX: usize = 64;

impl Injection {
    /// Returns the injection of a program of this machine as `/sbin/init`, mode 0755, where the kernel looks first.
    ///
    /// # Errors
    ///
    /// None: the destination is valid.
    pub fn init(program: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self::of(Source::File(program.into()), b"/sbin/init")?.mode(0o755))
    }

    /// Returns the injection of `/etc/hostname`.
    ///
    /// # Errors
    ///
    /// The name is not one to 64 letters, digits, hyphens and dots, or one of its labels is empty, longer than 63
    /// characters, or begins or ends with a hyphen (RFC 1123).
    pub fn hostname(name: &str) -> Result<Self> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > HOST_NAME_MAX || !name.split('.').all(is_label) {
            let (injected, problem) = (super::shown(name.as_bytes()), InjectionProblem::Hostname);
            return Err(ErrorKind::Injection { injected, problem }.into());
        }
        Self::text("/etc/hostname", format!("{name}\n"))
    }

    /// Returns the injection of an `/etc/resolv.conf` with these name servers.
    ///
    /// # Errors
    ///
    /// None: the destination is valid.
    pub fn name_servers(addresses: &[IpAddr]) -> Result<Self> {
        let lines: String = addresses.iter().map(|address| format!("nameserver {address}\n")).collect();
        Self::text("/etc/resolv.conf", lines)
    }

    /// Returns the injection of a file of this machine as `/etc/resolv.conf`, mode 0644.
    ///
    /// # Errors
    ///
    /// None: the destination is valid.
    pub fn resolv_conf(file: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self::of(Source::File(file.into()), b"/etc/resolv.conf")?.mode(0o644))
    }

    /// Returns the injection of a file of this machine as `/etc/hosts`, mode 0644.
    ///
    /// # Errors
    ///
    /// None: the destination is valid.
    pub fn hosts(file: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self::of(Source::File(file.into()), b"/etc/hosts")?.mode(0o644))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_have_labels() {
        let long = format!("{}.b", "a".repeat(63));
        for name in ["a", "web-1", "a.example.org", "X9", &"a".repeat(63)] {
            assert!(Injection::hostname(name).is_ok(), "{name}");
        }
        let longer = format!("{long}c");
        for name in ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "a\n", "ä", &"a".repeat(64), &longer] {
            let error = Injection::hostname(name).unwrap_err().to_string();
            assert!(
                error.ends_with("is no host name: letters, digits and inner hyphens between dots, 64 at most"),
                "{error}"
            );
        }
    }
}
