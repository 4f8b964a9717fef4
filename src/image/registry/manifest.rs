//! Fetches documents: manifests and indexes, by tag or digest, and configs. They are small and kept in memory.

use http::header::{ACCEPT, HeaderMap, HeaderValue, RANGE};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};

use super::attempt::{Attempt, AttemptError, error};
use super::blob::continues;
use super::body::Body;
use super::endpoint::Endpoint;
use super::http::Request;
use super::response::Response;
use super::{Registry, RequestContext};
use crate::digest::{Algorithm, Digest};
use crate::error::{Amount, Error, ErrorKind, ImageProblem, Place, RegistryProblem, Resource, Result};
use crate::limits::Limit;
use crate::progress::Event;

/// A manifest and its digest, as the registry resolved the tag.
#[derive(Debug)]
pub struct ResolvedTag {
    /// The document.
    pub bytes: Vec<u8>,
    /// The digest, computed from the bytes: the registry's own statement is not trusted.
    pub digest: Digest,
}

/// A requested document with its expected properties.
struct DocumentRequest<'a> {
    resource: &'a Resource,
    place: &'a Place,
    digest: Option<&'a Digest>,
    size: Option<u64>,
    /// The most bytes that are read of one that may be larger than a manifest.
    most: Option<u64>,
}

impl Registry {
    /// Resolves a tag, once: all other requests are by digest.
    ///
    /// # Errors
    ///
    /// The registry, the network or the credentials fail; the document is larger than a limit allows.
    pub fn tag(&self, tag: &str, context: RequestContext<'_>) -> Result<ResolvedTag> {
        let resource = Resource::Tag(tag.to_owned());
        self.anywhere(context, |endpoint| {
            let place = Place::Source(format!("{}/{}:{tag}", endpoint.host, endpoint.repository));
            let document = DocumentRequest { resource: &resource, place: &place, digest: None, size: None, most: None };
            let (bytes, header_digest) = self.document(endpoint, &endpoint.manifest(tag)?, &document, context)?;
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            if let Some(header_digest) = header_digest.filter(|header_digest| *header_digest != digest.to_string()) {
                let text = format!(
                    "{}: {resource} has digest {digest}, the registry's header says {header_digest}",
                    endpoint.host
                );
                context.progress.event(&Event::Warning(&text));
            }
            Ok(ResolvedTag { bytes, digest })
        })
    }

    /// Fetches a manifest or an index by digest, and verifies it. `size` is the size in its descriptor.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::tag`]; the bytes do not match the digest.
    pub fn manifest(
        &self,
        digest: &Digest,
        size: Option<u64>,
        place: &Place,
        context: RequestContext<'_>,
    ) -> Result<Vec<u8>> {
        let resource = Resource::Manifest(digest.clone());
        let document = DocumentRequest { resource: &resource, place, digest: Some(digest), size, most: None };
        self.anywhere(context, |endpoint| {
            let (bytes, header_digest) =
                self.document(endpoint, &endpoint.manifest(&digest.to_string())?, &document, context)?;
            match header_digest.filter(|header_digest| *header_digest != digest.to_string()) {
                None => Ok(bytes),
                Some(header_digest) => {
                    let problem =
                        RegistryProblem::Malformed(format!("its header Docker-Content-Digest says {header_digest}"));
                    Err(error(&endpoint.host, &resource, problem))
                }
            }
        })
    }

    /// Fetches a config and verifies it.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::manifest`].
    pub fn config(&self, digest: &Digest, size: u64, place: &Place, context: RequestContext<'_>) -> Result<Vec<u8>> {
        self.blob_in_memory(digest, size, None, place, context)
    }

    /// Fetches a blob of `size` bytes into memory and verifies it; the caller has limited the size.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::manifest`].
    pub fn part(&self, digest: &Digest, size: u64, place: &Place, context: RequestContext<'_>) -> Result<Vec<u8>> {
        self.blob_in_memory(digest, size, Some(size), place, context)
    }

    fn blob_in_memory(
        &self,
        digest: &Digest,
        size: u64,
        most: Option<u64>,
        place: &Place,
        context: RequestContext<'_>,
    ) -> Result<Vec<u8>> {
        let resource = Resource::Blob(digest.clone());
        let document = DocumentRequest { resource: &resource, place, digest: Some(digest), size: Some(size), most };
        self.anywhere(context, |endpoint| {
            self.document(endpoint, &endpoint.blob(digest)?, &document, context).map(|(bytes, _)| bytes)
        })
    }

