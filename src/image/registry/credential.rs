//! Finds the credentials for a registry.
//!
//! The first source that has a credential is used: the caller's, else the one file that the caller names, else the
//! document of `DOCKER_AUTH_CONFIG`, else the files that podman and docker write, in the caller's order. In a document,
//! the helper in `credHelpers` for the registry comes first, then the one of `credsStore`, then `auths`: docker prefers
//! the store in the same way, because the content of `auths` beside it is older. The search continues after a helper
//! that has no credential, and after a source that is unavailable (a helper that is not installed, a file that cannot
//! be read): the user is warned, and told again if the registry then refuses. A helper that fails ends the search, so
//! that an image is not requested under another identity. The environment is not read here.

mod file;
mod helper;
mod key;
mod secret;

use std::ffi::OsString;
use std::path::PathBuf;

pub use self::secret::Secret;

use self::file::{AuthFile, FileLookup};
use self::helper::{Helper, HelperResponse};
use crate::cancel::Cancel;
use crate::error::{CredentialProblem, Error, ErrorKind, Result};

/// The time limit of a helper in seconds.
const HELPER_SECONDS: u64 = 30;
/// The user name with which docker stores an identity token as a password.
const TOKEN_USER: &str = "<token>";

/// The credential that is sent to a registry or its realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// None.
    Anonymous,
    /// A user name and a password.
    Password {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged for an access token at the realm.
    IdentityToken(Secret),
    /// An access token, to be sent to the registry unchanged.
    Bearer(Secret),
}

impl Credential {
    /// Returns the credential of a user; the name `<token>` means that the password is an identity token.
    #[must_use]
    pub fn of_user(user: String, password: Secret) -> Self {
        if user == TOKEN_USER { Self::IdentityToken(password) } else { Self::Password { user, password } }
    }
}

/// A credential that the caller gives for one registry: it is sent to no other one, such as a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCredential {
    /// The registry, as `HOST[:PORT]`.
    pub host: String,
    /// The credential.
    pub credential: Credential,
}

/// A credential with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The credential.
    pub credential: Credential,
    /// The flag, file or helper of the credential, escaped; never its content.
    pub source: String,
    /// Warnings about the source.
    pub warnings: Vec<String>,
    /// The sources that were named and are unavailable, each with the reason.
    pub unasked: Vec<String>,
}

impl StoredCredential {
    /// Returns the problem of a registry that refuses this credential: unavailable sources may be the reason.
    #[must_use]
    pub fn refusal(&self, problem: CredentialProblem) -> CredentialProblem {
        if self.unasked.is_empty() {
            return problem;
        }
        CredentialProblem::Unasked { refusal: Box::new(problem), unasked: self.unasked.join("; ") }
    }
}

/// A document of credentials that is not a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthText {
    /// The name in messages: that of its variable.
    pub name: &'static str,
    /// The JSON document.
    pub json: Secret,
}

/// The sources of credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// The credential of `--creds`, which takes precedence over all other sources.
    pub given: Option<GivenCredential>,
    /// True to use no credentials: `--no-creds`.
    pub none: bool,
    /// The only file to be read, which must exist: `--authfile`.
    pub authfile: Option<PathBuf>,
    /// The document to be read before the files, without [`Self::authfile`]: `DOCKER_AUTH_CONFIG`.
    pub text: Option<AuthText>,
    /// The files to be read without [`Self::authfile`], in order; missing files are skipped.
    pub files: Vec<PathBuf>,
    /// The directories of helpers in the form of `PATH`, which is also the helpers' own `PATH`.
    pub search_path: OsString,
    /// The further environment variables of helpers.
    pub helper_environment: Vec<(&'static str, OsString)>,
}

/// Returns the credential for a repository of a registry; [`Credential::Anonymous`] if there is none.
///
/// `host` is `HOST[:PORT]`, Docker Hub under any of its names; `repository` is the name without it.
///
/// # Errors
///
/// [`ErrorKind::Credentials`]: a file cannot be read or parsed, or a helper fails. Also if the run was cancelled.
pub fn find(host: &str, repository: &str, sources: &CredentialSources, cancel: &Cancel) -> Result<StoredCredential> {
    find_within(host, repository, sources, HELPER_SECONDS, cancel)
}

fn find_within(
    host: &str,
    repository: &str,
    sources: &CredentialSources,
    seconds: u64,
    cancel: &Cancel,
) -> Result<StoredCredential> {
    let found = |credential, source: &str| StoredCredential {
        credential,
        source: source.to_owned(),
        warnings: Vec::new(),
        unasked: Vec::new(),
    };
    if sources.none {
        return Ok(found(Credential::Anonymous, "--no-creds"));
    }
    if let Some(given) = sources.given.as_ref().filter(|given| key::is_same(&given.host, host)) {
        return Ok(found(given.credential.clone(), "--creds"));
    }
    let mut search = Search { host, repository, sources, seconds, cancel, unasked: Vec::new() };
    let mut found = search.first()?.unwrap_or_else(|| found(Credential::Anonymous, "none found"));
    let instead = match &found.credential {
        Credential::Anonymous => format!("{host} is used without credentials"),
        _ => format!("{host} is used with the credentials of {}", found.source),
    };
    found.warnings.extend(search.unasked.iter().map(|why| format!("{why}: {instead}")));
    Ok(StoredCredential { unasked: search.unasked, ..found })
}

/// A search through documents, in order.
struct Search<'a> {
    host: &'a str,
    repository: &'a str,
    sources: &'a CredentialSources,
    seconds: u64,
    cancel: &'a Cancel,
    unasked: Vec<String>,
}

impl Search<'_> {
    /// Returns the first credential.
    fn first(&mut self) -> Result<Option<StoredCredential>> {
        let sources = self.sources;
        if let Some(path) = &sources.authfile {
            let reading = AuthFile::read(path, true);
            return self.one(reading);
        }
        if let Some(text) = &sources.text
            && let Some(found) = self.one(AuthFile::of_text(text))?
        {
            return Ok(Some(found));
        }
        for path in &sources.files {
            if let Some(found) = self.one(AuthFile::read(path, false))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns the credential of one document, if it has one.
    fn one(&mut self, reading: std::result::Result<FileLookup, CredentialProblem>) -> Result<Option<StoredCredential>> {
        let refused = |problem| Error::from(ErrorKind::Credentials { host: self.host.to_owned(), problem });
        let file = match reading.map_err(refused)? {
            FileLookup::Document(file) => file,
            FileLookup::Absent => return Ok(None),
            FileLookup::Unreadable(why) => {
                self.unasked.push(why);
                return Ok(None);
            }
        };
        let found = |credential, source: String, warnings| StoredCredential {
            credential,
            source,
            warnings,
            unasked: Vec::new(),
        };
        if let Some(name) = file.helper(self.host) {
            let answer = match Helper::find(name, file.shown(), self.sources).map_err(refused)? {
                Ok(helper) => helper.request(self.host, self.seconds, self.cancel)?,
                Err(why) => HelperResponse::Absent(why),
            };
            match answer {
                HelperResponse::Credential(credential, source) => {
                    return Ok(Some(found(credential, source, Vec::new())));
                }
                HelperResponse::Absent(why) => self.unasked.push(why),
                HelperResponse::None => {}
            }
        }
        let credential = file.credential(self.host, self.repository).map_err(refused)?;
        Ok(credential.map(|credential| found(credential, file.shown().to_owned(), file.warnings())))
    }
}

/// Returns the problem of a file; the text never contains any of its content.
fn problem_of(path: &str, problem: impl Into<String>) -> CredentialProblem {
    CredentialProblem::File { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
