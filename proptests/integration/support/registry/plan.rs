//! The faults of a registry, with their conditions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// One of the two origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Main,
    Cdn,
}

/// The kind of resource that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Manifest,
    Config,
    Layer,
    /// In a match only: a config or a layer.
    Blob,
    Token,
    Other,
}

/// Numbers of requests, from 1.
pub type Attempts = RangeInclusive<usize>;

/// The requests that a fault applies to: all given conditions must hold.
#[derive(Debug, Clone)]
pub struct On {
    pub kind: Option<Kind>,
    pub method: Option<&'static str>,
    /// The beginning of a digest.
    pub digest: Option<String>,
    /// The layer's index in its manifest, from 0.
    pub layer: Option<usize>,
    /// The tag or the digest in the path.
    pub reference: Option<String>,
    pub repository: Option<&'static str>,
    /// Counted by origin, method and path.
    pub attempts: Option<Attempts>,
    /// Counted over all GETs of blobs at the main origin.
    pub nth_blob: Option<Attempts>,
    pub ranged: Option<bool>,
    pub origin: Option<Origin>,
}

/// Every request.
pub const ANY: On = On {
    kind: None,
    method: None,
    digest: None,
    layer: None,
    reference: None,
    repository: None,
    attempts: None,
    nth_blob: None,
    ranged: None,
    origin: None,
};

impl On {
    pub fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), ..ANY }
    }

    /// Requests of the layer with an index from 0.
    pub fn layer(place: usize) -> Self {
        Self { layer: Some(place), ..Self::kind(Kind::Layer) }
    }

    pub fn attempts(self, attempts: Attempts) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    pub fn first(self) -> Self {
        self.attempts(1..=1)
    }

    pub fn ranged(self, ranged: bool) -> Self {
        Self { ranged: Some(ranged), ..self }
    }

    pub fn at(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }
}

/// The faults of a response, which can be combined. Body faults act on the bytes of the full or the partial response.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// Responds with this status and an error document.
    pub status: Option<u16>,
    pub retry_after: Option<&'static str>,
    pub headers: Vec<(&'static str, String)>,
    /// The error document.
    pub body: Option<Vec<u8>>,
    /// Ends the connection without a response: FIN, or RST.
    pub drop_before: bool,
    pub reset_before: bool,
    /// RST after a number of bytes of the body.
    pub reset_after: Option<u64>,
    /// FIN after a number of bytes of the body, with the right Content-Length.
    pub close_after: Option<u64>,
    /// A shorter body, and a Content-Length that equals it.
    pub short_body: Option<u64>,
    /// 200 without a byte.
    pub empty: bool,
    /// A longer body, and a Content-Length that equals it.
    pub extra_bytes: u64,
    /// More bytes than the Content-Length.
    pub extra_unannounced: u64,
    /// One bit wrong at this offset of the blob.
    pub flip_byte: Option<u64>,
    /// The right number of bytes, all zero.
    pub zeros: bool,
    /// Waits before the response.
    pub stall_before: Option<Duration>,
    /// Waits after a number of bytes of the body.
    pub stall_at: Option<(u64, Duration)>,
    /// The size of each write, and the pause after it.
    pub drip: Option<(u64, Duration)>,
    pub redirect: Option<Redirect>,
    /// The status of a redirect; default: 307.
    pub redirect_status: Option<u16>,
    /// The number of redirects before the response; default: 1. Ignored for loops.
    pub redirect_hops: Option<usize>,
    /// No Content-Length; the end of the connection ends the body.
    pub drop_content_length: bool,
    pub chunked: bool,
    /// Chunks, and FIN after a number of bytes without a last chunk.
    pub chunked_truncated: Option<u64>,
    /// 200 and the whole body for every range.
    pub ignore_range: bool,
    /// 206 with the right headers and a body that is shifted by a number of bytes.
    pub bad_range: u64,
    pub no_accept_ranges: bool,
    /// Another Docker-Content-Digest, or none.
    pub digest_header: Option<Option<String>>,
    /// Another Content-Type, or none.
    pub content_type: Option<Option<&'static str>>,
    /// A compressed body with a Content-Encoding.
    pub gzip: bool,
    /// The bytes of another blob.
    pub serve_digest: Option<String>,
    /// A number of spaces after the document.
    pub pad_json: u64,
}

