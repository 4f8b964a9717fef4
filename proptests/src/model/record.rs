//! The PAX records of an entry beside its fields: xattrs in both spellings, and ACLs as text.

use std::collections::{BTreeMap, btree_map};

use super::Model;
use crate::cases::from_base64;
use crate::listing::{Kind, Node};
use crate::oddity::Oddity;
use crate::problem::Problem;
use crate::writer::{Entry, EntryType};

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// The kernel's names of the ACLs.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
/// Names, which no xattr of Linux has, for ACLs with names of users until the tree is complete.
const WAITING: [&[u8]; 2] = [b"?access", b"?default"];

const OWNER: u16 = 1;
const USER: u16 = 2;
const OWNING_GROUP: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
/// The id of an entry that needs none.
const NONE: u32 = u32::MAX;

/// Tag, id or name, and permissions.
type AclEntry = (u16, Result<u32, Vec<u8>>, u16);

impl Model {
    /// Returns the mode and the xattrs of an entry.
    pub(super) fn records(&mut self, entry: &Entry) -> Result<(u32, Xattrs), Problem> {
        let mut xattrs = xattrs(entry)?;
        let mut mode = entry.mode;
        let record = |key: &[u8]| entry.pax.iter().rev().find(|(other, _)| other == key).map(|(_, value)| &value[..]);
        let texts = [&b"SCHILY.acl.access"[..], b"SCHILY.acl.default"].map(record);
        let missing: Vec<usize> = (0..2).filter(|n| !xattrs.contains_key(ACLS[*n])).collect();
        let mut acls = [Vec::new(), Vec::new()];
        for n in &missing {
            for (default, acl) in entries(texts[*n].unwrap_or_default())? {
                acls[if default { 1 } else { *n }].push(acl);
            }
        }
        for (n, acl) in acls.into_iter().enumerate().filter(|(_, acl)| !acl.is_empty()) {
            self.note(Oddity::OddRecord);
            let permissions = check(&acl)?;
            let fits = match entry.kind {
                EntryType::Symlink => false,
                EntryType::Directory | EntryType::HardLink => true,
                _ => n == 0,
            };
            if !fits {
                continue;
            }
            if n == 0 {
                mode = mode & !0o777 | permissions;
            }
            if n == 1 || acl.len() > 3 {
                let named = acl.iter().any(|(_, who, _)| who.is_err());
                let (name, value) = if named { (WAITING[n], text_of(&acl)) } else { (ACLS[n], kernel_form(acl)) };
                xattrs.insert(name.to_vec(), value);
            }
        }
        if !entry.pax.iter().all(|(key, _)| [&b"path"[..], b"mtime"].contains(&&key[..])) {
            self.note(Oddity::OddRecord);
        }
        Ok((mode, xattrs))
    }

    /// Resolves the users and groups in ACLs.
    pub(super) fn resolve_acls(&mut self) {
        let users = [b"passwd".to_vec(), b"group".to_vec()].map(|file| self.users(&file));
        for node in &mut self.inodes {
            for n in 0..2 {
                let Some(text) = node.xattrs.remove(WAITING[n]) else { continue };
                let resolved =
                    entries(&text).unwrap_or_default().into_iter().filter_map(|(_, (tag, who, permissions))| {
                        let id =
                            who.or_else(|name| users[usize::from(tag == GROUP)].get(&name).copied().ok_or(())).ok()?;
                        Some((tag, Ok(id), permissions))
                    });
                node.xattrs.insert(ACLS[n].to_vec(), kernel_form(resolved.collect()));
            }
        }
    }

    /// Parses `etc/passwd` or `etc/group`: the first line of a name is used.
    fn users(&mut self, file: &[u8]) -> BTreeMap<Vec<u8>, u32> {
        let mut path = vec![b"etc".to_vec(), file.to_vec()];
        for _ in 0..40 {
            let Some((last, parents)) = path.split_last() else { break };
            let Ok(Some(directory)) = self.resolve(parents, false) else { break };
            let found = [&directory[..], std::slice::from_ref(last)].concat();
            match self.node(&found).map(|node: &Node| node.kind.clone()) {
                Some(Kind::Symlink(target)) => {
                    let base = if target.starts_with(b"/") { Vec::new() } else { directory };
                    path = base.into_iter().chain(target.split(|&byte| byte == b'/').map(<[u8]>::to_vec)).collect();
                }
                Some(Kind::File(contents)) => {
                    let bytes = &self.contents[&contents.sha256()];
                    let lines = bytes.split(|&byte| byte == b'\n').rev();
                    return lines.filter_map(user).collect();
                }
                _ => break,
            }
        }
        BTreeMap::new()
    }
}

fn user(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
    Some((fields[0].to_vec(), number(fields.get(2)?)?))
}

fn number(digits: &[u8]) -> Option<u32> {
    let all = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}

