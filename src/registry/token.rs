//! Tokens: where a registry sends those who want one, and what comes back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::Asking;
use super::body::{Body, Broken};
use super::challenge::Bearer;
use super::credential::{Credential, Secret};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::origin::Origin;
use super::trouble::{self, Tried, Trouble};
use crate::error::{Asked, CredentialProblem, Error, ErrorKind, Found, Place, RegistryProblem, Result};
use crate::limits::Limit;

/// How long a token lasts whose server does not say it (distribution's token specification).
const USUAL_LIFE: Duration = Duration::from_secs(60);

/// A token, and for how long it is good.
pub(super) struct Token {
    pub text: String,
    pub life: Duration,
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

impl Http {
    /// Asks the realm that a registry named for a token.
    pub async fn token(
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
            let place = Place::Source(format!("{}: the token", endpoint.host));
            let found = Found::MoreThan(allowed);
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

pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret_header(format!("Bearer {token}"))
}

pub(super) fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
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
