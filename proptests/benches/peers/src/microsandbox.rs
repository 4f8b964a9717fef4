//! The flat root filesystem of microsandbox-image.
//!
//! The library pulls from registries and imports archives. An import copies every blob into the archive and out of it again;
//! so the layers of the layout are linked where the library keeps what it has downloaded, and
//! `Registry::materialize_cached_layers` takes them from there. The rest is what a pull with `RootfsMaterialization::Flat`
//! does: an EROFS file of each layer, checked against its diff ID, then one ext4 file of all. Beyond that, the library writes
//! the index of the layers (fsmeta, VMDK) that only a layered root needs.

use std::fs;
use std::path::Path;

use microsandbox_image::{
    CachedImageMetadata, CachedLayerMetadata, GlobalCache, ImageConfig, Platform, Reference, Registry,
};

use crate::Result;
use crate::image::Image;

/// Writes the ext4 file. The cache of the library is in the directory for temporary files.
pub fn build(image: &Image, out: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cache = GlobalCache::new(directory.path())?;
    let metadata = metadata(image)?;
    for layer in image.manifest.layers() {
        image.link(layer.digest(), &cache.tar_path(&layer.digest().as_ref().parse()?))?;
    }
    // The name is that of no registry: it is never asked.
    let reference: Reference = "localhost/image:latest".parse()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let flat = runtime.block_on(async {
        let registry = Registry::new(Platform::host_linux(), cache.clone())?;
        let layers = registry.materialize_cached_layers(&reference, &metadata, false).await?;
        registry.materialize_flat_rootfs(&layers.manifest_digest, &layers.layer_diff_ids, false).await
    })?;
    let built = cache.flat_blob_path(&flat.artifact_digest.parse()?);
    // The output may be on another filesystem.
    Ok(fs::rename(&built, out).or_else(|_| fs::copy(&built, out).map(drop))?)
}

/// The record of the image that the library's cache keeps.
fn metadata(image: &Image) -> Result<CachedImageMetadata> {
    let config_digest = image.manifest.config().digest();
    let raw_config = image.read(config_digest)?;
    let (config, diff_ids) = ImageConfig::parse(&raw_config)?;
    let layers = image.manifest.layers();
    if diff_ids.len() != layers.len() {
        return Err(format!("{} layers have {} diff IDs", layers.len(), diff_ids.len()).into());
    }
    let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| CachedLayerMetadata {
        digest: layer.digest().to_string(),
        media_type: Some(layer.media_type().to_string()),
        size_bytes: Some(layer.size()),
        diff_id,
    });
    Ok(CachedImageMetadata {
        manifest_digest: image.digest().to_string(),
        config_digest: config_digest.to_string(),
        raw_manifest_json: String::from_utf8(image.read(image.digest())?)?,
        raw_config_json: String::from_utf8(raw_config)?,
        config,
        layers: layers.collect(),
    })
}
