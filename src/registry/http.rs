//! Single requests: one client a host, and redirects under our rules.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url};

use super::origin::{self, Origin};
use super::patience::Patience;
use super::proxy::ProxyOptions;
use super::tls::{self, TlsOptions};
use super::trouble::{self, Tried, Trouble, error};
use super::{Asking, RegistryOptions, said};
use crate::error::{Asked, RegistryProblem, Result};

const USER_AGENT: &str = concat!("planish/", env!("CARGO_PKG_VERSION"));

/// The HTTP clients: one a host, since each host has certificates of its own.
#[derive(Debug)]
pub(super) struct Http {
    pub patience: Patience,
    tls: TlsOptions,
    proxies: ProxyOptions,
    clients: Mutex<HashMap<Origin, Client>>,
}

/// A request, and on whose behalf it is made.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// What messages call the registry.
    pub host: &'a str,
    pub asked: &'a Asked,
    pub url: Url,
    pub headers: HeaderMap,
    /// Sent to this origin, and to no other that a redirect leads to.
    pub authorization: Option<(HeaderValue, Origin)>,
    /// Sent as a POST when it is there.
    pub form: Option<String>,
    /// Whether the last try waited in vain, so that this one waits half as long.
    pub impatient: bool,
}

impl<'a> Request<'a> {
    pub fn get(host: &'a str, asked: &'a Asked, url: Url) -> Self {
        Self { host, asked, url, headers: HeaderMap::new(), authorization: None, form: None, impatient: false }
    }

    pub fn error(&self, problem: RegistryProblem) -> crate::error::Error {
        error(self.host, self.asked, problem)
    }
}

impl Http {
    pub fn new(options: &RegistryOptions) -> Self {
        Self {
            patience: options.patience.clone(),
            tls: options.tls.clone(),
            proxies: options.proxies.clone(),
            clients: Mutex::default(),
        }
    }

    /// Sends a request and follows where it is led; returns an answer of any other status.
    pub async fn send(&self, request: &Request<'_>, asking: Asking<'_>) -> Tried<Response> {
        let mut url = request.url.clone();
        let most = asking.limits.redirects;
        for _ in 0..=most {
            let here = Origin::of(&url);
            let response = self.send_once(request, &url, &here).await?;
            if !response.status().is_redirection() || response.status().as_u16() == 304 {
                return match response.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
                    None => Ok(response),
                    Some(encoding) => {
                        let encoding = said::escaped(encoding.as_bytes());
                        Err(Trouble::Final(request.error(RegistryProblem::Encoding(encoding))))
                    }
                };
            }
            url = next(&url, &response, request).map_err(|to| request.error(RegistryProblem::Redirected(to)))?;
        }
        Err(Trouble::Final(request.error(RegistryProblem::Redirects(most))))
    }

    async fn send_once(&self, request: &Request<'_>, url: &Url, here: &Origin) -> Tried<Response> {
        let client = self.client(here, request)?;
        let mut builder = match &request.form {
            None => client.get(url.clone()),
            Some(form) => client
                .post(url.clone())
                .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.clone()),
        };
        builder = builder.headers(request.headers.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some((value, _)) = request.authorization.as_ref().filter(|(_, origin)| origin == here) {
            builder = builder.header(AUTHORIZATION, value.clone());
        }
        let idle = if request.impatient { self.patience.idle / 2 } else { self.patience.idle };
        match tokio::time::timeout(idle, builder.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(fault)) => Err(trouble::of_request(&fault, request.host, request.asked, &here.host_and_port())),
            Err(_) => Err(Trouble::Again(RegistryProblem::Stalled { seconds: idle.as_secs(), got: 0 }, None)),
        }
    }

    fn client(&self, origin: &Origin, request: &Request<'_>) -> Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(origin) {
            return Ok(client.clone());
        }
        let host = origin.host_and_port();
        let unused = TlsOptions::unused();
        let tls = tls::client_config(&host, if origin.is_https() { &self.tls } else { &unused })?;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(self.patience.connect)
            .http1_only()
            .referer(false)
            .no_proxy()
            .tls_backend_preconfigured(tls);
        if !origin::is_loopback(&host) {
            for proxy in self.proxies.proxies()? {
                builder = builder.proxy(proxy);
            }
        }
        let client = builder
            .build()
            .map_err(|fault| request.error(RegistryProblem::Unreachable(trouble::root_cause(&fault))))?;
        clients.insert(origin.clone(), client.clone());
        Ok(client)
    }
}

/// Returns where a redirect leads, or what is wrong with that. A form holds a secret, which goes to no other origin.
fn next(from: &Url, response: &Response, request: &Request<'_>) -> std::result::Result<Url, String> {
    let location = response.headers().get(LOCATION).map(HeaderValue::to_str);
    let Some(Ok(location)) = location else { return Err("nowhere".into()) };
    let mut to = from.join(location).map_err(|_| said::escaped(location))?;
    let elsewhere = Origin::of(&to) != Origin::of(from);
    if !Origin::of(from).may_lead_to(&to) || (elsewhere && request.form.is_some()) {
        return Err(origin::shown(&to));
    }
    // A login in a URL would be sent as one.
    let _ = to.set_username("").and_then(|()| to.set_password(None));
    Ok(to)
}
