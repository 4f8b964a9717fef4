//! Parses entries, independently of the model.

use super::{Defect, records};
use crate::Mtime;
use crate::listing::{Contents, Kind, Node};
use crate::writer::{Entry, EntryType};

const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;

/// Splits a name; one that climbs is refused unless it is absolute or a link's target.
pub(super) fn split(name: &[u8], clamp: bool, defect: Option<Defect>) -> Result<Vec<Vec<u8>>, &'static str> {
    if name.contains(&0) {
        return Err("NUL in a name");
    }
    let clamp = clamp || name.first() == Some(&b'/');
    let mut names: Vec<Vec<u8>> = Vec::new();
    for part in name.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part != b".." {
            names.push(match defect {
                Some(Defect::LossyNames) => String::from_utf8_lossy(part).into_owned().into_bytes(),
                Some(Defect::FoldsCase) => part.to_ascii_lowercase(),
                _ => part.to_vec(),
            });
        } else if names.is_empty() && !clamp {
            return Err("a name climbs");
        } else {
            names.pop();
        }
    }
    Ok(names)
}

pub(super) fn check_lengths(parents: &[Vec<u8>], last: &[u8]) -> Result<(), &'static str> {
    let long = parents.iter().map(Vec::len).chain([last.len()]).any(|length| length > NAME_MAX);
    let total = parents.iter().map(|name| name.len() + 1).sum::<usize>() + last.len();
    if long || total > PATH_MAX { Err("a name is too long") } else { Ok(()) }
}

/// Returns the type and metadata; for a hard link the type is arbitrary.
pub(super) fn node(entry: &Entry, defect: Option<Defect>) -> Result<Node, &'static str> {
    let kind = match entry.kind {
        EntryType::Directory => Kind::Directory,
        EntryType::OldRegular if entry.name.last() == Some(&b'/') => Kind::Directory,
        EntryType::Regular | EntryType::OldRegular | EntryType::Contiguous => Kind::File(Contents::of(&content(entry))),
        EntryType::HardLink => Kind::Socket,
        EntryType::Symlink if entry.linkname.is_empty() || entry.linkname.len() > PATH_MAX => {
            return Err("a symlink's target is empty or too long");
        }
        EntryType::Symlink => Kind::Symlink(entry.linkname.clone()),
        EntryType::CharDevice | EntryType::BlockDevice => {
            let (Ok(major @ 0..=0xfff), Ok(minor @ 0..=0xf_ffff)) =
                (u32::try_from(entry.major), u32::try_from(entry.minor))
            else {
                return Err("a device number is too large");
            };
            match entry.kind {
                EntryType::CharDevice => Kind::CharDevice { major, minor },
                _ => Kind::BlockDevice { major, minor },
            }
        }
        EntryType::Fifo => Kind::Fifo,
        EntryType::Raw(_) | EntryType::GlobalHeader => return Err("an unknown type"),
    };
    let (Ok(uid @ 0..=0xffff_fffe), Ok(gid @ 0..=0xffff_fffe)) = (u32::try_from(entry.uid), u32::try_from(entry.gid))
    else {
        return Err("an owner is out of range");
    };
    let symlink = matches!(kind, Kind::Symlink(_));
    let mode = if symlink { 0o777 } else { u16::try_from(entry.mode & 0o7777).unwrap_or_default() };
    let mut node = Node { uid, gid, mtime: time(entry.mtime, defect), ..Node::new(kind, mode) };
    for (name, value) in entry.xattrs.iter().cloned().chain(records::xattrs(entry)) {
        let host = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        let label = name == b"security.selinux" || name == b"system.nfs4_acl";
        let unfit = symlink && name.starts_with(b"user.");
        if !(host || label || unfit) {
            node.xattrs.insert(name, value);
        }
    }
    records::set_acls(entry, &mut node)?;
    Ok(node)
}

fn time(mtime: Mtime, defect: Option<Defect>) -> Mtime {
    let least = Mtime { seconds: -0x8000_0000, nanos: 0 };
    let most = Mtime { seconds: 0x3_7fff_ffff, nanos: 0 };
    let nanos = if defect == Some(Defect::WholeSeconds) { 0 } else { mtime.nanos };
    if mtime < least {
        least
    } else if mtime.seconds > most.seconds {
        most
    } else {
        Mtime { nanos, ..mtime }
    }
}

fn content(entry: &Entry) -> Vec<u8> {
    let data = entry.content.to_vec();
    let Some(sparse) = &entry.sparse else { return data };
    let mut data = data.into_iter();
    let mut file = Vec::new();
    for (offset, length) in &sparse.segments {
        while (file.len() as u64) < *offset {
            file.push(0);
        }
        (0..*length).for_each(|_| file.extend(data.next()));
    }
    while (file.len() as u64) < sparse.real_size {
        file.push(0);
    }
    file
}