/// Returns the xattrs of records. Those of the first family take precedence; a name that is in both families unchanged
/// is encoded in both.
fn xattrs(entry: &Entry) -> Result<Xattrs, Problem> {
    let family = |prefix: &[u8]| -> Xattrs {
        let records =
            entry.pax.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_vec(), value.clone())));
        records.collect()
    };
    let (mut raw, encoded) = (family(b"SCHILY.xattr."), family(b"LIBARCHIVE.xattr."));
    raw.extend(entry.xattrs.iter().cloned());
    for (name, value) in &encoded {
        let decoded = decode(name);
        if let Some(value) = raw.remove(name) {
            raw.insert(decoded.clone(), value);
        }
        let text = String::from_utf8_lossy(value).into_owned();
        let value = from_base64(&format!("{text:=<0$}", text.len().next_multiple_of(4)));
        // `user.a=b` with the value c: some programs cut the record after user.a.
        if let (Ok(value), Some(at)) = (&value, decoded.iter().position(|&byte| byte == b'=')) {
            let (cut, rest) = (&decoded[..at], [&decoded[at + 1..], b"=", value].concat());
            if raw.get(cut) == Some(&rest) {
                raw.remove(cut);
            }
        }
        if let btree_map::Entry::Vacant(missing) = raw.entry(decoded) {
            missing.insert(value.map_err(|_| Problem::Record)?);
        }
    }
    Ok(raw)
}

fn decode(name: &[u8]) -> Vec<u8> {
    let mut pieces = name.split(|&byte| byte == b'%');
    let mut decoded = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => decoded.extend([&[byte], &piece[2..]].concat()),
            None => decoded.extend([b"%", piece].concat()),
        }
    }
    decoded
}

/// Parses the entries of a text, each with true if it is marked as one of the default ACL.
fn entries(text: &[u8]) -> Result<Vec<(bool, AclEntry)>, Problem> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
    let pieces = lines.flat_map(|line| line.split(|&byte| byte == b','));
    let plain = pieces.map(|piece| piece.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii());
    plain.filter(|piece| !piece.is_empty()).map(|piece| read(piece).ok_or(Problem::Acl)).collect()
}

fn read(piece: &[u8]) -> Option<(bool, AclEntry)> {
    let short = piece.strip_prefix(b"d:").or_else(|| piece.strip_prefix(b"default:"));
    let marked = short.or_else(|| piece.strip_prefix(b"default"));
    let mut fields: Vec<&[u8]> = marked.unwrap_or(piece).split(|&byte| byte == b':').map(<[u8]>::trim_ascii).collect();
    let (own, named) = match *fields.first()? {
        b"u" | b"user" => (OWNER, USER),
        b"g" | b"group" => (OWNING_GROUP, GROUP),
        b"m" | b"mask" => (MASK, MASK),
        b"o" | b"other" => (OTHER, OTHER),
        _ => return None,
    };
    if own == named && fields.len() == 2 {
        fields.insert(1, b"");
    }
    let (name, id) = (*fields.get(1)?, fields.get(3).copied().unwrap_or_default());
    let mut permissions = 0;
    for letter in *fields.get(2)? {
        permissions |= match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    let entry = match (name, id) {
        (b"", b"") => (own, Ok(NONE), permissions),
        (name, b"") => (named, number(name).ok_or_else(|| name.to_vec()), permissions),
        (_, id) => (named, Ok(number(id)?), permissions),
    };
    Some((marked.is_some(), entry))
}

/// Returns the permission bits of an ACL for programs without ACLs.
fn check(acl: &[AclEntry]) -> Result<u32, Problem> {
    let mut seen: Vec<_> = acl.iter().map(|(tag, who, _)| (*tag, who.clone())).collect();
    seen.sort();
    let twice = seen.windows(2).any(|pair| pair[0] == pair[1]);
    let nobody = seen.iter().any(|(tag, who)| [USER, GROUP].contains(tag) && *who == Ok(NONE));
    let of = |kind: u16| acl.iter().find(|(tag, ..)| *tag == kind).map(|(.., permissions)| u32::from(*permissions));
    let named = of(USER).or(of(GROUP)).is_some();
    match (of(OWNER), of(OWNING_GROUP), of(MASK), of(OTHER)) {
        (Some(owner), Some(group), mask, Some(other)) if !twice && !nobody && (mask.is_some() || !named) => {
            Ok(owner << 6 | mask.unwrap_or(group) << 3 | other)
        }
        _ => Err(Problem::Acl),
    }
}

/// Returns an ACL as text for [`entries`].
fn text_of(acl: &[AclEntry]) -> Vec<u8> {
    let mut text = Vec::new();
    for (tag, who, permissions) in acl {
        text.extend(match *tag {
            OWNER | USER => b"u:",
            OWNING_GROUP | GROUP => b"g:",
            MASK => b"m:",
            _ => b"o:",
        });
        match who {
            Ok(NONE) => {}
            Ok(id) => text.extend(id.to_string().bytes()),
            Err(name) => text.extend(name),
        }
        text.extend(b":-");
        text.extend([(4, b'r'), (2, b'w'), (1, b'x')].iter().filter(|(bit, _)| permissions & bit != 0).map(|(_, b)| b));
        text.push(b',');
    }
    text
}

/// Returns the kernel's form: a version, and tag, permissions and id of each entry in the order of tags and ids.
fn kernel_form(acl: Vec<AclEntry>) -> Vec<u8> {
    let mut entries: Vec<_> =
        acl.into_iter().filter_map(|(tag, who, permissions)| Some((tag, who.ok()?, permissions))).collect();
    entries.sort_unstable();
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend([&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    value
}
