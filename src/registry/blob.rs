//! Layers: fetched into the cache, resumed where a connection broke off, checked as a whole.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};

use super::body::{Body, Broken};
use super::endpoint::Endpoint;
use super::http::Request;
use super::trouble::{Tried, Trouble, error};
use super::{Asking, Registry};
use crate::cache::{Mismatch, Partial};
use crate::digest::Digest;
use crate::error::{Asked, Error, ImageProblem, Place, RegistryProblem, Result};
use crate::progress::News;
use crate::read_at::FileSlice;

/// A blob that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct WantedBlob<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// The bytes that its descriptor promises.
    pub size: u64,
    /// What messages call it where the image itself is wrong.
    pub place: &'a Place,
}

impl Registry {
    /// Fetches a blob into the place that the cache keeps for it, and completes it there.
    ///
    /// # Errors
    ///
    /// The registry's, the network's or the credentials' fault; the descriptor promises another size than the digest's
    /// bytes have; the disk is full.
    pub fn blob(&self, wanted: WantedBlob<'_>, mut partial: Partial, asking: Asking<'_>) -> Result<FileSlice> {
        asking.progress.tell(&News::Fetching { digest: wanted.digest, bytes: wanted.size });
        self.anywhere(asking, |endpoint| self.blob_of(endpoint, wanted, &mut partial, asking))?;
        let asked = Asked::Blob(wanted.digest.clone());
        let host = self.endpoints.last().map_or("", |endpoint| &endpoint.host);
        let slice = partial.commit()?.map_err(|mismatch| {
            let problem = match mismatch {
                Mismatch::Size(sent) => RegistryProblem::Short { promised: wanted.size, sent },
                Mismatch::Digest(actual) => RegistryProblem::Digest(actual),
            };
            error(host, &asked, problem)
        })?;
        asking.progress.tell(&News::Fetched { digest: wanted.digest, bytes: wanted.size });
        Ok(slice)
    }

    fn blob_of(
        &self,
        endpoint: &Endpoint,
        wanted: WantedBlob<'_>,
        partial: &mut Partial,
        asking: Asking<'_>,
    ) -> Result<()> {
        let asked = Asked::Blob(wanted.digest.clone());
        let mut fetch = Fetch { registry: self, endpoint, wanted, asked: &asked, partial, history: History::default() };
        let attempt = async |impatient| fetch.attempt(impatient, asking).await;
        self.persist(endpoint, &asked, asking, attempt)
    }
}

/// What earlier tries have shown.
#[derive(Default)]
struct History {
    /// The whole was wrong once.
    wrong: bool,
    /// The registry does not resume.
    whole_only: bool,
}

struct Fetch<'a> {
    registry: &'a Registry,
    endpoint: &'a Endpoint,
    wanted: WantedBlob<'a>,
    asked: &'a Asked,
    partial: &'a mut Partial,
    history: History,
}

/// How a body ended.
enum End {
    /// Where it said it would.
    Complete,
    /// After more bytes than were promised.
    Over,
}

impl Fetch<'_> {
    async fn attempt(&mut self, impatient: bool, asking: Asking<'_>) -> Tried<()> {
        let http = &self.registry.http;
        let from = self.start()?;
        if from == self.wanted.size && from > 0 {
            return self.check(&End::Complete);
        }
        let url = self.endpoint.blob(self.wanted.digest)?;
        let mut request = Request { impatient, ..Request::get(&self.endpoint.host, self.asked, url) };
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            request.headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let response = match http.ask(self.endpoint, request, asking).await {
            Err(Trouble::Final(_)) if from > 0 && !self.history.whole_only => {
                // 416, or whatever else a registry says to a range.
                self.history.whole_only = true;
                return Err(Trouble::Again(RegistryProblem::Interrupted("it does not resume".into()), None));
            }
            other => other?,
        };
        if from > 0 && !continues(&response, from) {
            self.partial.restart()?;
        }
        let body = Body::of(response, &http.patience);
        let body = if impatient { body.impatient() } else { body };
        let end = self.receive(body, asking).await?;
        self.check(&end)
    }

    /// Returns where to go on.
    fn start(&mut self) -> Result<u64> {
        if self.history.whole_only && self.partial.len() > 0 {
            self.partial.restart()?;
        }
        Ok(self.partial.len())
    }

    async fn receive(&mut self, mut body: Body, asking: Asking<'_>) -> Tried<End> {
        let wanted = self.wanted.size;
        loop {
            let have = self.partial.len();
            asking.progress.tell(&News::Have { digest: self.wanted.digest, bytes: have });
            match body.chunk().await {
                Ok(None) => return Ok(End::Complete),
                Ok(Some(chunk)) => {
                    let room = usize::try_from(wanted - have).unwrap_or(usize::MAX);
                    self.partial.write(&chunk[..chunk.len().min(room)])?;
                    if chunk.len() > room {
                        return Ok(End::Over);
                    }
                }
                Err(broken) => return Err(self.broken(broken, have)),
            }
        }
    }

    fn broken(&self, broken: Broken, got: u64) -> Trouble {
        match broken {
            Broken::Off(why) => Trouble::Again(RegistryProblem::BrokenOff { got, wanted: self.wanted.size, why }, None),
            Broken::Stalled(seconds) => Trouble::Again(RegistryProblem::Stalled { seconds, got }, None),
            Broken::TooSlow(bytes, seconds) => {
                Trouble::Final(error(&self.endpoint.host, self.asked, RegistryProblem::TooSlow { bytes, seconds }))
            }
        }
    }

    /// Looks at all that was received. What is wrong as a whole is fetched once more, from its beginning.
    fn check(&mut self, end: &End) -> Tried<()> {
        let (promised, sent) = (self.wanted.size, self.partial.len());
        let actual = self.partial.digest();
        let right = actual == *self.wanted.digest;
        let image = |problem| Trouble::Final(Error::image(self.wanted.place.clone(), problem));
        let problem = match end {
            End::Complete if right && sent == promised => return Ok(()),
            // The digest's own bytes, but not as many as the image says: the image is wrong, whoever sends it.
            End::Complete if right => return Err(image(ImageProblem::SizeMismatch { promised, actual: sent })),
            End::Complete if sent < promised => RegistryProblem::Short { promised, sent },
            End::Complete => RegistryProblem::Digest(actual),
            // The digest's own bytes, and then more: the registry adds to them.
            End::Over if right => RegistryProblem::Long { promised },
            End::Over => return Err(image(ImageProblem::LongerThanPromised { promised })),
        };
        self.partial.restart()?;
        if std::mem::replace(&mut self.history.wrong, true) {
            return Err(Trouble::Final(error(&self.endpoint.host, self.asked, problem)));
        }
        Err(Trouble::Again(problem, None))
    }
}

/// Returns whether an answer goes on where it was asked to.
fn continues(response: &reqwest::Response, from: u64) -> bool {
    let start = || {
        let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
        range.strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok()
    };
    response.status() == StatusCode::PARTIAL_CONTENT && start() == Some(from)
}
