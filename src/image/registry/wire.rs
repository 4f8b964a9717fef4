//! Connections by TCP, through a proxy, and with TLS, with all received bytes counted.
//!
//! A peer can send without end without delivering the content: interim responses, handshake records, padding, chunk
//! extensions. They are not limited one by one. Instead every connection has an allowance of bytes, which a request
//! renews and received content raises; a peer that uses it up is disconnected. The callers that wait for a connection,
//! a response or content limit the time.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::net::Lookup;

/// The bytes that a peer may send beside the content.
pub(super) const ALLOWANCE: u32 = 1 << 20;
/// The bytes allowed for each byte of content: short chunks in short records take several.
const RAISE: i64 = 4;
/// The largest response of a proxy.
const PROXY_ANSWER_MAX: usize = 8 << 10;

/// The bytes that a connection may still receive.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<AtomicI64>);

impl Allowance {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(ALLOWANCE.into())))
    }

    /// Resets the allowance for a new request.
    fn renew(&self) {
        self.0.store(ALLOWANCE.into(), Ordering::Relaxed);
    }

    /// Raises the allowance after content was received.
    pub fn raise(&self, content: usize) {
        let more = i64::try_from(content).unwrap_or(i64::MAX).saturating_mul(RAISE);
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes received bytes from the allowance.
    fn take(&self, bytes: usize) -> io::Result<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.0.fetch_sub(bytes, Ordering::Relaxed);
        if before < bytes { Err(io::Error::other(AllowanceExceeded)) } else { Ok(()) }
    }
}

/// The error of a peer that has used up its allowance.
#[derive(Debug)]
pub(super) struct AllowanceExceeded;

impl fmt::Display for AllowanceExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {ALLOWANCE} bytes beside the content")
    }
}

impl StdError for AllowanceExceeded {}

/// Returns true if an error, or any of its causes, is [`AllowanceExceeded`].
pub(super) fn is_exhausted(error: &(dyn StdError + 'static)) -> bool {
    super::attempt::causes(error).any(<dyn StdError>::is::<AllowanceExceeded>)
}

/// A failure to connect.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// A step exceeded the time limit.
    Late {
        /// The step.
        step: &'static str,
        /// The time limit for all steps, in seconds.
        seconds: u64,
        /// True if the step was a TLS handshake.
        handshake: bool,
    },
    /// The TLS handshake failed.
    Handshake(io::Error),
    /// The proxy did not open a tunnel, with the reason.
    Proxy(String),
    /// The network or the name service failed.
    Network(Box<dyn StdError + Send + Sync>),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late { step, seconds, .. } => write!(f, "no {step} within {seconds} s"),
            Self::Handshake(_) => f.write_str("the TLS handshake failed"),
            Self::Proxy(why) => write!(f, "the proxy {why}"),
            Self::Network(_) => f.write_str("no connection"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Late { .. } | Self::Proxy(_) => None,
            Self::Handshake(error) => Some(error),
            Self::Network(error) => Some(&**error),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection for the HTTP client.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    allowance: Allowance,
    proxied: bool,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied).extra(self.allowance.clone())
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        // Only requests are written here: TLS writes its own responses below.
        wire.allowance.renew();
        Pin::new(&mut wire.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A stream that counts the bytes received.
struct MeteredStream<S> {
    stream: S,
    allowance: Allowance,
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let counted = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut counted.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(counted.allowance.take(buf.filled().len() - before)),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

const HANDSHAKE: &str = "TLS handshake";

/// The time limit for all steps of connecting.
struct Time {
    end: Instant,
    seconds: u64,
}

impl Time {
    fn from_now(patience: Duration) -> Self {
        Self { end: Instant::now() + patience, seconds: patience.as_secs() }
    }

    /// Waits for a step.
    async fn of<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let late = ConnectError::Late { step, seconds: self.seconds, handshake: step == HANDSHAKE };
        tokio::time::timeout_at(self.end, work).await.unwrap_or(Err(late))
    }
}

/// Connects to one host.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Lookup>,
    tls: Arc<ClientConfig>,
    proxies: Arc<Matcher>,
    patience: Duration,
}

impl Connector {
    pub fn new(tls: ClientConfig, proxies: Arc<Matcher>, patience: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Lookup);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, tls: Arc::new(tls), proxies, patience }
    }

    async fn connect(mut self, to: Uri) -> Result<Wire, ConnectError> {
        let time = Time::from_now(self.patience);
        let proxy = self.proxies.intercept(&to);
        let allowance = Allowance::new();
        let first = proxy.as_ref().map_or(&to, Intercept::uri).clone();
        let tcp = self.tcp.call(first.clone());
        let failed = |error| match &proxy {
            None => ConnectError::Network(Box::new(error)),
            Some(_) => {
                let why = super::attempt::root_cause(&error);
                ConnectError::Proxy(format!("{} cannot be reached: {why}", shown(&first)))
            }
        };
        let tcp = time.of("connection", async { tcp.await.map_err(failed) }).await?;
        let mut stream: Box<dyn Stream> =
            Box::new(MeteredStream { stream: tcp.into_inner(), allowance: allowance.clone() });
        if first.scheme() == Some(&Scheme::HTTPS) {
            stream = time.of(HANDSHAKE, self.secure(stream, &first)).await?;
        }
        let Some(proxy) = proxy else { return Ok(Wire { stream, allowance, proxied: false }) };
        if to.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Wire { stream, allowance, proxied: true });
        }
        let opened = time.of("answer of the proxy", tunnel(&mut stream, &to, &proxy)).await;
        opened.map_err(|error| match error {
            ConnectError::Proxy(why) => ConnectError::Proxy(format!("{} {why}", shown(&first))),
            other => other,
        })?;
        Ok(Wire { stream: time.of(HANDSHAKE, self.secure(stream, &to)).await?, allowance, proxied: false })
    }

    async fn secure(&self, stream: Box<dyn Stream>, to: &Uri) -> Result<Box<dyn Stream>, ConnectError> {
        let host = to.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|error| ConnectError::Handshake(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let secured = connector.connect(name, stream).await.map_err(ConnectError::Handshake)?;
        Ok(Box::new(secured))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(to).await.map(TokioIo::new) })
    }
}

/// Returns a host and its port; a login in the URI is not shown.
fn shown(uri: &Uri) -> String {
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    super::error_body::escaped(format!("{}{port}", uri.host().unwrap_or_default()))
}

/// Has a proxy open a tunnel (RFC 9110, 9.3.6).
async fn tunnel(stream: &mut Box<dyn Stream>, to: &Uri, proxy: &Intercept) -> Result<(), ConnectError> {
    let broken = |error: io::Error| ConnectError::Network(Box::new(error));
    let address = format!("{}:{}", to.host().unwrap_or_default(), to.port_u16().unwrap_or(443));
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n").into_bytes();
    if let Some(login) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(login.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    let mut block = [0; 1024];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if answer.len() > PROXY_ANSWER_MAX {
            return Err(ConnectError::Proxy(format!("answers with more than {PROXY_ANSWER_MAX} bytes")));
        }
        match stream.read(&mut block).await.map_err(broken)? {
            0 => return Err(ConnectError::Proxy("broke off".into())),
            count => answer.extend_from_slice(&block[..count]),
        }
    }
    match answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)) {
        Some([b'2', ..]) => Ok(()),
        Some(b"407") => Err(ConnectError::Proxy("requires a login (status 407)".into())),
        Some(status) => Err(ConnectError::Proxy(format!("refuses (status {})", super::error_body::escaped(status)))),
        None => Err(ConnectError::Proxy("does not answer in HTTP".into())),
    }
}
