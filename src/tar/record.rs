//! The keys of PAX records and their treatment.
//!
//! The tables here list every key that a program is known to write. A key in no table may carry anything, so its record
//! counts as metadata that is not carried over.

/// The meaning of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// It replaces a field of the header.
    Field(Field),
    /// An xattr of this name with a raw value.
    Xattr(&'a [u8]),
    /// An xattr of this name, URL-encoded, with a value in base64.
    EncodedXattr(&'a [u8]),
    /// The SELinux label, without the NUL byte at its end.
    Label,
    /// A POSIX ACL as text.
    Acl(AclKind),
    /// A key of sparse files, without the common prefix.
    Sparse(&'a [u8]),
    /// The file type in words, which adds to the header only if it is an unusual one.
    FileType,
    /// It repeats a header, or describes the archive, access times, or the machine that made it.
    Silent,
    /// It describes the file and is not carried over.
    Dropped,
}

/// A field of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Path,
    Linkpath,
    Uid,
    Gid,
    Size,
    Mtime,
    Major,
    Minor,
}

impl Field {
    pub(super) const COUNT: usize = Self::Minor as usize + 1;
}

/// The kind of an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AclKind {
    Access,
    Default,
}

/// Records that replace a field of the header.
const FIELDS: [(&[u8], Field); 10] = [
    (b"path", Field::Path),
    (b"linkpath", Field::Linkpath),
    (b"uid", Field::Uid),
    (b"gid", Field::Gid),
    (b"size", Field::Size),
    (b"mtime", Field::Mtime),
    // star and libarchive write device numbers that are too large for the header; the header then has another number.
    (b"SCHILY.devmajor", Field::Major),
    (b"SCHILY.devminor", Field::Minor),
    // Solaris tar does the same.
    (b"SUN.devmajor", Field::Major),
    (b"SUN.devminor", Field::Minor),
];

const XATTR: &[u8] = b"SCHILY.xattr.";
const ENCODED_XATTR: &[u8] = b"LIBARCHIVE.xattr.";
/// GNU tar's spelling of `security.selinux`; it sets the label with the NUL byte that the record lacks.
const LABEL: &[u8] = b"RHT.security.selinux";
const ACCESS_ACL: &[u8] = b"SCHILY.acl.access";
const DEFAULT_ACL: &[u8] = b"SCHILY.acl.default";
const FILE_TYPE: &[u8] = b"SCHILY.filetype";
/// The file types of headers. star also knows sockets, doors and others, and writes them as regular files.
const FILE_TYPES: [&[u8]; 8] =
    [b"regular", b"contiguous", b"hardlink", b"symlink", b"character special", b"block special", b"directory", b"fifo"];
/// The prefix of the keys of sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";

/// Records that may be ignored without a loss. A key that ends with a dot stands for all keys with that prefix.
const SILENT: [&[u8]; 26] = [
    // POSIX: times that planish sets itself, names of the owner beside the ids, comments, and the encoding of text:
    // names are bytes here, whatever they mean.
    b"atime",
    b"ctime",
    b"uname",
    b"gname",
    b"comment",
    b"charset",
    b"hdrcharset",
    // star: the file's location and link count on the disk of its origin.
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.ddev",
    b"SCHILY.dino",
    // star: repetitions of the header, and data to restore dumps and volumes.
    b"SCHILY.tarfiletype",
    b"SCHILY.realsize",
    b"SCHILY.offset",
    b"SCHILY.dir",
    b"SCHILY.release",
    b"SCHILY.archtype",
    b"SCHILY.volhdr.",
    // GNU tar: the content of a directory during an incremental dump, and volumes.
    b"GNU.dumpdir",
    b"GNU.volume.label",
    b"GNU.volume.filename",
    b"GNU.volume.size",
    b"GNU.volume.offset",
    // libarchive: the creation time of the file, which on Linux is that of the inode.
    b"LIBARCHIVE.creationtime",
    // apk of Alpine: digests of contents.
    b"APK-TOOLS.checksum.",
];

