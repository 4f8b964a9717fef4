//! The superblock of `veritysetup` (cryptsetup, `lib/verity/verity.c`, `struct verity_sb`).

use std::fmt;

use super::BLOCK;

/// The size of a superblock in bytes; the rest of its block is zero.
pub(crate) const SIZE: usize = 512;
const SIGNATURE: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
/// The salt precedes the data in a hash.
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";
const SALT_MAX: usize = 256;

/// The parameters of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The UUID.
    pub uuid: [u8; 16],
    /// The number of data blocks.
    pub data_blocks: u64,
    /// The salt, at most 256 bytes.
    pub salt: Vec<u8>,
}

/// The reason why bytes are no superblock of a tree that planish can check: the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it has no superblock of dm-verity")]
    Signature,
    #[error("its superblock has version {0}, planish reads version 1")]
    Version(u32),
    #[error("its hash type is {0}, planish reads type 1")]
    HashType(u32),
    #[error("its hash algorithm is not sha256")]
    Algorithm,
    #[error("its blocks have {0} and {1} bytes, planish reads those of 4096")]
    BlockSize(u32, u32),
    #[error("its salt has {0} bytes, and there is room for 256")]
    Salt(u16),
    #[error("it covers {0} blocks, more than its files have")]
    Blocks(u64),
}

impl Superblock {
    /// Returns the bytes on disk.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let block = u32::try_from(BLOCK).unwrap_or_default().to_le_bytes();
        let salt = &self.salt[..self.salt.len().min(SALT_MAX)];
        let salt_size = u16::try_from(salt.len()).unwrap_or_default().to_le_bytes();
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, SIGNATURE);
        put(8, &VERSION.to_le_bytes());
        put(12, &HASH_TYPE.to_le_bytes());
        put(16, &self.uuid);
        put(32, ALGORITHM);
        put(64, &block);
        put(68, &block);
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &salt_size);
        put(88, salt);
        bytes
    }

    /// Parses the bytes on disk.
    pub fn parse(bytes: &[u8; SIZE]) -> Result<Self, Refusal> {
        if &bytes[..8] != SIGNATURE {
            return Err(Refusal::Signature);
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if number(8) != VERSION {
            return Err(Refusal::Version(number(8)));
        }
        if number(12) != HASH_TYPE {
            return Err(Refusal::HashType(number(12)));
        }
        if bytes[32..64].split(|byte| *byte == 0).next() != Some(ALGORITHM) {
            return Err(Refusal::Algorithm);
        }
        if [number(64), number(68)].iter().any(|size| u64::from(*size) != BLOCK) {
            return Err(Refusal::BlockSize(number(64), number(68)));
        }
        let salt_size = u16::from_le_bytes([bytes[80], bytes[81]]);
        if usize::from(salt_size) > SALT_MAX {
            return Err(Refusal::Salt(salt_size));
        }
        let data_blocks = u64::from(number(76)) << 32 | u64::from(number(72));
        // Sizes in bytes are computed from it.
        if data_blocks == 0 || data_blocks > 1 << 40 {
            return Err(Refusal::Blocks(data_blocks));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Self { uuid, data_blocks, salt: bytes[88..88 + usize::from(salt_size)].to_vec() })
    }
}

/// Bytes as hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
