//! A registry, asked by HTTP: bounded, retried, resumed, and never trusted.
//!
//! Before the source in the line, which decides what is asked for. References and media types are oci-client's; its
//! transport is not used, since nothing can be put over it that bounds a body, keeps a password from another origin,
//! hears `Retry-After` or resumes (and its token requests bound and check nothing either). So requests are made here,
//! through the HTTP client that it stands on.

mod body;
mod bounded;
mod blob;
mod challenge;
pub mod credential;
mod endpoint;
mod http;
mod login;
mod manifest;
mod origin;
mod patience;
mod persist;
pub mod proxy;
mod said;
pub mod tls;
mod token;
mod trouble;

use oci_client::Reference;
use tokio::runtime::Runtime;

pub use blob::WantedBlob;
pub use manifest::FetchedManifest;
pub use origin::is_loopback;
pub use patience::Patience;

use self::credential::CredentialSources;
use self::endpoint::Endpoint;
use self::http::Http;
use self::proxy::ProxyOptions;
use self::tls::TlsOptions;
use self::trouble::Tried;
use crate::cancel::Cancel;
use crate::error::{Asked, Error, ErrorKind, Fault, Result};
use crate::limits::Limits;
use crate::progress::{News, Progress};

/// How registries are asked.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Whether the registry is asked by plain HTTP. Loopback addresses are unless `https` is set.
    pub plain_http: bool,
    /// Whether loopback addresses are asked by HTTPS as well.
    pub https: bool,
    /// Whom TLS trusts.
    pub tls: TlsOptions,
    /// Through which proxies the way leads.
    pub proxies: ProxyOptions,
    /// Where credentials are found.
    pub credentials: CredentialSources,
    /// Hosts that are asked before the registry itself, as `HOST[:PORT]` or `REGISTRY=HOST[:PORT]`; without a registry it
    /// is docker.io's.
    pub mirrors: Vec<Mirror>,
    /// How long is waited, and how often tried.
    pub patience: Patience,
}

/// A host that has what a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry whose images it has.
    pub registry: String,
    /// Its own address, `HOST[:PORT]`.
    pub host: String,
}

/// One repository, at its registry and the mirrors before it.
#[derive(Debug)]
pub struct Registry {
    /// Gone only while it is dropped.
    runtime: Option<Runtime>,
    endpoints: Vec<Endpoint>,
    http: Http,
}

/// What a request is made under.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The bounds of what is read.
    pub limits: &'a Limits,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Asked while waiting.
    pub cancel: &'a Cancel,
}

impl Registry {
    /// Prepares to ask for a reference's repository. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The system gives no threads, or the reference names no host that can be asked.
    pub fn of(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("planish-net")
            .enable_all()
            .build()
            .map_err(Error::io("start", "the network thread"))?;
        let registry = reference.registry();
        let mirrors = options.mirrors.iter().filter(|mirror| mirror.registry == registry);
        // What was given by hand is the registry's, and no mirror's.
        let stored = CredentialSources { given: None, ..options.credentials.clone() };
        let hosts = mirrors.map(|mirror| (mirror.host.as_str(), &stored)).chain([(registry, &options.credentials)]);
        let endpoints = hosts
            .map(|(host, sources)| Endpoint::new(host, reference.repository(), sources.clone(), options))
            .collect::<Result<_>>()?;
        Ok(Self { runtime: Some(runtime), endpoints, http: Http::new(options) })
    }

    /// Tries until it works, the failure is final, or the tries are used up. The attempt is told whether it should wait
    /// less long than the one before, which waited in vain.
    fn persist<T>(
        &self,
        endpoint: &Endpoint,
        asked: &Asked,
        asking: Asking<'_>,
        attempt: impl AsyncFnMut(bool) -> Tried<T>,
    ) -> Result<T> {
        let Some(runtime) = &self.runtime else {
            return Err(ErrorKind::Bug("a registry is asked while dropped").into());
        };
        runtime.block_on(persist::persist(&endpoint.host, asked, &self.http.patience, asking, attempt))
    }

    /// Asks the mirrors, then the registry, until one answers; only the last one's refusal counts.
    fn anywhere<T>(&self, asking: Asking<'_>, mut ask: impl FnMut(&Endpoint) -> Result<T>) -> Result<T> {
        let mut endpoints = self.endpoints.iter().peekable();
        loop {
            let Some(endpoint) = endpoints.next() else {
                return Err(ErrorKind::Bug("a repository has no registry").into());
            };
            match ask(endpoint) {
                Err(error)
                    if endpoints.peek().is_some() && matches!(error.fault(), Fault::Registry | Fault::Credentials) =>
                {
                    asking.progress.tell(&News::Warning(&error.to_string()));
                }
                other => return other,
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A name that is still being looked up keeps nobody from leaving.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
