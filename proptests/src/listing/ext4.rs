//! Lists the content of an ext4 image from its bytes.
//!
//! The reader is that of the crate `mkext4`, which verifies the checksums of what it reads. It supports only blocks of
//! 4,096 bytes. It does not compare link counts and directory entries with the inodes, which is done here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use mkext4::reader::{DirEntry, FileExtent, Fs};
use mkext4::spec::inode::FileType;
use mkext4::spec::{Inode, file_type};

use super::node::{Contents, Kind, Node};
use super::text::escape;
use super::{Listing, ReadError};
use crate::Mtime;

const ROOT: u32 = 2;
/// The largest stored link count of a directory; with more links it is 1 (the feature `dir_nlink`).
const MOST_LINKS: usize = 65_000;

/// A contradiction in an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ext4Problem {
    /// The link count differs from the number of links.
    #[error("has a link count of {stored}, but {found} links")]
    LinkCount {
        /// The count in the inode.
        stored: u16,
        /// The number of links found.
        found: usize,
    },
    /// The type in the directory entry differs from that of the inode.
    #[error("has type {entry} in its directory and mode {mode:o} in its inode")]
    Type {
        /// The type in the directory entry.
        entry: u8,
        /// The mode in the inode.
        mode: u16,
    },
    /// A directory has two entries of the same name.
    #[error("is there twice")]
    Duplicate,
    /// A directory has two names.
    #[error("is a directory that has another name already")]
    SecondName,
    /// A name is empty or contains `/` or NUL.
    #[error("is no name")]
    Name,
    /// The kernel does not know the namespace of an xattr.
    #[error("has an extended attribute in namespace {0}")]
    Namespace(u8),
}

impl Listing {
    /// Reads an ext4 image file; an empty `lost+found` is left out.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not an ext4 filesystem that the reader supports (blocks of 4,096 bytes, extents, no
    /// inline data, no xattr values in inodes of their own), is damaged, or contradicts itself.
    pub fn read_ext4(image: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: escape(image.as_os_str().as_encoded_bytes()), source };
        let fs = Fs::open(File::open(image).map_err(io)?)?;
        let names = walk(&fs)?;
        let mut listing = Self::new();
        let mut first_names: BTreeMap<u32, (&[u8], u16, usize)> = BTreeMap::new();
        for (path, &number) in &names {
            if let Some((first, _, links)) = first_names.get_mut(&number) {
                *links += 1;
                listing.link(path.clone(), first);
                continue;
            }
            let inode = fs.inode(number)?;
            let node = node(&fs, number, &inode, path)?;
            if node.kind != Kind::Directory {
                first_names.insert(number, (path, inode.links_count, 1));
            }
            listing.insert(path.clone(), node);
        }
        for (path, stored, found) in first_names.into_values() {
            if usize::from(stored) != found {
                return Err(contradiction(path, Ext4Problem::LinkCount { stored, found }));
            }
        }
        if listing.has_empty_lost_found() {
            listing.remove(b"/lost+found");
        }
        Ok(listing)
    }
}

/// Returns the inode number of each path.
fn walk(fs: &Fs<File>) -> Result<BTreeMap<Vec<u8>, u32>, ReadError> {
    let mut names = BTreeMap::from([(b"/".to_vec(), ROOT)]);
    let mut directories = BTreeSet::from([ROOT]);
    let mut open = vec![(b"/".to_vec(), ROOT)];
    while let Some((directory, number)) = open.pop() {
        let mut links = 2;
        for entry in fs.read_dir(number)? {
            if matches!(&entry.name[..], b"." | b"..") {
                continue;
            }
            let separator: &[u8] = if directory == b"/" { b"" } else { b"/" };
            let path = [&directory, separator, &entry.name].concat();
            let is_directory = check(fs, &entry, &path)?;
            if names.insert(path.clone(), entry.inode).is_some() {
                return Err(contradiction(&path, Ext4Problem::Duplicate));
            }
            if is_directory {
                if !directories.insert(entry.inode) {
                    return Err(contradiction(&path, Ext4Problem::SecondName));
                }
                links += 1;
                open.push((path, entry.inode));
            }
        }
        let stored = fs.inode(number)?.links_count;
        if usize::from(stored) != links && !(stored == 1 && links > MOST_LINKS) {
            return Err(contradiction(&directory, Ext4Problem::LinkCount { stored, found: links }));
        }
    }
    Ok(names)
}

/// Checks a directory entry against its inode; returns true if it is a directory's.
fn check(fs: &Fs<File>, entry: &DirEntry, path: &[u8]) -> Result<bool, ReadError> {
    if entry.name.is_empty() || entry.name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(contradiction(path, Ext4Problem::Name));
    }
    let inode = fs.inode(entry.inode)?;
    let expected = match inode.file_type() {
        FileType::Regular => file_type::REG,
        FileType::Dir => file_type::DIR,
        FileType::Symlink => file_type::SYMLINK,
        FileType::CharDev => file_type::CHR,
        FileType::BlockDev => file_type::BLK,
        FileType::Fifo => file_type::FIFO,
        FileType::Socket => file_type::SOCK,
        FileType::Unknown => 0,
    };
    if entry.file_type != expected || expected == 0 {
        return Err(contradiction(path, Ext4Problem::Type { entry: entry.file_type, mode: inode.mode }));
    }
    Ok(expected == file_type::DIR)
}

