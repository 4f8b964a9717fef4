//! Converts the tar entries of a layer to changes, and refuses what no Linux filesystem can hold.

use bytes::Bytes;

use super::acl::{self, Acls};
use super::decode::{Budget, Layer};
use super::entry::{Action, Body, Change, Content, Device, DeviceKind, Entry, Metadata};
use super::whiteout::{self, NameClass};
use crate::error::{Amount, EntryPlace, Error, ErrorKind, ImageProblem, Place, Result};
use crate::limits::{Limit, SPACE_UNIT};
use crate::note::{Note, NoteKind, Notes};
use crate::path::{ImagePath, PATH_MAX, Quoted};
use crate::tar;

/// The largest uid and gid: -1 means "leave it unchanged" to `chown`.
const ID_MAX: u64 = 0xffff_fffe;
const MAJOR_MAX: u64 = 0xfff;
const MINOR_MAX: u64 = 0xf_ffff;
/// The xattrs of other filesystems, which archivers take along and ext4 has no place for; a final dot stands for all names
/// in a namespace.
const OF_OTHERS: [&[u8]; 21] = [
    b"bcachefs.",
    b"bcachefs_effective.",
    b"btrfs.",
    b"ceph.",
    b"cifs.",
    b"glusterfs.",
    b"lustre.",
    b"ntfs.",
    b"os2.",
    b"osx.",
    b"smb3.",
    b"system.cifs_acl",
    b"system.cifs_ntsd",
    b"system.cifs_ntsd_full",
    b"system.nfs4_acl",
    b"system.nfs4_dacl",
    b"system.nfs4_sacl",
    b"system.ntfs_acl",
    b"system.ntfs_attrib",
    b"system.pvfs2.",
    b"system.richacl",
];
const SYMLINK_MODE: u16 = 0o777;

/// The changes of a layer in the order of its stream. See [`Layer::changes`].
pub struct Changeset<'a> {
    layer: &'a Layer,
    members: tar::Reader<Bytes>,
    budget: &'a Budget,
    keep_selinux: bool,
    notes: &'a Notes,
}

impl Layer {
    /// Returns the changes of the layer's stream.
    ///
    /// Adds what it adapts or drops to `notes`. Drops `security.selinux` labels, which belong to the machine that made
    /// the layer, unless `keep_selinux`.
    pub fn changes<'a>(&'a self, budget: &'a Budget, keep_selinux: bool, notes: &'a Notes) -> Changeset<'a> {
        let members = tar::Reader::new(self.tar.clone(), budget.limits()).with_extents_left(budget.extents_left());
        let members = members.of_bare(self.absent.is_some());
        Changeset { layer: self, members, budget, keep_selinux, notes }
    }
}

impl Iterator for Changeset<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            self.layer.spool.iter().for_each(|spool| spool.touch(0));
            let member = match self.members.next()? {
                Ok(member) => member,
                Err(fault) => return Some(Err(fault.in_layer(&self.layer.place, "the layer's spool".as_ref()))),
            };
            self.budget.leave_extents(self.members.extents_left());
            if let Err(error) = self.budget.spend_entry() {
                return Some(Err(error));
            }
            let (number, name) = (member.number, member.name.clone());
            match self.action(member) {
                Ok(Some(action)) => return Some(Ok(Change { number, action })),
                Ok(None) => {}
                Err(problem) => return Some(Err(self.refusal(number, name, problem))),
            }
        }
    }
}

/// The reason why an entry is refused.
enum Refusal {
    Image(ImageProblem),
    FileBytes(u64),
    Other(Error),
}

impl<P: Into<ImageProblem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self::Image(problem.into())
    }
}

