//! The documents of a layout's only image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use oci_spec::image::{Digest, ImageIndex, ImageManifest};

use crate::Result;

/// The only image of an OCI layout.
pub struct Image {
    layout: PathBuf,
    pub index: ImageIndex,
    pub manifest: ImageManifest,
}

impl Image {
    pub fn open(layout: &Path) -> Result<Self> {
        let layout = fs::canonicalize(layout).map_err(|error| format!("{}: {error}", layout.display()))?;
        let index = ImageIndex::from_reader(&*read(&layout.join("index.json"))?)?;
        let [descriptor] = &**index.manifests() else {
            return Err(format!("{} has {} images, not one", layout.display(), index.manifests().len()).into());
        };
        let manifest = ImageManifest::from_reader(&*read(&blob(&layout, descriptor.digest()))?)?;
        Ok(Self { layout, index, manifest })
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        self.index.manifests()[0].digest()
    }

    /// The bytes of a document.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        read(&blob(&self.layout, digest))
    }

    /// Makes a link to a blob; a blob may be two layers.
    pub fn link(&self, digest: &Digest, to: &Path) -> Result<()> {
        if !to.is_symlink() {
            symlink(blob(&self.layout, digest), to)?;
        }
        Ok(())
    }
}

/// The path of a blob in a layout.
pub fn blob(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)
}
