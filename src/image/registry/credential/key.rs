//! The keys of `auths` and `credHelpers`, which name a registry or a part of it.

/// The key of Docker Hub in docker's stored credentials.
pub const HUB_SERVER: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Returns true if two names are those of one registry.
pub fn is_same(host: &str, other: &str) -> bool {
    host_of(host) == host_of(other)
}

/// Returns the server names for a helper: docker and podman name the Hub differently.
pub fn servers(host: &str) -> Vec<&str> {
    if host_of(host) == HUB { vec![HUB_SERVER, HUB] } else { vec![host] }
}

/// Returns those of `keys` that match a repository, the most specific first.
///
/// A namespace matches the repositories below it. Of equivalent keys the one in podman's spelling comes first, then
/// docker's name of the Hub, then the others in their order.
pub fn matching<'a>(keys: impl Iterator<Item = &'a str>, host: &str, repository: &str) -> Vec<&'a str> {
    let whole = format!("{}/{repository}", host_of(host));
    let holds = |scope: &str| whole.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut held: Vec<(String, &str)> =
        keys.map(|key| (normal(key), key)).filter(|(scope, _)| !scope.is_empty() && holds(scope)).collect();
    held.sort_by_key(|(scope, key)| (std::cmp::Reverse(scope.len()), scope != key, *key != HUB_SERVER));
    held.into_iter().map(|(_, key)| key).collect()
}

/// Returns the key that matches a whole registry.
pub fn registry<'a>(keys: impl Iterator<Item = &'a str>, host: &str) -> Option<&'a str> {
    matching(keys, host, "").into_iter().next()
}

/// Returns a key as `HOST[:PORT][/NAMESPACE]`, without the path of a registry's API.
///
/// A URL stands for its host, whatever its path, as in docker and podman.
fn normal(key: &str) -> String {
    let key = key.trim_ascii();
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        let is_scheme = key.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if let Some(rest) = is_scheme.then(|| &key[scheme.len()..]) {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return host_of(host.strip_suffix(port).unwrap_or(host));
        }
    }
    let bare = key.trim_end_matches('/');
    // `HOST/v2` may be a namespace; with a slash at its end it is the API.
    let bare = match bare.split_once('/') {
        Some((host, "v1" | "v2")) if bare.len() < key.len() => host,
        _ => bare,
    };
    match bare.split_once('/') {
        Some((host, namespace)) => format!("{}/{namespace}", host_of(host)),
        None => host_of(bare),
    }
}

fn host_of(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if HUB_HOSTS.contains(&host.as_str()) { HUB.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_key_is_first() {
        let keys = [
            "quay.io",
            "quay.io/ns/repo",
            "https://quay.io/v2/",
            "quay.io/ns",
            "quay.io/n",
            "quay.io/ns/repository",
            "quay.io:443",
            "io",
            "",
        ];
        let found = matching(keys.into_iter(), "quay.io", "ns/repo");
        assert_eq!(found, ["quay.io/ns/repo", "quay.io/ns", "quay.io", "https://quay.io/v2/"]);
    }

    #[test]
    fn every_spelling_of_a_registry_is_recognized() {
        let table = [
            ("quay.io", "quay.io", true),
            ("QUAY.io", "quay.io", true),
            ("https://quay.io", "quay.io", true),
            ("http://quay.io/v1/", "quay.io", true),
            ("https://quay.io/v2", "quay.io", true),
            ("https://quay.io/api/docker/", "quay.io", true),
            ("https://quay.io:443/v2/", "quay.io", true),
            ("http://quay.io:443", "quay.io", false),
            ("HTTPS://quay.io:5000/v1/", "quay.io:5000", true),
            ("https://quay.io.evil.example/quay.io", "quay.io", false),
            ("quay.io/v1/", "quay.io", true),
            ("quay.io/v1", "quay.io", false),
            ("quay.io:443", "quay.io", false),
            ("quay.io", "quay.io:443", false),
            ("quay.io.evil.example", "quay.io", false),
            ("notquay.io", "quay.io", false),
            ("localhost:5000", "localhost:5000", true),
            ("https://index.docker.io/v1/", "docker.io", true),
            ("https://index.docker.io/v1/", "index.docker.io", true),
            ("docker.io", "registry-1.docker.io", true),
            ("registry-1.docker.io", "docker.io", true),
            ("hub.docker.io", "docker.io", false),
        ];
        for (key, host, expected) in table {
            assert_eq!(registry([key].into_iter(), host).is_some(), expected, "{key} for {host}");
        }
    }

    #[test]
    fn podmans_name_of_the_hub_is_first() {
        let keys = ["http://docker.io", "index.docker.io", "https://index.docker.io/v1/", "docker.io"];
        let found = matching(keys.into_iter(), "docker.io", "library/ubuntu");
        assert_eq!(found, ["docker.io", "https://index.docker.io/v1/", "http://docker.io", "index.docker.io"]);
    }

    #[test]
    fn a_helper_gets_both_names_of_the_hub() {
        assert_eq!(servers("index.docker.io"), ["https://index.docker.io/v1/", "docker.io"]);
        assert_eq!(servers("localhost:5000"), ["localhost:5000"]);
    }
}
