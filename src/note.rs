//! Notes: what planish adapted or dropped in an image.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Amount, Error, ErrorKind, Place, Result};
use crate::limits::Limit;
use crate::path::{Escaped, unescape};
use crate::work::Scratch;

/// A difference between the filesystem and the image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The kind: the fact and its reason.
    pub kind: NoteKind,
    /// The number of the layer, from 1; `None` for the image as a whole.
    pub layer: Option<usize>,
    /// The path or another subject, as bytes.
    pub path: Box<[u8]>,
    /// A further name (of the xattr), as bytes; often empty.
    pub detail: Box<[u8]>,
}

/// The kind of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoteKind {
    /// An xattr that has a meaning only on the machine that made the layer was dropped.
    XattrDropped,
    /// A PAX record about the file that planish does not carry over.
    RecordDropped,
    /// A POSIX ACL was dropped because the file's type cannot have one.
    AclDropped,
    /// An entry of a POSIX ACL was dropped because the image has no user or group of its name.
    AclEntryDropped,
    /// An mtime outside ext4's range was set to the nearest one inside.
    TimeClamped,
    /// A file was replaced by a directory because an entry needs it as a parent.
    ParentReplaced,
    /// One layer has two entries for a path; the last entry was used.
    Duplicate,
    /// A parent in a path has a name like a marker's and was treated as an ordinary name.
    MarkerInPath,
    /// The header of a hard link has other metadata than its inode; the inode's metadata was kept.
    LinkMetadata,
    /// A character device 0:0, which overlayfs treats as a whiteout, was kept.
    OverlayDevice,
    /// A POSIX ACL in text form has other permissions than the header; the ACL's were used.
    AclMode,
    /// Records give an xattr two values; the one of `SCHILY.xattr` was used.
    XattrAmbiguous,
    /// A global PAX header describes files; no runtime applies it.
    GlobalHeader,
    /// The compression of a layer differs from its media type.
    MediaType,
    /// The image is for a lower variant of the architecture than requested.
    LowerVariant,
    /// A layer's blob may not be redistributed; it was available and was used.
    ForeignLayer,
    /// The config of a docker archive is in a file named by a digest other than its own.
    ConfigName,
    /// The creation time of the image is invalid and was treated as absent.
    Created,
    /// The config has no architecture, and the image was treated as one for the requested platform.
    Architecture,
    /// The filesystem's own time is after 2038, where its superblock's 32 bits end, and was set to their last second.
    ClockClamped,
    /// The image has no directory to mount on, and one was made.
    MountPoint,
}

impl NoteKind {
    /// All kinds.
    const ALL: [Self; Self::MountPoint as usize + 1] = [
        Self::XattrDropped,
        Self::RecordDropped,
        Self::AclDropped,
        Self::AclEntryDropped,
        Self::TimeClamped,
        Self::ParentReplaced,
        Self::Duplicate,
        Self::MarkerInPath,
        Self::LinkMetadata,
        Self::OverlayDevice,
        Self::AclMode,
        Self::XattrAmbiguous,
        Self::GlobalHeader,
        Self::MediaType,
        Self::LowerVariant,
        Self::ForeignLayer,
        Self::ConfigName,
        Self::Created,
        Self::Architecture,
        Self::ClockClamped,
        Self::MountPoint,
    ];

