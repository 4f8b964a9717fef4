//! Authentication: logins, tokens, and the endpoint that issues them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::plan::{Auth, AuthKind, TokenField};
use super::request::Request;

/// The issued tokens.
#[derive(Default)]
pub struct Tokens {
    given: BTreeMap<String, Token>,
}

struct Token {
    until: Instant,
    uses: usize,
}

impl Tokens {
    pub fn all(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    /// Returns true if a request is authorized; this uses its token once.
    pub fn allow(&mut self, auth: &Auth, request: &Request) -> bool {
        let authorization = request.header("authorization").unwrap_or_default();
        if auth.kind == AuthKind::Basic {
            return authorization == basic(auth);
        }
        let token = authorization.strip_prefix("Bearer ").and_then(|token| self.given.get_mut(token));
        match token {
            Some(token) if Instant::now() <= token.until && token.uses < auth.max_uses => {
                token.uses += 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the response of the token endpoint: a document, or a status.
    pub fn give(&mut self, auth: &Auth, request: &Request) -> Result<String, u16> {
        if let Some(status) = auth.token_status {
            return Err(status);
        }
        let authorization = request.header("authorization");
        let known = match request.method.as_str() {
            "POST" => posted(auth, &request.form),
            _ => authorization == Some(&basic(auth)),
        };
        let anyone = auth.anonymous && authorization.is_none();
        if !known && !anyone {
            return Err(401);
        }
        let token = format!("token-{}-{:016x}", self.given.len() + 1, random());
        let until = Instant::now() + Duration::from_secs(auth.expires_in);
        self.given.insert(token.clone(), Token { until, uses: 0 });
        let field = match auth.token_field {
            TokenField::Token => "token",
            TokenField::AccessToken => "access_token",
        };
        let mut document = serde_json::json!({"expires_in": auth.expires_in});
        document[field] = token.into();
        if auth.pad_token > 0 {
            document["padding"] = "x".repeat(auth.pad_token).into();
        }
        Ok(document.to_string())
    }
}

/// Returns the header of a login.
pub fn basic(auth: &Auth) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.user, auth.password)))
}

fn posted(auth: &Auth, form: &str) -> bool {
    let field = |name: &str| form.split('&').filter_map(|pair| pair.split_once('=')).find(|p| p.0 == name).map(|p| p.1);
    match field("grant_type") {
        Some("refresh_token") => auth.identity.is_some() && field("refresh_token") == auth.identity,
        _ => field("username") == Some(auth.user) && field("password") == Some(auth.password),
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
