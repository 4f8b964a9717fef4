//! A tar archive with lookup of members by name.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use super::OpenOptions;
use crate::error::Amount::MoreThan;
use crate::error::{Error, ErrorKind, ImageProblem, Place, Result};
use crate::limits::Limit;
use crate::memory::{ALLOCATION, Memory};
use crate::path::{ImagePath, PathFault};
use crate::read_at::FileSlice;
use crate::tar::{Extent, Kind, Reader};

/// The members of an archive by cleaned name; the last of several members with the same name is used.
///
/// The names themselves are not stored: no caller lists them.
#[derive(Debug)]
pub(super) struct Archive {
    data: FileSlice,
    members: HashMap<Key, Member>,
    keys: Keys,
}

/// A name, as two hashes with random keys, so that the archive's author cannot construct collisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(u64, u64);

#[derive(Debug, Default)]
struct Keys(RandomState, RandomState);

/// The hash state of the beginning of a name.
#[derive(Clone)]
struct Prefix(DefaultHasher, DefaultHasher);

impl Keys {
    fn begin(&self) -> Prefix {
        Prefix(self.0.build_hasher(), self.1.build_hasher())
    }

    fn of(&self, path: &ImagePath) -> Key {
        let mut prefix = self.begin();
        prefix.add(path.as_bytes());
        prefix.key()
    }
}

