//! Files of certificates and keys, whose content no error shows.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use crate::error::{CertificateProblem, Error, ErrorKind, Result};
use crate::registry::bounded;

/// A bundle of all the authorities there are has a fifth of it.
const BYTES_MAX: u64 = 1 << 20;

/// Returns the certificates of a file: one at least.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Error::certificate(path, CertificateProblem::NoCertificate)),
        Ok(found) => Ok(found),
        Err(_) => Err(Error::certificate(path, CertificateProblem::NotPem)),
    }
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
