//! A tar archive whose members are looked up by name.

use std::collections::HashMap;
use std::path::Path;

use super::OpenOptions;
use crate::error::{Error, ErrorKind, Found, ImageProblem, Place, Result};
use crate::limits::Limit;
use crate::path::ImagePath;
use crate::read_at::FileSlice;
use crate::tar::{Entry, Kind, Reader};

/// The members of an archive, under their cleaned names; of a name that stands twice the last member counts.
#[derive(Debug)]
pub(super) struct Archive {
    data: FileSlice,
    members: HashMap<ImagePath, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    File { offset: u64, len: u64 },
    Link(ImagePath),
    Other,
}

/// How many links lead to a file at most, as for the kernel.
const MAX_HOPS: usize = 40;

impl Archive {
    /// Reads the archive's headers; `name` is what messages call it.
    pub(super) fn index(data: FileSlice, name: &str, path: &Path, options: &OpenOptions<'_>) -> Result<Self> {
        let mut members: HashMap<ImagePath, Member> = HashMap::new();
        for entry in Reader::new(&data, options.limits.extension_bytes) {
            options.cancel.check()?;
            let entry = entry.map_err(|fault| fault.in_archive(name, path))?;
            if entry.number > options.limits.entries {
                let (limit, allowed) = (Limit::Entries, options.limits.entries);
                let place = Place::File(name.to_owned());
                return Err(ErrorKind::Limit { place, limit, allowed, found: Found::MoreThan(allowed) }.into());
            }
            let refused = |fault| {
                let place = Place::File(format!("{name}: entry {}", entry.number));
                Error::image(place, ImageProblem::Path(fault))
            };
            let key = ImagePath::of_entry(&entry.name).map_err(refused)?;
            let member = match entry.kind {
                Kind::File if entry.content.map.is_none() => {
                    Member::File { offset: entry.content.offset, len: entry.content.stored }
                }
                Kind::HardLink => {
                    let target = ImagePath::of_link_target(&entry.link).map_err(refused)?;
                    members.get(&target).cloned().unwrap_or(Member::Link(target))
                }
                Kind::Symlink => Member::Link(symlink_target(&key, &entry).map_err(refused)?),
                _ => Member::Other,
            };
            members.insert(key, member);
        }
        Ok(Self { data, members })
    }

    /// Returns a file's content, links followed inside the archive; `None` when there is no such member.
    pub(super) fn open(&self, name: &[u8]) -> std::result::Result<Option<FileSlice>, ImageProblem> {
        let mut path = ImagePath::of_entry(name).map_err(ImageProblem::Path)?;
        for hops in 0..=MAX_HOPS {
            match self.members.get(&path) {
                Some(Member::File { offset, len }) => return Ok(Some(self.data.slice(*offset, *len))),
                Some(Member::Link(target)) => path = target.clone(),
                Some(Member::Other) => return Err(ImageProblem::NotAFile),
                None if hops == 0 => return Ok(None),
                None => break,
            }
        }
        Err(ImageProblem::DanglingLink)
    }
}

fn symlink_target(link: &ImagePath, entry: &Entry) -> std::result::Result<ImagePath, crate::path::PathFault> {
    match link.split_last() {
        Some((parent, _)) if entry.link.first() != Some(&b'/') => {
            ImagePath::of_link_target(&[parent, b"/", &entry.link].concat())
        }
        _ => ImagePath::of_link_target(&entry.link),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::cancel::Cancel;
    use crate::limits::Limits;
    use crate::tar::build::{Member as TarMember, Stream};

    fn index(stream: &[u8], limits: &Limits) -> Result<Archive> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(stream).unwrap();
        let cancel = Cancel::default();
        let (work_dir, progress) = (Path::new("/nonexistent"), &crate::progress::Silent);
        let options = OpenOptions { platform: None, limits, work_dir, remote: None, progress, cancel: &cancel };
        Archive::index(FileSlice::whole(file).unwrap(), "x.tar", Path::new("x.tar"), &options)
    }

    fn look_up(archive: &Archive, name: &str) -> std::result::Result<Option<String>, String> {
        let slice = archive.open(name.as_bytes()).map_err(|problem| problem.to_string())?;
        Ok(slice.map(|slice| {
            let mut text = String::new();
            slice.reader().read_to_string(&mut text).unwrap();
            text
        }))
    }

    #[test]
    fn members_are_found_under_clean_names_and_through_links() {
        let link =
            |typeflag, name: &str, target: &str| TarMember::new(typeflag, name.as_bytes()).link(target.as_bytes());
        let stream = Stream::new()
            .file(b"./a", b"first")
            .member(link(b'1', "hard", "a"))
            .file(b"a", b"last")
            .file(b"x/layer.tar", b"layer")
            .member(link(b'2', "y/layer.tar", "../x/layer.tar"))
            .member(link(b'2', "absolute", "/x/layer.tar"))
            .member(link(b'2', "climbing", "../../../x/layer.tar"))
            .member(link(b'2', "twice", "y/layer.tar"))
            .member(link(b'1', "forward", "later"))
            .member(link(b'2', "nowhere", "missing"))
            .member(link(b'2', "self", "self"))
            .member(TarMember::new(b'5', b"x/"))
            .file(b"later", b"later")
            .end();
        let archive = index(&stream, &Limits::default()).unwrap();
        let found = |text: &str| Ok(Some(text.to_owned()));
        let dangling = Err("is a link to a file that it does not hold".to_owned());
        for (name, want) in [
            ("a", found("last")),
            ("./a", found("last")),
            ("hard", found("first")),
            ("y/layer.tar", found("layer")),
            ("absolute", found("layer")),
            ("climbing", found("layer")),
            ("twice", found("layer")),
            ("forward", found("later")),
            ("missing", Ok(None)),
            ("nowhere", dangling.clone()),
            ("self", dangling),
            ("x", Err("is not a regular file".to_owned())),
            ("../a", Err("climbs above the root".to_owned())),
        ] {
            assert_eq!(look_up(&archive, name), want, "{name}");
        }
    }

    #[test]
    fn what_is_no_archive_or_too_long_is_refused() {
        let text = |stream: &[u8], limits: &Limits| index(stream, limits).unwrap_err().to_string();
        let limits = Limits { entries: 1, ..Limits::default() };
        let stream = Stream::new().file(b"a", b"").file(b"b", b"").end();
        assert_eq!(text(&stream, &limits), "x.tar has more than 1 entries in all layers, --max-entries allows 1");
        assert_eq!(
            text(&b"#!/bin/sh\n".repeat(100), &limits),
            "x.tar is not a tar stream: it does not begin with a header"
        );
        let cut = &Stream::new().file(b"a", b"hello").0[..514];
        assert_eq!(text(cut, &limits), "x.tar: entry 1 ends 3 bytes short");
    }
}
