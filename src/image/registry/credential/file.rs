//! The credential files of podman (`auth.json`) and docker (`config.json`), which have one format.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::{AuthText, Credential, Secret, key, problem_of};
use crate::error::{CredentialProblem, ShownPath};
use crate::image::registry::bounded;
use crate::path::Quoted;

const BYTES_MAX: u64 = 1 << 20;
/// The permission bits of other users, which a file with secrets should not have.
const OTHERS: u32 = 0o077;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name of docker's file before version 1.7.
const OLD_NAME: &str = ".dockercfg";
/// The bytes that Windows editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

type Result<T> = std::result::Result<T, CredentialProblem>;

/// The result of reading a document.
pub enum FileLookup {
    /// The document.
    Document(AuthFile),
    /// There is no such file.
    Absent,
    /// The file exists and cannot be read: a sentence about it.
    Unreadable(String),
}

/// A parsed file. Its other content is ignored.
pub struct AuthFile {
    shown: String,
    /// The permission bits, if it is a file.
    mode: Option<u32>,
    document: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file. One that is not required may be missing or unreadable. An empty file is a document without
    /// credentials.
    pub fn read(path: &Path, required: bool) -> Result<FileLookup> {
        let shown = ShownPath(path).to_string();
        let absent = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let unreadable = |problem: String| {
            if required {
                Err(problem_of(&shown, problem))
            } else {
                Ok(FileLookup::Unreadable(format!("{shown} {problem}")))
            }
        };
        // Opening a fifo without a writer would block forever; a pipe named by the user has a writer.
        if !required && path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return unreadable("is not a regular file".into());
        }
        let (bytes, metadata) = match bounded::read(path, BYTES_MAX) {
            Ok(Some(read)) => read,
            Ok(None) => return unreadable(format!("has more than {BYTES_MAX} bytes")),
            Err(error) if !required && absent(&error) => return Ok(FileLookup::Absent),
            Err(error) => return unreadable(format!("cannot be read: {error}")),
        };
        let document = parse(&bytes).map_err(|problem| problem_of(&shown, problem))?;
        let document =
            if path.file_name().is_some_and(|name| name == OLD_NAME) { sectioned(document) } else { document };
        let mode = metadata.is_file().then(|| metadata.mode() & 0o7777);
        Ok(FileLookup::Document(Self { shown, mode, document }))
    }

    /// Parses a document from a variable.
    pub fn of_text(text: &AuthText) -> Result<FileLookup> {
        let shown = text.name.to_owned();
        let document = parse(text.json.expose().as_bytes()).map_err(|problem| problem_of(&shown, problem))?;
        Ok(FileLookup::Document(Self { shown, mode: None, document }))
    }

    /// Returns the path, escaped, or the variable's name.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the warnings about a file that contains a secret.
    pub fn warnings(&self) -> Vec<String> {
        let open = self.mode.filter(|mode| mode & OTHERS != 0);
        open.map(|mode| format!("{} holds a secret and is open to others (mode {mode:04o})", self.shown))
            .into_iter()
            .collect()
    }

    /// Returns the name of the helper for a registry; an empty name means that `auths` is used.
    pub fn helper(&self, host: &str) -> Option<&str> {
        let own = self.section("credHelpers").and_then(|helpers| {
            let key = key::registry(helpers.keys().map(String::as_str), host)?;
            helpers.get(key)?.as_str()
        });
        own.or_else(|| self.document.get("credsStore")?.as_str()).filter(|name| !name.is_empty())
    }

    /// Returns the credential in `auths` for a repository: an entry without content counts as absent.
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
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err("is no JSON object".into()),
        Err(error) => Err(format!("is not JSON (line {}, column {})", error.line(), error.column())),
    }
}

/// Returns a document in the current format: docker before version 1.7 wrote only the section `auths`.
fn sectioned(document: Map<String, Value>) -> Map<String, Value> {
    [("auths".to_owned(), Value::Object(document))].into_iter().collect()
}

/// Returns the most specific credential of an entry: a token is beside the password that it replaced.
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

/// Decodes `USER:PASSWORD`. Line breaks in the base64 are ignored, as in Go; so are line breaks after the password,
/// which `echo` adds, and the NULs with which docker pads.
fn decode(auth: &str) -> std::result::Result<(String, Secret), &'static str> {
    let digits: Vec<u8> = auth.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(digits).map_err(|_| "an \"auth\" that is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "an \"auth\" that is not UTF-8")?;
    match text.trim_end_matches(['\0', '\r', '\n']).split_once(':') {
        Some((user, password)) if !user.is_empty() => Ok((user.to_owned(), Secret::new(password.to_owned()))),
        _ => Err("an \"auth\" that is not USER:PASSWORD"),
    }
}
