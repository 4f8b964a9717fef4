//! The stores of an image's blobs: a layout's directory, an archive, or a registry with its cache.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::archive::{Archive, ArchiveEntry};
use super::blob_source::LayerData;
use super::document::Descriptor;
use super::{OpenOptions, stdin};
use crate::digest::Digest;
use crate::error::{self, Error, ErrorKind, ImageProblem, LayerPlace, Place, Result, ShownPath};
use crate::image::json;
use crate::image::shown::cut;
use crate::limits::{Limit, Limits};
use crate::memory::Memory;
use crate::patient;
use crate::read_at::{FileSlice, ReadAt};

/// The blobs of an image, by digest. Documents are verified; layers are returned unread.
pub(super) trait BlobStore {
    /// Reads a manifest or an index, and checks it against its descriptor.
    fn document(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>>;

    /// Reads a config, and checks it against its descriptor.
    fn config(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>>;

    /// Returns a layer's bytes, unread; `None` if the store does not have it. A `foreign` layer has URLs, which are
    /// never followed.
    fn layer(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &LayerPlace,
        foreign: bool,
        options: &OpenOptions<'_>,
    ) -> Result<Option<LayerData>>;
}

/// The files of an image by name; the blobs are below `blobs`.
pub(super) trait FileStore {
    /// Opens a file; `None` if there is none of that name.
    fn open(&self, name: &str, options: &OpenOptions<'_>) -> Result<Option<FileSlice>>;

    /// Returns the path of the store, for messages.
    fn path(&self) -> &Path;

    /// Reads a small file completely.
    fn read(&self, file: &FileSlice, place: &Place, limits: &Limits) -> Result<Vec<u8>> {
        let size = file.size();
        if size > limits.manifest_bytes {
            let (limit, allowed) = (Limit::ManifestBytes, limits.manifest_bytes);
            return Err(
                ErrorKind::Limit { place: place.clone(), limit, allowed, found: error::Amount::Exactly(size) }.into()
            );
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let count = file.read_at(0, &mut bytes).map_err(Error::io("read", self.path()))?;
        bytes.truncate(count);
        check_memory(&bytes, place, limits)?;
        Ok(bytes)
    }

    /// Opens a blob, or, if it is missing, the copy in its descriptor (image-spec `descriptor.md`). The content is not
    /// verified.
    fn blob_or_data(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        options: &OpenOptions<'_>,
    ) -> Result<Option<FileSlice>> {
        let blob = self.open(&blob_name(digest), options)?;
        let data = descriptor.data.as_deref().filter(|_| blob.is_none());
        match data.and_then(|data| STANDARD.decode(data).ok()) {
            Some(bytes) => stdin::bytes(&bytes, options).map(Some),
            None => Ok(blob),
        }
    }
}

/// The directory of an OCI layout. Only fixed names and digests are opened in it.
#[derive(Debug)]
pub(super) struct LayoutDirectory(pub PathBuf);

impl FileStore for LayoutDirectory {
    fn open(&self, name: &str, _: &OpenOptions<'_>) -> Result<Option<FileSlice>> {
        open_regular(&self.0.join(name))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

/// An archive of either kind.
#[derive(Debug)]
pub(super) struct ArchiveFile {
    pub archive: Archive,
    pub path: PathBuf,
}

impl FileStore for ArchiveFile {
    fn open(&self, name: &str, options: &OpenOptions<'_>) -> Result<Option<FileSlice>> {
        let member = format!("{}: {}", ShownPath(&self.path), cut(name));
        let refused = |problem| Error::image(Place::File(member), problem);
        Ok(match self.archive.open(name.as_bytes()).map_err(refused)? {
            None => None,
            Some(ArchiveEntry::Here(slice)) => Some(slice),
            Some(ArchiveEntry::Sparse(data, map, size)) => Some(stdin::sparse(&data, &map, size, cut(name), options)?),
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl<S: FileStore> BlobStore for S {
    fn document(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        let refused = |problem| Error::image(place.clone(), problem);
        let file = self.blob_or_data(descriptor, digest, options)?.ok_or_else(|| refused(ImageProblem::Missing))?;
        let bytes = self.read(&file, place, options.limits)?;
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

    fn config(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        place: &Place,
        options: &OpenOptions<'_>,
    ) -> Result<Vec<u8>> {
        self.document(descriptor, digest, place, options)
    }

    fn layer(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        _: &LayerPlace,
        _: bool,
        options: &OpenOptions<'_>,
    ) -> Result<Option<LayerData>> {
        Ok(self.blob_or_data(descriptor, digest, options)?.map(LayerData::Local))
    }
}

/// Requires that a parsed document does not take more memory than the limit on metadata.
pub(super) fn check_memory(bytes: &[u8], place: &Place, limits: &Limits) -> Result<()> {
    Memory::of(place.clone(), limits.metadata_bytes).require(json::memory(bytes))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.hex())
}

/// Opens a file of a layout. It may be a symlink, as in layouts that share their blobs, but must lead to a regular
/// file.
pub(super) fn open_regular(path: &Path) -> Result<Option<FileSlice>> {
    let file = match patient::open_regular(path) {
        Ok(file) => file.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    file.and_then(FileSlice::whole).map(Some).map_err(Error::io("read", path))
}
