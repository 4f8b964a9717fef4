//! Registry references, as people type and paste them.

use oci_spec::distribution::{ParseError, Reference};

use crate::error::{ReferenceFault, ReferenceProblem as Why};

const DOCKER: &str = "docker://";

/// Parses the reference `name`; `text` is the complete input.
pub(super) fn parse(name: &str, text: &str) -> Result<Reference, ReferenceFault> {
    let fault = |why, suggestion| Err(ReferenceFault { text: without_login(text), why, suggestion });
    if let Some(rest) = after_login(name).filter(|_| !name.contains("://")) {
        return fault(Why::Login, read(rest).is_ok().then(|| format!("{DOCKER}{rest}")));
    }
    match read(name) {
        Ok(reference) if !has_port(&reference) => fault(Why::Port, None),
        Ok(reference) => Ok(reference),
        Err(_) if name.contains("://") => fault(Why::Scheme, without_scheme(name)),
        Err(error) => {
            let suggestion = respelled(name);
            let cased = name.contains(|c: char| c.is_ascii_uppercase()) && suggestion.is_some();
            let before_digest = name.split_once('@').map(|(before, _)| before);
            let why = match error {
                ParseError::NameContainsUppercase => Why::Case,
                ParseError::DigestInvalidFormat | ParseError::DigestInvalidLength | ParseError::DigestUnsupported => {
                    Why::Digest
                }
                ParseError::NameTooLong => Why::Long,
                _ if before_digest.is_some_and(|before| respelled(before).is_some()) => Why::Digest,
                _ if cased => Why::Case,
                _ => Why::Form,
            };
            fault(why, suggestion)
        }
    }
}

/// Returns the text after a login, which URLs have before the host. An `@` before a digest has no slash after it, and
/// one in a path has no host after it.
fn after_login(text: &str) -> Option<&str> {
    let (path, _) = text.rsplit_once('/')?;
    let (login, host) = path.rsplit_once('@')?;
    let login = login.split_once("://").map_or(login, |(_, login)| login);
    let host = host.split('/').next().unwrap_or_default();
    let like_a_host = host == "localhost" || host.contains(['.', ':']);
    let found = !text.starts_with(['/', '.']) && (login.contains(':') || like_a_host && !login.contains('/'));
    found.then(|| &text[path.rfind('@').unwrap_or_default() + 1..])
}

/// Returns a text without its login, which may contain a secret.
fn without_login(text: &str) -> String {
    match after_login(text) {
        None => text.to_owned(),
        Some(rest) => {
            let scheme = text.find("://").map_or(0, |at| at + 3);
            format!("{}***@{rest}", &text[..scheme.min(text.len() - rest.len())])
        }
    }
}

