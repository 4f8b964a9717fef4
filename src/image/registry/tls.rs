//! TLS: verification of registries, and client certificates of this machine.
//!
//! In addition to the system's certificates, those that the caller names are used, and the directories `HOST[:PORT]`
//! below `certs.d`, in the format of docker and podman: `*.crt` for the authorities, `*.cert` with `*.key` for this
//! machine.

mod no_verify;
mod certs_d;
mod named;
mod pem;
mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

pub use self::error::{TlsError, tls_error, words};
pub use self::named::NamedCertificates;

use self::certs_d::HostDirectory;
use self::named::NamedVerifier;
use self::no_verify::NoVerification;
use crate::error::{CertificateProblem, Error, ErrorKind, RegistryProblem, Resource, Result};

/// TLS verification and trusted certificate authorities.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The certificates of the system; invalid ones are skipped.
    pub roots: Vec<CertificateDer<'static>>,
    /// The certificates that the caller names beside `ca_files`; invalid ones are skipped.
    pub named: NamedCertificates,
    /// The files of further certificates, as PEM.
    pub ca_files: Vec<PathBuf>,
    /// The parents of directories named `HOST[:PORT]`: for each host, the first existing directory is used.
    pub certs_directories: Vec<PathBuf>,
    /// True if registries are verified.
    pub verify: bool,
}

/// The files with the certificate authorities of Linux distributions, most common first.
const SYSTEM_CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Default for TlsOptions {
    /// Returns the certificates of the system, independent of the environment.
    fn default() -> Self {
        let file = SYSTEM_CERTIFICATES.map(Path::new).into_iter().find(|path| path.exists());
        let roots = NamedCertificates::read(file, &[]).into_authorities();
        Self {
            roots,
            named: NamedCertificates::default(),
            ca_files: Vec::new(),
            certs_directories: Vec::new(),
            verify: true,
        }
    }
}

impl TlsOptions {
    /// Returns options for connections without TLS: nothing is verified or read.
    pub(super) fn unused() -> Self {
        Self {
            roots: Vec::new(),
            named: NamedCertificates::default(),
            ca_files: Vec::new(),
            certs_directories: Vec::new(),
            verify: false,
        }
    }

    /// Returns true if there is a directory of certificates for a host.
    pub(super) fn knows(&self, host: &str) -> bool {
        self.certs_directories.iter().any(|directory| directory.join(host).is_dir())
    }
}

/// Returns the TLS configuration of a client for `host`, as `HOST[:PORT]`.
///
/// # Errors
///
/// No authority is trusted ([`RegistryProblem::NoCertificates`]); a file cannot be read or parsed
/// ([`ErrorKind::Certificate`]). Both are errors of this machine: call this only if TLS will be used for the host.
pub fn client_config(host: &str, options: &TlsOptions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let directory = HostDirectory::find(host, &options.certs_directories)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| ErrorKind::Bug("ring supports no version of TLS"))?;
    let builder = if options.verify {
        let (roots, named) = trusted(host, options, directory.as_ref())?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NamedVerifier::new(roots, named, &provider)?))
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification::new(&provider)))
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

/// Returns the authorities, including the certificates that the caller names.
fn trusted(
    host: &str,
    options: &TlsOptions,
    directory: Option<&HostDirectory>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(options.roots.iter().cloned());
    let mut named = options.named.certificates.clone();
    roots.add_parsable_certificates(named.iter().cloned());
    for path in options.ca_files.iter().chain(directory.iter().flat_map(|directory| &directory.authorities)) {
        for certificate in pem::certificates(path)? {
            let added = roots.add(certificate.clone());
            added.map_err(|_| Error::certificate(path, CertificateProblem::BadCertificate))?;
            named.push(certificate);
        }
    }
    if roots.is_empty() {
        if let Some(fault) = options.named.faults().next() {
            return Err(fault);
        }
        let problem = RegistryProblem::NoCertificates;
        return Err(ErrorKind::Registry { host: host.to_owned(), resource: Resource::Host, problem }.into());
    }
    Ok((roots, named))
}

#[cfg(test)]
mod tests;
