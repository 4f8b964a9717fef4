//! Where the files of an image are: a directory, or an archive.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::Archive;
use super::document::Descriptor;
use super::registry::Remote;
use super::supply::LayerData;
use super::{OpenOptions, spool};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Found, ImageProblem, LayerPlace, Place, Result};
use crate::limits::{Limit, Limits};
use crate::read_at::{FileSlice, ReadAt};
use crate::shown::cut;

/// The files of an image.
#[derive(Debug)]
pub(super) enum Store {
    /// An OCI layout in a directory. Only names of ours and digests are opened in it.
    Directory(PathBuf),
    /// Any archive, read from the path.
    Archive(Archive, PathBuf),
    /// A registry's repository, which has blobs only.
    Remote(Arc<Remote>),
}

impl Store {
    /// Opens a file; `None` when there is none of that name.
    pub(super) fn open(&self, name: &str) -> Result<Option<FileSlice>> {
        match self {
            Self::Directory(directory) => open_regular(&directory.join(name)),
            Self::Archive(archive, _) => archive
                .open(name.as_bytes())
                .map_err(|problem| Error::image(Place::File(cut(name).to_owned()), problem)),
            Self::Remote(_) => Ok(None),
        }
    }

    /// Opens a blob by its digest, which is not checked.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<FileSlice>> {
        self.open(&blob_name(digest))
    }

    /// Reads the whole of a file that is not large.
    pub(super) fn read(&self, file: &FileSlice, place: &Place, limits: &Limits) -> Result<Vec<u8>> {
        let size = file.size();
        if size > limits.manifest_bytes {
            let (limit, allowed) = (Limit::ManifestBytes, limits.manifest_bytes);
            return Err(ErrorKind::Limit { place: place.clone(), limit, allowed, found: Found::Exactly(size) }.into());
        }
        let path = match self {
            Self::Directory(path) | Self::Archive(_, path) => path,
            Self::Remote(_) => Path::new("the registry"),
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let count = file.read_at(0, &mut bytes).map_err(Error::io("read", path))?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Reads a manifest or an index, and checks that it is what its descriptor promises.
    pub(super) fn document(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        match self {
            Self::Remote(remote) => remote.document(digest, Some(descriptor.size), place, options),
            _ => self.checked(descriptor, digest, place, options.limits),
        }
    }

    /// Reads a config, and checks that it is what its descriptor promises.
    pub(super) fn config(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        match self {
            Self::Remote(remote) => remote.config(digest, descriptor.size, place, options),
            _ => self.checked(descriptor, digest, place, options.limits),
        }
    }

    /// Returns a layer's bytes, unread; a registry's foreign layers are somewhere else.
    pub(super) fn layer(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &LayerPlace,
        foreign: bool,
    ) -> Result<Option<LayerData>> {
        match self {
            Self::Remote(_) if foreign => Ok(None),
            Self::Remote(remote) => Ok(Some(remote.layer(descriptor, digest, Place::Layer(place.clone())))),
            _ => Ok(self.blob(digest)?.map(LayerData::Here)),
        }
    }

    /// Reads a blob that is not large, and checks that it is what its descriptor promises.
    fn checked(&self, descriptor: &Descriptor, digest: &Digest, place: &Place, limits: &Limits) -> Result<Vec<u8>> {
        let refused = |problem| Error::image(place.clone(), problem);
        let file = self.blob(digest)?.ok_or_else(|| refused(ImageProblem::Missing))?;
        let bytes = self.read(&file, place, limits)?;
        let (promised, actual) = (descriptor.size, bytes.len() as u64);
        if promised != actual {
            return Err(refused(ImageProblem::SizeMismatch { promised, actual }));
        }
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(refused(ImageProblem::DigestMismatch(found)));
        }
        Ok(bytes)
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.hex())
}

/// Opens a file of a layout. It may be a symlink, as in layouts that share their blobs, but must lead to a file.
pub(super) fn open_regular(path: &Path) -> Result<Option<FileSlice>> {
    let file = match spool::open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                ErrorKind::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Ok(None),
                _ => Err(error),
            };
        }
    };
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::io("read", path)(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    FileSlice::whole(file).map(Some).map_err(Error::io("read", path))
}
