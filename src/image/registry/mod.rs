//! A client for registries: requests are limited, retried and resumed, and responses are not trusted.
//!
//! The caller decides what is requested. References and media types are oci-client's. Its transport is not used,
//! because it cannot limit a body, keep a password from another origin, obey `Retry-After` or resume (and its token
//! requests limit and check nothing either). Requests are made with hyper over connections of our own: reqwest, on
//! which oci-client is based, does not allow counting the bytes of a connection, and interim responses, handshakes and
//! padding are limited nowhere else (see `wire`).

mod body;
mod bounded;
mod blob;
mod challenge;
mod credential;
mod endpoint;
mod http;
mod authorization;
mod manifest;
mod net;
mod origin;
mod timeouts;
mod retry;
mod proxy;
mod response;
mod error_body;
mod tls;
mod token;
mod upload;
mod attempt;
mod wire;

use oci_client::Reference;

pub use self::credential::{AuthText, Credential, CredentialSources, GivenCredential, Secret};
pub use self::proxy::ProxyOptions;
pub use self::tls::{NamedCertificates, TlsOptions};
pub(crate) use blob::BlobRequest;
pub use timeouts::RetryPolicy;

use self::attempt::Attempt;
use self::endpoint::Endpoint;
use self::http::Http;
use self::net::Net;
use crate::cancel::Cancel;
use crate::error::{ErrorKind, Fault, Resource, Result};
use crate::limits::Limits;
use crate::progress::{Event, Progress};

/// Options for requests to registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// True to use plain HTTP for the registry. Loopback addresses use it unless `https` is set.
    pub plain_http: bool,
    /// True to use HTTPS for loopback addresses, too.
    pub https: bool,
    /// TLS verification and trusted certificate authorities.
    pub tls: TlsOptions,
    /// The proxies.
    pub proxies: ProxyOptions,
    /// The sources of credentials.
    pub credentials: CredentialSources,
    /// The hosts that are tried before the registry itself, as `HOST[:PORT]` or `REGISTRY=HOST[:PORT]`; without a
    /// registry, for docker.io.
    pub mirrors: Vec<Mirror>,
    /// Timeouts and number of attempts.
    pub patience: RetryPolicy,
}

/// A mirror: a host with the images of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The mirrored registry.
    pub registry: String,
    /// The address of the mirror, `HOST[:PORT]`.
    pub host: String,
}

/// One repository, at its registry and mirrors.
#[derive(Debug)]
pub(crate) struct Registry {
    net: Net,
    endpoints: Vec<Endpoint>,
    http: Http,
}

/// Limits, progress and cancellation of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    /// The limits on responses.
    pub limits: &'a Limits,
    /// The observer.
    pub progress: &'a dyn Progress,
    /// The cancellation flag, checked while waiting.
    pub cancel: &'a Cancel,
}

impl Registry {
    /// Prepares requests to the repository of a reference. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// No descriptors are available, or the host in the reference is invalid.
    pub fn of(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        let net = Net::start()?;
        let registry = reference.registry();
        let mirrors = options.mirrors.iter().filter(|mirror| mirror.registry == registry);
        let hosts = mirrors.map(|mirror| mirror.host.as_str()).chain([registry]);
        let endpoints = hosts
            .map(|host| Endpoint::new(host, reference.repository(), options.credentials.clone(), options))
            .collect::<Result<_>>()?;
        Ok(Self { net, endpoints, http: Http::new(options) })
    }

    /// Attempts until success, a permanent failure, or the last attempt. The argument of an attempt is true if the
    /// previous one timed out, so that it waits less long.
    fn retry<T>(
        &self,
        endpoint: &Endpoint,
        resource: &Resource,
        context: RequestContext<'_>,
        attempt: impl AsyncFnMut(bool) -> Attempt<T>,
    ) -> Result<T> {
        let work = retry::retry(&endpoint.host, resource, &self.http.patience, context, attempt);
        self.net
            .wait(work)
            .unwrap_or_else(|| Err(ErrorKind::Bug("a request is made while its registry is dropped").into()))
    }

    /// Tries the mirrors, then the registry, until one succeeds; an error is that of the last one.
    fn anywhere<T>(&self, context: RequestContext<'_>, mut ask: impl FnMut(&Endpoint) -> Result<T>) -> Result<T> {
        let mut endpoints = self.endpoints.iter().peekable();
        loop {
            let Some(endpoint) = endpoints.next() else {
                return Err(ErrorKind::Bug("a repository has no registry").into());
            };
            match ask(endpoint) {
                Err(error)
                    if endpoints.peek().is_some() && matches!(error.fault(), Fault::Registry | Fault::Credentials) =>
                {
                    context.progress.event(&Event::Warning(&error.to_string()));
                }
                other => return other,
            }
        }
    }
}

/// Parses challenges for a fuzz target: realm, service and scope.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed_challenge(values: &[&[u8]]) -> Option<(String, Option<String>, Option<String>)> {
    use ::http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
    let mut headers = HeaderMap::new();
    for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(WWW_AUTHENTICATE, value);
    }
    match challenge::of(&headers)? {
        challenge::Challenge::Bearer(bearer) => Some((bearer.realm, bearer.service, bearer.scope)),
        challenge::Challenge::Basic => None,
    }
}
