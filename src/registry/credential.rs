//! Where the credentials for a registry are found.
//!
//! The first source that has any decides: what the caller gives, else the one file that it names, else the files that
//! podman and docker write, in the caller's order. Inside a file the helper that `credHelpers` names for the registry
//! is asked first, else the one of `credsStore`, then `auths`: docker prefers the store in the same way, since what
//! stands in `auths` beside it is older. A helper that has nothing lets the search go on; one that fails ends it, lest
//! an image be asked for as somebody else. Nothing here reads the environment.

mod file;
mod helper;
mod key;
mod secret;

use std::ffi::OsString;
use std::path::PathBuf;

pub use self::secret::Secret;

use self::file::AuthFile;
use self::helper::Helper;
use crate::cancel::Cancel;
use crate::error::{CredentialProblem, Error, ErrorKind, Result};

/// The time after which a helper is killed.
const HELPER_SECONDS: u64 = 30;
/// The user name with which docker stores an identity token as a password.
const TOKEN_USER: &str = "<token>";

/// What a registry, or the realm that it names, is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A user name and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged for an access token at the realm.
    IdentityToken(Secret),
    /// An access token, to be shown to the registry as it is.
    Bearer(Secret),
}

impl Credential {
    /// Returns the credential of a user; the name `<token>` says that the password is an identity token.
    #[must_use]
    pub fn of_user(user: String, password: Secret) -> Self {
        if user == TOKEN_USER { Self::IdentityToken(password) } else { Self::Password { user, password } }
    }
}

/// A credential, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// The flag, the file or the helper that had it, escaped; never what it held.
    pub source: String,
    /// What the user should know about the source.
    pub warnings: Vec<String>,
}

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// The credential to be used whatever else there is: `--creds`. It is for one registry: whoever asks about
    /// another, a mirror, leaves it out.
    pub given: Option<Credential>,
    /// Whether to be anonymous whatever else there is: `--no-creds`.
    pub none: bool,
    /// The only file to be looked at, which must exist: `--authfile`.
    pub authfile: Option<PathBuf>,
    /// The files to be looked at without [`Self::authfile`], in order; those that are missing are skipped.
    pub files: Vec<PathBuf>,
    /// Where helpers are installed, as `PATH` spells it; they run with it as their `PATH`.
    pub search_path: OsString,
    /// What else a helper's environment holds.
    pub helper_environment: Vec<(&'static str, OsString)>,
}

/// Returns the credential for a repository of a registry; [`Credential::Anonymous`] if there is none.
///
/// `host` is `HOST[:PORT]`, Docker Hub under any of its names; `repository` is the name without it.
///
/// # Errors
///
/// [`ErrorKind::Credentials`]: a file cannot be read or understood, a helper fails. A stop was asked for.
pub fn find(host: &str, repository: &str, sources: &CredentialSources, cancel: &Cancel) -> Result<Found> {
    find_within(host, repository, sources, HELPER_SECONDS, cancel)
}

fn find_within(
    host: &str,
    repository: &str,
    sources: &CredentialSources,
    seconds: u64,
    cancel: &Cancel,
) -> Result<Found> {
    let found = |credential, source: &str| Found { credential, source: source.to_owned(), warnings: Vec::new() };
    if sources.none {
        return Ok(found(Credential::Anonymous, "--no-creds"));
    }
    if let Some(credential) = &sources.given {
        return Ok(found(credential.clone(), "--creds"));
    }
    let refused = |problem| Error::from(ErrorKind::Credentials { host: host.to_owned(), problem });
    let (paths, required) = match &sources.authfile {
        Some(path) => (std::slice::from_ref(path), true),
        None => (&sources.files[..], false),
    };
    for path in paths {
        let Some(file) = AuthFile::read(path, required).map_err(refused)? else { continue };
        if let Some(name) = file.helper(host) {
            let helper = Helper::find(name, path, sources).map_err(refused)?;
            if let Some(credential) = helper.ask(host, seconds, cancel)? {
                return Ok(found(credential, &helper.source()));
            }
        }
        if let Some(credential) = file.credential(host, repository).map_err(refused)? {
            return Ok(Found { warnings: file.warnings(), ..found(credential, file.shown()) });
        }
    }
    Ok(found(Credential::Anonymous, "none found"))
}

/// Returns the problem of a file, whose text never holds anything of its content.
fn problem_of(path: &str, problem: impl Into<String>) -> CredentialProblem {
    CredentialProblem::File { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
