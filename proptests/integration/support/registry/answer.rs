//! The response to a request, by the plan.

use std::io::{self, Write as _};

use super::log::{Ending, Record};
use super::plan::{AuthKind, Fault, Host, Kind, NONE, On, Origin, Plan, Redirect};
use super::request::Request;
use super::wire::Wire;
use super::{Counts, Shared, lock};

/// One request and its response.
pub struct Exchange<'a> {
    pub shared: &'a Shared,
    pub wire: &'a mut Wire,
    pub request: Request,
    pub record: Record,
    pub fault: Fault,
    plan: std::sync::Arc<Plan>,
}

impl<'a> Exchange<'a> {
    pub fn new(shared: &'a Shared, origin: Origin, connection: usize, request: Request, wire: &'a mut Wire) -> Self {
        let plan = shared.plan();
        let text = |name: &str| request.header(name).map(str::to_owned);
        let mut record = Record {
            at: shared.started.elapsed(),
            connection,
            origin,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            kind: Kind::Other,
            repository: None,
            reference: None,
            digest: None,
            layer: None,
            attempt: 0,
            range: text("range"),
            authorization: text("authorization"),
            cookie: text("cookie"),
            form: Some(request.form.clone()).filter(|form| !form.is_empty()),
            accept_encoding: text("accept-encoding"),
            status: None,
            sent: 0,
            ending: Ending::Kept,
        };
        let fault = {
            let mut counts = lock(&shared.counts);
            classify(shared, &plan, &mut counts, &mut record);
            let nth = count(&mut counts, &mut record);
            plan.rules.iter().find(|(on, _)| is_match(on, &record, nth)).map_or(NONE, |(_, fault)| fault.clone())
        };
        Self { shared, wire, request, record, fault, plan }
    }

    /// Returns the log entry.
    pub fn finish(self, ended: &io::Result<()>) -> Record {
        let mut record = self.record;
        if ended.is_err() && record.ending == Ending::Kept {
            record.ending = Ending::Left;
        }
        record
    }

    pub fn answer(&mut self) -> io::Result<()> {
        if let Some(wait) = self.fault.stall_before {
            self.shared.sleep(wait);
        }
        if self.fault.drop_before {
            return self.close();
        }
        if self.fault.reset_before {
            return self.reset();
        }
        if let (Some(status), None) = (self.fault.status, &self.fault.redirect) {
            let mut headers = self.fault.headers.clone();
            headers.extend(self.fault.retry_after.map(|seconds| ("Retry-After", seconds.to_owned())));
            let body = self.fault.body.take().unwrap_or_else(|| document("INJECTED"));
            return self.simple(status, &body, &headers);
        }
        if self.record.kind == Kind::Token {
            return self.token();
        }
        if let Some(challenge) = self.challenge() {
            return self.simple(401, &document("UNAUTHORIZED"), &[("WWW-Authenticate", challenge)]);
        }
        if let Some(location) = self.location() {
            let mut headers = self.fault.headers.clone();
            headers.push(("Location", location));
            return self.simple(self.fault.redirect_status.unwrap_or(307), b"", &headers);
        }
        self.content()
    }

    fn content(&mut self) -> io::Result<()> {
        match (self.record.kind, self.request.method.as_str()) {
            (Kind::Ping, _) => {
                let version = ("Docker-Distribution-Api-Version", "registry/2.0".to_owned());
                return self.simple(200, b"{}", &[version]);
            }
            (Kind::Other, _) => return self.simple(404, &document("NAME_UNKNOWN"), &[]),
            (_, "GET" | "HEAD") => {}
            _ => return self.simple(405, &document("UNSUPPORTED"), &[]),
        }
        let repository = self.record.repository.as_ref().and_then(|name| self.shared.repositories.get(name));
        let digest = self.fault.serve_digest.clone().or_else(|| self.record.digest.clone());
        let path = repository.zip(digest).and_then(|(repository, digest)| repository.path(&digest));
        match path.and_then(|path| std::fs::File::open(path).ok()) {
            Some(file) => self.body(file),
            None if self.record.kind == Kind::Manifest => self.simple(404, &document("MANIFEST_UNKNOWN"), &[]),
            None => self.simple(404, &document("BLOB_UNKNOWN"), &[]),
        }
    }

    fn token(&mut self) -> io::Result<()> {
        let auth = self.plan.auth.clone().unwrap_or_else(super::Auth::anonymous);
        let given = lock(&self.shared.tokens).give(&auth, &self.request);
        match given {
            Ok(token) => self.simple(200, token.as_bytes(), &[]),
            Err(status) => self.simple(status, &document("DENIED"), &[]),
        }
    }

    /// Returns the challenge for a client without authorization.
    fn challenge(&self) -> Option<String> {
        let auth = self.plan.auth.as_ref().filter(|_| self.record.origin == Origin::Main)?;
        if lock(&self.shared.tokens).allow(auth, &self.request) {
            return None;
        }
        if auth.kind == AuthKind::Basic {
            return Some("Basic realm=\"faulty\"".to_owned());
        }
        let realm = match &auth.realm {
            Host::Same => self.shared.url(Origin::Main) + "/token",
            Host::Cdn => self.shared.url(Origin::Cdn) + "/token",
            Host::At(url) => url.clone(),
        };
        let scope = match &self.record.repository {
            Some(name) if !auth.omit_scope => format!(",scope=\"repository:{name}:pull\""),
            _ => String::new(),
        };
        Some(format!("Bearer realm=\"{realm}\",service=\"faulty\"{scope}"))
    }