impl Prefix {
    fn add(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn key(&self) -> Key {
        Key(self.0.finish(), self.1.finish())
    }
}

#[derive(Debug, Clone)]
enum Member {
    File {
        offset: u64,
        len: u64,
    },
    /// A sparse file, shared by all its hard links.
    Sparse(Arc<Sparse>),
    Link(ImagePath),
    Symlink(Arc<Target>),
    Other,
}

#[derive(Debug)]
struct Sparse {
    data: Window,
    size: u64,
    map: Vec<Extent>,
}

/// The target of a symlink. Some vendors write targets relative to the archive's root, and docker read them for years:
/// the second path is tried if the first does not exist.
#[derive(Debug)]
struct Target {
    path: ImagePath,
    from_root: ImagePath,
}

impl Member {
    /// Returns the memory of the member beyond its slot in the table.
    fn memory(&self) -> u64 {
        let path = |path: &ImagePath| path.as_bytes().len() as u64 + ALLOCATION;
        match self {
            Self::File { .. } | Self::Other => 0,
            // Counted once, not for each link.
            Self::Sparse(sparse) if Arc::strong_count(sparse) > 1 => 0,
            Self::Sparse(sparse) => size_of_val(&*sparse.map) as u64 + size_of::<Sparse>() as u64 + 2 * ALLOCATION,
            Self::Link(target) => path(target),
            Self::Symlink(target) => {
                path(&target.path) + path(&target.from_root) + size_of::<Target>() as u64 + ALLOCATION
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    offset: u64,
    len: u64,
}

/// A file of an archive.
pub(super) enum ArchiveEntry {
    /// A dense file: its bytes.
    Here(FileSlice),
    /// A sparse file: its stored bytes, their positions, and the size of the file.
    Sparse(FileSlice, Vec<Extent>, u64),
}

/// The number of links that may be followed to a file, as in the kernel.
const MAX_HOPS: usize = 40;
/// The limit on the runs of data of all sparse members together.
const MAX_EXTENTS: usize = 1 << 16;
/// Bytes of a slot in the table, with its control byte.
const PLACE: u64 = size_of::<(Key, Member)>() as u64 + 1;

impl Archive {
    /// Reads the archive's headers; `name` is the name of the archive in messages.
    pub(super) fn index(data: FileSlice, name: &str, path: &Path, options: &OpenOptions<'_>) -> Result<Self> {
        let memory = Memory::of(Place::File(name.to_owned()), options.limits.metadata_bytes);
        let (mut members, keys) = (HashMap::new(), Keys::default());
        let mut extents = 0;
        for entry in Reader::new(&data, options.limits) {
            options.cancel.check()?;
            let entry = entry.map_err(|fault| fault.in_archive(name, path))?;
            if entry.number > options.limits.entries {
                let (limit, allowed) = (Limit::Entries, options.limits.entries);
                let place = Place::File(name.to_owned());
                return Err(ErrorKind::Limit { place, limit, allowed, found: MoreThan(allowed) }.into());
            }
            let refused = |fault| {
                let place = Place::File(format!("{name}: entry {}", entry.number));
                Error::image(place, ImageProblem::Path(fault))
            };
            let key = ImagePath::of_entry(&entry.name).map_err(refused)?;
            let (offset, len) = (entry.content.offset, entry.content.stored);
            let member = match (entry.kind, entry.content.map) {
                (Kind::File, None) => Member::File { offset, len },
                (Kind::File, Some(map)) if extents + map.len() <= MAX_EXTENTS => {
                    extents += map.len();
                    Member::Sparse(Arc::new(Sparse { data: Window { offset, len }, size: entry.size, map }))
                }
                (Kind::HardLink, _) => {
                    let target = ImagePath::of_link_target(&entry.link).map_err(refused)?;
                    members.get(&keys.of(&target)).cloned().unwrap_or(Member::Link(target))
                }
                (Kind::Symlink, _) => {
                    let from_root = ImagePath::of_link_target(&entry.link).map_err(refused)?;
                    let path = symlink_target(&key, &entry.link).map_err(refused)?;
                    Member::Symlink(Arc::new(Target { path, from_root }))
                }
                _ => Member::Other,
            };
            memory.take(member.memory())?;
            grow(&mut members, &memory)?;
            if let Some(old) = members.insert(keys.of(&key), member) {
                memory.give(old.memory());
            }
        }
        Ok(Self { data, members, keys })
    }

    fn member(&self, path: &ImagePath) -> Option<&Member> {
        self.members.get(&self.keys.of(path))
    }

    /// Finds a file, following links inside the archive, also to directories; `None` if there is no such member.
    pub(super) fn open(&self, name: &[u8]) -> std::result::Result<Option<ArchiveEntry>, ImageProblem> {
        let mut path = ImagePath::of_entry(name).map_err(ImageProblem::Path)?;
        for hops in 0..=MAX_HOPS {
            path = match self.member(&path) {
                Some(Member::File { offset, len }) => {
                    return Ok(Some(ArchiveEntry::Here(self.data.slice(*offset, *len))));
                }
                Some(Member::Sparse(sparse)) => {
                    let data = self.data.slice(sparse.data.offset, sparse.data.len);
                    return Ok(Some(ArchiveEntry::Sparse(data, sparse.map.clone(), sparse.size)));
                }
                Some(Member::Link(target)) => target.clone(),
                Some(Member::Symlink(target)) => self.target(target).clone(),
                Some(Member::Other) => return Err(ImageProblem::NotAFile),
                None => match self.through_directory(&path).map_err(ImageProblem::Path)? {
                    Some(path) => path,
                    None if hops == 0 => return Ok(None),
                    None => break,
                },
            };
        }
        Err(ImageProblem::DanglingLink)
    }

    fn target<'a>(&self, target: &'a Target) -> &'a ImagePath {
        let Target { path, from_root } = target;
        let leads = |path: &ImagePath| {
            self.member(path).is_some() || self.through_directory(path).is_ok_and(|path| path.is_some())
        };
        if !leads(path) && leads(from_root) { from_root } else { path }
    }

    /// Returns the path with a symlink to a directory replaced; `None` if there is none in the path.
    fn through_directory(&self, path: &ImagePath) -> std::result::Result<Option<ImagePath>, PathFault> {
        path.check_lengths()?;
        let bytes = path.as_bytes();
        let (mut above, mut from) = (self.keys.begin(), 0);
        for slash in (0..bytes.len()).filter(|&at| bytes[at] == b'/') {
            // Each byte is hashed once, at any depth of the path.
            above.add(&bytes[from..slash]);
            from = slash;
            if let Some(Member::Symlink(target)) = self.members.get(&above.key()) {
                return ImagePath::of_link_target(&[target.path.as_bytes(), &bytes[slash..]].concat()).map(Some);
            }
        }
        Ok(None)
    }
}

/// Takes the memory of the table that the next insertion allocates, in addition to the table that it replaces.
fn grow(members: &mut HashMap<Key, Member>, memory: &Memory) -> Result<()> {
    let (len, before) = (members.len(), places(members.capacity()));
    if len < members.capacity() {
        return Ok(());
    }
    let after = places(len + 1);
    memory.take(after * PLACE)?;
    members.reserve(1);
    memory.give(before * PLACE);
    Ok(())
}

/// Returns the number of slots in a table for this many values: a power of two, of which an eighth stays free.
fn places(capacity: usize) -> u64 {
    match capacity as u64 {
        0 => 0,
        capacity => (capacity * 8).div_ceil(7).next_power_of_two().max(4),
    }
}

/// Returns the target of a symlink, relative to the directory that contains it.
fn symlink_target(link: &ImagePath, target: &[u8]) -> std::result::Result<ImagePath, PathFault> {
    match link.split_last() {
        Some((parent, _)) if target.first() != Some(&b'/') => {
            ImagePath::of_link_target(&[parent, b"/", target].concat())
        }
        _ => ImagePath::of_link_target(target),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::cancel::Cancel;
    use crate::limits::Limits;
    use crate::tar::build::{Member as TarMember, Stream};
    use crate::work::Scratch;

    fn index(stream: &[u8], limits: &Limits) -> Result<Archive> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(stream).unwrap();
        let cancel = Cancel::default();
        let (scratch, progress) = (&Scratch::at(Path::new("/proc")).unwrap(), &crate::progress::NoProgress);
        let options = OpenOptions { platform: None, limits, scratch, remote: None, progress, cancel: &cancel };
        Archive::index(FileSlice::whole(file).unwrap(), "x.tar", Path::new("x.tar"), &options)
    }

    fn look_up(archive: &Archive, name: &str) -> std::result::Result<Option<String>, String> {
        let slice = archive.open(name.as_bytes()).map_err(|problem| problem.to_string())?;
        Ok(slice.map(|found| {
            let mut text = String::new();
            match found {
                ArchiveEntry::Here(slice) => slice.reader().read_to_string(&mut text).unwrap(),
                ArchiveEntry::Sparse(..) => panic!("no member is sparse"),
            };
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
            .member(link(b'2', "one", "two"))
            .member(link(b'2', "two", "one"))
            .member(link(b'2', "v/layer.tar", "later"))
            .member(link(b'2', "dir", "./x/"))
            .member(link(b'2', "w/dir", "../dir"))
            .member(link(b'2', "round", "round/x"))
            .member(TarMember::new(b'5', b"x/"))
            .file(b"later", b"later")
            .end();
        let archive = index(&stream, &Limits::default()).unwrap();
        let found = |text: &str| Ok(Some(text.to_owned()));
        let dangling = Err("is a link to a file that it does not hold".to_owned());
        for (name, expected) in [
            ("a", found("last")),
            ("./a", found("last")),
            ("hard", found("first")),
            ("y/layer.tar", found("layer")),
            ("absolute", found("layer")),
            ("climbing", found("layer")),
            ("twice", found("layer")),
            ("forward", found("later")),
            ("v/layer.tar", found("later")),
            ("dir/layer.tar", found("layer")),
            ("w/dir/layer.tar", found("layer")),
            ("one", dangling.clone()),
            ("round/x", dangling.clone()),
            ("dir/missing", dangling.clone()),
            ("missing", Ok(None)),
            ("nowhere", dangling.clone()),
            ("self", dangling),
            ("x", Err("is not a regular file".to_owned())),
            ("../a", Err("climbs above the root".to_owned())),
        ] {
            assert_eq!(look_up(&archive, name), expected, "{name}");
        }
    }

    fn within(stream: &[u8], metadata_bytes: u64) -> std::result::Result<Archive, String> {
        let limits = Limits { metadata_bytes, ..Limits::default() };
        index(stream, &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn long_names_take_no_memory() {
        let stream = (0..1000).fold(Stream::new(), |stream, number| {
            let name = format!("{number:03}{}", "/d".repeat(1500));
            stream.pax(&[(b"path", name.as_bytes())]).file(b"x", b"")
        });
        let archive = within(&stream.end(), 256 << 10).unwrap();
        assert_eq!(look_up(&archive, &format!("999{}", "/d".repeat(1500))), Ok(Some(String::new())));
        assert_eq!(look_up(&archive, "x"), Ok(None));
    }

    #[test]
    fn many_members_and_targets_of_links_count_against_the_budget() {
        let refused = "x.tar has more than 262144 bytes of metadata in memory, --max-metadata-bytes allows 262144";
        for (typeflag, least) in [(b'1', 80), (b'2', 40)] {
            let stream = |names: usize, count: usize| {
                let link = |stream: Stream, number: usize| {
                    let target = format!("{number:03}{}", "/d".repeat(1500));
                    let name = format!("l{}", number % names);
                    let member = TarMember::new(typeflag, name.as_bytes());
                    Stream::pax(stream, &[(b"linkpath", target.as_bytes())]).member(member)
                };
                (0..count).fold(Stream::new(), link).end()
            };
            assert!(within(&stream(least, least), 256 << 10).is_ok(), "{}", char::from(typeflag));
            assert_eq!(within(&stream(200, 200), 256 << 10).unwrap_err(), refused, "{}", char::from(typeflag));
            // Replaced members are removed from the table.
            assert!(within(&stream(4, 200), 256 << 10).is_ok(), "{}", char::from(typeflag));
        }
        let many = (0..10_000).fold(Stream::new(), |stream, number| stream.file(format!("{number}").as_bytes(), b""));
        assert_eq!(within(&many.end(), 256 << 10).unwrap_err(), refused);
    }

    #[test]
    fn hard_links_share_the_map_of_a_sparse_member() {
        let extents = 3000;
        let mut map = format!("{extents}\n").into_bytes();
        (0..extents).for_each(|n| map.extend(format!("{}\n1\n", n * 8192).bytes()));
        map.resize(map.len().next_multiple_of(512) + extents, b'x');
        let size = (extents * 8192).to_string();
        let records: [(&[u8], &[u8]); 4] = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"sparse"),
            (b"GNU.sparse.realsize", size.as_bytes()),
        ];
        let stream = Stream::new().pax(&records).member(TarMember::new(b'0', b"x").data(&map));
        let link = |stream: Stream, number: usize| {
            stream.member(TarMember::new(b'1', format!("{number}").as_bytes()).link(b"sparse"))
        };
        // A copy for each link would take 48 KB.
        let archive = within(&(0..500).fold(stream, link).end(), 256 << 10).unwrap();
        for name in ["sparse", "499"] {
            let Ok(Some(ArchiveEntry::Sparse(_, map, size))) = archive.open(name.as_bytes()) else { panic!("{name}") };
            assert_eq!((map.len(), size), (3000, 3000 * 8192));
        }
    }

    #[test]
    fn the_table_has_the_size_that_the_budget_counts() {
        assert_eq!(PLACE, 41);
        for len in [1, 3, 4, 7, 8, 14, 15, 1000, 7168, 7169] {
            let mut table: HashMap<Key, Member> = HashMap::new();
            table.reserve(len);
            let taken = places(len);
            assert!(places(table.capacity()) == taken || len < 16 && places(table.capacity()) <= 2 * taken, "{len}");
        }
    }

    #[test]
    fn other_files_and_long_members_are_refused() {
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
