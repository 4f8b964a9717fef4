//! Origins: the scope of a credential, and the rules of redirects.

use std::net::IpAddr;

use url::Url;

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    pub fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().to_ascii_lowercase(),
            port: url.port_or_known_default(),
        }
    }

    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Returns `HOST[:PORT]`, with the port if it is not the scheme's default.
    pub fn host_and_port(&self) -> String {
        let usual = if self.is_https() { 443 } else { 80 };
        match self.port {
            Some(port) if port != usual => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// Returns true if a request to this origin may be redirected to `url`: only by HTTP, and never from HTTPS to plain
    /// HTTP.
    pub fn may_lead_to(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => !self.is_https(),
            _ => false,
        }
    }
}

/// Returns true if `HOST[:PORT]` is this machine: `localhost`, or an address of the loopback interface.
#[must_use]
pub fn is_loopback(host_and_port: &str) -> bool {
    let host = match host_and_port.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns a URL for messages: without a query, which may contain a signature, and without a login.
pub(super) fn shown(url: &Url) -> String {
    let address = format!("{}://{}{}", url.scheme(), Origin::of(url).host_and_port(), url.path());
    let query = if url.query().is_some() { "?…" } else { "" };
    super::error_body::escaped(address) + query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn only_loopback_addresses_are_this_machine() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.8.9.1:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "10.0.0.1:5000", "[::2]:5000", "", "registry"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |a: &str, b: &str| Origin::of(&url(a)) == Origin::of(&url(b));
        assert!(same("https://Example.com/a", "https://example.com:443/b?c"));
        assert!(!same("https://example.com/", "http://example.com/"));
        assert!(!same("https://example.com/", "https://example.com:8443/"));
        assert!(!same("http://127.0.0.1:5000/", "http://localhost:5000/"));
    }

    #[test]
    fn redirects_stay_on_https_or_http() {
        let leads = |from: &str, to: &str| Origin::of(&url(from)).may_lead_to(&url(to));
        assert!(
            leads("https://a/", "https://b/") && leads("http://a/", "https://b/") && leads("http://a/", "http://b/")
        );
        assert!(!leads("https://a/", "http://a/"));
        for to in ["file:///etc/passwd", "ftp://a/", "data:,x"] {
            assert!(!leads("http://a/", to) && !leads("https://a/", to), "{to}");
        }
    }

    #[test]
    fn shown_urls_have_no_secret() {
        assert_eq!(
            shown(&url("https://user:word@cdn.example:8443/a/b?sig=secret#x")),
            "https://cdn.example:8443/a/b?…"
        );
        assert_eq!(shown(&url("http://h/%1b[31m")), "http://h/%1b[31m");
    }
}
