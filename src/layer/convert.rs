//! Turns tar entries into changes, and refuses what no Linux filesystem could hold.

use bytes::Bytes;

use super::decode::{Budget, Layer};
use super::entry::{Action, Body, Change, Content, Device, DeviceKind, Entry, Metadata, Xattr};
use super::whiteout::{self, Spelling};
use crate::error::{EntryPlace, Error, ErrorKind, Found, ImageProblem, Place, Result};
use crate::limits::Limit;
use crate::note::{Note, NoteKind};
use crate::path::{ImagePath, PATH_MAX};
use crate::tar;

/// The largest uid and gid: -1 means "leave it" to `chown`.
const ID_MAX: u64 = 0xffff_fffe;
const MAJOR_MAX: u64 = 0xfff;
const MINOR_MAX: u64 = 0xf_ffff;
const SYMLINK_MODE: u16 = 0o777;

/// The changes of a layer in the order of its stream. See [`Layer::changes`].
pub struct Changes<'a> {
    layer: &'a Layer,
    members: tar::Reader<Bytes>,
    budget: &'a Budget,
    keep_selinux: bool,
    notes: &'a mut Vec<Note>,
}

impl Layer {
    /// Reads the layer's stream.
    ///
    /// What is adapted or dropped on the way is added to `notes`. `security.selinux` labels, which belong to the machine
    /// that made the layer, are dropped unless `keep_selinux`.
    pub fn changes<'a>(&'a self, budget: &'a Budget, keep_selinux: bool, notes: &'a mut Vec<Note>) -> Changes<'a> {
        let members = tar::Reader::new(self.tar.clone(), budget.limits().extension_bytes);
        Changes { layer: self, members, budget, keep_selinux, notes }
    }
}

impl Iterator for Changes<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            self.layer.spool.iter().for_each(|spool| spool.touch(0));
            let member = match self.members.next()? {
                Ok(member) => member,
                Err(fault) => return Some(Err(fault.in_layer(&self.layer.place, "the layer's spool".as_ref()))),
            };
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

/// Why an entry is refused.
enum Refusal {
    Image(ImageProblem),
    FileBytes(u64),
}

impl<P: Into<ImageProblem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self::Image(problem.into())
    }
}

impl Changes<'_> {
    /// Returns what a member does; `None` for bookkeeping of a kind that nobody knows.
    fn action(&mut self, member: tar::Entry) -> std::result::Result<Option<Action>, Refusal> {
        let path = ImagePath::of_entry(&member.name)?;
        let spelling = whiteout::spelling(&path);
        let bookkeeping = match spelling {
            Spelling::Invalid => return Err(ImageProblem::InvalidWhiteout.into()),
            Spelling::Marker(hidden) => {
                hidden.path().check_lengths()?;
                return Ok(Some(Action::Hide(hidden)));
            }
            Spelling::Bookkeeping => true,
            Spelling::Ordinary => false,
        };
        path.check_lengths()?;
        if whiteout::marker_among_parents(&path) {
            self.note(NoteKind::MarkerInPath, &path, b"");
        }
        let (kind, size) = (member.kind, member.content.stored);
        let body = match kind {
            tar::Kind::Directory => Body::Directory,
            tar::Kind::File if size > self.budget.limits().file_bytes => return Err(Refusal::FileBytes(size)),
            tar::Kind::File => Body::File(self.content(&member)),
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

    fn metadata(&mut self, member: tar::Entry, path: &ImagePath) -> std::result::Result<Metadata, ImageProblem> {
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
        // Linux ignores the mode of a symlink; every tool that makes one gives it 0777.
        let mode = if is_symlink { SYMLINK_MODE } else { u16::try_from(member.mode & 0o7777).unwrap_or_default() };
        let (kept, dropped): (Vec<Xattr>, Vec<Xattr>) =
            member.xattrs.into_iter().partition(|xattr| !self.is_dropped(&xattr.name, is_symlink));
        if member.kind != tar::Kind::HardLink {
            for xattr in dropped {
                self.note(NoteKind::XattrDropped, path, &xattr.name);
            }
        }
        let mut xattrs = kept.into_boxed_slice();
        xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Metadata { mode, uid, gid, mtime, xattrs })
    }

    /// Returns whether an xattr only makes sense on the machine that made the layer, or nowhere.
    fn is_dropped(&self, name: &[u8], is_symlink: bool) -> bool {
        name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
            || name == b"system.nfs4_acl"
            || (name == b"security.selinux" && !self.keep_selinux)
            || (name.starts_with(b"user.") && is_symlink)
    }

    fn content(&self, member: &tar::Entry) -> Content {
        // The reader promises that the stored bytes lie within the stream.
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.layer.tar.len());
        let tar::Content { offset, stored, map } = &member.content;
        let bytes = self.layer.tar.slice(at(*offset)..at(offset.saturating_add(*stored)));
        let content = match map {
            None => Content::dense(bytes),
            Some(map) => Content::sparse(bytes, member.size, map.as_slice().into()),
        };
        content.kept_in(self.layer.spool.clone())
    }

    fn note(&mut self, kind: NoteKind, path: &ImagePath, detail: &[u8]) {
        let layer = Some(self.layer.place.number);
        self.notes.push(Note { kind, layer, path: path.as_bytes().into(), detail: detail.into() });
    }

    fn refusal(&self, number: u64, name: Box<[u8]>, refusal: Refusal) -> Error {
        let place = Place::Entry(self.layer.place.clone(), EntryPlace { number, name });
        match refusal {
            Refusal::Image(problem) => Error::image(place, problem),
            Refusal::FileBytes(size) => {
                let allowed = self.budget.limits().file_bytes;
                ErrorKind::Limit { place, limit: Limit::FileBytes, allowed, found: Found::Exactly(size) }.into()
            }
        }
    }
}

fn device(kind: DeviceKind, member: &tar::Entry) -> std::result::Result<Device, ImageProblem> {
    let number = |what, value: u64, max| {
        u32::try_from(value).ok().filter(|_| value <= max).ok_or(ImageProblem::OutOfRange { what, value, max })
    };
    let major = number("major device number", member.major, MAJOR_MAX)?;
    Ok(Device { kind, major, minor: number("minor device number", member.minor, MINOR_MAX)? })
}
