//! POSIX ACLs in the form that ext4 stores, and in the form of the kernel's xattrs, which images carry.
//!
//! Both are a version and a list of entries. The form of ext4 (version 1) omits unused ids; the form of xattrs (version
//! 2) has an id in every entry, -1 if unused.

/// The reason why bytes are not a POSIX ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AclError {
    #[error("it has an unknown version")]
    Version,
    #[error("it ends within an entry")]
    Truncated,
    #[error("it has an unknown tag")]
    Tag,
    #[error("it has unknown permissions")]
    Permissions,
    #[error("it has the id -1")]
    Id,
    #[error("its entries are incomplete, repeated or out of order")]
    Order,
}

const STORED_VERSION: u32 = 1;
const XATTR_VERSION: u32 = 2;
const UNDEFINED_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    permissions: u16,
    /// The uid or gid, for the tags [`USER`] and [`GROUP`].
    id: Option<u32>,
}

/// Converts the stored form of an ACL to the xattr's form.
///
/// # Errors
///
/// The kernel would not accept the bytes as an ACL.
pub fn to_xattr(stored: &[u8]) -> Result<Box<[u8]>, AclError> {
    let mut xattr = XATTR_VERSION.to_le_bytes().to_vec();
    for entry in parse(stored, STORED_VERSION)? {
        xattr.extend(entry.tag.to_le_bytes());
        xattr.extend(entry.permissions.to_le_bytes());
        xattr.extend(entry.id.unwrap_or(UNDEFINED_ID).to_le_bytes());
    }
    Ok(xattr.into())
}

/// Converts the xattr's form of an ACL to the stored form.
///
/// # Errors
///
/// The kernel would not accept the bytes as an ACL.
pub fn to_stored(xattr: &[u8]) -> Result<Box<[u8]>, AclError> {
    let mut stored = STORED_VERSION.to_le_bytes().to_vec();
    for entry in parse(xattr, XATTR_VERSION)? {
        stored.extend(entry.tag.to_le_bytes());
        stored.extend(entry.permissions.to_le_bytes());
        if let Some(id) = entry.id {
            stored.extend(id.to_le_bytes());
        }
    }
    Ok(stored.into())
}

fn parse(bytes: &[u8], version: u32) -> Result<Vec<Entry>, AclError> {
    let (found, mut rest) = take(bytes)?;
    if u32::from_le_bytes(found) != version {
        return Err(AclError::Version);
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (tag, after) = take(rest)?;
        let (permissions, after) = take(after)?;
        let (tag, permissions) = (u16::from_le_bytes(tag), u16::from_le_bytes(permissions));
        rest = after;
        let named = matches!(tag, USER | GROUP);
        let mut id = None;
        if named || version == XATTR_VERSION {
            let (bytes, after) = take(rest)?;
            rest = after;
            id = named.then_some(u32::from_le_bytes(bytes));
        }
        entries.push(Entry { tag, permissions, id });
    }
    check(&entries)?;
    Ok(entries)
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), AclError> {
    bytes.split_first_chunk().map(|(head, rest)| (*head, rest)).ok_or(AclError::Truncated)
}

