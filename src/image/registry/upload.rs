//! Uploads blobs and manifests (distribution-spec, Push).

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, StatusCode};
use url::Url;

use super::attempt::{Attempt, AttemptError};
use super::endpoint::Endpoint;
use super::http::{Request, RequestBody};
use super::{Registry, RequestContext};
use crate::digest::{Algorithm, Digest};
use crate::error::{ErrorKind, RegistryProblem, Resource, Result};

/// The header of a registry that lists referrers (distribution-spec, Pushing Manifests with Subject).
const LISTED: &str = "oci-subject";
const BLOB_TYPE: &str = "application/octet-stream";

impl Registry {
    /// Uploads a blob unless the repository has it, or the registry takes it from the repository `mount`. Returns true if
    /// it was uploaded.
    ///
    /// # Errors
    ///
    /// The registry, the network or the credentials fail.
    pub fn put_blob(
        &self,
        digest: &Digest,
        bytes: &Bytes,
        mount: Option<&str>,
        context: RequestContext<'_>,
    ) -> Result<bool> {
        let endpoint = self.own()?;
        let resource = Resource::Blob(digest.clone());
        let attempt = async |impatient| {
            if self.has_blob(endpoint, digest, &resource, context).await {
                return Ok(false);
            }
            let begin = RequestBody { method: Method::POST, content_type: BLOB_TYPE, bytes: Bytes::new() };
            let get = |url| Request { impatient, ..Request::get(&endpoint.host, &resource, url) };
            let request = Request { body: Some(begin), ..get(endpoint.uploads()?) };
            let mut mounted = None;
            if let Some(from) = mount {
                let mut request = request.clone();
                request.url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
                mounted = match self.http.send_authorized(endpoint, request, context).await {
                    Ok(response) if response.status() == StatusCode::CREATED => return Ok(false),
                    // It begins an upload instead.
                    Ok(response) => Some(response),
                    // The other repository may be closed to this login.
                    Err(AttemptError::Permanent(_)) => None,
                    Err(trouble) => return Err(trouble),
                };
            }
            let response = match mounted {
                Some(response) => response,
                None => self.http.send_authorized(endpoint, request.clone(), context).await?,
            };
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let url = session(response.url(), location, digest)
                .ok_or_else(|| request.error(RegistryProblem::Malformed("it names no place for an upload".into())))?;
            let whole = RequestBody { method: Method::PUT, content_type: BLOB_TYPE, bytes: bytes.clone() };
            self.http.send_authorized(endpoint, Request { body: Some(whole), ..get(url) }, context).await?;
            Ok(true)
        };
        self.retry(endpoint, &resource, context, attempt)
    }

    /// Returns true if the repository is known to have a blob; a registry that cannot say so gets it again.
    async fn has_blob(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        resource: &Resource,
        context: RequestContext<'_>,
    ) -> bool {
        let Ok(url) = endpoint.blob(digest) else { return false };
        let head = RequestBody { method: Method::HEAD, content_type: BLOB_TYPE, bytes: Bytes::new() };
        let request = Request { body: Some(head), ..Request::get(&endpoint.host, resource, url) };
        self.http.send_authorized(endpoint, request, context).await.is_ok()
    }

    /// Uploads a manifest under a tag. Returns its digest, and true if the registry says that it lists the manifest among
    /// the referrers of its subject.
    ///
    /// # Errors
    ///
    /// The registry, the network or the credentials fail.
    pub fn put_manifest(
        &self,
        tag: &str,
        media_type: &'static str,
        bytes: &[u8],
        context: RequestContext<'_>,
    ) -> Result<(Digest, bool)> {
        let endpoint = self.own()?;
        let resource = Resource::Tag(tag.to_owned());
        let bytes = Bytes::copy_from_slice(bytes);
        let attempt = async |impatient| -> Attempt<bool> {
            let body = RequestBody { method: Method::PUT, content_type: media_type, bytes: bytes.clone() };
            let url = endpoint.manifest(tag).map_err(AttemptError::Permanent)?;
            let request = Request { impatient, body: Some(body), ..Request::get(&endpoint.host, &resource, url) };
            let response = self.http.send_authorized(endpoint, request, context).await?;
            Ok(response.headers().contains_key(LISTED))
        };
        let is_listed = self.retry(endpoint, &resource, context, attempt)?;
        Ok((Digest::of(Algorithm::Sha256, &bytes), is_listed))
    }

    /// Returns the registry itself: nothing is uploaded to a mirror.
    fn own(&self) -> Result<&Endpoint> {
        self.endpoints.last().ok_or_else(|| ErrorKind::Bug("a repository has no registry").into())
    }
}

/// Returns the address for the whole of a blob. The registry may name any HTTPS address; credentials go to its own origin
/// alone.
fn session(from: &Url, location: Option<&str>, digest: &Digest) -> Option<Url> {
    let mut to = from.join(location?).ok()?;
    if !super::origin::Origin::of(from).may_lead_to(&to) {
        return None;
    }
    let _ = to.set_username("").and_then(|()| to.set_password(None));
    to.query_pairs_mut().append_pair("digest", &digest.to_string());
    Some(to)
}
