//! Proxies between this machine and a registry.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::error::{Error, ErrorKind, RegistryProblem, Resource, Result};

/// Proxies in the form of environment variables; a URL may contain a password, so that `Debug` shows only which are
/// set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The URL of the proxy for HTTPS.
    pub https: Option<String>,
    /// The URL of the proxy for plain HTTP.
    pub http: Option<String>,
    /// The hosts to be reached without a proxy: names, domains and networks, separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyOptions {
    /// Returns the matcher that selects the proxy for a host.
    ///
    /// # Errors
    ///
    /// A value is not the URL of an HTTP proxy.
    pub(super) fn matcher(&self) -> Result<Matcher> {
        let url = |name: &'static str, text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            if text.is_empty() || is_proxy(text) {
                return Ok(text.to_owned());
            }
            let problem = RegistryProblem::ProxyUrl(name);
            Err(Error::from(ErrorKind::Registry { host: name.to_owned(), resource: Resource::Host, problem }))
        };
        let no_proxy = self.no_proxy.clone().unwrap_or_default();
        let (https, http) = (url("HTTPS_PROXY", &self.https)?, url("HTTP_PROXY", &self.http)?);
        Ok(Matcher::builder().https(https).http(http).no(no_proxy).build())
    }
}

/// Returns true if a text is the URL of a proxy, possibly without its scheme.
fn is_proxy(text: &str) -> bool {
    let url = if text.contains("://") { text.parse::<Url>() } else { format!("http://{text}").parse() };
    let url = url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The matcher ignores values that it cannot parse.
    url.is_some() && text.parse::<http::Uri>().is_ok_and(|uri| uri.authority().is_some())
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<String>| url.as_ref().map(|_| "…");
        f.debug_struct("ProxyOptions")
            .field("https", &shown(&self.https))
            .field("http", &shown(&self.http))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_proxy_is_never_shown() {
        let https = Some("http://user:hunter2@proxy".to_owned());
        let shown = format!("{:?}", ProxyOptions { https, ..ProxyOptions::default() });
        assert_eq!(shown, r#"ProxyOptions { https: Some("…"), http: None, no_proxy: None }"#);
    }

    #[test]
    fn a_proxy_is_contacted_by_http() {
        let matcher = |text: &str| {
            let (https, no_proxy) = (Some(text.into()), Some("a.example, 10.0.0.0/8".into()));
            ProxyOptions { https, no_proxy, ..ProxyOptions::default() }.matcher()
        };
        for text in ["http://proxy:3128", "https://user:hunter2@proxy", "proxy:3128", "http://[::1]:3128/"] {
            let matcher = matcher(text).unwrap();
            let found = |to: &str| matcher.intercept(&to.parse().unwrap()).is_some();
            assert!(found("https://b.example/"), "{text}");
            for direct in ["https://c.a.example/", "https://10.1.2.3/", "http://b.example/"] {
                assert!(!found(direct), "{text} {direct}");
            }
        }
        let expected =
            "HTTPS_PROXY: the registry cannot be reached: the environment's HTTPS_PROXY is no URL of an HTTP proxy";
        for text in ["socks5://proxy", "http://", "://", "a b", "ftp://proxy"] {
            let error = matcher(text).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.fault().exit_code()), (expected, 2), "{text}");
        }
    }
}
