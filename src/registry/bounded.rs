//! Small files of this machine, read whole or not at all.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `max` bytes; `None` if it is larger.
pub fn read(path: &Path, max: u64) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    let whole = u64::try_from(bytes.len()).is_ok_and(|len| len <= max);
    Ok(whole.then_some((bytes, metadata)))
}
