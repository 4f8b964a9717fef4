//! The identity of a filesystem: UUID, hash seed and clock, derived so that the same image always gives the same bytes.

use std::fmt;

use crate::digest::{Algorithm, Digest, Hasher};

/// The values of a filesystem that other tools take from a random generator and the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The filesystem's UUID.
    pub uuid: Uuid,
    /// The seed of directory hashes, in the form of a UUID.
    pub hash_seed: Uuid,
    /// The creation time, in seconds since 1970.
    pub clock: Clock,
}

impl Identity {
    /// Derives an identity from the digest of the image's config, which is the same in registry, layout, archive and
    /// with recompressed layers, and from the options that change bytes, each as `name=value`. A given UUID is used
    /// unchanged; the hash seed, which determines the order of indexed directories, also depends on it.
    #[must_use]
    pub fn derive(config: &Digest, options: &[String], clock: Clock, given: Option<Uuid>) -> Self {
        let uuid = |purpose: &str| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            for part in ["planish", purpose, &config.to_string(), &clock.seconds().to_string()] {
                hasher.update(part.as_bytes());
                hasher.update(&[0]);
            }
            for option in options {
                hasher.update(option.as_bytes());
                hasher.update(&[0]);
            }
            Uuid::of(&hasher.finish())
        };
        Self { uuid: given.unwrap_or_else(|| uuid("uuid")), hash_seed: uuid("hash seed"), clock }
    }
}

/// A UUID: of version 8 (RFC 9562: a custom method), or a given one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Returns the UUID of version 8 from the first bytes of a digest.
    #[must_use]
    pub(crate) fn of(digest: &Digest) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Parses 32 hexadecimal digits with hyphens in their places; the nil UUID is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hyphens = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at);
        if text.len() != 36 || !hyphens.eq([8, 13, 18, 23]) {
            return None;
        }
        let digits: String = text.split('-').collect();
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| !digits.contains('+'))?;
        (number != 0).then(|| Self(number.to_be_bytes()))
    }

    /// Returns the UUID of sixteen bytes.
    #[must_use]
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the sixteen bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The time that the tools use, in seconds since 1970: 1 to 2^31-1.
///
/// The tools interpret 0 as the real time, and `mke2fs` 1.47.0 writes 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(u32);

impl Clock {
    /// Returns the nearest clock that the tools accept.
    #[must_use]
    pub fn nearest(seconds: i64) -> Self {
        Self(u32::try_from(seconds.clamp(1, (1 << 31) - 1)).unwrap_or(1))
    }

    /// Returns the seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_depends_on_config_options_and_clock() {
        let config = Digest::of(Algorithm::Sha256, b"config");
        let derive =
            |config: &Digest, option: &str, clock| Identity::derive(config, &[option.into()], Clock(clock), None);
        let first = derive(&config, "free=1", 1);
        assert_eq!(first, derive(&config, "free=1", 1));
        assert_ne!(first.uuid, first.hash_seed);
        assert_ne!(first.uuid, derive(&config, "free=2", 1).uuid);
        assert_ne!(first.uuid, derive(&config, "free=1", 2).uuid);
        assert_ne!(first.uuid, derive(&Digest::of(Algorithm::Sha256, b"other"), "free=1", 1).uuid);
        let text = first.uuid.to_string();
        assert_eq!((text.len(), &text[14..15]), (36, "8"));
    }

    #[test]
    fn an_explicit_uuid_is_unchanged() {
        let text = "c0ffee00-0102-0304-0506-0708090a0b0c";
        let uuid = Uuid::parse(text).unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(Uuid::parse(&text.to_uppercase()), Some(uuid));
        let config = Digest::of(Algorithm::Sha256, b"config");
        let given = Identity::derive(&config, &[], Clock(1), Some(uuid));
        let derived = Identity::derive(&config, &[], Clock(1), None);
        assert_eq!((given.uuid, given.hash_seed), (uuid, derived.hash_seed));
        for bad in [
            "",
            "random",
            "00000000-0000-0000-0000-000000000000",
            "c0ffee0001020304050607-08090a0b0c",
            "c0ffee00-0102-0304-0506-0708090a0b0",
            "c0ffee00-0102-0304-0506-0708090a0b0cc",
            "+0ffee00-0102-0304-0506-0708090a0b0c",
            "c0ffee0-00102-0304-0506-0708090a0b0c",
            "g0ffee00-0102-0304-0506-0708090a0b0c",
        ] {
            assert_eq!(Uuid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_clock_that_the_tools_ignore_is_adjusted() {
        assert_eq!(Clock::nearest(0).seconds(), 1);
        assert_eq!(Clock::nearest(-5).seconds(), 1);
        assert_eq!(Clock::nearest(1_700_000_000).seconds(), 1_700_000_000);
        assert_eq!(Clock::nearest(1 << 40).seconds(), 2_147_483_647);
    }
}
