//! Who asks: the credentials of one host, and the tokens that they bring.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Asking;
use super::body::{Body, Broken};
use super::challenge::{self, Bearer, Challenge};
use super::credential::{self, Credential, CredentialSources, Found, Secret};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::origin::Origin;
use super::trouble::{self, Tried, Trouble};
use crate::error::{Asked, CredentialProblem, Error, ErrorKind, RegistryProblem, Result};
use crate::limits::Limit;
use crate::progress::News;

/// How long a token lasts whose server does not say it (distribution's token specification).
const USUAL_LIFE: Duration = Duration::from_secs(60);
/// How often one request renews a token: others may use up the new one before it is sent.
const RENEWALS_MAX: u32 = 3;
/// How often one request is repeated because others renewed the token meanwhile.
const RENEWALS_SEEN_MAX: u32 = 5;

/// The login at one host. Tokens are kept in memory alone.
pub(super) struct Login {
    sources: CredentialSources,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<Found>,
    challenge: Option<Challenge>,
    header: Option<HeaderValue>,
    expires: Option<Instant>,
    /// How many headers there were: tells a request whether its own is still the newest.
    generation: u64,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    pub fn new(sources: CredentialSources) -> Self {
        Self { sources, state: Mutex::default() }
    }

    fn find(&self, endpoint: &Endpoint, asking: Asking<'_>) -> Result<Found> {
        let found = credential::find(&endpoint.host, &endpoint.repository, &self.sources, asking.cancel)?;
        asking.progress.tell(&News::Credentials { host: &endpoint.host, source: &found.source });
        for warning in &found.warnings {
            asking.progress.tell(&News::Warning(warning));
        }
        Ok(found)
    }
}

impl Http {
    /// Asks for something of the repository, logged in where that is wanted, and returns a good answer.
    pub async fn ask(&self, endpoint: &Endpoint, mut request: Request<'_>, asking: Asking<'_>) -> Tried<Response> {
        let (mut own, mut others) = (0, 0);
        loop {
            let generation = self.authorize(endpoint, &mut request, asking).await?;
            let response = self.send(&request, asking).await?;
            let led_away = Origin::of(response.url()) != endpoint.origin;
            if response.status() != StatusCode::UNAUTHORIZED || led_away {
                return self.good(response, led_away, endpoint, &request, asking).await;
            }
            let challenge = challenge::of(response.headers());
            let mut state = endpoint.login.state.lock().await;
            if state.generation != generation && others < RENEWALS_SEEN_MAX {
                others += 1;
                continue;
            }
            let most = if matches!(challenge, Some(Challenge::Bearer(_))) { RENEWALS_MAX } else { 1 };
            let Some(challenge) = challenge.filter(|_| own < most) else {
                return Err(refused(endpoint, &state).into());
            };
            own += 1;
            state.challenge = Some(challenge);
            self.renew(endpoint, &mut state, &request, asking).await?;
        }
    }

    /// Puts the newest header on a request, and returns which one that is; one that is over is renewed first.
    async fn authorize(&self, endpoint: &Endpoint, request: &mut Request<'_>, asking: Asking<'_>) -> Tried<u64> {
        let mut state = endpoint.login.state.lock().await;
        if state.expires.is_some_and(|expires| expires <= Instant::now()) {
            self.renew(endpoint, &mut state, request, asking).await?;
        }
        request.authorization = state.header.clone().map(|header| (header, endpoint.origin.clone()));
        Ok(state.generation)
    }