fn node(fs: &Fs<File>, number: u32, inode: &Inode, path: &[u8]) -> Result<Node, ReadError> {
    let (major, minor) = inode.dev_numbers().unwrap_or_default();
    let kind = match inode.file_type() {
        FileType::Regular => {
            let extents = fs.extents(number, inode)?;
            let reader = FileReader { fs, inode, extents, offset: 0, error: None };
            Kind::File(reader.contents()?)
        }
        FileType::Dir | FileType::Unknown => Kind::Directory,
        FileType::Symlink => Kind::Symlink(fs.symlink_target(number)?),
        FileType::CharDev => Kind::CharDevice { major, minor },
        FileType::BlockDev => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
    };
    let (seconds, nanos) = Inode::timestamp(inode.mtime, inode.mtime_extra);
    let mut xattrs = BTreeMap::new();
    for entry in fs.xattrs(number)? {
        let namespace = || contradiction(path, Ext4Problem::Namespace(entry.name_index));
        let name = entry.full_name().ok_or_else(namespace)?;
        let is_acl = name.starts_with(b"system.posix_acl_");
        let value = if is_acl { acl_from_disk(&entry.value) } else { None };
        xattrs.insert(name, value.unwrap_or(entry.value));
    }
    let (mode, uid, gid) = (inode.mode & 0o7777, inode.uid, inode.gid);
    Ok(Node { kind, mode, uid, gid, mtime: Mtime { seconds, nanos }, xattrs })
}

fn contradiction(path: &[u8], problem: Ext4Problem) -> ReadError {
    ReadError::Contradiction { path: path.to_vec(), problem }
}

/// Returns a POSIX ACL in the form of `getxattr`; `None` for a value that is not in ext4's form, which is then used
/// unchanged.
fn acl_from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let mut rest = disk.strip_prefix(&1_u32.to_le_bytes())?;
    let mut acl = 2_u32.to_le_bytes().to_vec();
    while let [tag_low, tag_high, perm_low, perm_high, tail @ ..] = rest {
        acl.extend([tag_low, tag_high, perm_low, perm_high]);
        rest = tail;
        if matches!(u16::from_le_bytes([*tag_low, *tag_high]), USER | GROUP) {
            let (id, tail) = rest.split_at_checked(4)?;
            acl.extend(id);
            rest = tail;
        } else {
            acl.extend(u32::MAX.to_le_bytes());
        }
    }
    rest.is_empty().then_some(acl)
}

struct FileReader<'a> {
    fs: &'a Fs<File>,
    inode: &'a Inode,
    extents: Vec<FileExtent>,
    offset: u64,
    error: Option<mkext4::Error>,
}

impl FileReader<'_> {
    fn contents(mut self) -> Result<Contents, ReadError> {
        match Contents::read(&mut self) {
            Ok(contents) => Ok(contents),
            Err(error) => Err(self.error.unwrap_or(mkext4::Error::Io(error)).into()),
        }
    }
}

