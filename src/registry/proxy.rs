//! The proxies on the way to a registry.

use std::fmt;

use reqwest::{NoProxy, Proxy};

use crate::error::{Asked, Error, ErrorKind, RegistryProblem, Result};

/// Proxies as the environment spells them; a URL may hold a password, so that `Debug` says only what is set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The URL of the proxy for HTTPS.
    pub https: Option<String>,
    /// The URL of the proxy for plain HTTP.
    pub http: Option<String>,
    /// The hosts to be asked without a proxy: names, domains and networks, separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyOptions {
    /// Returns the proxies as the HTTP client takes them.
    ///
    /// # Errors
    ///
    /// One of them is no URL.
    pub(super) fn proxies(&self) -> Result<Vec<Proxy>> {
        let unusable = |name: &'static str| {
            move |_| {
                let problem = RegistryProblem::Unreachable(format!("the environment's {name} is no URL of a proxy"));
                Error::from(ErrorKind::Registry { host: name.to_owned(), asked: Asked::Host, problem })
            }
        };
        let no_proxy = self.no_proxy.as_deref().and_then(NoProxy::from_string);
        let https = self.https.as_ref().map(|url| Proxy::https(url).map_err(unusable("HTTPS_PROXY")));
        let http = self.http.as_ref().map(|url| Proxy::http(url).map_err(unusable("HTTP_PROXY")));
        [https, http].into_iter().flatten().map(|proxy| Ok(proxy?.no_proxy(no_proxy.clone()))).collect()
    }
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
}
