//! Xattrs in libarchive's spelling and ACLs as text, parsed independently of the model.
//!
//! Only the forms that the strategy writes are supported: ids for every named user and group, and well-formed records.

use crate::cases::from_base64;
use crate::listing::{Kind, Node};
use crate::writer::Entry;

/// Returns the xattrs that only a libarchive record has.
pub(super) fn xattrs(entry: &Entry) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for (key, value) in &entry.pax {
        let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") else { continue };
        let name = String::from_utf8_lossy(name).replace("%2F", "/").into_bytes();
        let known = entry.xattrs.iter().any(|(other, _)| *other == name)
            || entry.pax.iter().any(|(other, _)| other.strip_prefix(b"SCHILY.xattr.") == Some(&name[..]));
        let mut text = String::from_utf8_lossy(value).into_owned();
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        if let (false, Ok(value)) = (known, from_base64(&text)) {
            found.push((name, value));
        }
    }
    found
}

/// Sets the ACLs of a node, and the mode of the access ACL.
pub(super) fn set_acls(entry: &Entry, node: &mut Node) -> Result<(), &'static str> {
    let mut lists = [Vec::new(), Vec::new()];
    for (key, value) in &entry.pax {
        let default = match &key[..] {
            b"SCHILY.acl.access" => false,
            b"SCHILY.acl.default" => true,
            _ => continue,
        };
        let text = std::str::from_utf8(value).map_err(|_| "an ACL that is no text")?;
        for piece in text.split([',', '\n']).filter(|piece| !piece.is_empty()) {
            let (default, piece) = piece.strip_prefix("d:").map_or((default, piece), |rest| (true, rest));
            lists[usize::from(default)].push(acl_entry(piece).ok_or("an ACL that cannot be read")?);
        }
    }
    let [mut access, mut default] = lists;
    if !access.is_empty() && !matches!(node.kind, Kind::Symlink(_)) {
        access.sort_unstable();
        let of = |tag: u16| access.iter().find(|entry| entry.0 == tag).map(|entry| entry.2);
        let class = of(16).or(of(4)).unwrap_or_default();
        node.mode = node.mode & !0o777 | of(1).unwrap_or_default() << 6 | class << 3 | of(32).unwrap_or_default();
        if access.len() > 3 {
            node.xattrs.insert(b"system.posix_acl_access".to_vec(), bytes(&access));
        }
    }
    if !default.is_empty() && matches!(node.kind, Kind::Directory) {
        default.sort_unstable();
        node.xattrs.insert(b"system.posix_acl_default".to_vec(), bytes(&default));
    }
    Ok(())
}

/// Parses one entry as tag, id and permissions.
fn acl_entry(text: &str) -> Option<(u16, u32, u16)> {
    let fields: Vec<&str> = text.split(':').collect();
    let [kind, who, letters] = *fields.get(..3)? else { return None };
    let id = fields.get(3).copied().unwrap_or(who);
    let tag = match (kind.chars().next()?, id.is_empty()) {
        ('u', true) => 1,
        ('u', false) => 2,
        ('g', true) => 4,
        ('g', false) => 8,
        ('m', _) => 16,
        ('o', _) => 32,
        _ => return None,
    };
    let id = if id.is_empty() { u32::MAX } else { id.parse().ok()? };
    let bit = |letter, value| if letters.contains(letter) { value } else { 0 };
    Some((tag, id, bit('r', 4) + bit('w', 2) + bit('x', 1)))
}

fn bytes(list: &[(u16, u32, u16)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, id, permissions) in list {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
