//! Tar streams without the contents of their files.
//!
//! A bare stream has the headers, extension headers and sparse maps of another stream, unchanged and in order, and no end
//! marker. The same reader reads both, so that a bare stream gives the same members.

use std::io::{self, Write};

use super::Reader;
use super::fault::TarFault;
use crate::read_at::ReadAt;

/// An error of writing a bare stream.
#[derive(Debug)]
pub enum BareFault {
    /// The stream is not a tar stream.
    Tar(TarFault),
    /// It cannot be read or written.
    Io(io::Error),
}

impl From<io::Error> for BareFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes a stream to `out` without the contents of its files, and returns the number of bytes. `more` is called for each
/// member, and ends the work with its error.
///
/// # Errors
///
/// The stream is not a tar stream; it cannot be read, or `out` cannot be written.
pub fn without_contents<S: ReadAt>(
    mut members: Reader<S>,
    out: &mut dyn Write,
    more: &dyn Fn() -> io::Result<()>,
) -> Result<u64, BareFault> {
    let (mut from, mut written) = (0, 0);
    while let Some(member) = members.next() {
        more()?;
        let content = member.map_err(BareFault::Tar)?.content;
        written += copy(&members.source, from, content.offset, out)?;
        from = members.position;
    }
    Ok(written + copy(&members.source, from, members.position, out)?)
}

/// Copies the bytes of a range, and returns their number.
fn copy(source: &impl ReadAt, mut from: u64, end: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut block = [0; 4096];
    let start = from;
    while from < end {
        let length = usize::try_from(end - from).unwrap_or(usize::MAX).min(block.len());
        let count = source.read_at(from, &mut block[..length])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(&block[..count])?;
        from += count as u64;
    }
    Ok(from - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::tar::TarEntry;
    use crate::tar::build::{Member, Stream};

    fn members(stream: &[u8], bare: bool) -> Vec<TarEntry> {
        Reader::new(stream, &Limits::default()).of_bare(bare).map(|member| member.unwrap()).collect()
    }

    /// A member as text, without the positions in its stream.
    fn shown(mut member: TarEntry) -> String {
        member.header_offset = 0;
        member.content.offset = 0;
        format!("{member:?}")
    }

    #[test]
    fn a_bare_stream_has_the_same_members() {
        let sparse =
            [(&b"GNU.sparse.major"[..], &b"1"[..]), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9000")];
        let map = [&b"1\n4096\n600\n"[..], &[0; 501], &[7; 600]].concat();
        let stream = Stream::new()
            .file(b"a", &[b'a'; 5000])
            .file(b"empty", b"")
            .pax(&[(b"path", &[b'p'; 300])])
            .file(b"short", b"content that is padded")
            .member(Member::new(b'5', b"d/"))
            .pax(&sparse)
            .file(b"s", &map)
            .file(b"whole", &[b'w'; 1024])
            .member(Member::new(b'2', b"l").link(b"a"))
            .pax(&[(b"comment", b"the last header describes nothing")]);
        for (name, stream) in [("whole", stream.end()), ("without end", Stream::new().file(b"z", &[1; 700]).0)] {
            let mut bare = Vec::new();
            let written = without_contents(Reader::new(&*stream, &Limits::default()), &mut bare, &|| Ok(())).unwrap();
            assert_eq!(written, bare.len() as u64, "{name}");
            assert!(bare.len() < stream.len() - 600, "{name}: {} of {} bytes", bare.len(), stream.len());
            let of = |stream: &[u8], bare| members(stream, bare).into_iter().map(shown).collect::<Vec<_>>();
            assert_eq!(of(&bare, true), of(&stream, false), "{name}");
        }
    }

    #[test]
    fn what_is_no_tar_stream_has_no_bare_one() {
        let stream = Stream::new().file(b"a", &[1; 700]).0;
        for cut in [700, 1100, 100] {
            let members = Reader::new(&stream[..cut], &Limits::default());
            let fault = without_contents(members, &mut Vec::new(), &|| Ok(())).unwrap_err();
            assert!(matches!(fault, BareFault::Tar(_)), "{cut}: {fault:?}");
        }
        let stop = || Err(io::ErrorKind::Interrupted.into());
        let members = Reader::new(&*stream, &Limits::default());
        assert!(matches!(without_contents(members, &mut Vec::new(), &stop), Err(BareFault::Io(_))));
    }
}
