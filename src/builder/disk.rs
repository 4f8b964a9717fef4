//! The formats of the published file: the filesystem itself, or a disk image or compressed file that holds it.

use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crate::cancel::Cancel;
use crate::compression::{Compression, decoder};
use crate::copy::{OpenFile, hash, read_all};
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, Result};
use crate::output::publish::Output;
pub use crate::output::report::DiskFormat;
use crate::output::report::PackedReport;
use crate::program::QemuImg;
use crate::progress::{NoProgress, Progress, Stage};
use crate::read_at::FileSlice;
use crate::work::PartialFile;

/// The level of zstd.
const LEVEL: i32 = 3;
/// The window of that level is smaller.
const WINDOW_LOG: u32 = 27;
/// Bytes that are written or compared at once.
const PIECE: usize = 1 << 20;

/// A conversion of the finished filesystem.
#[derive(Debug)]
pub(crate) enum Packing {
    Qcow2(QemuImg),
    RawZst,
}

impl Packing {
    /// Finds what the format needs; `None` if the filesystem is published as it is.
    pub fn find(
        format: DiskFormat,
        search_path: &std::ffi::OsStr,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Option<Self>> {
        Ok(match format {
            DiskFormat::Raw => None,
            DiskFormat::RawZst => Some(Self::RawZst),
            DiskFormat::Qcow2 => {
                let program = QemuImg::find(search_path, cancel)?;
                program.report(progress);
                Some(Self::Qcow2(program))
            }
        })
    }

    /// Converts a filesystem to a new file, which is published in its place, and describes it. With `proves`, it is read
    /// back and has to give the same bytes.
    ///
    /// # Errors
    ///
    /// The file cannot be written; it does not give the same bytes; the run was cancelled.
    pub fn pack(
        &self,
        raw: &PartialFile,
        output: &Output,
        (proves, digests): (bool, bool),
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<(PartialFile, PackedReport)> {
        let to = output.begin(cancel)?;
        to.adopt(raw)?;
        let progress = timer.progress();
        let (from, file) = (open(raw), open(&to));
        let total = raw.file().metadata().map_err(Error::io("examine", raw.path()))?.len();
        timer.run(Stage::Convert, Some(total), || match self {
            Self::Qcow2(program) => {
                program.to_qcow2(raw.file(), &to, progress, cancel)?;
                if proves { program.require_equal(raw.file(), &to, cancel) } else { Ok(()) }
            }
            Self::RawZst => {
                compress(from, file, progress, cancel)?;
                if proves { require_equal(from, file, cancel) } else { Ok(()) }
            }
        })?;
        let bytes = to.file().metadata().map_err(Error::io("examine", to.path()))?.len();
        let digest = if digests { Some(hash(file, &NoProgress, cancel)?) } else { None };
        let format = match self {
            Self::Qcow2(_) => DiskFormat::Qcow2,
            Self::RawZst => DiskFormat::RawZst,
        };
        let program = match self {
            Self::Qcow2(program) => Some(format!("qemu-img {}", program.version())),
            Self::RawZst => None,
        };
        Ok((to, PackedReport { format, bytes, digest, program }))
    }
}

fn open(file: &PartialFile) -> OpenFile<'_> {
    OpenFile { file: file.file(), path: file.path() }
}

/// Compresses a file to an empty one.
fn compress(from: OpenFile<'_>, to: OpenFile<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    let directory = to.path.parent().unwrap_or(Path::new("/"));
    let mut done = 0;
    let failed = |done, error| Error::write(directory, done, error);
    let length = from.file.metadata().map_err(Error::io("examine", from.path))?.len();
    let out = BufWriter::with_capacity(PIECE, to.file);
    let encoder = zstd::Encoder::new(out, LEVEL).and_then(|mut encoder| {
        encoder.include_checksum(true)?;
        encoder.set_pledged_src_size(Some(length))?;
        Ok(encoder)
    });
    let mut encoder = encoder.map_err(|error| failed(0, error))?;
    read_all(from, progress, cancel, &mut |bytes| {
        done += bytes.len() as u64;
        encoder.write_all(bytes).map_err(|error| failed(done, error))
    })?;
    encoder.finish().and_then(|mut out| out.flush()).map_err(|error| failed(done, error))
}

/// Requires that a compressed file gives the bytes of another one.
fn require_equal(from: OpenFile<'_>, packed: OpenFile<'_>, cancel: &Cancel) -> Result<()> {
    let unreadable = Error::io("read", packed.path);
    let slice = packed.file.try_clone().and_then(FileSlice::whole);
    let reader = slice.and_then(|slice| decoder(Compression::Zstd, slice.reader(), WINDOW_LOG));
    let mut reader = reader.map_err(unreadable)?;
    let differs = |found: String| ErrorKind::Packed { found }.into();
    let mut found = vec![0; PIECE];
    let mut at: u64 = 0;
    read_all(from, &NoProgress, cancel, &mut |bytes| {
        let found = &mut found[..bytes.len()];
        reader.read_exact(found).map_err(|error| differs(format!("after byte {at}: {error}")))?;
        if found != bytes {
            return Err(differs(format!("within {} bytes after byte {at}", bytes.len())));
        }
        at += bytes.len() as u64;
        Ok(())
    })?;
    match reader.read(&mut found) {
        Ok(0) => Ok(()),
        Ok(_) => Err(differs(format!("it is longer than {at} bytes"))),
        Err(error) => Err(differs(format!("after byte {at}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn open(file: &File) -> OpenFile<'_> {
        OpenFile { file, path: Path::new("x") }
    }

    #[test]
    fn a_compressed_file_gives_the_same_bytes_and_damage_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = directory.path().join(name);
            File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
        };
        let raw = make("raw");
        raw.set_len((5 << 20) + 3).unwrap();
        raw.write_all_at(&[7; 70_000], 1 << 20).unwrap();
        let packed = make("packed");
        compress(open(&raw), open(&packed), &NoProgress, &Cancel::default()).unwrap();
        assert!(packed.metadata().unwrap().len() < 10_000);
        let check = |packed: &File| require_equal(open(&raw), open(packed), &Cancel::default());
        check(&packed).unwrap();
        let bytes = std::fs::read(directory.path().join("packed")).unwrap();
        let other = |file: &File, size: u64| {
            file.set_len(size).unwrap();
            let again = make("again");
            compress(open(file), open(&again), &NoProgress, &Cancel::default()).unwrap();
            again
        };
        let cut = make("cut");
        cut.write_all_at(&bytes[..bytes.len() - 5], 0).unwrap();
        let changed = make("changed");
        changed.write_all_at(&[1], 9).unwrap();
        for wrong in [cut, other(&changed, (5 << 20) + 3), other(&make("short"), 9), other(&make("zeros"), 6 << 20)] {
            let error = check(&wrong).unwrap_err();
            assert_eq!(error.fault().exit_code(), 8, "{error}");
        }
    }
}
