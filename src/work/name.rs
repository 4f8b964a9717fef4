//! The names of private directories, by which a sweep recognizes them.

use std::hash::{BuildHasher, Hasher};

pub(super) const WORK_PREFIX: &str = "planish-work-";
pub(super) const BESIDE_PREFIX: &str = ".planish-";
/// The name prefixes of the directories that a sweep considers.
pub(super) const PREFIXES: [&str; 2] = [WORK_PREFIX, BESIDE_PREFIX];

/// Returns a name in planish's own form: random digits, and their checksum.
pub(super) fn fresh_name(prefix: &str) -> String {
    // The system seeds the state, and each state differs from all others.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32;
    let random = format!("{random:08x}");
    format!("{prefix}{random}{:08x}", checksum(&random))
}

fn checksum(random: &str) -> u32 {
    crc32c::crc32c(format!("planish {random}").as_bytes())
}

/// Returns true if a name has the form of [`fresh_name`].
pub(super) fn is_fresh_name(name: &[u8], prefix: &str) -> bool {
    let digits = name.strip_prefix(prefix.as_bytes()).and_then(|digits| std::str::from_utf8(digits).ok());
    let split = digits.filter(|digits| digits.len() == 16).and_then(|digits| digits.split_at_checked(8));
    split.is_some_and(|(random, sum)| format!("{:08x}", checksum(random)) == sum)
}
