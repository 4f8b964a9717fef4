//! Signatures of artifacts in the form of minisign: ed25519 over a text that names the filesystem's bytes.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::artifact::Artifact;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, KeyProblem, Result};
use crate::patient;

/// The most bytes of a file with a key.
const KEY_MAX: u64 = 4096;
/// The place of the key derivation in a secret key, and its values without and with a password.
const KDF: std::ops::Range<usize> = 2..4;
const NO_KDF: &[u8] = &[0, 0];
const SCRYPT: &[u8] = b"Sc";
const COMMENT: &str = "planish filesystem";

/// A secret key of minisign without a password, which signs what is pushed.
#[derive(Clone)]
pub struct SigningKey(Arc<minisign::SecretKey>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// A public key of minisign, which verifies what is fetched.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    /// The key in base64, as minisign prints it.
    text: String,
    key: minisign_verify::PublicKey,
}

impl SigningKey {
    /// Reads the file of a secret key, which may be a pipe.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no secret key of minisign, or needs a password; the run was cancelled.
    pub fn read(path: impl AsRef<Path>, cancel: &Cancel) -> Result<Self> {
        let path = path.as_ref();
        let refused = |problem| Error::from(ErrorKind::Key { path: path.to_owned(), problem });
        let text = read(path, cancel)?.ok_or_else(|| refused(KeyProblem::NotSecret))?;
        let line = text.lines().nth(1).unwrap_or_default();
        let bytes = BASE64.decode(line.trim()).map_err(|_| refused(KeyProblem::NotSecret))?;
        match bytes.get(KDF) {
            Some(NO_KDF) => {}
            Some(SCRYPT) => return Err(refused(KeyProblem::Password)),
            _ => return Err(refused(KeyProblem::NotSecret)),
        }
        // The box of the crate wants a checksum, which minisign writes with a password only.
        let key = minisign::SecretKey::from_bytes(&bytes).map_err(|_| refused(KeyProblem::NotSecret))?;
        let key = Self(Arc::new(key));
        key.sign_text("").map_err(|_| refused(KeyProblem::NotSecret))?;
        Ok(key)
    }

    /// Returns the signature of an artifact.
    pub(crate) fn sign(&self, artifact: &Artifact) -> Result<String> {
        self.sign_text(&signed_text(artifact)).map_err(|_| ErrorKind::Bug("a key that was read signs nothing").into())
    }

    /// Signs a text, and verifies the signature with the public half of the key.
    fn sign_text(&self, text: &str) -> minisign::Result<String> {
        let public = minisign::PublicKey::from_secret_key(&self.0)?;
        let signed = minisign::sign(Some(&public), &self.0, text.as_bytes(), Some(COMMENT), Some(COMMENT))?;
        Ok(signed.into_string())
    }
}

impl VerifyingKey {
    /// Reads the file of a public key, which may be a pipe.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no public key of minisign; the run was cancelled.
    pub fn read(path: impl AsRef<Path>, cancel: &Cancel) -> Result<Self> {
        let path = path.as_ref();
        let refused = || Error::from(ErrorKind::Key { path: path.to_owned(), problem: KeyProblem::NotPublic });
        let file = read(path, cancel)?.ok_or_else(refused)?;
        // A comment may precede the key. Of several keys minisign takes the first.
        let mut lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(' '));
        let (Some(text), None) = (lines.next(), lines.next()) else { return Err(refused()) };
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| refused())?;
        Ok(Self { text: text.to_owned(), key })
    }

    /// Returns the key as minisign prints it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns the first of the keys that signed the artifact; the reason for a refusal is the end of a sentence.
pub(crate) fn verify<'a>(
    artifact: &Artifact,
    keys: &'a [VerifyingKey],
) -> std::result::Result<&'a VerifyingKey, String> {
    let Some(text) = &artifact.signature else { return Err("it is not signed".into()) };
    let signature =
        minisign_verify::Signature::decode(text).map_err(|_| "its signature has another form".to_owned())?;
    let signed = signed_text(artifact);
    let signs = |key: &&VerifyingKey| key.key.verify(signed.as_bytes(), &signature, false).is_ok();
    keys.iter().find(signs).ok_or_else(|| "its signature is by another key, or for another filesystem".into())
}

/// Returns the text that is signed: a line `name=value` for the size, the digest, and if there are any, the build key and
/// the digest of the report. The digests fix every byte that a reader uses.
fn signed_text(artifact: &Artifact) -> String {
    let mut text = format!("planish.filesystem.v1\nbytes={}\ndigest={}\n", artifact.bytes, artifact.digest);
    text.extend(artifact.key.iter().map(|key| format!("key={key}\n")));
    text.extend(artifact.report.iter().map(|report| format!("report={}\n", report.digest)));
    text
}

/// Reads a small file; `None` if it is larger than a key, or not text.
fn read(path: &Path, cancel: &Cancel) -> Result<Option<String>> {
    Ok(patient::read_all(path, KEY_MAX, cancel)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Blob;
    use crate::digest::{Algorithm, Digest};

    fn artifact() -> Artifact {
        let digest = |bytes: &[u8]| Digest::of(Algorithm::Sha256, bytes);
        let report = Some(Blob { digest: digest(b"report"), size: 6 });
        let (digest, key) = (digest(b"file"), Some(digest(b"key")));
        Artifact { bytes: 4096, digest, key, report, chunks: Vec::new(), subject: None, signature: None }
    }

    /// A new pair of keys.
    fn pair() -> (SigningKey, VerifyingKey) {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let text = pair.pk.to_base64();
        let key = minisign_verify::PublicKey::from_base64(&text).unwrap();
        (SigningKey(Arc::new(pair.sk)), VerifyingKey { text, key })
    }

    #[test]
    fn a_signature_is_that_of_a_key_and_of_every_digest() {
        let ((secret, public), (_, other)) = (pair(), pair());
        let plain = artifact();
        let signed = Artifact { signature: Some(secret.sign(&plain).unwrap()), ..artifact() };
        let both = [other.clone(), public.clone()];
        assert_eq!(verify(&signed, &both).map(VerifyingKey::text), Ok(public.text()));
        let refusal = |artifact: &Artifact| verify(artifact, std::slice::from_ref(&public)).unwrap_err();
        assert_eq!(refusal(&plain), "it is not signed");
        let change = |change: &dyn Fn(&mut Artifact)| {
            let mut artifact = Artifact { signature: signed.signature.clone(), ..artifact() };
            change(&mut artifact);
            refusal(&artifact)
        };
        let digest = || Digest::of(Algorithm::Sha256, b"other");
        let foreign = "its signature is by another key, or for another filesystem";
        assert_eq!(change(&|artifact| artifact.bytes = 8192), foreign);
        assert_eq!(change(&|artifact| artifact.digest = digest()), foreign);
        assert_eq!(change(&|artifact| artifact.key = Some(digest())), foreign);
        assert_eq!(change(&|artifact| artifact.key = None), foreign);
        assert_eq!(change(&|artifact| artifact.report = None), foreign);
        assert_eq!(verify(&signed, &[other]).unwrap_err(), foreign);
        for text in ["", "x", "untrusted comment: a\nRWQ=\ntrusted comment: b\nRWQ=\n", "\u{fc}\n\n\n\n"] {
            assert_eq!(change(&|artifact| artifact.signature = Some(text.into())), "its signature has another form");
        }
    }
}
