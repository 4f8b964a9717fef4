//! The proxies on the way to a registry.

use std::fmt;

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