impl Changeset<'_> {
    /// Returns the action of a tar entry; `None` for AUFS bookkeeping of an unknown kind.
    fn action(&mut self, mut member: tar::TarEntry) -> std::result::Result<Option<Action>, Refusal> {
        for key in std::mem::take(&mut member.skipped) {
            self.note_of(NoteKind::GlobalHeader, b"", &key);
        }
        let path = ImagePath::of_entry(&member.name)?;
        let class = whiteout::classify(&path);
        let bookkeeping = match class {
            NameClass::Invalid => return Err(ImageProblem::InvalidWhiteout.into()),
            NameClass::Marker(hidden) => {
                hidden.path().check_lengths()?;
                return Ok(Some(Action::Hide(hidden)));
            }
            NameClass::Bookkeeping => true,
            NameClass::Ordinary => false,
        };
        path.check_lengths()?;
        if whiteout::marker_among_parents(&path) {
            self.note(NoteKind::MarkerInPath, &path, b"");
        }
        // The size in the filesystem: the bytes stored in the layer were counted during decoding.
        let (kind, size) = (member.kind, member.content.allocated(SPACE_UNIT).max(member.content.stored));
        let body = match kind {
            tar::Kind::Directory => Body::Directory,
            tar::Kind::File if size > self.budget.limits().file_bytes => return Err(Refusal::FileBytes(size)),
            tar::Kind::File => {
                self.budget.spend_bytes(size - member.content.stored).map_err(Refusal::Other)?;
                Body::File(self.content(&member))
            }
            tar::Kind::Symlink if (1..=PATH_MAX).contains(&member.link.len()) => Body::Symlink(member.link.clone()),
            tar::Kind::Symlink => return Err(ImageProblem::SymlinkTarget(member.link.len()).into()),
            tar::Kind::HardLink => Body::HardLink(ImagePath::of_link_target(&member.link)?),
            tar::Kind::CharDevice => Body::Device(device(DeviceKind::Character, &member)?),
            tar::Kind::BlockDevice => Body::Device(device(DeviceKind::Block, &member)?),
            tar::Kind::Fifo => Body::Fifo,
            tar::Kind::Unknown(_) if bookkeeping => return Ok(None),
            tar::Kind::Unknown(flag) => {
                return Err(ImageProblem::UnknownType(format!("\"{}\"", crate::path::Escaped(&[flag]))).into());
            }
        };
        let metadata = self.metadata(member, &path)?;
        Ok(Some(Action::Add(Entry { path, bookkeeping, metadata, body })))
    }

    fn metadata(&mut self, mut member: tar::TarEntry, path: &ImagePath) -> std::result::Result<Metadata, ImageProblem> {
        let id = |what, value| {
            u32::try_from(value).ok().filter(|id| u64::from(*id) <= ID_MAX).ok_or(ImageProblem::OutOfRange {
                what,
                value,
                max: ID_MAX,
            })
        };
        let (uid, gid) = (id("uid", member.uid)?, id("gid", member.gid)?);
        let (mtime, clamped) = member.mtime.clamp_to_ext4();
        if clamped {
            self.note(NoteKind::TimeClamped, path, b"");
        }
        let is_symlink = member.kind == tar::Kind::Symlink;
        if let Some(odd) = member.xattrs.iter().find(|xattr| xattr.name.contains(&0)) {
            return Err(ImageProblem::XattrName(Quoted(&odd.name).to_string()));
        }
        let mode = self.apply_acls(&mut member, path)?;
        // Linux ignores the mode of a symlink; all tools create symlinks with mode 0777.
        let mode = if is_symlink { SYMLINK_MODE } else { mode };
        let (kept, dropped): (Vec<tar::Xattr>, Vec<tar::Xattr>) =
            member.xattrs.into_iter().partition(|xattr| !self.is_dropped(&xattr.name, is_symlink));
        if member.kind != tar::Kind::HardLink {
            let dropped = dropped.iter().map(|xattr| (NoteKind::XattrDropped, &xattr.name));
            let ambiguous = member.ambiguous.iter().map(|name| (NoteKind::XattrAmbiguous, name));
            let records = member.dropped.iter().map(|key| (NoteKind::RecordDropped, key));
            for (kind, name) in dropped.chain(ambiguous).chain(records) {
                self.note(kind, path, name);
            }
        }
        Ok(Metadata { mode, uid, gid, mtime, xattrs: kept.into_iter().collect() })
    }

    /// Converts ACLs in text form to xattrs, and returns the mode. An access ACL sets the mode, as if tar set the ACL
    /// after the mode. An ACL that is an xattr already takes precedence over one in text form.
    fn apply_acls(&mut self, member: &mut tar::TarEntry, path: &ImagePath) -> std::result::Result<u16, ImageProblem> {
        let header = u16::try_from(member.mode & 0o7777).unwrap_or_default();
        let tar::AclTexts { mut access, mut default } = std::mem::take(&mut member.acl);
        let is_link = member.kind == tar::Kind::HardLink;
        for xattr in &member.xattrs {
            match &*xattr.name {
                acl::ACCESS => access = None,
                acl::DEFAULT => default = None,
                _ => {}
            }
        }
        if access.is_none() && default.is_none() {
            return Ok(header);
        }
        let key = if Acls::parse(access.as_deref(), None).is_err() { acl::TEXTS[0] } else { acl::TEXTS[1] };
        let acls = Acls::parse(access.as_deref(), default.as_deref())
            .map_err(|fault| ImageProblem::AclText { key, detail: fault.to_string() })?;
        let mut mode = header;
        let has_acl = member.kind != tar::Kind::Symlink;
        if let Some(acl) = acls.access.filter(|_| has_acl || self.no_acl(path, acl::TEXTS[0])) {
            mode = header & !0o777 | acl.mode();
            if mode != header && !is_link {
                self.note(NoteKind::AclMode, path, b"");
            }
            if !acl.is_minimal() {
                member.xattrs.push(xattr_of(&acl, acl::ACCESS, acl::UNRESOLVED_ACCESS));
            }
        }
        let has_default = matches!(member.kind, tar::Kind::Directory | tar::Kind::HardLink);
        if let Some(acl) = acls.default.filter(|_| has_default || self.no_acl(path, acl::TEXTS[1])) {
            member.xattrs.push(xattr_of(&acl, acl::DEFAULT, acl::UNRESOLVED_DEFAULT));
        }
        Ok(mode)
    }

    /// Notes that a file cannot have the ACL of a PAX record.
    fn no_acl(&mut self, path: &ImagePath, key: &str) -> bool {
        self.note(NoteKind::AclDropped, path, key.as_bytes());
        false
    }

    /// Returns true if an xattr has a meaning only on the machine that made the layer, or nowhere.
    fn is_dropped(&self, name: &[u8], is_symlink: bool) -> bool {
        name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
            || name.starts_with(b"com.apple.")
            || OF_OTHERS.iter().any(|own| name == *own || own.ends_with(b".") && name.starts_with(own))
            || (name == b"security.selinux" && !self.keep_selinux)
            || (name.starts_with(b"user.") && is_symlink)
    }

    fn content(&self, member: &tar::TarEntry) -> Content {
        // The tar reader guarantees that the stored bytes lie within the stream.
        let tar::Content { offset, stored, map } = &member.content;
        let content = match (&self.layer.absent, &self.layer.spool) {
            (Some(absent), _) => Content::absent(absent, *stored),
            (None, Some(spool)) => Content::spooled(spool, *offset, *stored),
            (None, None) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.layer.tar.len());
                Content::dense(self.layer.tar.slice(at(*offset)..at(offset.saturating_add(*stored))))
            }
        };
        match map {
            None => content,
            Some(map) => content.spread(member.size, map),
        }
    }

    fn note(&mut self, kind: NoteKind, path: &ImagePath, detail: &[u8]) {
        self.note_of(kind, path.as_bytes(), detail);
    }

    /// Adds a note about a path, or about the layer if the path is empty.
    fn note_of(&mut self, kind: NoteKind, path: &[u8], detail: &[u8]) {
        let layer = Some(self.layer.place.number);
        self.notes.add(Note { kind, layer, path: path.into(), detail: detail.into() });
    }

    fn refusal(&self, number: u64, name: Box<[u8]>, refusal: Refusal) -> Error {
        let place = Place::Entry(self.layer.place.clone(), EntryPlace { number, name });
        match refusal {
            Refusal::Image(problem) => Error::image(place, problem),
            Refusal::Other(error) => error,
            Refusal::FileBytes(size) => {
                let allowed = self.budget.limits().file_bytes;
                ErrorKind::Limit { place, limit: Limit::FileBytes, allowed, found: Amount::Exactly(size) }.into()
            }
        }
    }
}

/// Returns the xattr of an ACL: the kernel's value, or the text while it contains names.
fn xattr_of(acl: &acl::Acl, name: &[u8], unresolved: &[u8]) -> tar::Xattr {
    match acl.to_xattr() {
        Some(value) => tar::Xattr { name: name.into(), value },
        None => tar::Xattr { name: unresolved.into(), value: acl.to_text() },
    }
}

fn device(kind: DeviceKind, member: &tar::TarEntry) -> std::result::Result<Device, ImageProblem> {
    let number = |what, value: u64, max| {
        u32::try_from(value).ok().filter(|_| value <= max).ok_or(ImageProblem::OutOfRange { what, value, max })
    };
    let major = number("major device number", member.major, MAJOR_MAX)?;
    Ok(Device { kind, major, minor: number("minor device number", member.minor, MINOR_MAX)? })
}