    /// Returns true if information of the image is lost, which `--strict` refuses.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(
            self,
            Self::XattrDropped
                | Self::RecordDropped
                | Self::AclDropped
                | Self::AclEntryDropped
                | Self::TimeClamped
                | Self::ParentReplaced
        )
    }

    /// Returns the fact as the end of a sentence that begins with the path.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::XattrDropped => "xattr dropped",
            Self::RecordDropped => "extended header record dropped",
            Self::AclDropped => "ACL dropped, files of this type have none",
            Self::AclEntryDropped => "ACL entry dropped, the image has no user or group of this name",
            Self::TimeClamped => "mtime clamped to what ext4 can hold",
            Self::ParentReplaced => "not a directory, replaced by one for an entry below it",
            Self::Duplicate => "written twice in one layer, the last entry wins",
            Self::MarkerInPath => "a parent's name begins with the whiteout prefix, taken as an ordinary name",
            Self::LinkMetadata => "hard link header ignored, the inode keeps its metadata",
            Self::OverlayDevice => "character device 0:0 kept",
            Self::AclMode => "permissions of the header replaced by those of its ACL",
            Self::XattrAmbiguous => "xattr with two values, SCHILY.xattr counts",
            Self::GlobalHeader => "global extended header skipped",
            Self::MediaType => "compression detected from the bytes, the media type says",
            Self::LowerVariant => "the image is for a lower variant of the platform, which runs on it",
            Self::ForeignLayer => "foreign layer used from the image, its URLs are not followed",
            Self::ConfigName => "the config's file is named by a digest other than its own",
            Self::Created => "the config's created is no time of RFC 3339, taken as absent",
            Self::Architecture => "the config has no architecture, the requested platform is assumed",
            Self::ClockClamped => {
                "the filesystem's own time is set to the last second that its superblock holds, in 2038"
            }
            Self::MountPoint => "directory made to mount on",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "layer {layer}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "/{}: ", Escaped(&self.path))?;
        }
        f.write_str(self.kind.text())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", Escaped(&self.detail))?;
        }
        Ok(())
    }
}

/// The number of notes of a kind that are kept in memory.
const KEPT: usize = 20;
/// The bytes of notes that are buffered before they are written to the file.
const BUFFER: usize = 128 << 10;
/// The most bytes of a path, and of a name, in a note; a longer one is truncated.
const FIELD_MAX: usize = 4096;
/// The size of a note without its path and detail: kind, layer, and two lengths.
const HEADER: usize = 1 + 4 + 2 + 2;

/// Notes in order: the first twenty of each kind and the counts are in memory, all notes are in an unlinked file.
#[derive(Debug, Default)]
pub struct Notes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kinds: BTreeMap<NoteKind, Kind>,
    first_loss: Option<Note>,
    place: Option<(Scratch, u64)>,
    file: Option<File>,
    written: u64,
    buffer: Vec<u8>,
    failure: Option<Error>,
}

/// The notes of one kind.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Kind {
    /// The number of notes.
    pub count: u64,
    /// The first twenty notes.
    pub first: Vec<Note>,
}

