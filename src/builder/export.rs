//! Writes the flattened tree of an image as a tar stream.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, ImageProblem, Place, Result};
use crate::ext4::acl;
use crate::image::OpenImage;
use crate::memory::ALLOCATION;
use crate::note::Notes;
use crate::output::publish::{Output, SyncedFile, publish};
use crate::progress::{Progress, Stage};
use crate::tar::BLOCK;
use crate::tar::write::{END, Member, MemberKind, may_be_sparse};
use crate::tree::flatten::FlatImage;
use crate::tree::{Content, Device, DeviceKind, InodeId, Node, Tree, Visit, Xattrs};
use crate::work::WorkDir;

/// The schema of an export in JSON.
const SCHEMA: &str = "planish.export.v1";
/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;
/// Zeros between the data of a file that is not written with its holes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Memory of a first name beyond its bytes: the entry of a table and the allocation.
const FIRST_NAME: u64 = 2 * 32 + ALLOCATION;

/// A tar stream of an image, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// The name and version of this form.
    pub schema: &'static str,
    /// The image reference, as given.
    pub source: String,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The number of members.
    pub names: u64,
    /// The size of the stream in bytes.
    pub bytes: u64,
    /// The notes: what was adapted or dropped while reading the image.
    pub notes: Notes,
}

/// Writes the tree of an image to a file, which is published when it is complete.
pub(crate) fn to_file(
    input: &Input,
    injected: (&Additions, Option<i64>),
    path: &Path,
    replace: bool,
    before_publish: &dyn Fn(&ExportReport) -> Result<()>,
) -> Result<ExportReport> {
    let ImageOptions { progress, cancel, work_dir, .. } = input.options();
    let read: Vec<&Path> = input.paths().into_iter().chain(injected.0.reads()).collect();
    let output = Output::check(path, replace, &read)?;
    output.require_unread(&input.files())?;
    let work = WorkDir::create(work_dir.as_deref().unwrap_or(output.directory()), cancel)?;
    let partial = output.begin(cancel)?;
    let report = export(input, injected, &work, &mut FileSink { file: partial.file(), output: &output, written: 0 })?;
    progress.begin(Stage::Publish, None);
    let ready = SyncedFile::settle(output, partial, cancel)?;
    before_publish(&report)?;
    publish(vec![ready], &**progress, cancel)?;
    progress.end();
    Ok(report)
}

/// Writes the tree of an image to a writer.
pub(crate) fn to_writer(
    input: &Input,
    injected: (&Additions, Option<i64>),
    out: &mut dyn Write,
) -> Result<ExportReport> {
    let work = input.options().make_work_dir()?;
    export(input, injected, &work, &mut WriterSink(out))
}

fn export(
    input: &Input,
    (additions, clock): (&Additions, Option<i64>),
    work: &WorkDir,
    sink: &mut dyn Sink,
) -> Result<ExportReport> {
    let ImageOptions { progress, cancel, .. } = input.options();
    progress.begin(Stage::Open, None);
    let image = input.open(work)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let (FlatImage { tree, notes, .. }, _) = additions.read(&image, clock, work, input.options())?.flatten()?;
    progress.begin(Stage::Write, None);
    let out = BufWriter::with_capacity(BUFFER, Fallible { sink, failure: None });
    let mut writer =
        TarWriter { tree: &tree, out, first: HashMap::new(), bytes: 0, names: 0, progress: &**progress, cancel };
    match writer.run() {
        Ok(()) => {}
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Write) => {
            let failure = writer.out.get_mut().failure.take();
            return Err(failure.unwrap_or_else(|| ErrorKind::Bug("a write failed without an error").into()));
        }
    }
    let (bytes, names) = (writer.bytes, writer.names);
    drop(writer);
    progress.end();
    Ok(report(&image, notes, names, bytes))
}

