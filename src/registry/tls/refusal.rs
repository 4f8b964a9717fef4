//! Why a connection by TLS did not come about.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::path::Shortened;

/// How many of the names in a certificate are shown.
const NAMES_SHOWN: usize = 3;

/// Returns why one of the two sides is not trusted, as the end of a sentence about the registry; `None` if that is
/// not what `error`, or any of its causes, is about.
#[must_use]
pub fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return said(error);
        }
        // The cause of an error of `io` is the cause of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &(dyn Error + 'static)));
    }
    None
}

fn said(error: &rustls::Error) -> Option<String> {
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem),
        rustls::Error::NoCertificatesPresented => "it shows no certificate".into(),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => "it does not answer in TLS".into(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => "it wants a client certificate".into(),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => "it refuses the client certificate".into(),
        _ => return None,
    })
}

fn certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "its certificate is from an unknown issuer".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::NotValidForNameContext { presented, .. } => names(presented),
        CertificateError::Revoked => "its certificate is revoked".into(),
        CertificateError::BadSignature => "its certificate has a wrong signature".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers".into()
        }
        other => {
            format!("its certificate cannot be accepted: {}", Shortened(other.to_string().as_bytes()))
        }
    }
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "its certificate is for no name".into();
    }
    // rustls shows a name as `DnsName("a.example")` or `IpAddress(10.0.0.1)`.
    let bare =
        |name: &String| name.split(['(', '"', ')']).skip(1).find(|part| !part.is_empty()).unwrap_or(name).to_owned();
    let shown: Vec<String> =
        presented.iter().take(NAMES_SHOWN).map(|name| Shortened(bare(name).as_bytes()).to_string()).collect();
    let more = if presented.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("its certificate is for {}{more}", shown.join(", "))
}