impl Notes {
    /// Returns an empty collection that stores notes in a file in `scratch`, of `allowed` bytes at most.
    /// [`Notes::default`] has no file and no limit.
    #[must_use]
    pub(crate) fn new(scratch: Scratch, allowed: u64) -> Self {
        Self { state: Mutex::new(State { place: Some((scratch, allowed)), ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a note. [`Notes::check`] reports an error in storing it.
    pub(crate) fn add(&self, note: Note) {
        let mut state = self.state();
        if state.failure.is_none() {
            let result = state.keep(note);
            state.failure = result.err();
        }
    }

    /// Returns an error if a note could not be stored.
    ///
    /// # Errors
    ///
    /// There are too many notes, or the disk is full.
    pub(crate) fn check(&self) -> Result<()> {
        self.state().failure.take().map_or(Ok(()), Err)
    }

    /// Returns the notes by kind.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<NoteKind, Kind> {
        self.state().kinds.clone()
    }

    /// Returns the number of losses, and the first one.
    #[must_use]
    pub fn losses(&self) -> (u64, Option<Note>) {
        let state = self.state();
        let count = state.kinds.iter().filter(|(kind, _)| kind.is_loss()).map(|(_, kind)| kind.count).sum();
        (count, state.first_loss.clone())
    }

    /// Calls `visit` with each note, in order.
    ///
    /// # Errors
    ///
    /// The file cannot be read; an error of `visit`.
    pub fn each<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(Note) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let state = self.state();
        let mut at = 0;
        while at < state.written + state.buffer.len() as u64 {
            let mut header = [0; HEADER];
            state.read(at, &mut header)?;
            let [kind, a, b, c, d, e, f, g, h] = header;
            let (path, detail) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
            let mut bytes = vec![0; usize::from(path) + usize::from(detail)];
            state.read(at + HEADER as u64, &mut bytes)?;
            at += (HEADER + bytes.len()) as u64;
            let Some(kind) = NoteKind::ALL.get(usize::from(kind)).copied() else {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            };
            let (path, detail) = bytes.split_at(path.into());
            let layer = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok().filter(|layer| *layer > 0);
            visit(Note { kind, layer, path: path.into(), detail: detail.into() })?;
        }
        Ok(())
    }
}

impl State {
    fn keep(&mut self, mut note: Note) -> Result<()> {
        for field in [&mut note.path, &mut note.detail] {
            if field.len() > FIELD_MAX {
                *field = [&field[..FIELD_MAX - 3], b"..."].concat().into();
            }
        }
        let Note { kind, layer, path, detail } = &note;
        let layer = layer.and_then(|layer| u32::try_from(layer).ok()).unwrap_or(0);
        let length = |field: &[u8]| u16::try_from(field.len()).unwrap_or(u16::MAX).to_le_bytes();
        self.buffer.push(*kind as u8);
        for part in [&layer.to_le_bytes()[..], &length(path), &length(detail), path, detail] {
            self.buffer.extend_from_slice(part);
        }
        if kind.is_loss() && self.first_loss.is_none() {
            self.first_loss = Some(note.clone());
        }
        let of_kind = self.kinds.entry(note.kind).or_default();
        of_kind.count += 1;
        if of_kind.first.len() < KEPT {
            of_kind.first.push(note);
        }
        if self.buffer.len() > BUFFER { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let Some((scratch, allowed)) = &self.place else { return Ok(()) };
        if self.written + self.buffer.len() as u64 > *allowed {
            let (place, limit, found) = (Place::Layers, Limit::NoteBytes, Amount::MoreThan(*allowed));
            return Err(ErrorKind::Limit { place, limit, allowed: *allowed, found }.into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = scratch.make().map_err(Error::io("make a file in", scratch.path()))?;
                self.file.insert(file)
            }
        };
        file.write_all_at(&self.buffer, self.written)
            .map_err(|error| Error::write(scratch.path(), self.written, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        match (at.checked_sub(self.written), &self.file) {
            (None, Some(file)) => file.read_exact_at(bytes, at),
            (None, None) => Err(io::ErrorKind::UnexpectedEof.into()),
            (Some(at), _) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let found = self.buffer.get(at..).and_then(|rest| rest.get(..bytes.len()));
                bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A note in the JSON report.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NoteReport {
    /// The kind.
    pub kind: NoteKind,
    /// True if information is lost.
    pub loss: bool,
    /// The number of the layer, from 1.
    pub layer: Option<usize>,
    /// The path, with a leading `/`; bytes that are not printable ASCII, backslashes and quotes as `\xNN`.
    pub path: Option<String>,
    /// A further name, escaped in the same way.
    pub detail: Option<String>,
    /// The note as a sentence.
    pub text: String,
}

impl NoteReport {
    /// Returns the note that has this report; `None` if its text is not escaped.
    fn note(&self) -> Option<Note> {
        let bytes = |text: Option<&str>| text.map_or(Some(Vec::new()), unescape).map(Vec::into_boxed_slice);
        let path = self.path.as_deref().map(|path| path.strip_prefix('/').unwrap_or(path));
        Some(Note { kind: self.kind, layer: self.layer, path: bytes(path)?, detail: bytes(self.detail.as_deref())? })
    }

    /// Returns a note with its bytes escaped.
    #[must_use]
    pub fn of(note: &Note) -> Self {
        let shown = |bytes: &[u8]| (!bytes.is_empty()).then(|| Escaped(bytes).to_string());
        Self {
            kind: note.kind,
            loss: note.kind.is_loss(),
            layer: note.layer,
            path: shown(&note.path).map(|path| format!("/{path}")),
            detail: shown(&note.detail),
            text: note.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Notes {
    /// Reads notes as they are written, into memory.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Notes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of notes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Notes, A::Error> {
                let notes = Notes::default();
                while let Some(report) = list.next_element::<NoteReport>()? {
                    notes.add(report.note().ok_or_else(|| A::Error::custom("a note is not escaped"))?);
                }
                Ok(notes)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl Serialize for Notes {
    /// Writes the notes one by one, because all of them may not fit in memory.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        enum Failure<E> {
            Read(io::Error),
            Write(E),
        }
        impl<E> From<io::Error> for Failure<E> {
            fn from(error: io::Error) -> Self {
                Self::Read(error)
            }
        }
        let mut list = serializer.serialize_seq(None)?;
        let written = self.each(|note| list.serialize_element(&NoteReport::of(&note)).map_err(Failure::Write));
        match written {
            Ok(()) => list.end(),
            Err(Failure::Read(error)) => Err(S::Error::custom(format_args!("notes cannot be read back: {error}"))),
            Err(Failure::Write(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_by_its_number() {
        let notes = Notes::default();
        for (number, kind) in NoteKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
            notes.add(Note { kind, layer: None, path: Box::default(), detail: Box::default() });
        }
        let mut kinds = Vec::new();
        notes
            .each(|note| -> io::Result<()> {
                kinds.push(note.kind);
                Ok(())
            })
            .unwrap();
        assert_eq!(kinds, NoteKind::ALL);
    }

    fn note(n: usize) -> Note {
        let kind = if n.is_multiple_of(2) { NoteKind::Duplicate } else { NoteKind::XattrDropped };
        let (path, detail) = (format!("some/directory/{n}"), if n.is_multiple_of(3) { "" } else { "user.overlay.x" });
        Note {
            kind,
            layer: (!n.is_multiple_of(5)).then_some(n % 5),
            path: path.as_bytes().into(),
            detail: detail.as_bytes().into(),
        }
    }

    #[test]
    fn all_notes_are_read_back_and_few_stay_in_memory() {
        let directory = tempfile::tempdir().unwrap();
        for count in [0, 3, 20_000] {
            let notes = Notes::new(Scratch::at(directory.path()).unwrap(), 10 << 20);
            (0..count).for_each(|n| notes.add(note(n)));
            notes.check().unwrap();
            let mut found = Vec::new();
            notes
                .each(|note| -> io::Result<()> {
                    found.push(note);
                    Ok(())
                })
                .unwrap();
            assert!(found == Vec::from_iter((0..count).map(note)), "{count}");
            assert_eq!(notes.state().file.is_some(), count > 1000);
            assert_eq!(directory.path().read_dir().unwrap().count(), 0);
            let kinds = notes.kinds();
            assert_eq!(kinds.values().map(|kind| kind.count).sum::<u64>(), count as u64);
            assert!(kinds.values().all(|kind| kind.first.len() as u64 == kind.count.min(20)));
            assert_eq!(notes.losses(), ((count / 2) as u64, (count > 1).then(|| note(1))));
            assert!(notes.state().buffer.capacity() < 1 << 20);
        }
    }

    #[test]
    fn notes_follow_a_moved_work_directory() {
        let home = tempfile::tempdir().unwrap();
        let (old, new) = (home.path().join("old"), home.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        let notes = Notes::new(Scratch::at(&old).unwrap(), 10 << 20);
        std::fs::rename(old, new).unwrap();
        (0..20_000).for_each(|n| notes.add(note(n)));
        notes.check().unwrap();
        assert!(notes.state().file.is_some());
    }

    #[test]
    fn notes_are_read_as_they_are_written() {
        let notes = Notes::default();
        (0..30).for_each(|n| notes.add(note(n)));
        let odd = [b"a\\x41\"\n\xff \x7f".as_slice(), b"", "größe".as_bytes()];
        odd.iter().for_each(|bytes| notes.add(Note { path: (*bytes).into(), detail: (*bytes).into(), ..note(1) }));
        let text = serde_json::to_string(&notes).unwrap();
        let read: Notes = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.losses(), notes.losses());
        for bad in [r#"[{"kind":"x"}]"#, "{}", r#"[{"kind":"duplicate","loss":false,"path":"/\\xzz","text":""}]"#] {
            assert!(serde_json::from_str::<Notes>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn too_many_notes_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let notes = Notes::new(Scratch::at(directory.path()).unwrap(), 200_000);
        (0..20_000).for_each(|n| notes.add(note(n)));
        let text = notes.check().unwrap_err().to_string();
        assert_eq!(text, "the image has more than 200000 bytes of notes, --max-note-bytes allows 200000");
    }

    #[test]
    fn a_long_name_is_cut() {
        let notes = Notes::default();
        notes.add(Note { detail: vec![b'x'; 100_000].into(), ..note(1) });
        let kinds = notes.kinds();
        assert_eq!(kinds[&NoteKind::XattrDropped].first[0].detail.len(), FIELD_MAX);
    }
}
