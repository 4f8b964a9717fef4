//! What the environment says about registries.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use planish::registry::proxy::ProxyOptions;

use crate::cli::exit::Failure;

/// What a credential helper is given of the environment: where the user's stores are, and how to speak to them.
const FOR_HELPERS: [&str; 37] = [
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

/// The variables of a process, without those that are empty.
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads those of this process.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0.get(std::ffi::OsStr::new(name)).cloned()
    }

    /// Returns the files in which podman and docker keep credentials, in the order in which they are asked.
    pub fn credential_files(&self) -> Vec<PathBuf> {
        let named = self.get("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let runtime = self.directory("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
        let config = self.config_home().map(|directory| directory.join("containers/auth.json"));
        let docker = match self.get("DOCKER_CONFIG") {
            Some(directory) => Some(PathBuf::from(directory)),
            None => self.directory("HOME").map(|home| home.join(".docker")),
        };
        let docker = docker.map(|directory| directory.join("config.json"));
        [named, runtime, config, docker].into_iter().flatten().collect()
    }

    /// Returns the directories of certificates for registries: the user's own goes first.
    pub fn certs_directories(&self) -> Vec<PathBuf> {
        let own = self.config_home().map(|directory| directory.join("containers/certs.d"));
        own.into_iter().chain(["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()]).collect()
    }

    /// Returns what a credential helper is given.
    pub fn for_helpers(&self) -> Vec<(&'static str, OsString)> {
        FOR_HELPERS.into_iter().filter_map(|name| Some((name, self.get(name)?))).collect()
    }

    /// Returns the proxies: the upper-case name first, as in Go, and `ALL_PROXY` where nothing else is set.
    pub fn proxy(&self) -> Result<ProxyOptions, Failure> {
        // A web server hands a request's header `Proxy` to a CGI program as HTTP_PROXY.
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

    /// Returns a directory that a variable names, absolutely: the XDG specification has others ignored.
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
        Self(variables.filter(|(_, value): &(_, OsString)| !value.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(text: &str) -> Environment {
        text.split_whitespace().filter_map(|variable| variable.split_once('=')).collect()
    }

    #[test]
    fn credential_files_are_asked_in_podmans_order() {
        let table = [
            ("", &[][..]),
            ("HOME=/h", &["/h/.config/containers/auth.json", "/h/.docker/config.json"]),
            (
                "HOME=/h REGISTRY_AUTH_FILE=r XDG_RUNTIME_DIR=/x XDG_CONFIG_HOME=/c DOCKER_CONFIG=/d",
                &["r", "/x/containers/auth.json", "/c/containers/auth.json", "/d/config.json"],
            ),
            (
                "HOME=/h XDG_RUNTIME_DIR=relative XDG_CONFIG_HOME= DOCKER_CONFIG=",
                &["/h/.config/containers/auth.json", "/h/.docker/config.json"],
            ),
            ("HOME=relative", &[]),
        ];
        for (variables, want) in table {
            let files: Vec<PathBuf> = want.iter().map(PathBuf::from).collect();
            assert_eq!(environment(variables).credential_files(), files, "{variables}");
        }
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
    fn a_helper_gets_what_it_needs_and_no_more() {
        let found = environment("HOME=/h SECRET=hunter2 XDG_RUNTIME_DIR=/x DISPLAY=").for_helpers();
        assert_eq!(found, [("HOME", "/h".into()), ("XDG_RUNTIME_DIR", "/x".into())]);
    }
}
