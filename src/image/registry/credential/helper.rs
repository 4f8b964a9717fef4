//! The programs `docker-credential-NAME`, which keep credentials outside of files.
//!
//! The protocol is that of docker-credential-helpers: the server's name on stdin, `get` as the argument, JSON on
//! stdout. The output of a helper is never shown: it may contain a secret.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::{Credential, CredentialSources, Secret, key, problem_of};
use crate::cancel::Cancel;
use crate::error::{CredentialProblem, Error, ErrorKind, Result, ToolProblem};
use crate::path::Quoted;
use crate::program::{HelperName, Invocation, Program, Stdout};

const STDOUT_MAX: usize = 64 << 10;
/// The output of a helper, with an exit code other than 0, for a server that it does not know.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// The response of a helper.
pub enum HelperResponse {
    /// The credential, and the description of its source.
    Credential(Credential, String),
    /// The helper has none.
    None,
    /// The helper cannot be started on this machine, with the reason.
    Absent(String),
}

/// An installed helper that a document names.
pub struct Helper {
    name: String,
    /// The name of the document, escaped.
    file: String,
    program: Program,
    environment: Vec<(&'static str, OsString)>,
}

impl Helper {
    /// Finds the helper named by the document `file`; the inner error is the reason why it is not available.
    pub fn find(
        name: &str,
        file: &str,
        sources: &CredentialSources,
    ) -> std::result::Result<std::result::Result<Self, String>, CredentialProblem> {
        let Some(name) = HelperName::new(name) else {
            let problem = format!("names the credential helper {}, which is not a valid name", Quoted(name.as_bytes()));
            return Err(problem_of(file, problem));
        };
        let Some(program) = Program::credential_helper(&name, &sources.search_path) else {
            return Ok(Err(format!("the credential helper {name}, which {file} names, is not in PATH")));
        };
        let mut environment = sources.helper_environment.clone();
        environment.push(("PATH", sources.search_path.clone()));
        Ok(Ok(Self { name: name.to_string(), file: file.to_owned(), program, environment }))
    }

    /// Requests the credential of a registry, under each of its names.
    pub fn request(&self, host: &str, seconds: u64, cancel: &Cancel) -> Result<HelperResponse> {
        for server in key::servers(host) {
            match self.get(host, server, seconds, cancel)? {
                HelperResponse::None => {}
                answer => return Ok(answer),
            }
        }
        Ok(HelperResponse::None)
    }

    fn get(&self, host: &str, server: &str, seconds: u64, cancel: &Cancel) -> Result<HelperResponse> {
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
            Err(error) => {
                return match error.kind() {
                    // A Windows program in a WSL that runs none, or a script without its interpreter.
                    ErrorKind::Tool { problem: ToolProblem::Start, source: Some(source), .. } => {
                        let (name, file) = (&self.name, &self.file);
                        Ok(HelperResponse::Absent(format!(
                            "the credential helper {name}, which {file} names, cannot be started: {source}"
                        )))
                    }
                    ErrorKind::Tool { problem: fault, .. } => Err(problem(fault.to_string())),
                    _ => Err(error),
                };
            }
        };
        match output.code {
            0 => match credential(&output.stdout).map_err(|what| problem(what.into()))? {
                Some(credential) => {
                    Ok(HelperResponse::Credential(credential, format!("{}, named in {}", self.name, self.file)))
                }
                None => Ok(HelperResponse::None),
            },
            _ if output.stdout.trim_ascii() == NOT_FOUND => Ok(HelperResponse::None),
            code => Err(problem(format!("failed with exit code {code}"))),
        }
    }
}

fn credential(answer: &[u8]) -> std::result::Result<Option<Credential>, &'static str> {
    // As Go reads it: one value, whatever follows, and keys in any case.
    let Some(Ok(Value::Object(answer))) = serde_json::Deserializer::from_slice(answer).into_iter().next() else {
        return Err("returns what is not a JSON object");
    };
    let field = |name: &str| {
        let same = |(key, value)| if str::eq_ignore_ascii_case(key, name) { Some(value) } else { None };
        answer.get(name).or_else(|| answer.iter().map(|(key, value)| (key.as_str(), value)).find_map(same))
    };
    let (Some(user), Some(secret)) = (field("Username"), field("Secret")) else {
        return Err("returns no \"Username\" and \"Secret\"");
    };
    match (user.as_str(), secret.as_str()) {
        (Some(""), Some("")) => Ok(None),
        (Some(user), Some(secret)) => Ok(Some(Credential::of_user(user.to_owned(), Secret::new(secret.to_owned())))),
        _ => Err("returns \"Username\" and \"Secret\" that are not strings"),
    }
}