    async fn renew(
        &self,
        endpoint: &Endpoint,
        state: &mut State,
        request: &Request<'_>,
        asking: Asking<'_>,
    ) -> Tried<()> {
        if state.found.is_none() {
            state.found = Some(endpoint.login.find(endpoint, asking)?);
        }
        let (Some(found), Some(challenge)) = (&state.found, &state.challenge) else {
            return Err(Trouble::Final(ErrorKind::Bug("a login is renewed that was not asked for").into()));
        };
        let (header, life) = match (challenge, &found.credential) {
            (_, Credential::Bearer(token)) => (bearer(token.expose()), None),
            (Challenge::Basic, Credential::Password { user, password }) => (basic(user, password), None),
            (Challenge::Basic, _) => return Err(refused(endpoint, state).into()),
            (Challenge::Bearer(asked), credential) => {
                let token = self.token(endpoint, asked, credential, &found.source, asking).await?;
                (bearer(&token.text), Some(token.life))
            }
        };
        let unusable = || request.error(RegistryProblem::Malformed("its token is no text for a header".into()));
        state.header = Some(header.ok_or_else(unusable)?);
        state.expires = life.map(|life| Instant::now() + life);
        state.generation += 1;
        Ok(())
    }

    /// Returns an answer that has what was asked for, else what is wrong.
    async fn good(
        &self,
        response: Response,
        led_away: bool,
        endpoint: &Endpoint,
        request: &Request<'_>,
        asking: Asking<'_>,
    ) -> Tried<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = super::origin::shown(response.url());
        let after = trouble::retry_after(response.headers());
        let body = Body::of(response, &self.patience).beginning(asking.limits.token_bytes).await;
        let said = super::said::of_body(&body);
        let problem = match status {
            StatusCode::NOT_FOUND if !led_away => RegistryProblem::Missing(said),
            StatusCode::FORBIDDEN if !led_away => {
                let problem = CredentialProblem::Denied { said };
                return Err(Error::from(ErrorKind::Credentials { host: endpoint.host.clone(), problem }).into());
            }
            _ => RegistryProblem::Status { status: status.as_u16(), url, said },
        };
        // An address that a registry leads to is often good for a short time only.
        let passing = trouble::is_passing(status) || (led_away && matches!(status.as_u16(), 401 | 403));
        Err(if passing { Trouble::Again(problem, after) } else { Trouble::Final(request.error(problem)) })
    }

    async fn token(
        &self,
        endpoint: &Endpoint,
        asked: &Bearer,
        credential: &Credential,
        source: &str,
        asking: Asking<'_>,
    ) -> Tried<Token> {
        let request = token_request(endpoint, asked, credential)?;
        let response = self.send(&request, asking).await?;
        let (status, url) = (response.status(), super::origin::shown(response.url()));
        let after = trouble::retry_after(response.headers());
        let allowed = asking.limits.token_bytes;
        let body = match Body::of(response, &self.patience).bounded(allowed).await {
            Ok(body) => body,
            Err(Broken::Off(why)) => return Err(Trouble::Again(RegistryProblem::Interrupted(why), None)),
            Err(Broken::Stalled(seconds)) => {
                return Err(Trouble::Again(RegistryProblem::Stalled { seconds, got: 0 }, None));
            }
            Err(Broken::TooSlow(bytes, seconds)) => {
                return Err(request.error(RegistryProblem::TooSlow { bytes, seconds }).into());
            }
        };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let problem = CredentialProblem::Refused { source_name: source.to_owned() };
            return Err(Error::from(ErrorKind::Credentials { host: endpoint.host.clone(), problem }).into());
        }
        if !status.is_success() {
            let said = body.map(|body| super::said::of_body(&body)).unwrap_or_default();
            let problem = RegistryProblem::Status { status: status.as_u16(), url, said };
            let passing = trouble::is_passing(status);
            return Err(if passing { Trouble::Again(problem, after) } else { request.error(problem).into() });
        }
        let Some(body) = body else {
            let place = crate::error::Place::Source(format!("{}: the token", endpoint.host));
            let found = crate::error::Found::MoreThan(allowed);
            let limit = Limit::TokenBytes;
            return Err(Trouble::Final(ErrorKind::Limit { place, limit, allowed, found }.into()));
        };
        Token::parse(&body).map_err(|problem| request.error(RegistryProblem::Malformed(problem)).into())
    }
}

static TOKEN: Asked = Asked::Token;

