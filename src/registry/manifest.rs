//! Documents: manifests and indexes, by tag or digest, and configs. They are small, and kept in memory.

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::Response;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};

use super::body::{Body, Broken};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::trouble::{Tried, Trouble, error};
use super::{Asking, Registry};
use crate::digest::{Algorithm, Digest};
use crate::error::{Asked, Error, ErrorKind, Found, ImageProblem, Place, RegistryProblem, Result};
use crate::limits::Limit;
use crate::progress::News;

/// What a tag means at this moment.
#[derive(Debug)]
pub struct FetchedManifest {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its digest, computed from the bytes: what a registry says about it is not believed.
    pub digest: Digest,
}

/// A document that is wanted, and what must be true of it.
struct Wanted<'a> {
    asked: &'a Asked,
    place: &'a Place,
    digest: Option<&'a Digest>,
    size: Option<u64>,
}

impl Registry {
    /// Looks a tag up: once, since everything after goes by digest.
    ///
    /// # Errors
    ///
    /// The registry's, the network's or the credentials' fault; the document is larger than a limit allows.
    pub fn tag(&self, tag: &str, asking: Asking<'_>) -> Result<FetchedManifest> {
        let asked = Asked::Tag(tag.to_owned());
        self.anywhere(asking, |endpoint| {
            let place = Place::Source(format!("{}/{}:{tag}", endpoint.host, endpoint.repository));
            let wanted = Wanted { asked: &asked, place: &place, digest: None, size: None };
            let (bytes, said) = self.document(endpoint, &endpoint.manifest(tag)?, &wanted, asking)?;
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            if let Some(said) = said.filter(|said| *said != digest.to_string()) {
                let text = format!("{}: {asked} has digest {digest}, the registry's header says {said}", endpoint.host);
                asking.progress.tell(&News::Warning(&text));
            }
            Ok(FetchedManifest { bytes, digest })
        })
    }

    /// Fetches a manifest or an index by digest, and checks it. `size` is what its descriptor promises.
    ///
    /// # Errors
    ///
    /// As for [`Self::tag`]; the bytes are not those of the digest.
    pub fn manifest(&self, digest: &Digest, size: Option<u64>, place: &Place, asking: Asking<'_>) -> Result<Vec<u8>> {
        let asked = Asked::Manifest(digest.clone());
        let wanted = Wanted { asked: &asked, place, digest: Some(digest), size };
        self.anywhere(asking, |endpoint| {
            let (bytes, said) = self.document(endpoint, &endpoint.manifest(&digest.to_string())?, &wanted, asking)?;
            match said.filter(|said| *said != digest.to_string()) {
                None => Ok(bytes),
                Some(said) => {
                    let problem = RegistryProblem::Malformed(format!("its header Docker-Content-Digest says {said}"));
                    Err(error(&endpoint.host, &asked, problem))
                }
            }
        })
    }

    /// Fetches a config, and checks it.
    ///
    /// # Errors
    ///
    /// As for [`Self::manifest`].
    pub fn config(&self, digest: &Digest, size: u64, place: &Place, asking: Asking<'_>) -> Result<Vec<u8>> {
        let asked = Asked::Blob(digest.clone());
        let wanted = Wanted { asked: &asked, place, digest: Some(digest), size: Some(size) };
        self.anywhere(asking, |endpoint| {
            self.document(endpoint, &endpoint.blob(digest)?, &wanted, asking).map(|(bytes, _)| bytes)
        })
    }

    fn document(
        &self,
        endpoint: &Endpoint,
        url: &reqwest::Url,
        wanted: &Wanted<'_>,
        asking: Asking<'_>,
    ) -> Result<(Vec<u8>, Option<String>)> {
        let mut checked_before = false;
        let attempt = async |impatient| {
            let mut request = Request { impatient, ..Request::get(&endpoint.host, wanted.asked, url.clone()) };
            if !matches!(wanted.asked, Asked::Blob(_)) {
                request.headers = accept();
            }
            let response = self.http.ask(endpoint, request, asking).await?;
            let said = header_text(&response, "docker-content-digest");
            let bytes = self.http.whole(response, wanted, &endpoint.host, asking).await?;
            match wanted.check(&bytes) {
                // Wrong bytes are asked for once more: the way may have damaged them.
                Err(Trouble::Again(problem, _)) if std::mem::replace(&mut checked_before, true) => {
                    Err(Trouble::Final(error(&endpoint.host, wanted.asked, problem)))
                }
                Err(trouble) => Err(trouble),
                Ok(()) => Ok((bytes, said)),
            }
        };
        self.persist(endpoint, wanted.asked, asking, attempt)
    }
}

impl Http {
    async fn whole(&self, response: Response, wanted: &Wanted<'_>, host: &str, asking: Asking<'_>) -> Tried<Vec<u8>> {
        let allowed = asking.limits.manifest_bytes;
        match Body::of(response, &self.patience).bounded(allowed).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => {
                let (place, limit) = (wanted.place.clone(), Limit::ManifestBytes);
                let found = Found::MoreThan(allowed);
                Err(Trouble::Final(ErrorKind::Limit { place, limit, allowed, found }.into()))
            }
            Err(Broken::TooSlow(bytes, seconds)) => {
                Err(Trouble::Final(error(host, wanted.asked, RegistryProblem::TooSlow { bytes, seconds })))
            }
            Err(Broken::Stalled(seconds)) => Err(Trouble::Again(RegistryProblem::Stalled { seconds, got: 0 }, None)),
            Err(Broken::Off(why)) => Err(Trouble::Again(RegistryProblem::Interrupted(why), None)),
        }
    }
}

impl Wanted<'_> {
    /// Checks size and digest. The right bytes of another size than promised are the image's fault, not the way's.
    fn check(&self, bytes: &[u8]) -> Tried<()> {
        let Some(digest) = self.digest else { return Ok(()) };
        let actual = Digest::of(digest.algorithm(), bytes);
        let sent = bytes.len() as u64;
        match self.size.filter(|size| *size != sent) {
            Some(promised) if actual == *digest => {
                let problem = ImageProblem::SizeMismatch { promised, actual: sent };
                Err(Trouble::Final(Error::image(self.place.clone(), problem)))
            }
            Some(promised) => Err(Trouble::Again(RegistryProblem::Short { promised, sent }, None)),
            None if actual != *digest => Err(Trouble::Again(RegistryProblem::Digest(actual), None)),
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
    response.headers().get(name).map(|value| super::said::escaped(value.as_bytes()))
}
