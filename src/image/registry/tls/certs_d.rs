//! The directory `certs.d/HOST[:PORT]` of one registry.

use std::io;
use std::path::{Path, PathBuf};

use crate::calls;
use crate::error::{CertificateProblem, Error, Result};

/// The files for one registry.
pub struct HostDirectory {
    /// `*.crt`, in byte order.
    pub authorities: Vec<PathBuf>,
    /// `*.cert` with its `*.key`; the first in byte order of several.
    pub client: Option<ClientPair>,
}

/// A client's certificate and its key.
pub struct ClientPair {
    /// The file of the certificate and its issuers.
    pub certificate: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
}

impl HostDirectory {
    /// Finds the first of `parents` that has a directory for `host`, and lists it.
    pub fn find(host: &str, parents: &[PathBuf]) -> Result<Option<Self>> {
        if !is_name(host) {
            return Ok(None);
        }
        for path in parents.iter().map(|parent| parent.join(host)) {
            match calls::paths_in(&path) {
                Ok(files) => return Self::of(files).map(Some),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(Error::io("list", &path)(error)),
            }
        }
        Ok(None)
    }

    fn of(mut files: Vec<PathBuf>) -> Result<Self> {
        files.sort_unstable();
        let ends = |path: &Path, end: &str| path.extension().is_some_and(|extension| extension == end);
        let beside = |path: &Path, end: &str| Some(path.with_extension(end)).filter(|other| files.contains(other));
        let mut client = None;
        for path in &files {
            if ends(path, "key") && beside(path, "cert").is_none() {
                return Err(Error::certificate(path, CertificateProblem::CertificateMissing));
            }
            if ends(path, "cert") {
                let Some(key) = beside(path, "key") else {
                    return Err(Error::certificate(path, CertificateProblem::KeyMissing));
                };
                client.get_or_insert(ClientPair { certificate: path.clone(), key });
            }
        }
        Ok(Self { authorities: files.into_iter().filter(|path| ends(path, "crt")).collect(), client })
    }
}

/// Returns true if a host, which may come from a redirect, is a name that stays below the directory.
fn is_name(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !host.is_empty() && !host.starts_with('.') && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_stays_inside_certs_d() {
        for host in ["", ".", "..", "../x", "a/b", "a\0"] {
            assert!(!is_name(host), "{host:?}");
        }
        for host in ["quay.io", "localhost:5000", "[::1]:5000", "10.0.0.1"] {
            assert!(is_name(host), "{host}");
        }
    }
}