/// No fault.
pub const NONE: Fault = Fault {
    status: None,
    retry_after: None,
    headers: Vec::new(),
    body: None,
    drop_before: false,
    reset_before: false,
    reset_after: None,
    close_after: None,
    short_body: None,
    empty: false,
    extra_bytes: 0,
    extra_unannounced: 0,
    flip_byte: None,
    zeros: false,
    stall_before: None,
    stall_at: None,
    drip: None,
    redirect: None,
    redirect_status: None,
    redirect_hops: None,
    drop_content_length: false,
    chunked: false,
    chunked_truncated: None,
    ignore_range: false,
    bad_range: 0,
    no_accept_ranges: false,
    digest_header: None,
    content_type: None,
    gzip: false,
    serve_digest: None,
    pad_json: 0,
};

/// The target of a redirect.
#[derive(Debug, Clone)]
pub enum Redirect {
    /// To the other origin, with a signature in the query.
    Cdn,
    /// To the same address, endlessly.
    Loop,
    /// To the other origin and back, endlessly.
    PingPong,
    /// To the same origin, by a path only.
    Relative,
    To(String),
}

/// The authentication that a client needs.
#[derive(Debug, Clone)]
pub struct Auth {
    pub kind: AuthKind,
    pub user: &'static str,
    pub password: &'static str,
    /// An identity token, which a POST with `grant_type=refresh_token` exchanges.
    pub identity: Option<&'static str>,
    /// The lifetime of a token in seconds, as the client is told.
    pub expires_in: u64,
    /// The number of requests that accept a token.
    pub max_uses: usize,
    /// Issues tokens to clients without a login, too.
    pub anonymous: bool,
    pub realm: Host,
    /// The only status of the token endpoint.
    pub token_status: Option<u16>,
    pub token_field: TokenField,
    pub omit_scope: bool,
    /// The bytes of padding in the token document.
    pub pad_token: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthKind {
    Bearer,
    Basic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenField {
    Token,
    AccessToken,
}

/// The host of the token endpoint.
#[derive(Debug, Clone)]
pub enum Host {
    Same,
    Cdn,
    At(String),
}

impl Auth {
    /// Tokens for `user:hunter2`.
    pub fn bearer() -> Self {
        Self {
            kind: AuthKind::Bearer,
            user: "user",
            password: "hunter2",
            identity: None,
            expires_in: 300,
            max_uses: usize::MAX,
            anonymous: false,
            realm: Host::Same,
            token_status: None,
            token_field: TokenField::Token,
            omit_scope: false,
            pad_token: 0,
        }
    }

    /// Requires the login with every request.
    pub fn basic() -> Self {
        Self { kind: AuthKind::Basic, ..Self::bearer() }
    }

    /// Tokens for anyone.
    pub fn anonymous() -> Self {
        Self { anonymous: true, ..Self::bearer() }
    }
}

/// The behaviour of a registry. Without rules it has no faults.
#[derive(Clone, Default)]
pub struct Plan {
    pub auth: Option<Auth>,
    /// The digests of a tag for successive lookups; the last one is repeated.
    pub tags: BTreeMap<&'static str, Vec<String>>,
    /// The rules; the first one that matches is applied.
    pub rules: Vec<(On, Fault)>,
    /// Both origins speak TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Origins without TLS in spite of `tls`.
    pub plain: Vec<Origin>,
}

impl Plan {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn rule(mut self, on: On, fault: Fault) -> Self {
        self.rules.push((on, fault));
        self
    }

    pub fn auth(self, auth: Auth) -> Self {
        Self { auth: Some(auth), ..self }
    }

    pub fn tag(mut self, tag: &'static str, digests: Vec<String>) -> Self {
        self.tags.insert(tag, digests);
        self
    }

    pub fn tls(self, server: Arc<rustls::ServerConfig>) -> Self {
        Self { tls: Some(server), ..self }
    }
}
