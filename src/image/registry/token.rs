//! Requests tokens from the realm that a registry names.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use http::header::HeaderValue;
use serde::Deserialize;
use url::Url;

use super::RequestContext;
use super::attempt;
use super::attempt::{Attempt, AttemptError};
use super::body::Body;
use super::challenge::Bearer;
use super::credential::{Credential, Secret, StoredCredential};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::origin::Origin;
use crate::error::{Amount, CredentialProblem, Error, ErrorKind, Place, RegistryProblem, Resource, Result};
use crate::limits::Limit;

/// The lifetime of a token whose server does not state it (distribution's token specification).
const USUAL_LIFE: Duration = Duration::from_secs(60);

/// A token with its lifetime.
pub(super) struct Token {
    pub text: String,
    pub life: Duration,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    fn parse(body: &[u8]) -> std::result::Result<Self, String> {
        // The parser's error could repeat its input.
        let answer: TokenResponse =
            serde_json::from_slice(body).map_err(|_| "it is not JSON of its kind".to_owned())?;
        let text = answer.token.or(answer.access_token).filter(|text| !text.is_empty());
        let life = answer.expires_in.map_or(USUAL_LIFE, |seconds| Duration::from_secs(seconds.min(1 << 20)));
        text.map(|text| Self { text, life }).ok_or_else(|| "it holds no token".to_owned())
    }
}

impl Http {
    /// Requests a token from the realm that a registry named.
    pub async fn token(
        &self,
        endpoint: &Endpoint,
        resource: &Bearer,
        found: &StoredCredential,
        impatient: bool,
        context: RequestContext<'_>,
    ) -> Attempt<Token> {
        let request = Request { impatient, ..token_request(endpoint, resource, &found.credential)? };
        let response = self.send(&request, context).await?;
        let (status, url) = (response.status(), super::origin::shown(response.url()));
        let after = attempt::retry_after(response.headers());
        let allowed = context.limits.token_bytes;
        let body = Body::of(response, &self.patience, impatient).bounded(allowed).await;
        let body = body.map_err(|broken| broken.trouble(0, |problem| request.error(problem)))?;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let problem = super::authorization::refusal(found);
            return Err(Error::from(ErrorKind::Credentials { host: endpoint.host.clone(), problem }).into());
        }
        if !status.is_success() {
            let said = body.map(|body| super::error_body::of_body(&body)).unwrap_or_default();
            let problem = RegistryProblem::Status { status: status.as_u16(), url, said };
            let passing = attempt::is_transient(status);
            return Err(if passing { AttemptError::Transient(problem, after) } else { request.error(problem).into() });
        }
        let Some(body) = body else {
            let place = Place::Source(format!("{}: the token", endpoint.host));
            let found = Amount::MoreThan(allowed);
            let limit = Limit::TokenBytes;
            return Err(AttemptError::Permanent(ErrorKind::Limit { place, limit, allowed, found }.into()));
        };
        Token::parse(&body).map_err(|problem| request.error(RegistryProblem::Malformed(problem)).into())
    }
}

static TOKEN: Resource = Resource::Token;

/// Returns the request for a token. A password is sent to a realm by HTTPS, or to the registry's own origin.
fn token_request<'a>(endpoint: &'a Endpoint, resource: &Bearer, credential: &Credential) -> Result<Request<'a>> {
    let malformed = |problem: &str| {
        let realm = super::error_body::escaped(&resource.realm);
        attempt::error(&endpoint.host, &TOKEN, RegistryProblem::Malformed(format!("{problem}: {realm}")))
    };
    let mut url: Url = resource.realm.parse().map_err(|_| malformed("its realm is no URL"))?;
    let realm = Origin::of(&url);
    if !endpoint.origin.may_lead_to(&url) {
        return Err(malformed("its realm is not an HTTPS URL"));
    }
    let anonymous = matches!(credential, Credential::Anonymous);
    if !anonymous && !realm.is_https() && realm != endpoint.origin {
        let problem = CredentialProblem::Realm(super::origin::shown(&url));
        return Err(ErrorKind::Credentials { host: endpoint.host.clone(), problem }.into());
    }
    let scope = resource.scope.clone().unwrap_or_else(|| format!("repository:{}:pull", endpoint.repository));
    let service = resource.service.as_deref();
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
    fn tokens_have_two_field_names_and_a_lifetime() {
        let parsed = |text: &str| Token::parse(text.as_bytes()).map(|token| (token.text, token.life.as_secs()));
        assert_eq!(parsed(r#"{"token":"a","access_token":"b","expires_in":300}"#), Ok(("a".into(), 300)));
        assert_eq!(parsed(r#"{"access_token":"b"}"#), Ok(("b".into(), 60)));
        assert_eq!(parsed(r#"{"token":""}"#), Err("it holds no token".into()));
        assert_eq!(parsed("hunter2"), Err("it is not JSON of its kind".into()));
    }

    #[test]
    fn authorization_headers_are_sensitive() {
        let header = basic("Aladdin", &Secret::new("open sesame".into())).unwrap();
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(header.is_sensitive() && bearer("x").unwrap().is_sensitive());
        assert_eq!(bearer("a\nb"), None);
    }
}
