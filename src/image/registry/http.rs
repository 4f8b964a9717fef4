//! Single requests: one client for each host, and controlled redirects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::attempt;
use super::attempt::{Attempt, AttemptError, error};
use super::origin::{self, Origin};
use super::proxy::ProxyOptions;
use super::response::Response;
use super::timeouts::RetryPolicy;
use super::tls::{self, TlsOptions};
use super::wire::Connector;
use super::{RegistryOptions, RequestContext, error_body};
use crate::error::{RegistryProblem, Resource, Result};

const OUR_NAME: &str = concat!("planish/", env!("CARGO_PKG_VERSION"));

/// The time for which an idle connection is kept for another request.
const POOLED: Duration = Duration::from_secs(60);

/// The HTTP clients: one for each host, because each host has its own certificates.
#[derive(Debug)]
pub(super) struct Http {
    pub patience: RetryPolicy,
    tls: TlsOptions,
    proxies: ProxyOptions,
    clients: Mutex<HashMap<Origin, HostClient>>,
}

/// The client of one host.
#[derive(Debug, Clone)]
struct HostClient {
    client: Client<Connector, Full<Bytes>>,
    proxies: Arc<Matcher>,
}

/// A request, with the registry that it is made for.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// The name of the registry in messages.
    pub host: &'a str,
    pub resource: &'a Resource,
    pub url: Url,
    pub headers: HeaderMap,
    /// The header, sent to this origin only and to no redirect target elsewhere.
    pub authorization: Option<(HeaderValue, Origin)>,
    /// The form, sent as a POST if there is one.
    pub form: Option<String>,
    /// The method and the body of a request that is neither a GET nor a form.
    pub body: Option<RequestBody>,
    /// True if the last attempt timed out, so that this one waits less long.
    pub impatient: bool,
}

/// The method and the body of a request that changes something, or only asks whether something is there.
#[derive(Debug, Clone)]
pub(super) struct RequestBody {
    pub method: http::Method,
    pub content_type: &'static str,
    pub bytes: Bytes,
}

/// The slowest rate of an upload, in bytes a second: its time is added to that for the response.
const UPLOAD_RATE: u64 = 64 << 10;

impl<'a> Request<'a> {
    pub fn get(host: &'a str, resource: &'a Resource, url: Url) -> Self {
        Self {
            host,
            resource,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            form: None,
            body: None,
            impatient: false,
        }
    }

    pub fn error(&self, problem: RegistryProblem) -> crate::error::Error {
        error(self.host, self.resource, problem)
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

    /// Sends a request and follows redirects; returns a response with any other status.
    ///
    /// The head of the last response must be received within the idle time, whatever comes before it.
    pub async fn send(&self, request: &Request<'_>, context: RequestContext<'_>) -> Attempt<Response> {
        let upload = request.body.as_ref().map_or(0, |body| body.bytes.len() as u64 / UPLOAD_RATE);
        let idle = self.patience.wait(request.impatient) + Duration::from_secs(upload);
        match tokio::time::timeout(idle, self.follow(request, context)).await {
            Ok(done) => done,
            Err(_) => Err(AttemptError::Transient(RegistryProblem::Stalled { seconds: idle.as_secs(), got: 0 }, None)),
        }
    }

    async fn follow(&self, request: &Request<'_>, context: RequestContext<'_>) -> Attempt<Response> {
        let mut url = request.url.clone();
        let most = context.limits.redirects;
        for _ in 0..=most {
            let here = Origin::of(&url);
            let response = self.send_once(request, &url, &here).await?;
            if !response.status().is_redirection() || response.status().as_u16() == 304 {
                return match response.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
                    None => Ok(response),
                    Some(encoding) => {
                        let encoding = error_body::escaped(encoding.as_bytes());
                        Err(AttemptError::Permanent(request.error(RegistryProblem::Encoding(encoding))))
                    }
                };
            }
            url = next(&url, &response, request).map_err(|to| request.error(RegistryProblem::Redirected(to)))?;
        }
        Err(AttemptError::Permanent(request.error(RegistryProblem::Redirects(most))))
    }

    async fn send_once(&self, request: &Request<'_>, url: &Url, here: &Origin) -> Attempt<Response> {
        let HostClient { client, proxies } = self.client(here)?;
        let malformed = || request.error(RegistryProblem::Malformed("its address is too long, or none".into()));
        let uri: Uri = url.as_str().parse().map_err(|_| malformed())?;
        let form = request.form.clone().map(|form| RequestBody {
            method: http::Method::POST,
            content_type: "application/x-www-form-urlencoded",
            bytes: Bytes::from(form),
        });
        let body = form.or_else(|| request.body.clone());
        let mut message =
            http::Request::new(Full::new(body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default()));
        *message.method_mut() = body.as_ref().map_or(http::Method::GET, |body| body.method.clone());
        let headers = message.headers_mut();
        headers.extend(request.headers.clone());
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
        if let Some(body) = &body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type));
        }
        if let Some((value, _)) = request.authorization.as_ref().filter(|(_, origin)| origin == here) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        // With TLS the proxy gets its authorization when the tunnel is opened.
        let proxy = proxies.intercept(&uri).filter(|_| !here.is_https());
        if let Some(login) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
            headers.insert(PROXY_AUTHORIZATION, login.clone());
        }
        *message.uri_mut() = uri;
        match client.request(message).await {
            Ok(response) => Ok(Response::new(url.clone(), response)),
            Err(fault) => Err(attempt::of_request(&fault, request, here)),
        }
    }

    fn client(&self, origin: &Origin) -> Result<HostClient> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(origin) {
            return Ok(client.clone());
        }
        let host = origin.host_and_port();
        let unused = TlsOptions::unused();
        let tls = tls::client_config(&host, if origin.is_https() { &self.tls } else { &unused })?;
        let direct = ProxyOptions::default();
        let proxies = if origin::is_loopback(&host) { &direct } else { &self.proxies };
        let proxies = Arc::new(proxies.matcher()?);
        let connector = Connector::new(tls, Arc::clone(&proxies), self.patience.connect);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOLED)
            .build(connector);
        let client = HostClient { client, proxies };
        clients.insert(origin.clone(), client.clone());
        Ok(client)
    }
}

/// Returns the target of a redirect, or its problem. A form contains a secret, which is sent to no other origin.
fn next(from: &Url, response: &Response, request: &Request<'_>) -> std::result::Result<Url, String> {
    let location = response.headers().get(LOCATION).map(HeaderValue::to_str);
    let Some(Ok(location)) = location else { return Err("nowhere".into()) };
    let mut to = from.join(location).map_err(|_| error_body::escaped(location))?;
    let elsewhere = Origin::of(&to) != Origin::of(from);
    if !Origin::of(from).may_lead_to(&to) || (elsewhere && request.form.is_some()) {
        return Err(origin::shown(&to));
    }
    // A login in a URL would be sent as authorization.
    let _ = to.set_username("").and_then(|()| to.set_password(None));
    Ok(to)
}
