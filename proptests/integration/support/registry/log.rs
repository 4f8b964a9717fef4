//! The log of a registry: requests and their responses.

use std::time::Duration;

use super::plan::{Kind, Origin};

/// The end of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The connection may be used again.
    Kept,
    /// The registry closed it.
    Closed,
    /// The registry reset it.
    Reset,
    /// The client closed the connection.
    Left,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Record {
    /// The time of the request, since the registry's start.
    pub at: Duration,
    pub connection: usize,
    pub origin: Origin,
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub kind: Kind,
    pub repository: Option<String>,
    pub reference: Option<String>,
    pub digest: Option<String>,
    pub layer: Option<usize>,
    /// The number of this request among those of the same origin, method and path.
    pub attempt: usize,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub cookie: Option<String>,
    pub form: Option<String>,
    pub accept_encoding: Option<String>,
    pub status: Option<u16>,
    /// The bytes of the body that the system accepted.
    pub sent: u64,
    pub ending: Ending,
}

impl Record {
    /// The scheme of the authorization: `Bearer` or `Basic`.
    pub fn scheme(&self) -> Option<&str> {
        self.authorization.as_deref()?.split(' ').next()
    }

    /// True if any part of the request has a credential.
    pub fn has_secret(&self) -> bool {
        let form = self.form.as_deref().unwrap_or_default();
        self.authorization.is_some()
            || self.cookie.is_some()
            || form.contains("password=")
            || form.contains("refresh_token=")
    }
}

/// The requests in order of arrival.
#[derive(Debug, Clone)]
pub struct Log(pub Vec<Record>);

impl Log {
    pub fn only(&self, keep: impl Fn(&Record) -> bool) -> Self {
        Self(self.0.iter().filter(|record| keep(record)).cloned().collect())
    }

    /// The authorized GETs of a blob or a manifest by its digest, at both origins.
    pub fn gets(&self, digest: &str) -> Self {
        self.only(|record| {
            record.method == "GET" && record.reference.as_deref() == Some(digest) && record.status != Some(401)
        })
    }

    /// The authorized GETs of configs and layers.
    pub fn blobs(&self) -> Self {
        self.only(|record| {
            matches!(record.kind, Kind::Config | Kind::Layer) && record.method == "GET" && record.status != Some(401)
        })
    }

    pub fn with_secrets(&self) -> Self {
        self.only(Record::has_secret)
    }

    pub fn kind(&self, kind: Kind) -> Self {
        self.only(|record| record.kind == kind)
    }

    pub fn at(&self, origin: Origin) -> Self {
        self.only(|record| record.origin == origin)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn sent(&self) -> u64 {
        self.0.iter().map(|record| record.sent).sum()
    }
}