    fn document(
        &self,
        endpoint: &Endpoint,
        url: &url::Url,
        document: &DocumentRequest<'_>,
        context: RequestContext<'_>,
    ) -> Result<(Vec<u8>, Option<String>)> {
        let mut checked_before = false;
        // The beginning of a part, which an attempt that was cut off leaves for the next one.
        let mut kept = Vec::new();
        let attempt = async |impatient| {
            let mut request = Request { impatient, ..Request::get(&endpoint.host, document.resource, url.clone()) };
            if !matches!(document.resource, Resource::Blob(_)) {
                request.headers = accept();
            }
            let from = kept.len() as u64;
            if from > 0 {
                let range = HeaderValue::try_from(format!("bytes={from}-"));
                request.headers.extend(range.ok().map(|range| (RANGE, range)));
            }
            let response = match self.http.send_authorized(endpoint, request, context).await {
                Err(AttemptError::Permanent(_)) if from > 0 => {
                    kept.clear();
                    let problem = RegistryProblem::Interrupted("it does not resume".into());
                    return Err(AttemptError::Transient(problem, None));
                }
                other => other?,
            };
            let header_digest = header_text(&response, "docker-content-digest");
            let mut bytes = std::mem::take(&mut kept);
            if from > 0 && !continues(&response, from) {
                bytes.clear();
            }
            let body = Body::of(response, &self.http.patience, impatient);
            if let Err(broken) = document.receive(body, &mut bytes, &endpoint.host, context).await {
                if document.most.is_some() {
                    kept = bytes;
                }
                return Err(broken);
            }
            match document.check(&bytes) {
                // Wrong bytes are requested once more: they may have been damaged in transit.
                Err(AttemptError::Transient(problem, _)) if std::mem::replace(&mut checked_before, true) => {
                    Err(AttemptError::Permanent(error(&endpoint.host, document.resource, problem)))
                }
                Err(trouble) => Err(trouble),
                Ok(()) => Ok((bytes, header_digest)),
            }
        };
        self.retry(endpoint, document.resource, context, attempt)
    }
}

impl DocumentRequest<'_> {
    /// Appends a body to what was kept of an earlier one.
    async fn receive(&self, body: Body, bytes: &mut Vec<u8>, host: &str, context: RequestContext<'_>) -> Attempt<()> {
        let allowed = self.most.unwrap_or(context.limits.manifest_bytes);
        match body.append_to(bytes, allowed).await {
            Ok(true) => Ok(()),
            Ok(false) if self.most.is_some() => {
                bytes.clear();
                Err(AttemptError::Transient(RegistryProblem::Long { promised: allowed }, None))
            }
            Ok(false) => {
                let (place, limit) = (self.place.clone(), Limit::ManifestBytes);
                let found = Amount::MoreThan(allowed);
                Err(AttemptError::Permanent(ErrorKind::Limit { place, limit, allowed, found }.into()))
            }
            Err(broken) => Err(broken.trouble(bytes.len() as u64, |problem| error(host, self.resource, problem))),
        }
    }

    /// Checks size and digest. Bytes that match the digest but not the promised size are an error of the image, not of
    /// the transfer.
    fn check(&self, bytes: &[u8]) -> Attempt<()> {
        let Some(digest) = self.digest else { return Ok(()) };
        let actual = Digest::of(digest.algorithm(), bytes);
        let sent = bytes.len() as u64;
        match self.size.filter(|size| *size != sent) {
            Some(promised) if actual == *digest => {
                let problem = ImageProblem::SizeMismatch { promised, actual: sent };
                Err(AttemptError::Permanent(Error::image(self.place.clone(), problem)))
            }
            Some(promised) => Err(AttemptError::Transient(RegistryProblem::Short { promised, sent }, None)),
            None if actual != *digest => Err(AttemptError::Transient(RegistryProblem::Digest(actual), None)),
            None => Ok(()),
        }
    }
}

fn accept() -> HeaderMap {
    let types =
        [OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE];
    types.iter().map(|name| (ACCEPT, HeaderValue::from_static(name))).collect()
}

fn header_text(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| super::error_body::escaped(value.as_bytes()))
}