impl io::Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.fs.read_file_at(self.inode, &self.extents, self.offset, buffer) {
            Ok(count) => {
                self.offset += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.error = Some(error);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use mkext4::sink::VecSink;
    use mkext4::{FsBuilder, InodeHandle, Meta, Options, ROOT, SpecialKind};

    use super::*;

    fn meta(mode: u16, uid: u32, gid: u32, mtime: (i64, u32)) -> Meta {
        Meta::new(mode, uid, gid, mtime)
    }

    fn plain() -> Meta {
        meta(0o644, 0, 0, (0, 0))
    }

    /// Returns an image file with the declared files and their contents.
    fn image(declare: impl FnOnce(&mut FsBuilder) -> Vec<(InodeHandle, Vec<u8>)>) -> tempfile::NamedTempFile {
        let mut builder = FsBuilder::new(Options::new(16 << 20, [7; 16], 1)).unwrap();
        builder.set_meta(ROOT, meta(0o755, 0, 0, (0, 0))).unwrap();
        let files = declare(&mut builder);
        let layout = builder.seal().unwrap();
        let mut sink = VecSink::default();
        let mut writer = layout.writer(&mut sink).unwrap();
        for (handle, content) in files {
            writer.fill(handle, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &sink.buf).unwrap();
        file
    }

    fn listed(declare: impl FnOnce(&mut FsBuilder) -> Vec<(InodeHandle, Vec<u8>)>) -> String {
        Listing::read_ext4(image(declare).path()).unwrap().to_string()
    }

    #[test]
    fn every_type_and_field_is_read() {
        let text = listed(|b| {
            let file = b.file(ROOT, "f", meta(0o4755, 70_000, 4_294_967_294, (-1, 500_000_000)), 4).unwrap();
            b.hardlink(ROOT, "a", file).unwrap();
            b.set_xattr(file, "security.capability", b"\x01\0\0\x0a").unwrap();
            let directory = b.mkdir(ROOT, "d", meta(0o1777, 1, 2, (15_032_385_535, 999_999_999))).unwrap();
            b.symlink(directory, "short", "target", meta(0o777, 0, 0, (0, 0))).unwrap();
            b.symlink(directory, "long", "t".repeat(100), meta(0o777, 0, 0, (0, 0))).unwrap();
            b.mknod(directory, "c", plain(), SpecialKind::Char { major: 1, minor: 3 }).unwrap();
            b.mknod(directory, "b", plain(), SpecialKind::Block { major: 4095, minor: 1_048_575 }).unwrap();
            b.mknod(directory, "p", plain(), SpecialKind::Fifo).unwrap();
            b.mknod(directory, "s", plain(), SpecialKind::Socket).unwrap();
            vec![(file, b"data".to_vec())]
        });
        let expected = format!(
            r#"/ d 0755 0:0 0
/a f 4755 70000:4294967294 -0.5 text="data" xattr.security.capability=0x0100000a
/d d 1777 1:2 15032385535.999999999
/d/b b 0644 0:0 0 dev=4095:1048575
/d/c c 0644 0:0 0 dev=1:3
/d/long l 0777 0:0 0 -> {}
/d/p p 0644 0:0 0
/d/s s 0644 0:0 0
/d/short l 0777 0:0 0 -> target
/f = /a
"#,
            "t".repeat(100)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_lost_found_is_omitted() {
        assert_eq!(listed(|_| Vec::new()), "/ d 0755 0:0 0\n");
    }

    #[test]
    fn an_acl_is_listed_as_the_kernel_gives_it() {
        let disk = b"\x01\0\0\0\x01\0\x06\0\x02\0\x04\0\xe8\x03\0\0\x10\0\x06\0";
        let kernel = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x10\0\x06\0\xff\xff\xff\xff";
        assert_eq!(acl_from_disk(disk).as_deref(), Some(&kernel[..]));
        assert_eq!(acl_from_disk(kernel), None, "this is no disk form");
        assert_eq!(acl_from_disk(&disk[..disk.len() - 1]), None);
    }

    /// The inodes of the image are numbered in the order of declaration, from 12; 11 is `lost+found`.
    const FIRST: u32 = 12;

    /// Changes bytes of an inode and updates its checksum.
    fn patch(image: &Path, number: u32, offset: usize, bytes: &[u8]) {
        let file = File::options().read(true).write(true).open(image).unwrap();
        let fs = Fs::open(file.try_clone().unwrap()).unwrap();
        let mut raw = fs.inode_raw(number).unwrap();
        raw[offset..offset + bytes.len()].copy_from_slice(bytes);
        let sum = mkext4::csum::inode(fs.fs_seed(), number, fs.inode(number).unwrap().generation, &raw).to_le_bytes();
        raw[0x7c..0x7e].copy_from_slice(&sum[..2]);
        raw[0x82..0x84].copy_from_slice(&sum[2..]);
        let at = fs.group_desc(0).unwrap().inode_table * 4096 + u64::from(number - 1) * 256;
        file.write_all_at(&raw, at).unwrap();
    }

    #[test]
    fn contradictions_of_names_and_inodes_are_errors() {
        for (number, offset, bytes, message) in [
            (FIRST, 0x1a, [3, 0], "/a in the image has a link count of 3, but 2 links"),
            (ROOT_NUMBER, 0x1a, [9, 0], "/ in the image has a link count of 9, but 3 links"),
            (FIRST, 0, [0xa4, 0x11], "/f in the image has type 1 in its directory and mode 10644 in its inode"),
        ] {
            let image = image(|b| {
                let file = b.file(ROOT, "f", plain(), 0).unwrap();
                b.hardlink(ROOT, "a", file).unwrap();
                Vec::new()
            });
            Listing::read_ext4(image.path()).unwrap();
            patch(image.path(), number, offset, &bytes);
            assert_eq!(Listing::read_ext4(image.path()).unwrap_err().to_string(), message);
        }
    }

    const ROOT_NUMBER: u32 = super::ROOT;

    #[test]
    fn damage_is_an_error() {
        let file = image(|_| Vec::new());
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[1024 + 0x68] ^= 1;
        std::fs::write(file.path(), &bytes).unwrap();
        assert!(matches!(Listing::read_ext4(file.path()), Err(ReadError::Ext4(_))));
        assert!(matches!(Listing::read_ext4(Path::new("/nowhere/at/all")), Err(ReadError::Io { .. })));
    }
}