/// Returns the request for a token. A password goes to a realm by HTTPS, or to the registry's own origin.
fn token_request<'a>(endpoint: &'a Endpoint, asked: &Bearer, credential: &Credential) -> Result<Request<'a>> {
    let malformed = |problem: &str| {
        let said = super::said::escaped(&asked.realm);
        trouble::error(&endpoint.host, &TOKEN, RegistryProblem::Malformed(format!("{problem}: {said}")))
    };
    let mut url: Url = asked.realm.parse().map_err(|_| malformed("its realm is no URL"))?;
    let realm = Origin::of(&url);
    if !endpoint.origin.may_lead_to(&url) {
        return Err(malformed("its realm is not asked by HTTPS"));
    }
    let anonymous = matches!(credential, Credential::Anonymous);
    if !anonymous && !realm.is_https() && realm != endpoint.origin {
        let problem = CredentialProblem::Realm(super::origin::shown(&url));
        return Err(ErrorKind::Credentials { host: endpoint.host.clone(), problem }.into());
    }
    let scope = asked.scope.clone().unwrap_or_else(|| format!("repository:{}:pull", endpoint.repository));
    let service = asked.service.as_deref();
    if let Credential::IdentityToken(token) = credential {
        let mut form: Url = "form:".parse().map_err(|_| ErrorKind::Bug("a form has no URL"))?;
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "planish")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", &scope)
            .append_pair("refresh_token", token.expose());
        let form = form.query().map(ToOwned::to_owned);
        return Ok(Request { form, ..Request::get(&endpoint.host, &TOKEN, url) });
    }
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    url.query_pairs_mut().append_pair("scope", &scope);
    let mut request = Request::get(&endpoint.host, &TOKEN, url);
    if let Credential::Password { user, password } = credential {
        let header = basic(user, password).ok_or_else(|| malformed("its credentials are no text for a header"))?;
        request.authorization = Some((header, realm));
    }
    Ok(request)
}

/// Returns the error of a registry that does not take what it is given.
fn refused(endpoint: &Endpoint, state: &State) -> Error {
    let problem = match &state.found {
        Some(Found { credential: Credential::Anonymous, .. }) | None => CredentialProblem::Wanted,
        Some(found) => CredentialProblem::Refused { source_name: found.source.clone() },
    };
    ErrorKind::Credentials { host: endpoint.host.clone(), problem }.into()
}

/// A token, and for how long it is good.
struct Token {
    text: String,
    life: Duration,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    fn parse(body: &[u8]) -> std::result::Result<Self, String> {
        // The error of the parser might repeat what it read.
        let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| "it is not JSON of its kind".to_owned())?;
        let text = answer.token.or(answer.access_token).filter(|text| !text.is_empty());
        let life = answer.expires_in.map_or(USUAL_LIFE, |seconds| Duration::from_secs(seconds.min(1 << 20)));
        text.map(|text| Self { text, life }).ok_or_else(|| "it holds no token".to_owned())
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(format!("Bearer {token}"))
}

fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    secret_header(format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose()))))
}

fn secret_header(text: String) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_two_names_and_a_life() {
        let parsed = |text: &str| Token::parse(text.as_bytes()).map(|token| (token.text, token.life.as_secs()));
        assert_eq!(parsed(r#"{"token":"a","access_token":"b","expires_in":300}"#), Ok(("a".into(), 300)));
        assert_eq!(parsed(r#"{"access_token":"b"}"#), Ok(("b".into(), 60)));
        assert_eq!(parsed(r#"{"token":""}"#), Err("it holds no token".into()));
        assert_eq!(parsed("hunter2"), Err("it is not JSON of its kind".into()));
    }

    #[test]
    fn headers_are_marked_as_secret() {
        let header = basic("Aladdin", &Secret::new("open sesame".into())).unwrap();
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(header.is_sensitive() && bearer("x").unwrap().is_sensitive());
        assert_eq!(bearer("a\nb"), None);
    }
}
