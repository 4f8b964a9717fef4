//! Requests as they are received.

use std::io::{self, Read};

use super::wire::Wire;

const MAX_HEAD: usize = 64 << 10;
const MAX_FORM: usize = 64 << 10;

/// One request with its small body.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    headers: Vec<(String, String)>,
    pub form: String,
}

impl Request {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .as_deref()?
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|p| p.1)
    }

    /// The first and the last byte of a range.
    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }
}

/// Reads the next request; `None` if the client has closed the connection.
pub fn read(wire: &mut Wire) -> io::Result<Option<Request>> {
    let mut buffer = std::mem::take(&mut wire.ahead);
    loop {
        if let Some((mut request, length)) = parse(&buffer)? {
            buffer.drain(..length);
            let body: usize = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            while buffer.len() < body.min(MAX_FORM) {
                if more(wire, &mut buffer)? == 0 {
                    return Ok(None);
                }
            }
            let rest = buffer.split_off(body.min(buffer.len()));
            request.form = String::from_utf8_lossy(&buffer).into_owned();
            wire.ahead = rest;
            return Ok(Some(request));
        }
        if buffer.len() > MAX_HEAD || more(wire, &mut buffer)? == 0 {
            return Ok(None);
        }
    }
}

fn more(wire: &mut Wire, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut block = [0; 8192];
    let count = wire.read(&mut block)?;
    buffer.extend_from_slice(&block[..count]);
    Ok(count)
}

fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query,
        headers: parsed.headers.iter().map(|header| (header.name.to_lowercase(), text(header.value))).collect(),
        form: String::new(),
    };
    Ok(Some((request, length)))
}
