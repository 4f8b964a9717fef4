//! Fetches layers into the cache: resumed after a broken connection, verified as a whole.

use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};

use super::attempt::{Attempt, AttemptError, error};
use super::body::{Body, BodyError};
use super::endpoint::Endpoint;
use super::http::Request;
use super::response::Response;
use super::{Registry, RequestContext};
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, Place, RegistryProblem, Resource, Result};
use crate::image::cache::{Mismatch, Partial};
use crate::progress::Event;
use crate::read_at::FileSlice;

/// A requested blob.
#[derive(Debug, Clone, Copy)]
pub struct BlobRequest<'a> {
    /// The digest.
    pub digest: &'a Digest,
    /// The size in its descriptor, in bytes.
    pub size: u64,
    /// The place in messages if the image itself is wrong.
    pub place: &'a Place,
}

impl Registry {
    /// Fetches a blob into its reservation in the cache and commits it.
    ///
    /// # Errors
    ///
    /// The registry, the network or the credentials fail; the size in the descriptor is wrong; the disk is full.
    pub fn blob(&self, blob: BlobRequest<'_>, mut partial: Partial, context: RequestContext<'_>) -> Result<FileSlice> {
        context.progress.event(&Event::Fetching { digest: blob.digest, bytes: blob.size });
        self.anywhere(context, |endpoint| self.blob_of(endpoint, blob, &mut partial, context))?;
        let resource = Resource::Blob(blob.digest.clone());
        let host = self.endpoints.last().map_or("", |endpoint| &endpoint.host);
        let slice = partial.commit()?.map_err(|mismatch| {
            let problem = match mismatch {
                Mismatch::Size(sent) => RegistryProblem::Short { promised: blob.size, sent },
                Mismatch::Digest(actual) => RegistryProblem::Digest(actual),
            };
            error(host, &resource, problem)
        })?;
        context.progress.event(&Event::Fetched { digest: blob.digest, bytes: blob.size });
        Ok(slice)
    }

    fn blob_of(
        &self,
        endpoint: &Endpoint,
        blob: BlobRequest<'_>,
        partial: &mut Partial,
        context: RequestContext<'_>,
    ) -> Result<()> {
        let resource = Resource::Blob(blob.digest.clone());
        let mut fetch =
            Fetch { registry: self, endpoint, blob, resource: &resource, partial, state: TransferState::default() };
        let attempt = async |impatient| fetch.attempt(impatient, context).await;
        self.retry(endpoint, &resource, context, attempt)
    }
}

/// The results of earlier attempts.
#[derive(Default)]
struct TransferState {
    /// True if the whole blob was wrong once.
    wrong: bool,
    /// True if the registry does not support resuming.
    whole_only: bool,
}

struct Fetch<'a> {
    registry: &'a Registry,
    endpoint: &'a Endpoint,
    blob: BlobRequest<'a>,
    resource: &'a Resource,
    partial: &'a mut Partial,
    state: TransferState,
}

/// The end of a body.
enum BodyEnd {
    /// The end at the promised size.
    Complete,
    /// The end after more bytes than promised.
    Over,
}

impl Fetch<'_> {
    async fn attempt(&mut self, impatient: bool, context: RequestContext<'_>) -> Attempt<()> {
        let http = &self.registry.http;
        let from = self.start()?;
        if from == self.blob.size && from > 0 {
            return self.check(&BodyEnd::Complete);
        }
        let url = self.endpoint.blob(self.blob.digest)?;
        let mut request = Request { impatient, ..Request::get(&self.endpoint.host, self.resource, url) };
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            request.headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let response = match http.send_authorized(self.endpoint, request, context).await {
            Err(AttemptError::Permanent(_)) if from > 0 && !self.state.whole_only => {
                // 416 or any other response to a range.
                self.state.whole_only = true;
                return Err(AttemptError::Transient(RegistryProblem::Interrupted("it does not resume".into()), None));
            }
            other => other?,
        };
        if from > 0 && !continues(&response, from) {
            self.partial.restart()?;
        }
        let body = Body::of(response, &http.patience, impatient);
        let end = self.receive(body, context).await?;
        self.check(&end)
    }

    /// Returns the offset to resume at.
    fn start(&mut self) -> Result<u64> {
        if self.state.whole_only && self.partial.len() > 0 {
            self.partial.restart()?;
        }
        Ok(self.partial.len())
    }

    async fn receive(&mut self, mut body: Body, context: RequestContext<'_>) -> Attempt<BodyEnd> {
        let size = self.blob.size;
        loop {
            let have = self.partial.len();
            context.progress.event(&Event::Progress { digest: self.blob.digest, bytes: have });
            match body.chunk().await {
                Ok(None) => return Ok(BodyEnd::Complete),
                Ok(Some(chunk)) => {
                    let room = usize::try_from(size - have).unwrap_or(usize::MAX);
                    self.partial.write(&chunk[..chunk.len().min(room)])?;
                    if chunk.len() > room {
                        return Ok(BodyEnd::Over);
                    }
                }
                Err(broken) => return Err(self.broken(broken, have)),
            }
        }
    }

    fn broken(&self, broken: BodyError, got: u64) -> AttemptError {
        match broken {
            BodyError::Off(why) => {
                AttemptError::Transient(RegistryProblem::BrokenOff { got, expected: self.blob.size, why }, None)
            }
            BodyError::Stalled(seconds) => AttemptError::Transient(RegistryProblem::Stalled { seconds, got }, None),
            other => other.trouble(got, |problem| error(&self.endpoint.host, self.resource, problem)),
        }
    }

    /// Checks everything received. A blob that is wrong as a whole is fetched once more from its beginning.
    fn check(&mut self, end: &BodyEnd) -> Attempt<()> {
        let (promised, sent) = (self.blob.size, self.partial.len());
        let actual = self.partial.digest();
        let right = actual == *self.blob.digest;
        let image = |problem| AttemptError::Permanent(Error::image(self.blob.place.clone(), problem));
        let problem = match end {
            BodyEnd::Complete if right && sent == promised => return Ok(()),
            // The bytes match the digest, but not the size in the image: the image is wrong, whichever host sends it.
            BodyEnd::Complete if right => return Err(image(ImageProblem::SizeMismatch { promised, actual: sent })),
            BodyEnd::Complete if sent < promised => RegistryProblem::Short { promised, sent },
            BodyEnd::Complete => RegistryProblem::Digest(actual),
            // The bytes match the digest, and more bytes follow: the registry adds them.
            BodyEnd::Over if right => RegistryProblem::Long { promised },
            BodyEnd::Over => return Err(image(ImageProblem::LongerThanPromised { promised })),
        };
        self.partial.restart()?;
        if std::mem::replace(&mut self.state.wrong, true) {
            return Err(AttemptError::Permanent(error(&self.endpoint.host, self.resource, problem)));
        }
        Err(AttemptError::Transient(problem, None))
    }
}

/// Returns true if a response resumes at the requested offset.
pub(super) fn continues(response: &Response, from: u64) -> bool {
    let start = || {
        let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
        range.strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok()
    };
    response.status() == StatusCode::PARTIAL_CONTENT && start() == Some(from)
}
