//! The arguments for the access to a registry: credentials, certificates, proxies.

mod environment;

use std::io::Read;
use std::path::PathBuf;

use planish::registry::Mirror;
use planish::registry::ProxyOptions;
use planish::registry::{Credential, CredentialSources, GivenCredential, Secret};
use planish::registry::{NamedCertificates, TlsOptions};
use planish::{Cancel, Error, PatientReader};

use self::environment::Environment;
use crate::cli::exit::Failure;

/// The longest password that is read from stdin.
const PASSWORD_MAX: u64 = 64 << 10;

/// The flags for the access to a registry.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct LoginArguments {
    /// The only file to read credentials from [default: those of podman and docker]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// User for the registry; a password after a colon can be read by other users of this machine
    ///
    /// They see it in the list of processes, so prefer --password-stdin.
    #[arg(long, value_name = "USER[:PASS]", value_parser = login)]
    creds: Option<Secret>,
    /// Read the password for --creds USER from stdin: one line
    #[arg(long)]
    password_stdin: bool,
    /// Use no credentials, even if some are stored
    #[arg(long, conflicts_with_all = ["authfile", "creds"])]
    no_creds: bool,
    /// Trust the certificates in a PEM file as well as the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Verify the certificate of the registry
    ///
    /// If the option is given with either value, HTTPS is also used for loopback addresses.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    tls_verify: Option<bool>,
    /// Use HTTP without TLS: anyone on the network path can read and change the data
    #[arg(long, conflicts_with = "tls_verify")]
    plain_http: bool,
    /// Try this host before docker.io, or REGISTRY=HOST before another; may be repeated
    #[arg(long, value_name = "HOST", value_parser = mirror)]
    registry_mirror: Vec<Mirror>,
}

/// The access to a registry, from the command line and the environment.
#[derive(Debug)]
pub struct Login {
    /// The sources of credentials.
    pub credentials: CredentialSources,
    /// TLS verification and trusted certificate authorities.
    pub tls: TlsOptions,
    /// The proxies.
    pub proxy: ProxyOptions,
    /// True to use HTTP without TLS.
    pub plain_http: bool,
    /// True to use HTTPS for loopback addresses, too.
    pub https: bool,
    /// The mirrors, in order.
    pub mirrors: Vec<Mirror>,
    /// The warnings for the user.
    pub warnings: Vec<String>,
}

impl LoginArguments {
    /// Reads the environment, the system's certificates, and stdin with `--password-stdin`. Called only for an image in
    /// a registry. `host` is the one that a given login is for.
    pub fn login(&self, host: Option<&str>, cancel: &Cancel) -> Result<Login, Failure> {
        let stdin = PatientReader::stdin(cancel).map_err(Error::io("open", "standard input"))?;
        self.login_from(&Environment::of_process(), host, stdin)
    }

    fn login_from(&self, environment: &Environment, host: Option<&str>, stdin: impl Read) -> Result<Login, Failure> {
        let (file, directories) = environment.certificates();
        let named = NamedCertificates::read(file.as_deref(), &directories);
        let mut warnings: Vec<String> = named.faults().map(|fault| fault.to_string()).collect();
        let mut roots = Vec::new();
        if file.is_none() && directories.is_empty() {
            let places = openssl_probe::probe();
            let system = NamedCertificates::read(places.cert_file.as_deref(), &places.cert_dir);
            warnings.extend(system.faults().map(|fault| format!("a certificate of this system: {fault}")));
            roots = system.into_authorities();
        }
        warnings.extend(environment.warnings());
        Ok(Login {
            credentials: CredentialSources {
                given: self.given(host, stdin)?,
                none: self.no_creds,
                authfile: self.authfile.clone(),
                text: environment.credential_text()?,
                files: environment.credential_files(),
                search_path: environment.get("PATH").unwrap_or_default(),
                helper_environment: environment.for_helpers(),
            },
            warnings,
            tls: TlsOptions {
                roots,
                named,
                ca_files: self.ca_file.clone(),
                certs_directories: environment.certs_directories(),
                verify: self.tls_verify.unwrap_or(true),
            },
            proxy: environment.proxy()?,
            plain_http: self.plain_http,
            https: self.tls_verify.is_some() || !self.ca_file.is_empty(),
            mirrors: self.registry_mirror.clone(),
        })
    }

    fn given(&self, host: Option<&str>, stdin: impl Read) -> Result<Option<GivenCredential>, Failure> {
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let Some(creds) = &self.creds else { return Ok(None) };
        let (user, password) = match (creds.expose().split_once(':'), self.password_stdin) {
            (Some((user, password)), false) => (user, password.to_owned()),
            (None, true) => (creds.expose(), password_of(stdin)?),
            (None, false) => return Err(usage("--creds has no password: add --password-stdin to read it from stdin")),
            (Some(_), true) => return Err(usage("--creds holds a password, and --password-stdin reads another")),
        };
        if user.is_empty() {
            return Err(usage("--creds has no user"));
        }
        let host = host.ok_or_else(|| {
            usage("--creds is for one registry, and those of --cache-from and --cache-to are several: use --authfile")
        })?;
        let credential = Credential::of_user(user.to_owned(), Secret::new(password));
        Ok(Some(GivenCredential { host: host.to_owned(), credential }))
    }
}

/// Accepts any value of `--creds`. It is checked later, because clap prints a value that is refused here.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn login(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

fn mirror(text: &str) -> Result<Mirror, &'static str> {
    let (registry, host) = text.split_once('=').unwrap_or(("docker.io", text));
    let plain =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !plain(registry) || !plain(host) {
        return Err("a mirror is HOST, HOST:PORT or REGISTRY=HOST");
    }
    Ok(Mirror { registry: registry.to_owned(), host: host.to_owned() })
}

/// Reads one line without its end.
fn password_of(stdin: impl Read) -> Result<String, Failure> {
    let usage = |text: &str| Failure::Usage(format!("--password-stdin: {text}"));
    let mut bytes = Vec::new();
    stdin.take(PASSWORD_MAX + 1).read_to_end(&mut bytes).map_err(|error| match error.downcast::<Error>() {
        Ok(cancelled) => Failure::Library(cancelled),
        Err(error) => usage(&format!("stdin cannot be read: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| usage("stdin is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(usage("stdin is empty")),
        _ if line.contains('\n') => Err(usage("stdin has more than one line")),
        _ if text.len() as u64 > PASSWORD_MAX => Err(usage("the line is too long for a password")),
        _ => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests;
