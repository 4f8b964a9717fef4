//! The filesystem of oci2rootfs.
//!
//! The library refuses an index and a manifest without `mediaType`, which the image specification leaves optional, and which
//! umoci does not write. So it gets a layout of links, with these two documents anew. It does not check digests: the
//! new manifest has the name of the old one.

use std::fs;
use std::path::Path;

use oci_spec::image::MediaType;
use oci2rootfs::{Converter, OciLayoutSource};

use crate::Result;
use crate::image::{Image, blob};

/// The size of the filesystem, which the library does not compute. The file is sparse.
const SIZE: u64 = 8 << 30;

/// Writes the ext4 file. The layout of links is in the directory for temporary files.
pub fn build(image: &Image, out: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let layout = directory.path();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut index = image.index.clone();
    index.set_media_type(Some(MediaType::ImageIndex)).to_file(layout.join("index.json"))?;

    let mut manifest = image.manifest.clone();
    let path = blob(layout, image.digest());
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    manifest.set_media_type(Some(MediaType::ImageManifest)).to_file(path)?;
    for descriptor in manifest.layers().iter().chain([manifest.config()]) {
        image.link(descriptor.digest(), &blob(layout, descriptor.digest()))?;
    }
    Ok(Converter::new(out).size(SIZE).convert(OciLayoutSource::open(layout)?)?)
}