/// Returns true if a file type in words is one that the header has as well.
pub(super) fn is_plain_type(words: &[u8]) -> bool {
    FILE_TYPES.contains(&words)
}

/// Returns the meaning of a record's key.
pub(super) fn meaning(key: &[u8]) -> Record<'_> {
    if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == key) {
        return Record::Field(*field);
    }
    if let Some(name) = key.strip_prefix(XATTR) {
        return Record::Xattr(name);
    }
    if let Some(name) = key.strip_prefix(ENCODED_XATTR) {
        return Record::EncodedXattr(name);
    }
    if let Some(key) = key.strip_prefix(SPARSE) {
        return Record::Sparse(key);
    }
    match key {
        LABEL => Record::Label,
        ACCESS_ACL => Record::Acl(AclKind::Access),
        DEFAULT_ACL => Record::Acl(AclKind::Default),
        FILE_TYPE => Record::FileType,
        _ if SILENT.iter().any(|silent| *silent == key || silent.ends_with(b".") && key.starts_with(silent)) => {
            Record::Silent
        }
        _ => Record::Dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as programs write them: GNU tar 1.34, star 1.6, libarchive 3.7, Go's backuptar, Solaris tar, apk.
    #[test]
    fn every_known_pax_key_is_decoded() {
        let silent = [
            "atime",
            "ctime",
            "comment",
            "charset",
            "hdrcharset",
            "uname",
            "gname",
            "SCHILY.dev",
            "SCHILY.ino",
            "SCHILY.nlink",
            "SCHILY.realsize",
            "SCHILY.dir",
            "SCHILY.offset",
            "SCHILY.release",
            "SCHILY.archtype",
            "SCHILY.tarfiletype",
            "SCHILY.volhdr.label",
            "GNU.dumpdir",
            "GNU.volume.label",
            "LIBARCHIVE.creationtime",
            "APK-TOOLS.checksum.SHA1",
        ];
        for key in silent {
            assert_eq!(meaning(key.as_bytes()), Record::Silent, "{key}");
        }
        let dropped = [
            "SCHILY.fflags",
            "SCHILY.acl.ace",
            "SCHILY.acl.type",
            "SCHILY.xattr",
            "LIBARCHIVE.symlinktype",
            "LIBARCHIVE.xattr",
            "MSWINDOWS.fileattr",
            "MSWINDOWS.rawsd",
            "MSWINDOWS.mountpoint",
            "MSWINDOWS.xattr.a",
            "SUN.holesdata",
            "APPLE.metadata",
            "com.apple.quarantine",
            "RHT.security.other",
            "GNU.other",
            "realtime.x",
            "security.x",
            "APK-TOOLS.other",
            "atime2",
            "path ",
            "Path",
            "",
            "SCHILY.dev2",
            "SCHILY.volhdr",
        ];
        for key in dropped {
            assert_eq!(meaning(key.as_bytes()), Record::Dropped, "{key}");
        }
        let table: [(&[u8], Record<'_>); 12] = [
            (b"path", Record::Field(Field::Path)),
            (b"mtime", Record::Field(Field::Mtime)),
            (b"SCHILY.devmajor", Record::Field(Field::Major)),
            (b"SUN.devminor", Record::Field(Field::Minor)),
            (b"SCHILY.xattr.user.a=", Record::Xattr(b"user.a=")),
            (b"SCHILY.xattr.", Record::Xattr(b"")),
            (b"LIBARCHIVE.xattr.user.a%20b", Record::EncodedXattr(b"user.a%20b")),
            (b"RHT.security.selinux", Record::Label),
            (b"SCHILY.acl.access", Record::Acl(AclKind::Access)),
            (b"SCHILY.acl.default", Record::Acl(AclKind::Default)),
            (b"GNU.sparse.map", Record::Sparse(b"map")),
            (b"SCHILY.filetype", Record::FileType),
        ];
        for (key, expected) in table {
            assert_eq!(meaning(key), expected, "{}", key.escape_ascii());
        }
        assert!(is_plain_type(b"character special") && !is_plain_type(b"socket") && !is_plain_type(b""));
    }
}
