//! The response to a request: its head, and a body that is read in pieces.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use url::Url;

use super::wire::Allowance;

/// A response whose head was received.
pub(super) struct Response {
    url: Url,
    response: http::Response<Incoming>,
}

impl Response {
    pub fn new(url: Url, response: http::Response<Incoming>) -> Self {
        Self { url, response }
    }

    /// Returns the URL that responded.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the length of the body, if the head has it.
    pub fn content_length(&self) -> Option<u64> {
        self.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Returns the next bytes of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            let Some(frame) = self.response.body_mut().frame().await else { return Ok(None) };
            // Trailers are ignored.
            let Ok(bytes) = frame?.into_data() else { continue };
            if let Some(allowance) = self.response.extensions().get::<Allowance>() {
                allowance.raise(bytes.len());
            }
            return Ok(Some(bytes));
        }
    }
}
