//! Errors of TLS connections.

use std::error::Error;

use rustls::{AlertDescription, CertificateError, InvalidMessage, OtherError};

use crate::image::registry::attempt::causes;
use crate::path::Shortened;

/// The number of names in a certificate that are shown.
const NAMES_SHOWN: usize = 3;

/// A permanent reason why a TLS connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// One side does not trust the other: the end of a sentence about the registry.
    Untrusted(String),
    /// The other side does not use TLS.
    NotTls,
}

/// Returns the reason in `error` or any of its causes; `None` if they are not about TLS.
#[must_use]
pub fn tls_error(error: &(dyn Error + 'static)) -> Option<TlsError> {
    let error = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    if matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) {
        return Some(TlsError::NotTls);
    }
    reason(error).map(TlsError::Untrusted)
}

fn reason(error: &rustls::Error) -> Option<String> {
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => certificate(problem),
        rustls::Error::NoCertificatesPresented => "it shows no certificate".into(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it requires a client certificate".into()
        }
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
        CertificateError::BadEncoding => "its certificate cannot be read".into(),
        CertificateError::UnhandledCriticalExtension => {
            "its certificate has a critical extension that planish does not know".into()
        }
        #[expect(deprecated, reason = "webpki gives it still")]
        CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed in a way that planish does not know".into()
        }
        problem if is_of_authority(problem) => "its certificate is that of an authority, not of a server".into(),
        CertificateError::Other(OtherError(other)) => {
            format!("its certificate cannot be accepted: {}", spelled(&other.to_string()))
        }
        other => format!("its certificate cannot be accepted: {}", spelled(&format!("{other:?}"))),
    }
}

/// Returns true if a server shows a certificate that is made to sign others.
pub(super) fn is_of_authority(problem: &CertificateError) -> bool {
    matches!(problem, CertificateError::Other(OtherError(other)) if other.to_string() == "CaUsedAsEndEntity")
}

/// Returns an error of TLS in words, as the end of a sentence about the other side.
#[must_use]
pub fn words(error: &rustls::Error) -> String {
    if let Some(words) = reason(error) {
        return words;
    }
    match error {
        rustls::Error::AlertReceived(alert) => format!("it ends TLS with an alert: {}", spelled(&format!("{alert:?}"))),
        rustls::Error::PeerIncompatible(why) => {
            format!("it speaks no TLS that planish does: {}", spelled(&format!("{why:?}")))
        }
        rustls::Error::PeerMisbehaved(why) => format!("it breaks the rules of TLS: {}", spelled(&format!("{why:?}"))),
        rustls::Error::InvalidMessage(why) => {
            format!("it sends a TLS message that cannot be read: {}", spelled(&format!("{why:?}")))
        }
        rustls::Error::InappropriateMessage { .. } | rustls::Error::InappropriateHandshakeMessage { .. } => {
            "it sends a TLS message out of turn".into()
        }
        rustls::Error::InvalidCertRevocationList(_)
        | rustls::Error::InvalidEncryptedClientHello(_)
        | rustls::Error::InconsistentKeys(_) => format!("TLS fails: {}", spelled(&format!("{error:?}"))),
        other => other.to_string(),
    }
}

/// Returns the words that a variant's name is made of: `BadMac` is `bad mac`. Its fields are left out.
fn spelled(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "its certificate is for no name".into();
    }
    // rustls displays a name as `DnsName("a.example")` or `IpAddress(10.0.0.1)`.
    let bare =
        |name: &String| name.split(['(', '"', ')']).skip(1).find(|part| !part.is_empty()).unwrap_or(name).to_owned();
    let shown: Vec<String> =
        presented.iter().take(NAMES_SHOWN).map(|name| Shortened(bare(name).as_bytes()).to_string()).collect();
    let more = if presented.len() > NAMES_SHOWN { ", …" } else { "" };
    format!("its certificate is for {}{more}", shown.join(", "))
}
