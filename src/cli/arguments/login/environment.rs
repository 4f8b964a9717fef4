//! The environment variables about registries.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use planish::registry::ProxyOptions;
use planish::registry::{AuthText, Secret};

use crate::cli::exit::Failure;

/// The variable with a document of credentials.
const AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// The environment variables for credential helpers: the locations of the user's stores, and access to them.
const FOR_HELPERS: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DOCKER_CONFIG",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "http_proxy",
    // Windows programs, started under WSL (docker-credential-desktop.exe, -wincred.exe)
    "WSL_INTEROP",
    "WSL_DISTRO_NAME",
    "WSLENV",
    // docker-credential-ecr-login
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ECR_CACHE_DIR",
    // docker-credential-gcloud, -gcr and -acr-env
    "CLOUDSDK_CONFIG",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CONFIG_DIR",
    "AZURE_CLIENT_ID",
];

/// The non-empty variables of a process.
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    uid: u32,
}

impl Environment {
    /// Reads the variables of this process.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.variables.get(std::ffi::OsStr::new(name)).cloned()
    }

    /// Returns the document of credentials in docker's variable, which CI services set.
    pub fn credential_text(&self) -> Result<Option<AuthText>, Failure> {
        let json = self.text(&[AUTH_CONFIG])?;
        Ok(json.map(|json| AuthText { name: AUTH_CONFIG, json: Secret::new(json) }))
    }

    /// Returns the files in which podman and docker store credentials, in the order of precedence.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        let named = self.get("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let runtime = match self.directory("XDG_RUNTIME_DIR") {
            Some(directory) => directory.join("containers/auth.json"),
            // The path that podman uses without a session: for root, and for jobs of CI services.
            None => format!("/run/containers/{}/auth.json", self.uid).into(),
        };
        let config = self.config_home().map(|directory| directory.join("containers/auth.json"));
        let docker = match self.get("DOCKER_CONFIG") {
            Some(directory) => Some(PathBuf::from(directory)),
            None => self.directory("HOME").map(|home| home.join(".docker")),
        };
        let docker = docker.map(|directory| directory.join("config.json"));
        // As docker wrote it before version 1.7.
        let old = self.directory("HOME").map(|home| home.join(".dockercfg"));
        [named, Some(runtime), config, docker, old].into_iter().flatten().collect()
    }

    /// Returns what the user should know: a file or a directory that a variable names and that is none.
    pub fn warnings(&self) -> Vec<String> {
        let named = |name: &str| self.get(name).map(PathBuf::from);
        let warning = |name: &str, path: PathBuf, problem: &str| {
            let shown = planish::Escaped(path.as_os_str().as_bytes()).to_string();
            format!("{name} names {shown}, which is {problem}")
        };
        let file = named("REGISTRY_AUTH_FILE").filter(|path| !path.exists());
        let file = file.map(|path| warning("REGISTRY_AUTH_FILE", path, "not there"));
        let directory = named("DOCKER_CONFIG").filter(|path| !path.is_dir()).map(|path| {
            let problem = if path.exists() { "not a directory" } else { "not there" };
            warning("DOCKER_CONFIG", path, problem)
        });
        file.into_iter().chain(directory).collect()
    }

    /// Returns the file and the directories of certificates that take the place of the system's.
    pub fn certificates(&self) -> (Option<PathBuf>, Vec<PathBuf>) {
        let directories = self.get("SSL_CERT_DIR").unwrap_or_default();
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        (self.get("SSL_CERT_FILE").map(PathBuf::from), std::env::split_paths(&directories).filter(named).collect())
    }

    /// Returns the directories of certificates for registries: the user's own goes first.
    pub fn certs_directories(&self) -> Vec<PathBuf> {
        let own = self.config_home().map(|directory| directory.join("containers/certs.d"));
        own.into_iter().chain(["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()]).collect()
    }

    /// Returns the environment variables for a credential helper.
    pub fn for_helpers(&self) -> Vec<(&'static str, OsString)> {
        FOR_HELPERS.iter().filter_map(|name| Some((*name, self.get(name)?))).collect()
    }

    /// Returns the proxies: upper-case names take precedence, as in Go, and `ALL_PROXY` is used if nothing else is set.
    pub fn proxy(&self) -> Result<ProxyOptions, Failure> {
        // A web server passes the header `Proxy` of a request to a CGI program as HTTP_PROXY.
        let http =
            if self.get("REQUEST_METHOD").is_some() { &["http_proxy"][..] } else { &["HTTP_PROXY", "http_proxy"] };
        let all = self.text(&["ALL_PROXY", "all_proxy"])?;
        Ok(ProxyOptions {
            https: self.text(&["HTTPS_PROXY", "https_proxy"])?.or_else(|| all.clone()),
            http: self.text(http)?.or(all),
            no_proxy: self.text(&["NO_PROXY", "no_proxy"])?,
        })
    }

    fn config_home(&self) -> Option<PathBuf> {
        self.directory("XDG_CONFIG_HOME").or_else(|| self.directory("HOME").map(|home| home.join(".config")))
    }

    /// Returns the directory in a variable if it is absolute: the XDG specification ignores relative paths.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn text(&self, names: &[&str]) -> Result<Option<String>, Failure> {
        let Some((name, value)) = names.iter().find_map(|name| Some((name, self.get(name)?))) else { return Ok(None) };
        value.into_string().map(Some).map_err(|_| Failure::Usage(format!("{name} is not UTF-8")))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let variables = variables.filter(|(_, value): &(_, OsString)| !value.is_empty()).collect();
        Self { variables, uid: rustix::process::geteuid().as_raw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(text: &str) -> Environment {
        let variables: Environment = text.split_whitespace().filter_map(|variable| variable.split_once('=')).collect();
        Environment { uid: 7, ..variables }
    }

    #[test]
    fn credential_files_are_in_podmans_order() {
        let table = [
            ("", &["/run/containers/7/auth.json"][..]),
            (
                "HOME=/h",
                &[
                    "/run/containers/7/auth.json",
                    "/h/.config/containers/auth.json",
                    "/h/.docker/config.json",
                    "/h/.dockercfg",
                ],
            ),
            (
                "HOME=/h REGISTRY_AUTH_FILE=r XDG_RUNTIME_DIR=/x XDG_CONFIG_HOME=/c DOCKER_CONFIG=/d",
                &["r", "/x/containers/auth.json", "/c/containers/auth.json", "/d/config.json", "/h/.dockercfg"],
            ),
            (
                "HOME=/h XDG_RUNTIME_DIR=relative XDG_CONFIG_HOME= DOCKER_CONFIG=",
                &[
                    "/run/containers/7/auth.json",
                    "/h/.config/containers/auth.json",
                    "/h/.docker/config.json",
                    "/h/.dockercfg",
                ],
            ),
            ("HOME=relative", &["/run/containers/7/auth.json"]),
        ];
        for (variables, want) in table {
            let files: Vec<PathBuf> = want.iter().map(PathBuf::from).collect();
            assert_eq!(environment(variables).credential_files(), files, "{variables}");
        }
    }

    #[test]
    fn a_missing_explicit_credential_file_is_a_warning() {
        let missing = environment("REGISTRY_AUTH_FILE=/no/such/file").warnings();
        assert_eq!(missing, ["REGISTRY_AUTH_FILE names /no/such/file, which is not there"]);
        assert_eq!(environment("REGISTRY_AUTH_FILE=/dev/null").warnings(), [""; 0]);
        assert_eq!(environment("HOME=/h").warnings(), [""; 0]);
        let docker = |path: &str| environment(&format!("DOCKER_CONFIG={path}")).warnings();
        assert_eq!(docker("/no/such"), ["DOCKER_CONFIG names /no/such, which is not there"]);
        assert_eq!(docker("/dev/null"), ["DOCKER_CONFIG names /dev/null, which is not a directory"]);
        assert_eq!(docker("/dev"), [""; 0]);
    }

    #[test]
    fn a_variable_may_hold_the_credentials() {
        let text = |variables: &str| environment(variables).credential_text().unwrap();
        assert_eq!(text("HOME=/h DOCKER_AUTH_CONFIG="), None);
        let json = Secret::new("{}".into());
        assert_eq!(text("DOCKER_AUTH_CONFIG={}"), Some(AuthText { name: "DOCKER_AUTH_CONFIG", json }));
    }

    #[test]
    fn the_users_certificates_go_first() {
        let found = environment("HOME=/h").certs_directories();
        let want = ["/h/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"];
        assert_eq!(found, want.map(PathBuf::from));
    }

    #[test]
    fn proxies_are_found_under_their_names() {
        let table = [
            ("", [None; 3]),
            ("HTTPS_PROXY=a https_proxy=b HTTP_PROXY=c http_proxy=d NO_PROXY=e", [Some("a"), Some("c"), Some("e")]),
            ("https_proxy=b http_proxy=d no_proxy=e", [Some("b"), Some("d"), Some("e")]),
            ("ALL_PROXY=a http_proxy=d", [Some("a"), Some("d"), None]),
            ("HTTPS_PROXY= all_proxy=a", [Some("a"), Some("a"), None]),
            ("REQUEST_METHOD=GET HTTP_PROXY=c", [None; 3]),
            ("REQUEST_METHOD=GET HTTP_PROXY=c http_proxy=d", [None, Some("d"), None]),
        ];
        for (variables, [https, http, no_proxy]) in table {
            let [https, http, no_proxy] = [https, http, no_proxy].map(|text| text.map(str::to_owned));
            assert_eq!(environment(variables).proxy().unwrap(), ProxyOptions { https, http, no_proxy }, "{variables}");
        }
    }

    #[test]
    fn a_helper_gets_only_the_listed_variables() {
        let found = environment("HOME=/h SECRET=hunter2 XDG_RUNTIME_DIR=/x DISPLAY=").for_helpers();
        assert_eq!(found, [("HOME", "/h".into()), ("XDG_RUNTIME_DIR", "/x".into())]);
    }
}
