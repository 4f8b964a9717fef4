//! One-line texts of users and registries: sources, challenges.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use planish::fuzzing::{ImageReference, challenge as parse};

/// The bytes are a source that a user types.
pub fn reference(bytes: &[u8]) {
    // Paths that may exist are skipped: the result would depend on the disk.
    if bytes.contains(&0) || bytes.windows(2).any(|pair| pair == b"./") || bytes.contains(&b'/') && bytes[0] == b'/' {
        return;
    }
    let Ok(name) = ImageReference::parse(OsStr::from_bytes(bytes)) else { return };
    let shown = name.to_string();
    if let ImageReference::Docker(reference) = &name {
        let again = ImageReference::parse(shown.as_ref()).expect("what is shown can be typed");
        assert_eq!(again, name, "{shown}");
        assert!(!reference.repository().is_empty() && !reference.registry().is_empty());
        assert!(!reference.repository().contains(|c: char| c.is_ascii_uppercase()));
    }
}

/// The bytes are `WWW-Authenticate` headers, one a line.
pub fn challenge(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let Some(challenge) = parse(&lines) else { return };
    for text in [Some(challenge.realm), challenge.service, challenge.scope].into_iter().flatten() {
        assert!(!text.is_empty());
        // An escape loses its backslash; every other character is in the header.
        assert!(text.bytes().all(|byte| bytes.contains(&byte)));
    }
}

/// Sources of every transport.
pub fn reference_seeds() -> Vec<Vec<u8>> {
    let digest = format!("ghcr.io/a/b@sha256:{}", "0".repeat(64));
    let words = ["debian", "docker://localhost:5000/a/b:c", &digest, "oci:dir:tag", "oci-archive:x.tar:y", "-"];
    let more = ["docker-archive:d.tar:host:5000/a/b:tag", "docker-archive:d:@0", "dir:x", "a/b/c:D_1.-x"];
    words.iter().chain(&more).map(|word| word.as_bytes().to_vec()).collect()
}

/// Challenges of registries.
pub fn challenge_seeds() -> Vec<Vec<u8>> {
    let words = [
        r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#,
        "Basic realm=x",
        "Basic realm=\"a\\\"b\"\nbearer realm=\"r\", scope=\"a,b\"",
        "Negotiate abc==, Digest qop=\"auth\", Basic",
    ];
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}
