//! The authorization of requests to one host: credentials and tokens.

use std::fmt;
use std::time::Instant;

use http::StatusCode;
use http::header::HeaderValue;
use tokio::sync::Mutex;

use super::RequestContext;
use super::attempt;
use super::attempt::{Attempt, AttemptError};
use super::body::Body;
use super::challenge::{self, Challenge};
use super::credential::{self, Credential, CredentialSources, StoredCredential};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::origin::Origin;
use super::response::Response;
use super::token::{basic, bearer};
use crate::error::{CredentialProblem, Error, ErrorKind, RegistryProblem, Result};
use crate::progress::Event;

/// The number of times that one request renews a token: others may use up the new one before the request is sent.
const RENEWALS_MAX: u32 = 3;
/// The number of times that one request is repeated because others renewed the token meanwhile.
const RENEWALS_SEEN_MAX: u32 = 5;

/// The credentials and tokens of one host. Tokens are kept in memory only.
pub(super) struct Authorization {
    sources: CredentialSources,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<StoredCredential>,
    challenge: Option<Challenge>,
    header: Option<HeaderValue>,
    expires: Option<Instant>,
    /// The number of headers so far: a request compares it to see whether its own is the newest.
    generation: u64,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Authorization {
    pub fn new(sources: CredentialSources) -> Self {
        Self { sources, state: Mutex::default() }
    }

    fn find(&self, endpoint: &Endpoint, context: RequestContext<'_>) -> Result<StoredCredential> {
        let found = credential::find(&endpoint.host, &endpoint.repository, &self.sources, context.cancel)?;
        context.progress.event(&Event::Credentials { host: &endpoint.host, source: &found.source });
        for warning in &found.warnings {
            context.progress.event(&Event::Warning(warning));
        }
        Ok(found)
    }
}

impl Http {
    /// Sends a request for a resource of the repository, with authorization if required, and returns a successful
    /// response.
    pub async fn send_authorized(
        &self,
        endpoint: &Endpoint,
        mut request: Request<'_>,
        context: RequestContext<'_>,
    ) -> Attempt<Response> {
        let (mut own, mut others) = (0, 0);
        loop {
            let generation = self.authorize(endpoint, &mut request, context).await?;
            let response = self.send(&request, context).await?;
            let led_away = Origin::of(response.url()) != endpoint.origin;
            if response.status() != StatusCode::UNAUTHORIZED || led_away {
                return self.good(response, led_away, endpoint, &request, context).await;
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
            self.renew(endpoint, &mut state, &request, context).await?;
        }
    }

    /// Adds the newest header to a request, and returns its generation; an expired one is renewed first.
    async fn authorize(
        &self,
        endpoint: &Endpoint,
        request: &mut Request<'_>,
        context: RequestContext<'_>,
    ) -> Attempt<u64> {
        let mut state = endpoint.login.state.lock().await;
        if state.expires.is_some_and(|expires| expires <= Instant::now()) {
            self.renew(endpoint, &mut state, request, context).await?;
        }
        request.authorization = state.header.clone().map(|header| (header, endpoint.origin.clone()));
        Ok(state.generation)
    }

    async fn renew(
        &self,
        endpoint: &Endpoint,
        state: &mut State,
        request: &Request<'_>,
        context: RequestContext<'_>,
    ) -> Attempt<()> {
        if state.found.is_none() {
            state.found = Some(endpoint.login.find(endpoint, context)?);
        }
        let (Some(found), Some(challenge)) = (&state.found, &state.challenge) else {
            return Err(AttemptError::Permanent(
                ErrorKind::Bug("an authorization is renewed without a challenge").into(),
            ));
        };
        let (header, life) = match (challenge, &found.credential) {
            (_, Credential::Bearer(token)) => (bearer(token.expose()), None),
            (Challenge::Basic, Credential::Password { user, password }) => (basic(user, password), None),
            (Challenge::Basic, _) => return Err(refused(endpoint, state).into()),
            (Challenge::Bearer(resource), _) => {
                let token = self.token(endpoint, resource, found, request.impatient, context).await?;
                (bearer(&token.text), Some(token.life))
            }
        };
        let unusable = || request.error(RegistryProblem::Malformed("its token is no text for a header".into()));
        state.header = Some(header.ok_or_else(unusable)?);
        state.expires = life.map(|life| Instant::now() + life);
        state.generation += 1;
        Ok(())
    }

    /// Returns a successful response, or the failure.
    async fn good(
        &self,
        response: Response,
        led_away: bool,
        endpoint: &Endpoint,
        request: &Request<'_>,
        context: RequestContext<'_>,
    ) -> Attempt<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = super::origin::shown(response.url());
        let after = attempt::retry_after(response.headers());
        let body = Body::of(response, &self.patience, request.impatient).beginning(context.limits.token_bytes).await;
        let said = super::error_body::of_body(&body);
        let problem = match status {
            StatusCode::NOT_FOUND if !led_away => RegistryProblem::Missing(said),
            StatusCode::FORBIDDEN if !led_away => {
                let problem = CredentialProblem::Denied { said };
                let state = endpoint.login.state.lock().await;
                let problem = match &state.found {
                    Some(found) => found.refusal(problem),
                    None => problem,
                };
                return Err(Error::from(ErrorKind::Credentials { host: endpoint.host.clone(), problem }).into());
            }
            _ => RegistryProblem::Status { status: status.as_u16(), url, said },
        };
        // A URL that a registry redirects to is often valid for a short time only.
        let passing = attempt::is_transient(status) || (led_away && matches!(status.as_u16(), 401 | 403));
        Err(if passing {
            AttemptError::Transient(problem, after)
        } else {
            AttemptError::Permanent(request.error(problem))
        })
    }
}

/// Returns the error of a registry that refuses the authorization.
fn refused(endpoint: &Endpoint, state: &State) -> Error {
    let problem = state.found.as_ref().map_or(CredentialProblem::Wanted, refusal);
    ErrorKind::Credentials { host: endpoint.host.clone(), problem }.into()
}

/// Returns the problem of a registry or realm that refuses a credential.
pub(super) fn refusal(found: &StoredCredential) -> CredentialProblem {
    found.refusal(match found.credential {
        Credential::Anonymous => CredentialProblem::Wanted,
        _ => CredentialProblem::Refused { source_name: found.source.clone() },
    })
}
