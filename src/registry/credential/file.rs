//! The files of podman (`auth.json`) and docker (`config.json`), which have one format.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::{Credential, Secret, key, problem_of};
use crate::error::{CredentialProblem, ShownPath};
use crate::path::Quoted;
use crate::registry::bounded;

const BYTES_MAX: u64 = 1 << 20;
/// The permissions that a file with secrets has for others: none.
const OTHERS: u32 = 0o077;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Result<T> = std::result::Result<T, CredentialProblem>;

/// A file that was read. What else stands in it is nobody's business here.
pub struct AuthFile {
    shown: String,
    /// The permissions, where they are those of a file.
    mode: Option<u32>,
    document: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file; `None` if it is missing and need not be there. An empty one is a document that holds nothing.
    pub fn read(path: &Path, required: bool) -> Result<Option<Self>> {
        let shown = ShownPath(path).to_string();
        let absent = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        // To open a fifo that nobody writes to would wait for ever; a pipe that the user names is written to.
        if !required && path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            return Err(problem_of(&shown, "is not a regular file"));
        }
        let (bytes, metadata) = match bounded::read(path, BYTES_MAX) {
            Ok(Some(read)) => read,
            Ok(None) => return Err(problem_of(&shown, format!("has more than {BYTES_MAX} bytes"))),
            Err(error) if !required && absent(&error) => return Ok(None),
            Err(error) => return Err(problem_of(&shown, format!("cannot be read: {error}"))),
        };
        let document = parse(&bytes).map_err(|problem| problem_of(&shown, problem))?;
        let mode = metadata.is_file().then(|| metadata.mode() & 0o7777);
        Ok(Some(Self { shown, mode, document }))
    }

    /// Returns the path, escaped.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns what the user should know about a file that holds a secret.
    pub fn warnings(&self) -> Vec<String> {
        let open = self.mode.filter(|mode| mode & OTHERS != 0);
        open.map(|mode| format!("{} holds a secret and is open to others (mode {mode:04o})", self.shown))
            .into_iter()
            .collect()
    }

    /// Returns the name of the helper to ask about a registry; an empty one says that `auths` holds it.
    pub fn helper(&self, host: &str) -> Option<&str> {
        let own = self.section("credHelpers").and_then(|helpers| {
            let key = key::registry(helpers.keys().map(String::as_str), host)?;
            helpers.get(key)?.as_str()
        });
        own.or_else(|| self.document.get("credsStore")?.as_str()).filter(|name| !name.is_empty())
    }

    /// Returns what `auths` holds for a repository: an entry that holds nothing is as good as none.
    pub fn credential(&self, host: &str, repository: &str) -> Result<Option<Credential>> {
        let Some(auths) = self.section("auths") else { return Ok(None) };
        for key in key::matching(auths.keys().map(String::as_str), host, repository) {
            let Some(entry) = auths.get(key).and_then(Value::as_object) else { continue };
            let problem = |what| problem_of(&self.shown, format!("has for {} {what}", Quoted(key.as_bytes())));
            if let Some(credential) = credential(entry).map_err(problem)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn section(&self, name: &str) -> Option<&Map<String, Value>> {
        self.document.get(name)?.as_object()
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<Map<String, Value>, String> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err("is no JSON object".into()),
        Err(error) => Err(format!("is not JSON (line {}, column {})", error.line(), error.column())),
    }
}

/// Returns the most particular of what an entry holds: a token stands beside the password that it replaced.
fn credential(entry: &Map<String, Value>) -> std::result::Result<Option<Credential>, &'static str> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let secret = |text: &str| Secret::new(text.to_owned());
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Credential::Bearer(secret(token))));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credential::IdentityToken(secret(token))));
    }
    if let Some(auth) = text("auth") {
        let (user, password) = decode(auth)?;
        return Ok(Some(Credential::of_user(user, password)));
    }
    match (text("username"), text("password")) {
        (Some(user), Some(password)) => Ok(Some(Credential::of_user(user.to_owned(), secret(password)))),
        _ => Ok(None),
    }
}

fn decode(auth: &str) -> std::result::Result<(String, Secret), &'static str> {
    let bytes = BASE64.decode(auth.trim_ascii()).map_err(|_| "an \"auth\" that is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "an \"auth\" that is not UTF-8")?;
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() => Ok((user.to_owned(), Secret::new(password.to_owned()))),
        _ => Err("an \"auth\" that is not USER:PASSWORD"),
    }
}
