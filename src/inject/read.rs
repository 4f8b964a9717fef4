//! Reads injections into tar streams.

use std::path::Path;

use super::host::{Copied, HostCopy};
use super::writer::{Attributes, Stream, StreamWriter};
use super::{InjectedLayer, Injection, InjectionReport, Placing, Source, shown};
use crate::cancel::Cancel;
use crate::compression::Compression;
use crate::digest::{Algorithm, Digest};
use crate::error::{Amount, Error, ErrorKind, InjectionProblem, LayerPlace, Place, Result};
use crate::layer::{Budget, Layer, decode_unknown};
use crate::limits::Limit;
use crate::path::ImagePath;
use crate::patient;
use crate::read_at::FileSlice;
use crate::work::WorkDir;

/// The mount points of a boot, with the modes that systemd and distributions give them.
const MOUNT_POINTS: [(&[u8], u16); 5] =
    [(b"dev", 0o755), (b"proc", 0o555), (b"run", 0o755), (b"sys", 0o555), (b"tmp", 0o1777)];

/// The context in which injections are read.
pub(crate) struct InjectOptions<'a> {
    /// The number of layers of the image.
    pub layers: usize,
    /// The mtime of all entries but those of archives.
    pub mtime: i64,
    /// The work directory, for the streams.
    pub work: &'a WorkDir,
    /// The limits, which the injections share with the image.
    pub budget: &'a Budget,
    /// The cancellation flag.
    pub cancel: &'a Cancel,
}

/// Reads injections, in order.
///
/// # Errors
///
/// A source cannot be read, changes while it is read, or is of a kind that cannot be injected; a limit is exceeded; the
/// disk is full; the run was cancelled.
pub(crate) fn read(injections: &[Injection], options: &InjectOptions<'_>) -> Result<Vec<InjectedLayer>> {
    let (allowed, found) = (options.budget.limits().layers, injections.len() as u64 + options.layers as u64);
    if !injections.is_empty() && found > allowed {
        let (place, limit, found) = (Place::Layers, Limit::Layers, Amount::Exactly(found));
        return Err(ErrorKind::Limit { place, limit, allowed, found }.into());
    }
    injections.iter().zip(options.layers + 1..).map(|(injection, number)| options.one(injection, number)).collect()
}

impl InjectOptions<'_> {
    fn one(&self, injection: &Injection, number: usize) -> Result<InjectedLayer> {
        let destination = &injection.destination;
        let mut stream = match &injection.source {
            Source::Tar(path) => return self.tar(injection, path, number),
            _ => StreamWriter::new(self.work.scratch(), self.budget)?,
        };
        let mtime = u64::try_from(self.mtime).unwrap_or(0);
        let (uid, gid) = injection.owner.unwrap_or_default();
        let attributes = |mode| Attributes { mode, uid, gid, mtime };
        let (kind, path, placing, digest) = match &injection.source {
            Source::Path(source) | Source::File(source) => {
                let (cancel, limits) = (self.cancel, self.budget.limits());
                match (HostCopy { injection, stream: &mut stream, mtime, limits, cancel }).copy(source)? {
                    Copied::File(path, digest) => ("file", Some(path), Placing::Keep, Some(digest)),
                    Copied::Tree => ("tree", Some(destination.clone()), Placing::Keep, None),
                }
            }
            Source::Text(text) => {
                let mode = injection.mode.unwrap_or(0o644);
                stream.file(destination, attributes(mode), text.len() as u64, &**text)?;
                ("text", Some(destination.clone()), Placing::Keep, Some(Digest::of(Algorithm::Sha256, text)))
            }
            Source::Directory => {
                stream.directory(destination, attributes(injection.mode.unwrap_or(0o755)))?;
                let sets = injection.mode.is_some() || injection.owner.is_some();
                ("directory", Some(destination.clone()), if sets { Placing::Set } else { Placing::Keep }, None)
            }
            Source::MountPoints => {
                for (name, mode) in MOUNT_POINTS {
                    stream.directory(&ImagePath::join(b"", name), attributes(mode))?;
                }
                ("mount-points", None, Placing::Fill, None)
            }
            Source::Tar(_) => return Err(ErrorKind::Bug("an archive is injected as a layer").into()),
        };
        let Stream { file, digest: whole, bytes, entries } = stream.finish()?;
        let spool = self.budget.map(&file).map_err(Error::io("map a file in", self.work.path()))?;
        let layer = Layer {
            absent: None,
            tar_bytes: 0,
            place: place(injection, number, &whole),
            tar: spool.bytes(),
            spool: Some(spool),
            compression: Some(Compression::None),
            blob_bytes: bytes,
        };
        let report = InjectionReport {
            source: injection.shown(),
            kind: kind.into(),
            path: path.map(|path| format!("/{}", shown(path.as_bytes()))),
            digest: digest.unwrap_or_else(|| whole.clone()),
            entries,
            bytes,
        };
        Ok(InjectedLayer { layer, placing, stream: whole, report })
    }

    fn tar(&self, injection: &Injection, path: &Path, number: usize) -> Result<InjectedLayer> {
        let file = patient::open_regular(path).map_err(Error::io("open", path))?;
        let file = file.ok_or_else(|| injection.refused(InjectionProblem::NoTar))?;
        let data = FileSlice::whole(file).map_err(Error::io("read", path))?;
        let unknown = Digest::of(Algorithm::Sha256, b"");
        let place = place(injection, number, &unknown);
        let (layer, stream) = decode_unknown(place, &data, self.work, self.budget, self.cancel)?;
        let bytes = layer.tar.len() as u64;
        let report = InjectionReport {
            source: injection.shown(),
            kind: "tar".into(),
            path: None,
            digest: stream.clone(),
            entries: 0,
            bytes,
        };
        Ok(InjectedLayer { layer, placing: Placing::Layer, stream, report })
    }
}

fn place(injection: &Injection, number: usize, digest: &Digest) -> LayerPlace {
    let injection = Some(injection.shown().into());
    LayerPlace { number, count: number, digest: digest.clone(), injection }
}
