//! Resolves the names in POSIX ACLs with the image's own `etc/passwd` and `etc/group`.
//!
//! The files of the finished tree are used, whichever layer an ACL comes from: a name denotes the user whom the booted
//! system would resolve it to. Neither the order of entries nor the division into layers matters.

use std::collections::{HashMap, HashSet};

use super::memory::TreeFull;
use super::{InodeId, Node, Tree};
use crate::error::ImageProblem;
use crate::layer::acl::{self, Acl, Acls, Class, NamedEntry};
use crate::layer::entry::{Content, Metadata, Xattrs};
use crate::note::{Note, NoteKind, Notes};
use crate::tar::Xattr;

/// The largest `etc/passwd` or `etc/group` that is read; a larger one counts as empty.
const FILE_MAX: u64 = 16 << 20;
/// The number of symlinks that may lead to the file, as in Linux.
const HOPS_MAX: usize = 40;
/// Bytes of a name in the lookup table beyond its own.
const LOOKUP: u64 = 96;

/// The names used in ACLs, with their ids.
type Ids = HashMap<(Class, Box<[u8]>), Option<u32>>;
/// The xattrs, and as text the entries that were dropped from their ACLs.
type Resolved = (Vec<Xattr>, Vec<Vec<u8>>);
/// The path of a file, and the problem of its ACL.
type Refusal = (Box<[u8]>, ImageProblem);

impl Tree {
    /// Resolves the names in all ACLs that are text, drops each entry whose name has no id, and notes it.
    ///
    /// # Errors
    ///
    /// An ACL has two entries for the same user or group: its path and the problem. Also if there are more names than
    /// the memory budget holds.
    pub(crate) fn resolve_acls(&mut self, notes: &Notes) -> Result<(), Refusal> {
        let numbers = 0..u32::try_from(self.inodes.len()).unwrap_or(u32::MAX);
        let waiting: HashSet<u32> = numbers.filter(|number| waits(self.xattrs_of(*number))).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let full = |full: TreeFull| (Box::default(), full.into());
        let (ids, taken) = self.ids(&waiting).map_err(full)?;
        self.note_lost(waiting.clone(), &ids, notes)?;
        for number in waiting {
            let Some(inode) = self.inodes.get(number) else { continue };
            let Ok((xattrs, _)) = resolve(&inode.metadata.xattrs, &ids) else { continue };
            let metadata = Metadata { xattrs: xattrs.into_iter().collect(), ..inode.metadata.clone() };
            self.set_metadata(InodeId(number), metadata).map_err(full)?;
        }
        self.memory.give(taken);
        Ok(())
    }

    fn xattrs_of(&self, number: u32) -> &Xattrs {
        const NONE: &Xattrs = &Xattrs::NONE;
        self.inodes.get(number).map_or(NONE, |inode| &inode.metadata.xattrs)
    }

    /// Notes the entries dropped from each inode, under its first name.
    fn note_lost(&self, mut waiting: HashSet<u32>, ids: &Ids, notes: &Notes) -> Result<(), Refusal> {
        let mut walk = self.walk();
        while let Some(visit) = walk.advance() {
            if !waiting.remove(&visit.inode.0) {
                continue;
            }
            let layer = visit.child.map(|child| usize::from(child.layer.0) + 1);
            let resolved = resolve(self.xattrs_of(visit.inode.0), ids);
            let (_, dropped) = resolved.map_err(|problem| (Box::from(visit.path), problem))?;
            for entry in dropped {
                let (path, detail) = (visit.path.into(), entry.into());
                notes.add(Note { kind: NoteKind::AclEntryDropped, layer, path, detail });
            }
        }
        Ok(())
    }

    /// Resolves all names in the ACLs of these inodes, and returns them with the memory that they take.
    fn ids(&mut self, waiting: &HashSet<u32>) -> Result<(Ids, u64), TreeFull> {
        let (mut ids, mut taken) = (Ids::new(), 0);
        for number in waiting {
            let names: Vec<(Class, Box<[u8]>)> = unresolved(self.xattrs_of(*number))
                .flat_map(|(_, acl)| acl.names().map(|(class, name)| (class, name.into())).collect::<Vec<_>>())
                .filter(|key| !ids.contains_key(key))
                .collect();
            let bytes = names.iter().map(|(_, name)| LOOKUP + name.len() as u64).sum();
            self.take(bytes)?;
            taken += bytes;
            ids.extend(names.into_iter().map(|key| (key, None)));
        }
        for (class, path) in [(Class::User, "etc/passwd"), (Class::Group, "etc/group")] {
            for line in self.text_of(path.as_bytes()).split(|&b| b == b'\n') {
                let Some((name, id)) = user(line) else { continue };
                // If several lines have the name, the first one is used, as in getpwnam.
                if let Some(unset @ None) = ids.get_mut(&(class, Box::from(name))) {
                    *unset = Some(id);
                }
            }
        }
        Ok((ids, taken))
    }

