//! Reads files of certificates and keys; errors show nothing of their content.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use crate::error::{CertificateProblem, Error, ErrorKind, Result};
use crate::image::registry::bounded;

/// A bundle of all public authorities has a twentieth of it.
const BYTES_MAX: u64 = 4 << 20;

/// Returns the certificates of a file: at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Error::certificate(path, CertificateProblem::NoCertificate)),
        Ok(found) => Ok(found),
        Err(_) => Err(Error::certificate(path, CertificateProblem::NotPem)),
    }
}

/// Returns the readable certificates of a file, and the reason why others, or all, are missing.
pub fn readable_certificates(path: &Path) -> (Vec<CertificateDer<'static>>, Option<Error>) {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let (mut found, mut problem) = (Vec::new(), None);
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        match certificate {
            Ok(certificate) => found.push(certificate),
            Err(_) => problem = Some(CertificateProblem::NotPem),
        }
    }
    let problem = problem.or_else(|| found.is_empty().then_some(CertificateProblem::NoCertificate));
    (found, problem.map(|problem| Error::certificate(path, problem)))
}

/// Returns the first private key of a file.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => CertificateProblem::NoKey,
            _ => CertificateProblem::NotPem,
        };
        Error::certificate(path, problem)
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    match bounded::read(path, BYTES_MAX) {
        Ok(Some((bytes, _))) => Ok(bytes),
        Ok(None) => Err(Error::certificate(path, CertificateProblem::TooLarge(BYTES_MAX))),
        Err(error) => {
            let source = Some(error);
            Err(ErrorKind::Certificate { path: path.to_owned(), problem: CertificateProblem::Unreadable, source }
                .into())
        }
    }
}