/// Makes the checks of the kernel's `posix_acl_valid`: one owner, users, one group, groups, a mask if there are users
/// or groups, one other, in this order.
fn check(entries: &[Entry]) -> Result<(), AclError> {
    let (mut before, mut named) = (None, false);
    for entry in entries {
        if entry.permissions & !0o7 != 0 {
            return Err(AclError::Permissions);
        }
        if entry.id == Some(UNDEFINED_ID) {
            return Err(AclError::Id);
        }
        let in_order = match entry.tag {
            USER_OBJ => before.is_none(),
            USER | GROUP_OBJ => matches!(before, Some(USER_OBJ | USER)),
            GROUP | MASK => matches!(before, Some(GROUP_OBJ | GROUP)),
            OTHER => before == Some(MASK) || matches!(before, Some(GROUP_OBJ | GROUP)) && !named,
            _ => return Err(AclError::Tag),
        };
        if !in_order {
            return Err(AclError::Order);
        }
        named |= entry.id.is_some();
        before = Some(entry.tag);
    }
    if before == Some(OTHER) { Ok(()) } else { Err(AclError::Order) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tag, permissions and an id.
    type Words = (u16, u16, Option<u32>);

    fn stored(entries: &[Words]) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0];
        for &(tag, permissions, id) in entries {
            bytes.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            bytes.extend(id.map(u32::to_le_bytes).into_iter().flatten());
        }
        bytes
    }

    fn xattr(entries: &[Words]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for &(tag, permissions, id) in entries {
            bytes.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
            bytes.extend(id.unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_two_acl_forms_convert_to_each_other() {
        let minimal = [(1, 7, None), (4, 5, None), (0x20, 0, None)];
        let full = [
            (1, 6, None),
            (2, 7, Some(0)),
            (2, 0, Some(0xffff_fffe)),
            (4, 5, None),
            (8, 1, Some(100_000)),
            (0x10, 7, None),
            (0x20, 4, None),
        ];
        let masked = [(1, 7, None), (4, 5, None), (0x10, 1, None), (0x20, 0, None)];
        for entries in [&minimal[..], &full, &masked] {
            assert_eq!(*to_xattr(&stored(entries)).unwrap(), xattr(entries));
            assert_eq!(*to_stored(&xattr(entries)).unwrap(), stored(entries));
        }
    }

    #[test]
    fn an_unused_id_is_not_stored() {
        let entries = [(1, 7, Some(0)), (4, 5, Some(5)), (0x20, 0, Some(9))];
        let plain = [(1, 7, None), (4, 5, None), (0x20, 0, None)];
        assert_eq!(*to_stored(&xattr(&entries)).unwrap(), stored(&plain));
    }

    #[test]
    fn acls_that_the_kernel_refuses_are_refused() {
        let (owner, group, other) = ((1, 7, None), (4, 5, None), (0x20, 0, None));
        let (user, mask) = ((2, 7, Some(5)), (0x10, 7, None));
        let table: &[(&[Words], AclError)] = &[
            (&[], AclError::Order),
            (&[owner, group], AclError::Order),
            (&[group, owner, other], AclError::Order),
            (&[owner, owner, group, other], AclError::Order),
            (&[owner, user, group, other], AclError::Order),
            (&[owner, group, (8, 7, Some(5)), other], AclError::Order),
            (&[owner, group, user, mask, other], AclError::Order),
            (&[owner, group, mask, mask, other], AclError::Order),
            (&[owner, group, other, other], AclError::Order),
            (&[owner, (2, 7, Some(u32::MAX)), group, mask, other], AclError::Id),
            (&[(1, 8, None), group, other], AclError::Permissions),
            (&[owner, group, (0x40, 0, None)], AclError::Tag),
            (&[(0, 0, None)], AclError::Tag),
        ];
        for (entries, expected) in table {
            assert_eq!(to_xattr(&stored(entries)), Err(*expected), "{entries:?}");
            assert_eq!(to_stored(&xattr(entries)), Err(*expected), "{entries:?}");
        }
    }

    #[test]
    fn mixed_and_truncated_acl_forms_are_refused() {
        let entries = [(1, 7, None), (2, 7, Some(5)), (4, 5, None), (0x10, 7, None), (0x20, 0, None)];
        assert_eq!(to_xattr(&xattr(&entries)), Err(AclError::Version));
        assert_eq!(to_stored(&stored(&entries)), Err(AclError::Version));
        for end in 0..stored(&entries).len() {
            assert!(to_xattr(&stored(&entries)[..end]).is_err(), "{end}");
        }
        for end in 0..xattr(&entries).len() {
            assert!(to_stored(&xattr(&entries)[..end]).is_err(), "{end}");
        }
    }
}
