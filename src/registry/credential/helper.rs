//! The programs `docker-credential-NAME`, which keep credentials outside of files.
//!
//! The protocol is docker-credential-helpers': the server's name on stdin, `get` as the argument, JSON on stdout.
//! What a helper prints is never shown: it may be a secret.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::{Credential, CredentialSources, Secret, key, problem_of};
use crate::cancel::Cancel;
use crate::error::{CredentialProblem, Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::path::Quoted;
use crate::program::{HelperName, Invocation, Program, Stdout};

const STDOUT_MAX: usize = 64 << 10;
/// What a helper says, with an exit code other than 0, about a server that it does not know.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// An installed helper that a file names.
pub struct Helper {
    name: String,
    /// The file, escaped.
    file: String,
    program: Program,
    environment: Vec<(&'static str, OsString)>,
}

impl Helper {
    /// Finds the helper that `file` names.
    pub fn find(name: &str, file: &Path, sources: &CredentialSources) -> std::result::Result<Self, CredentialProblem> {
        let file = ShownPath(file).to_string();
        let Some(name) = HelperName::new(name) else {
            let problem = format!("names the credential helper {}, which cannot be one", Quoted(name.as_bytes()));
            return Err(problem_of(&file, problem));
        };
        let Some(program) = Program::credential_helper(&name, &sources.search_path) else {
            let problem = format!("is not in PATH, and {file} names it");
            return Err(CredentialProblem::Helper { helper: name.to_string(), problem });
        };
        let mut environment = sources.helper_environment.clone();
        environment.push(("PATH", sources.search_path.clone()));
        Ok(Self { name: name.to_string(), file, program, environment })
    }

    /// Returns what is said about where a credential comes from.
    pub fn source(&self) -> String {
        format!("{}, named in {}", self.name, self.file)
    }

    /// Asks for the credential of a registry; `None` if the helper has none.
    pub fn ask(&self, host: &str, seconds: u64, cancel: &Cancel) -> Result<Option<Credential>> {
        for server in key::servers(host) {
            if let Some(credential) = self.get(host, server, seconds, cancel)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn get(&self, host: &str, server: &str, seconds: u64, cancel: &Cancel) -> Result<Option<Credential>> {
        let problem = |problem: String| {
            let problem = CredentialProblem::Helper { helper: self.name.clone(), problem };
            Error::from(ErrorKind::Credentials { host: host.to_owned(), problem })
        };
        let invocation = Invocation {
            arguments: vec!["get".into()],
            environment: self.environment.clone(),
            stdin: server.as_bytes().to_vec(),
            stdout: Stdout::All(STDOUT_MAX),
            ..Invocation::new(Path::new("/"), seconds)
        };
        let output = match self.program.run(&invocation, cancel) {
            Ok(output) => output,
            Err(error) => return Err(fault(&error).map_or(error, problem)),
        };
        match output.code {
            0 => credential(&output.stdout).map_err(|what| problem(what.into())),
            _ if output.stdout.trim_ascii() == NOT_FOUND => Ok(None),
            code => Err(problem(format!("failed with exit code {code}"))),
        }
    }
}

/// Returns what a helper did, unless it was we who stopped.
fn fault(error: &Error) -> Option<String> {
    match error.kind() {
        ErrorKind::Tool { problem: ToolProblem::Start, source: Some(source), .. } => {
            Some(format!("cannot be started: {source}"))
        }
        ErrorKind::Tool { problem, .. } => Some(problem.to_string()),
        _ => None,
    }
}

fn credential(answer: &[u8]) -> std::result::Result<Option<Credential>, &'static str> {
    let Ok(Value::Object(answer)) = serde_json::from_slice(answer) else {
        return Err("answers what is no JSON object");
    };
    let (Some(user), Some(secret)) = (answer.get("Username"), answer.get("Secret")) else {
        return Err("answers without \"Username\" and \"Secret\"");
    };
    match (user.as_str(), secret.as_str()) {
        (Some(""), Some("")) => Ok(None),
        (Some(user), Some(secret)) => Ok(Some(Credential::of_user(user.to_owned(), Secret::new(secret.to_owned())))),
        _ => Err("answers \"Username\" and \"Secret\" that are no strings"),
    }
}
