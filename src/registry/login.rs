//! Who asks: the credentials of one host, and what a request shows of them.

use std::fmt;
use std::time::Instant;

use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode};
use tokio::sync::Mutex;

use super::Asking;
use super::body::Body;
use super::challenge::{self, Challenge};
use super::credential::{self, Credential, CredentialSources, Found};
use super::endpoint::Endpoint;
use super::http::{Http, Request};
use super::origin::Origin;
use super::token::{basic, bearer};
use super::trouble::{self, Tried, Trouble};
use crate::error::{CredentialProblem, Error, ErrorKind, RegistryProblem, Result};
use crate::progress::News;

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
}

/// Returns the error of a registry that does not take what it is given.
fn refused(endpoint: &Endpoint, state: &State) -> Error {
    let problem = match &state.found {
        Some(Found { credential: Credential::Anonymous, .. }) | None => CredentialProblem::Wanted,
        Some(found) => CredentialProblem::Refused { source_name: found.source.clone() },
    };
    ErrorKind::Credentials { host: endpoint.host.clone(), problem }.into()
}
