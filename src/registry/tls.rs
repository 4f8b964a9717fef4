//! How a registry proves who it is, and how this machine does.
//!
//! Beside the system's certificates hold those that the caller names, and the directories `HOST[:PORT]` below
//! `certs.d`, as docker and podman read them: `*.crt` for the authorities, `*.cert` with `*.key` for this machine.

mod anyone;
mod directory;
mod pem;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

pub use self::refusal::refusal;

use self::anyone::Anyone;
use self::directory::HostDirectory;
use crate::error::{Asked, CertificateProblem, Error, ErrorKind, RegistryProblem, Result};

/// Whom to trust.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The system's certificates; those that cannot be understood are skipped.
    pub roots: Vec<CertificateDer<'static>>,
    /// Files of further certificates, as PEM.
    pub ca_files: Vec<PathBuf>,
    /// Directories of directories named `HOST[:PORT]`: the first that has one for a host serves it.
    pub certs_directories: Vec<PathBuf>,
    /// Whether a registry has to prove who it is.
    pub verify: bool,
}

impl TlsOptions {
    /// Returns options for those who speak no TLS: nobody has to prove anything, and nothing is read.
    pub(super) fn unused() -> Self {
        Self { roots: Vec::new(), ca_files: Vec::new(), certs_directories: Vec::new(), verify: false }
    }

    /// Returns whether there is a directory of certificates for a host.
    pub(super) fn knows(&self, host: &str) -> bool {
        self.certs_directories.iter().any(|directory| directory.join(host).is_dir())
    }
}

/// Returns what a client needs to speak TLS to `host`, as `HOST[:PORT]`.
///
/// # Errors
///
/// There is nobody to trust ([`RegistryProblem::NoCertificates`]); a file cannot be read or understood
/// ([`ErrorKind::Certificate`]). Both are this machine's fault: ask only when the host is really spoken to by TLS.
pub fn client_config(host: &str, options: &TlsOptions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let directory = HostDirectory::find(host, &options.certs_directories)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| ErrorKind::Bug("ring speaks no version of TLS"))?;
    let builder = if options.verify {
        builder.with_root_certificates(roots(host, options, directory.as_ref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone::new(&provider)))
    };
    match directory.and_then(|directory| directory.client) {
        None => Ok(builder.with_no_client_auth()),
        Some(pair) => {
            let (chain, key) = (pem::certificates(&pair.certificate)?, pem::key(&pair.key)?);
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|_| Error::certificate(&pair.certificate, CertificateProblem::Mismatch))
        }
    }
}

fn roots(host: &str, options: &TlsOptions, directory: Option<&HostDirectory>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(options.roots.iter().cloned());
    for path in options.ca_files.iter().chain(directory.iter().flat_map(|directory| &directory.authorities)) {
        for certificate in pem::certificates(path)? {
            roots.add(certificate).map_err(|_| Error::certificate(path, CertificateProblem::BadCertificate))?;
        }
    }
    if roots.is_empty() {
        let problem = RegistryProblem::NoCertificates;
        return Err(ErrorKind::Registry { host: host.to_owned(), asked: Asked::Host, problem }.into());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
