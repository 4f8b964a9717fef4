//! A root filesystem in a tar file, as `docker export` writes it: an image of one layer, with a config of its own.

use super::{LayerBlob, LayerData, OpenImage, OpenOptions, Platform, config};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, ImageProblem, LayerPlace, Place, Result};
use crate::read_at::{FileSlice, ReadAt};

/// Bytes that are hashed at once.
const BLOCK: usize = 256 << 10;

/// Returns the image of a tar stream. Its config has the requested platform and the stream's digest, so that the same stream
/// is the same image, compressed or not.
pub(super) fn open(data: FileSlice, name: &str, options: &OpenOptions<'_>) -> Result<OpenImage> {
    let place = Place::Source(name.to_owned());
    if data.size() == 0 {
        return Err(Error::image(place, ImageProblem::EmptyInput));
    }
    let diff_id = hash(&data, name, options)?;
    let requested = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let mut document = serde_json::json!({
        "architecture": requested.architecture,
        "os": requested.os,
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
    });
    if let Some(variant) = &requested.variant {
        document["variant"] = variant.as_str().into();
    }
    let bytes = document.to_string().into_bytes();
    let config_digest = Digest::of(Algorithm::Sha256, &bytes);
    let checked = config::check(&bytes, &config_digest, (&place, 1), None, &requested)?;
    let place = LayerPlace { number: 1, count: 1, digest: diff_id.clone(), injection: None };
    let data = LayerData::Local(data);
    Ok(OpenImage {
        path: None,
        source: name.to_owned(),
        manifest: None,
        manifest_digest: None,
        config_digest,
        platform: checked.platform,
        created: None,
        config: bytes,
        layers: vec![LayerBlob { place, media_type: None, digest: None, size: None, diff_id, data }],
        notes: checked.notes,
    })
}

fn hash(data: &FileSlice, name: &str, options: &OpenOptions<'_>) -> Result<Digest> {
    let (mut hasher, mut block, mut at) = (Hasher::new(Algorithm::Sha256), vec![0; BLOCK], 0);
    loop {
        options.cancel.check()?;
        match data.read_at(at, &mut block).map_err(Error::io("read", name))? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&block[..count]);
                at += count as u64;
            }
        }
    }
}
