//! A host that has the repository, and its names.

use url::Url;

use super::RegistryOptions;
use super::authorization::Authorization;
use super::credential::CredentialSources;
use super::origin::{self, Origin};
use crate::digest::Digest;
use crate::error::{RegistryProblem, Resource, Result};

/// The name in references, and the host of docker.io's registry.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A repository at a host.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The host in references, for messages and credentials.
    pub host: String,
    pub repository: String,
    pub origin: Origin,
    pub login: Authorization,
    base: Url,
}

impl Endpoint {
    pub fn new(host: &str, repository: &str, sources: CredentialSources, options: &RegistryOptions) -> Result<Self> {
        let https = options.https || options.tls.knows(host);
        let plain = options.plain_http || (origin::is_loopback(host) && !https);
        let scheme = if plain { "http" } else { "https" };
        let address = if host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { host };
        let base: Url = format!("{scheme}://{address}/v2/{repository}/").parse().map_err(|_| {
            super::attempt::error(host, &Resource::Host, RegistryProblem::Malformed("its name makes no URL".into()))
        })?;
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            origin: Origin::of(&base),
            login: Authorization::new(sources),
            base,
        })
    }

    pub fn manifest(&self, tag_or_digest: &str) -> Result<Url> {
        self.join(&format!("manifests/{tag_or_digest}"))
    }

    pub fn blob(&self, digest: &Digest) -> Result<Url> {
        self.join(&format!("blobs/{digest}"))
    }

    /// Returns the address at which an upload begins.
    pub fn uploads(&self) -> Result<Url> {
        self.join("blobs/uploads/")
    }

    fn join(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|_| {
            super::attempt::error(
                &self.host,
                &Resource::Host,
                RegistryProblem::Malformed("its name makes no URL".into()),
            )
        })
    }
}
