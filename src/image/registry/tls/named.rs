//! Certificates that the caller names, and their verification.
//!
//! Like an authority, a server may be named by its own certificate, as `openssl req -x509` creates it: it needs no
//! other signature, even if it claims to be an authority. None of the system's certificates is a server's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{error, pem};
use crate::calls;
use crate::error::{CertificateProblem, ErrorKind};

/// The certificates of a file and of directories, as `SSL_CERT_FILE` and `SSL_CERT_DIR` name them.
#[derive(Debug, Clone, Default)]
pub struct NamedCertificates {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    faults: Vec<(PathBuf, CertificateProblem)>,
}

impl NamedCertificates {
    /// Reads all readable certificates. Files in a directory that contain no certificate are skipped.
    #[must_use]
    pub fn read(file: Option<&Path>, directories: &[PathBuf]) -> Self {
        let mut read = Self::default();
        if let Some(file) = file {
            read.add(file, true);
        }
        for directory in directories {
            let Ok(paths) = calls::paths_in(directory) else {
                read.faults.push((directory.clone(), CertificateProblem::Unreadable));
                continue;
            };
            paths.iter().filter(|path| path.is_file()).for_each(|path| read.add(path, false));
        }
        read.certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        read.certificates.dedup();
        read
    }

    fn add(&mut self, path: &Path, required: bool) {
        let (found, fault) = pem::readable_certificates(path);
        self.certificates.extend(found);
        match fault.as_ref().map(crate::error::Error::kind) {
            Some(ErrorKind::Certificate { problem: CertificateProblem::NoCertificate, .. }) if !required => {}
            Some(ErrorKind::Certificate { problem, .. }) => self.faults.push((path.to_owned(), *problem)),
            _ => {}
        }
    }

    /// Returns the certificates as authorities only: a server cannot be named by one of them.
    #[must_use]
    pub fn into_authorities(self) -> Vec<CertificateDer<'static>> {
        self.certificates
    }

    /// Returns the problem of each file or directory that could not be read.
    pub fn faults(&self) -> impl Iterator<Item = crate::error::Error> {
        self.faults.iter().map(|(path, problem)| crate::error::Error::certificate(path, *problem))
    }
}

/// Accepts certificates signed by the authorities, and servers named by their own certificates.
#[derive(Debug)]
pub(super) struct NamedVerifier {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl NamedVerifier {
    /// Returns a verifier; `roots` are the authorities, including those of `named` that can be.
    pub fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> crate::error::Result<Self> {
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let authorities = authorities.map_err(|_| ErrorKind::Bug("there are no authorities to verify with"))?;
        Ok(Self { authorities, named })
    }
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // webpki checks the dates first: they are valid if it returns either of these errors.
        let unsigned = |problem: &CertificateError| {
            matches!(problem, CertificateError::UnknownIssuer) || error::is_of_authority(problem)
        };
        match verified {
            Err(Error::InvalidCertificate(problem)) if unsigned(&problem) && self.named.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
