//! Oddities that are visible in an entry's name alone.

use super::Model;
use crate::name;
use crate::oddity::Oddity;
use crate::writer::{Entry, EntryType};

impl Model {
    pub(super) fn note_name(&mut self, entry: &Entry, path: &[Vec<u8>]) {
        let marker = name::is_marker(&entry.name);
        let parents = &path[..path.len().saturating_sub(1)];
        for (there, oddity) in [
            (!name::is_plain(&entry.name, entry.kind == EntryType::Directory && !marker), Oddity::Spelling),
            (std::str::from_utf8(&entry.name).is_err(), Oddity::RawName),
            (path.iter().any(|name| name::is_bookkeeping(name)) && !marker, Oddity::Bookkeeping),
            (parents.iter().any(|name| name::looks_like_marker(name)), Oddity::MarkerInPath),
            (marker && (entry.kind != EntryType::Regular || !entry.file_bytes().is_empty()), Oddity::OddMarker),
        ] {
            if there {
                self.note(oddity);
            }
        }
    }
}