    /// Returns the content of a file; empty if the path is no file or the file is too large.
    pub(crate) fn text_of(&self, path: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(content) = self.file_at(path).filter(|content| content.size() <= FILE_MAX) {
            for (offset, bytes) in content.runs() {
                text.resize(usize::try_from(offset).unwrap_or_default(), 0);
                text.extend(bytes);
            }
        }
        text
    }

    /// Returns the file that a path leads to, following symlinks as in a chroot.
    fn file_at(&self, path: &[u8]) -> Option<&Content> {
        let names = |path: &[u8]| path.split(|&b| b == b'/').rev().map(Box::from).collect::<Vec<Box<[u8]>>>();
        let mut todo = names(path);
        let mut at = InodeId::ROOT;
        let mut hops = 0;
        while let Some(name) = todo.pop() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    at = self.directory(at)?.ring.parent().unwrap_or(InodeId::ROOT);
                    continue;
                }
                _ => {}
            }
            let inode = self.child(at, &name)?.inode;
            match &self.inode(inode).node {
                Node::Directory(_) => at = inode,
                Node::File(content) if todo.is_empty() => return Some(content),
                Node::Symlink(target) if hops < HOPS_MAX => {
                    hops += 1;
                    if target.first() == Some(&b'/') {
                        at = InodeId::ROOT;
                    }
                    todo.extend(names(target));
                }
                _ => return None,
            }
        }
        None
    }
}

/// Returns true if an ACL contains names: the xattrs are sorted, and no other names begin like those of such ACLs.
fn waits(xattrs: &Xattrs) -> bool {
    xattrs.iter().next().is_some_and(|xattr| xattr.name.starts_with(b"\0"))
}

/// Returns the ACLs that contain names, by the xattr name that they will have.
fn unresolved(xattrs: &Xattrs) -> impl Iterator<Item = (&'static [u8], Acl)> {
    xattrs.iter().filter_map(|xattr| {
        let name = match xattr.name {
            acl::UNRESOLVED_ACCESS => acl::ACCESS,
            acl::UNRESOLVED_DEFAULT => acl::DEFAULT,
            _ => return None,
        };
        Some((name, Acls::parse(Some(xattr.value), None).ok()?.access?))
    })
}

/// Returns the xattrs with resolved ACLs, and the entries that were dropped.
fn resolve(xattrs: &Xattrs, ids: &Ids) -> Result<Resolved, ImageProblem> {
    let others = xattrs.iter().filter(|xattr| !xattr.name.starts_with(b"\0"));
    let mut resolved: Vec<Xattr> =
        others.map(|xattr| Xattr { name: xattr.name.into(), value: xattr.value.into() }).collect();
    let mut dropped = Vec::new();
    for (name, mut acl) in unresolved(xattrs) {
        let (key, prefix) = if name == acl::ACCESS { (acl::TEXTS[0], "") } else { (acl::TEXTS[1], "default:") };
        let lost = acl
            .resolve(|class, name| ids.get(&(class, Box::from(name))).copied().flatten())
            .map_err(|fault| ImageProblem::AclText { key, detail: fault.to_string() })?;
        dropped.extend(lost.iter().map(|entry: &NamedEntry| [prefix.as_bytes(), &entry.to_text()].concat()));
        resolved.extend(acl.to_xattr().map(|value| Xattr { name: name.into(), value }));
    }
    Ok((resolved, dropped))
}

/// Parses the name and id of a line of `etc/passwd` or `etc/group`, whose third field is the id.
fn user(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.trim_ascii_start().split(|&b| b == b':');
    let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, std::str::from_utf8(id).ok().filter(|id| !id.starts_with('+'))?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_an_id() {
        const NONE: Option<(&[u8], u32)> = None;
        let table = [
            (&b"root:x:0:0:root:/root:/bin/sh"[..], Some((&b"root"[..], 0))),
            (&b"  \tlisa::1000"[..], Some((&b"lisa"[..], 1000))),
            (&b"\xff\xfe:x:7:"[..], Some((&b"\xff\xfe"[..], 7))),
            (&b"staff:x:50:lisa,bob"[..], Some((&b"staff"[..], 50))),
            (&b""[..], NONE),
            (&b"root"[..], NONE),
            (&b"root:x"[..], NONE),
            (&b"root:x:"[..], NONE),
            (&b"root:x:-1:"[..], NONE),
            (&b"root:x:+1:"[..], NONE),
            (&b"root:x: 1:"[..], NONE),
            (&b"root:x:4294967296:"[..], NONE),
            (&b"+::::"[..], NONE),
        ];
        for (line, expected) in table {
            assert_eq!(user(line), expected, "{}", line.escape_ascii());
        }
    }
}