    fn location(&self) -> Option<String> {
        let redirect = self.fault.redirect.as_ref()?;
        let hop: usize = self.request.parameter("hop").and_then(|hop| hop.parse().ok()).unwrap_or(0);
        let endless = matches!(redirect, Redirect::Loop | Redirect::PingPong);
        if hop >= self.fault.redirect_hops.unwrap_or(if endless { usize::MAX } else { 1 }) {
            return None;
        }
        let (here, path, next) = (self.record.origin, &self.record.path, hop + 1);
        let other = if here == Origin::Main { Origin::Cdn } else { Origin::Main };
        Some(match redirect {
            Redirect::Cdn => format!("{}{path}?sig=s3cret&hop={next}", self.shared.url(Origin::Cdn)),
            Redirect::Loop => format!("{}{path}?hop={next}", self.shared.url(here)),
            Redirect::PingPong => format!("{}{path}?hop={next}", self.shared.url(other)),
            Redirect::Relative => format!("{path}?hop={next}"),
            Redirect::To(url) => url.clone(),
        })
    }

    /// Sends a whole body with its right length.
    fn simple(&mut self, status: u16, body: &[u8], headers: &[(&'static str, String)]) -> io::Result<()> {
        let mut all = vec![("Content-Type", "application/json".to_owned())];
        all.extend(headers.iter().cloned());
        all.push(("Content-Length", body.len().to_string()));
        self.head(status, &all)?;
        if self.request.method != "HEAD" {
            self.wire.write_all(body)?;
            self.record.sent += body.len() as u64;
        }
        self.wire.flush()
    }

    pub fn head(&mut self, status: u16, headers: &[(&'static str, String)]) -> io::Result<()> {
        self.record.status = Some(status);
        let mut head = format!("HTTP/1.1 {status} {}\r\n", if status < 400 { "OK" } else { "Error" });
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.wire.write_all(head.as_bytes())
    }

    pub fn close(&mut self) -> io::Result<()> {
        self.record.ending = Ending::Closed;
        self.wire.close()
    }

    pub fn reset(&mut self) -> io::Result<()> {
        self.record.ending = Ending::Reset;
        // The registry's copy for its shutdown would keep the socket open.
        lock(&self.shared.open).remove(&self.record.connection);
        self.wire.reset()
    }
}

fn document(code: &str) -> Vec<u8> {
    serde_json::json!({"errors": [{"code": code, "message": "injected"}]}).to_string().into_bytes()
}

/// Finds the resource of a path.
fn classify(shared: &Shared, plan: &Plan, counts: &mut Counts, record: &mut Record) {
    let path = record.path.clone();
    if path == "/v2" || path == "/v2/" {
        record.kind = Kind::Ping;
        return;
    }
    if path.starts_with("/token") {
        record.kind = Kind::Token;
        return;
    }
    let parts = path.strip_prefix("/v2/").and_then(|rest| rest.rsplit_once('/'));
    let Some((place, reference)) = parts else { return };
    let Some((name, kind)) = place.rsplit_once('/') else { return };
    let Some(repository) = shared.repositories.get(name) else { return };
    record.repository = Some(name.to_owned());
    record.reference = Some(reference.to_owned());
    let by_digest = reference.contains(':').then(|| reference.to_owned());
    match kind {
        "manifests" => {
            record.kind = Kind::Manifest;
            record.digest = by_digest.or_else(|| match plan.tags.get(reference) {
                Some(meanings) => {
                    let lookups = counts.by_tag.entry((name.to_owned(), reference.to_owned())).or_default();
                    let meaning = meanings.get(*lookups).or(meanings.last()).cloned();
                    *lookups += 1;
                    meaning
                }
                None => repository.tags.get(reference).cloned(),
            });
        }
        "blobs" => {
            (record.kind, record.layer) = repository.role(reference);
            record.digest = by_digest;
        }
        _ => {}
    }
}

/// Counts a request, and returns the number of GETs of blobs including it.
fn count(counts: &mut Counts, record: &mut Record) -> usize {
    let target = (record.origin, record.method.clone(), record.path.clone());
    let attempt = counts.by_target.entry(target).or_default();
    *attempt += 1;
    record.attempt = *attempt;
    let blob = matches!(record.kind, Kind::Config | Kind::Layer);
    counts.blobs += usize::from(blob && record.method == "GET" && record.origin == Origin::Main);
    counts.blobs
}

fn is_match(on: &On, record: &Record, nth: usize) -> bool {
    let blob = matches!(record.kind, Kind::Config | Kind::Layer);
    let digest = record.digest.as_deref().unwrap_or_default();
    on.kind.is_none_or(|kind| kind == record.kind || kind == Kind::Blob && blob)
        && on.method.is_none_or(|method| method == record.method)
        && on.digest.as_ref().is_none_or(|prefix| digest.starts_with(prefix.as_str()))
        && on.layer.is_none_or(|place| record.layer == Some(place))
        && on.reference.as_ref().is_none_or(|reference| record.reference.as_ref() == Some(reference))
        && on.repository.is_none_or(|name| record.repository.as_deref() == Some(name))
        && on.attempts.as_ref().is_none_or(|attempts| attempts.contains(&record.attempt))
        && on.nth_blob.as_ref().is_none_or(|numbers| blob && numbers.contains(&nth))
        && on.ranged.is_none_or(|ranged| ranged == record.range.is_some())
        && on.origin.is_none_or(|origin| origin == record.origin)
}
