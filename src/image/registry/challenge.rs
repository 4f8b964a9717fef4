//! Authentication challenges of a registry: its `WWW-Authenticate` headers.

use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http_auth::ChallengeRef;

/// The scheme of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from a realm.
    Bearer(Bearer),
    /// A user name and a password.
    Basic,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub realm: String,
    pub service: Option<String>,
    pub scope: Option<String>,
}

/// Returns the challenge that planish supports; a token is preferred to sending a password with every request.
pub(super) fn of(headers: &HeaderMap) -> Option<Challenge> {
    let texts: Vec<&str> = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let challenges: Vec<ChallengeRef<'_>> =
        texts.iter().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().collect();
    let is = |challenge: &&ChallengeRef<'_>, scheme: &str| challenge.scheme.eq_ignore_ascii_case(scheme);
    let bearer = challenges.iter().filter(|challenge| is(challenge, "Bearer")).find_map(bearer);
    let basic = || challenges.iter().any(|challenge| is(&challenge, "Basic")).then_some(Challenge::Basic);
    bearer.map(Challenge::Bearer).or_else(basic)
}

fn bearer(challenge: &ChallengeRef<'_>) -> Option<Bearer> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
    };
    Some(Bearer { realm: parameter("realm")?, service: parameter("service"), scope: parameter("scope") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Option<Challenge> {
        of(&values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect())
    }

    #[test]
    fn a_token_challenge_precedes_basic_authentication() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let (service, scope) = (service.map(Into::into), scope.map(Into::into));
            Some(Challenge::Bearer(Bearer { realm: realm.into(), service, scope }))
        };
        let full =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#;
        let expected = bearer("https://auth.example/token", Some("registry.example"), Some("repository:a/b:pull"));
        assert_eq!(parsed(&[full]), expected);
        assert_eq!(parsed(&["Basic realm=x", full]), expected);
        assert_eq!(parsed(&[r#"Basic realm="x", bearer realm="r", scope="a,b""#]), bearer("r", None, Some("a,b")));
        assert_eq!(parsed(&["basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn unsupported_challenges_are_ignored() {
        for values in
            [&[][..], &["Bearer"], &["Bearer service=x"], &["Negotiate abc"], &["\"\\"], &["Bearer realm=\"\""]]
        {
            assert_eq!(parsed(values), None, "{values:?}");
        }
    }
}