/// Returns true if the registry has no port or a valid one.
fn has_port(reference: &Reference) -> bool {
    let port = reference.registry().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The parser accepts some repositories in upper case, which no registry has, and invalid digests.
fn read(name: &str) -> Result<Reference, ParseError> {
    let reference: Reference = name.parse()?;
    if reference.repository().contains(|c: char| c.is_ascii_uppercase()) {
        return Err(ParseError::NameContainsUppercase);
    }
    if reference.digest().is_some_and(|digest| digest.parse::<crate::digest::Digest>().is_err()) {
        return Err(ParseError::DigestInvalidFormat);
    }
    Ok(reference)
}

/// Returns the reference that a URL probably stands for.
pub(super) fn without_scheme(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let rest = ["https://", "http://", "oci://", "registry://", "docker-image://"]
        .iter()
        .find(|scheme| lower.starts_with(**scheme))
        .map(|scheme| text[scheme.len()..].trim_end_matches('/'))?;
    let hub = ["hub.docker.com/_/", "hub.docker.com/r/"].iter().find_map(|page| rest.strip_prefix(page));
    let name = hub.unwrap_or(rest).trim_end_matches("/tags");
    read(name).ok().map(|_| format!("{DOCKER}{name}")).or_else(|| respelled(name))
}

/// Returns the reference after removing spaces around it and lowering its case.
fn respelled(name: &str) -> Option<String> {
    let name = name.trim();
    // A tag may be in upper case; it begins at the last colon without a slash after it.
    let end = name.find('@').unwrap_or(name.len());
    let colon = name[..end].rfind(':').filter(|colon| !name[*colon..end].contains('/')).unwrap_or(end);
    let (names, tag) = (&name[..colon], &name[colon..end]);
    let lower = format!("{}{tag}{}", names.to_ascii_lowercase(), name[end..].to_ascii_lowercase());
    read(&lower).is_ok().then(|| format!("{DOCKER}{lower}"))
}

/// Compares references by docker's rules: `debian` is `docker.io/library/debian:latest`.
pub(super) fn same(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let reference: Reference = text.parse().ok()?;
        let tag = reference.tag().unwrap_or("latest").to_owned();
        Some((reference.registry().to_owned(), reference.repository().to_owned(), tag))
    };
    one == other || parts(one).is_some_and(|one| parts(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Escaped;

    #[test]
    fn references_are_normalized_like_docker() {
        for name in ["debian", "debian:latest", "library/debian", "docker.io/library/debian:latest"] {
            assert!(same("debian:latest", name), "{name}");
        }
        for other in ["debian:x", "me/debian", "ghcr.io/library/debian", "Debian!", ""] {
            assert!(!same("debian:latest", other), "{other}");
        }
        assert!(same("localhost:5000/a:b", "localhost:5000/a:b"));
    }

    #[test]
    fn pasted_texts_are_accepted_or_explained() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let good = ["a:1@", "localhost:5000/a/b:c@", "GHCR.io/a/b@", "127.0.0.1:5000/a:V1.0@"];
        for name in good {
            let name = format!("{name}{digest}");
            assert_eq!(parse(&name, &name).unwrap().digest(), Some(&*digest), "{name}");
        }
        let case = "the names in it are not all in lower case";
        let form = "it has not the form HOST/NAME:TAG or HOST/NAME@DIGEST, in lower case";
        let digest_form = "its digest is not sha256: and 64 digits, or sha512: and 128, in lower case";
        let table = [
            ("Debian", case, Some("docker://debian")),
            ("Team/App:V1", case, Some("docker://team/app:V1")),
            ("127.0.0.1:9/Team/App:1", case, Some("docker://127.0.0.1:9/team/app:1")),
            (" debian:12\n", form, Some("docker://debian:12")),
            ("a b", form, None),
            ("", form, None),
            ("debian:", form, None),
            ("debian@sha256:0a", digest_form, None),
            ("debian@", digest_form, None),
            ("debian@latest", digest_form, None),
            ("ghcr.io/A/B@sha256:00", digest_form, None),
            ("https://ghcr.io/a/b:c/", "it is a URL", Some("docker://ghcr.io/a/b:c")),
            ("HTTPS://ghcr.io/A/b", "it is a URL", Some("docker://ghcr.io/a/b")),
            ("https://hub.docker.com/_/debian", "it is a URL", Some("docker://debian")),
            ("https://hub.docker.com/r/a/b/tags", "it is a URL", Some("docker://a/b")),
            ("oci://ghcr.io/a/b", "it is a URL", Some("docker://ghcr.io/a/b")),
            ("ftp://a/b", "it is a URL", None),
            ("localhost:99999/x", "its port is not a number from 1 to 65535", None),
            ("localhost:0/x", "its port is not a number from 1 to 65535", None),
        ];
        for (name, why, suggestion) in table {
            let fault = parse(name, name).unwrap_err();
            assert_eq!(fault.to_string(), format!("{} is not a reference: {why}", Escaped(name.as_bytes())));
            assert_eq!(fault.suggestion.as_deref(), suggestion, "{name}");
        }
    }

    #[test]
    fn a_login_in_a_reference_is_never_shown() {
        for (name, shown, suggestion) in [
            ("me:hunter2@ghcr.io/a/b:c", "***@ghcr.io/a/b:c", Some("docker://ghcr.io/a/b:c")),
            ("hunter2@localhost:5000/a", "***@localhost:5000/a", Some("docker://localhost:5000/a")),
            ("me:hunter/2@ghcr.io/a", "***@ghcr.io/a", Some("docker://ghcr.io/a")),
            ("https://me:hunter2@ghcr.io/a", "https://***@ghcr.io/a", None),
        ] {
            let fault = parse(name, name).unwrap_err();
            assert!(fault.to_string().starts_with(&format!("{shown} is not a reference: it ")), "{fault}");
            assert_eq!(fault.suggestion.as_deref(), suggestion, "{name}");
            assert!(!format!("{fault:?}").contains("hunter"), "{name}");
        }
        for path in ["./a:b@c.d/x", "/a@b.c/x", "node_modules/@types/x.tar", "a@2/x.tar", "a/b@1.2/x"] {
            let fault = parse(path, path).unwrap_err();
            assert!(fault.to_string().starts_with(path) && fault.why != Why::Login, "{fault}");
        }
    }
}