fn report(image: &OpenImage, notes: Notes, names: u64, bytes: u64) -> ExportReport {
    ExportReport {
        schema: SCHEMA,
        source: image.source.clone(),
        config_digest: image.config_digest.clone(),
        platform: image.platform.to_string(),
        names,
        bytes,
        notes,
    }
}

/// A place for the stream, with its own errors.
trait Sink {
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
}

struct FileSink<'a> {
    file: &'a File,
    output: &'a Output,
    written: u64,
}

impl Sink for FileSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let mut file = self.file;
        file.write_all(bytes).map_err(|error| self.output.write_error(self.written, error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

struct WriterSink<'a>(&'a mut dyn Write);

impl Sink for WriterSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).map_err(Error::io("write to", "the stream"))
    }
}

/// A sink as a writer, which keeps the first error.
struct Fallible<'a> {
    sink: &'a mut dyn Sink,
    failure: Option<Error>,
}

impl Write for Fallible<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.sink.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failure.get_or_insert(error);
                Err(std::io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The reason why writing ended early.
enum Stop {
    /// The writer has the error.
    Write,
    Error(Error),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Write
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

struct TarWriter<'a> {
    tree: &'a Tree,
    out: BufWriter<Fallible<'a>>,
    /// The first names of files with several.
    first: HashMap<InodeId, Vec<u8>>,
    bytes: u64,
    names: u64,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl TarWriter<'_> {
    fn run(&mut self) -> std::result::Result<(), Stop> {
        let tree = self.tree;
        let mut walk = tree.walk();
        while let Some(visit) = walk.advance() {
            self.cancel.check()?;
            self.member(&visit)?;
            self.names += 1;
            self.progress.advance(1);
        }
        self.put(&END)?;
        Ok(self.out.flush()?)
    }

    fn put(&mut self, bytes: &[u8]) -> std::result::Result<(), Stop> {
        self.bytes += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }

    fn member(&mut self, visit: &Visit<'_>) -> std::result::Result<(), Stop> {
        let tree = self.tree;
        let inode = tree.inode(visit.inode);
        // As tar writes them: bsdtar takes a name that begins with a backslash for one of Windows.
        let name = match (&inode.node, visit.path) {
            (_, b"") => b"./".to_vec(),
            (Node::Directory(_), path) => [b"./", path, b"/"].concat(),
            (_, path) => [b"./", path].concat(),
        };
        let first = self.first.get(&visit.inode);
        let mut map = None;
        let (kind, content) = match (&inode.node, first) {
            (_, Some(first)) => (MemberKind::HardLink(first), None),
            (Node::Directory(_), None) => (MemberKind::Directory, None),
            (Node::File(content), None) => {
                map = extents(content);
                (MemberKind::File(content.size(), map.as_deref()), Some(content))
            }
            (Node::Symlink(target), None) => (MemberKind::Symlink(target), None),
            (Node::Device(Device { kind: DeviceKind::Character, major, minor }), None) => {
                (MemberKind::CharDevice(*major, *minor), None)
            }
            (Node::Device(Device { major, minor, .. }), None) => (MemberKind::BlockDevice(*major, *minor), None),
            (Node::Fifo, None) => (MemberKind::Fifo, None),
        };
        let metadata = &inode.metadata;
        if first.is_none() {
            require_acls(visit.path, &metadata.xattrs)?;
        }
        let xattrs = metadata.xattrs.iter().map(|xattr| (xattr.name, xattr.value)).collect();
        let (mode, uid, gid, mtime) = (metadata.mode, metadata.uid, metadata.gid, metadata.mtime);
        let header = Member { name: &name, kind, mode, uid, gid, mtime, xattrs }.header();
        self.put(
            &header.ok_or_else(|| Error::from(ErrorKind::Bug("a tar header does not hold a value of the tree")))?,
        )?;
        if let Some(content) = content {
            let whole = [(0, content.size())];
            self.content(content, map.as_deref().unwrap_or(&whole))?;
        }
        if tree.links(visit.inode) > 1 && !self.first.contains_key(&visit.inode) {
            tree.memory().take(name.len() as u64 + FIRST_NAME)?;
            self.first.insert(visit.inode, name);
        }
        Ok(())
    }

    /// Writes the data of a file, or of some extents of it, and pads it to whole blocks.
    fn content(&mut self, content: &Content, extents: &[(u64, u64)]) -> std::result::Result<(), Stop> {
        let mut runs = content.runs();
        let mut run = runs.next();
        let mut written = 0;
        for (start, length) in extents {
            let (mut at, end) = (*start, start + length);
            while let Some((offset, bytes)) = run.filter(|(offset, _)| *offset < end) {
                self.zeros(offset - at)?;
                self.cancel.check()?;
                self.put(bytes)?;
                at = offset + bytes.len() as u64;
                run = runs.next();
            }
            self.zeros(end - at)?;
            written += length;
        }
        self.zeros(written.next_multiple_of(BLOCK) - written)?;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> std::result::Result<u64, Stop> {
        let mut left = count;
        while left > 0 {
            self.cancel.check()?;
            let piece = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
            self.put(&ZEROS[..piece])?;
            left -= piece as u64;
        }
        Ok(count)
    }
}

/// Refuses a POSIX ACL that no Linux filesystem takes, as a build does.
fn require_acls(path: &[u8], xattrs: &Xattrs) -> Result<()> {
    for xattr in xattrs.iter() {
        let name = match xattr.name {
            b"system.posix_acl_access" => "system.posix_acl_access",
            b"system.posix_acl_default" => "system.posix_acl_default",
            _ => continue,
        };
        acl::to_stored(xattr.value).map_err(|fault| {
            Error::image(Place::Path(path.into()), ImageProblem::Acl { name, detail: fault.to_string() })
        })?;
    }
    Ok(())
}

/// Returns the extents of a file with holes, up to its end as GNU tar writes them; `None` for one that is written whole.
///
/// GNU tar begins each extent with a block of its own, other readers do not; so all but the last have whole blocks.
fn extents(content: &Content) -> Option<Vec<(u64, u64)>> {
    if content.stored_len() == content.size() {
        return None;
    }
    let mut extents: Vec<(u64, u64)> = Vec::new();
    for (offset, bytes) in content.runs().filter(|(_, bytes)| !bytes.is_empty()) {
        let start = offset / BLOCK * BLOCK;
        let end = (offset + bytes.len() as u64).next_multiple_of(BLOCK).min(content.size());
        match extents.last_mut() {
            Some((first, length)) if *first + *length >= start => *length = end - *first,
            _ => extents.push((start, end - start)),
        }
    }
    if !may_be_sparse(extents.iter().map(|(_, length)| length).sum()) {
        return None;
    }
    if extents.last().is_none_or(|(start, length)| start + length < content.size()) {
        extents.push((content.size(), 0));
    }
    Some(extents)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::tar::Extent;

    #[test]
    fn extents_have_whole_blocks_and_end_with_the_file() {
        let sparse = |size, pieces: &[(u64, u64)]| {
            let pieces: Vec<Extent> =
                pieces.iter().map(|(offset, len)| Extent { offset: *offset, len: *len }).collect();
            let stored: u64 = pieces.iter().map(|piece| piece.len).sum();
            let bytes = Bytes::from(vec![1; usize::try_from(stored).unwrap()]);
            extents(&Content::dense(bytes).spread(size, &pieces))
        };
        assert_eq!(sparse(10, &[(0, 10)]), None);
        assert_eq!(sparse(1000, &[]), Some(vec![(1000, 0)]));
        assert_eq!(sparse(5000, &[(3, 1), (511, 2), (2047, 2)]), Some(vec![(0, 1024), (1536, 1024), (5000, 0)]));
        assert_eq!(sparse(5000, &[(4999, 1)]), Some(vec![(4608, 392)]));
    }
}
