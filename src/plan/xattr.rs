//! The position of xattrs in ext4: in the inode while they fit, else in one block.

use crate::error::ImageProblem;
use crate::ext4::acl;
use crate::layer::entry::{Xattr, Xattrs};
use crate::path::Quoted;

/// The space for xattrs in an inode of 256 bytes, in bytes (measured, e2fsprogs 1.47.0).
const INODE_ROOM: usize = 88;
/// The space for xattrs in a block of 4 KiB, in bytes (measured, e2fsprogs 1.47.0).
const BLOCK_ROOM: usize = 4060;
const ENTRY_HEADER: usize = 16;
const SUFFIX_MAX: usize = 255;

const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// The program that writes an xattr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// mkfs, which copies it from the staged inode: its name must not enter a debugfs script.
    Mkfs,
    /// debugfs.
    Debugfs,
}

/// Returns the program that writes an xattr of this name.
#[must_use]
pub fn writer(name: &[u8]) -> Writer {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    if name.iter().all(safe) { Writer::Debugfs } else { Writer::Mkfs }
}

/// Returns the order in which xattrs are written: staged ones first, then large ones before small ones.
#[must_use]
pub fn ordered(xattrs: &Xattrs) -> Vec<Xattr<'_>> {
    let mut ordered: Vec<Xattr<'_>> = xattrs.iter().collect();
    ordered.sort_by_key(|x| (writer(x.name) == Writer::Debugfs, std::cmp::Reverse(x.value.len()), x.name));
    ordered
}

/// The engine that writes the xattrs of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// debugfs, and mkfs for unsafe names if the staged inode may have them.
    E2fsprogs {
        /// True if the staged inode may have xattrs with unsafe names.
        can_stage: bool,
    },
    /// The direct engine.
    Direct,
}

/// Returns true if the xattrs of an inode need a block of their own.
///
/// # Errors
///
/// The xattrs do not fit; a name has no room or no namespace in ext4, or cannot be written; an ACL does not have the
/// kernel's form.
pub fn needs_block(xattrs: &Xattrs, carrier: Carrier) -> Result<bool, ImageProblem> {
    let (mut inode, mut block, mut needed) = (INODE_ROOM, BLOCK_ROOM, 0);
    let mut fits = true;
    let ordered = if carrier == Carrier::Direct { stored_order(xattrs) } else { ordered(xattrs) };
    for xattr in ordered {
        let size = size(xattr, carrier)?;
        needed += size;
        if size > inode && carrier == Carrier::Direct {
            // The direct engine stores this xattr and all following ones in the block.
            inode = 0;
        }
        let room = if size <= inode { &mut inode } else { &mut block };
        fits &= size <= *room;
        *room = room.saturating_sub(size);
    }
    if fits { Ok(block < BLOCK_ROOM) } else { Err(ImageProblem::XattrSpace { needed, room: INODE_ROOM + BLOCK_ROOM }) }
}

/// Returns the order in which ext4 stores xattrs: by namespace, length and name.
fn stored_order(xattrs: &Xattrs) -> Vec<Xattr<'_>> {
    const STORED: [&[u8]; 5] = [b"user.", ACCESS_ACL, DEFAULT_ACL, b"trusted.", b"security."];
    let namespace = |name: &[u8]| STORED.iter().position(|prefix| name.starts_with(prefix));
    let mut ordered: Vec<Xattr<'_>> = xattrs.iter().collect();
    ordered.sort_by_key(|x| (namespace(x.name), x.name.len(), x.name));
    ordered
}

fn size(xattr: Xattr<'_>, carrier: Carrier) -> Result<usize, ImageProblem> {
    let round = |len: usize| len.next_multiple_of(4);
    let shown = || Quoted(xattr.name).to_string();
    for (name, known) in [("system.posix_acl_access", ACCESS_ACL), ("system.posix_acl_default", DEFAULT_ACL)] {
        if xattr.name == known {
            let stored =
                acl::to_stored(xattr.value).map_err(|fault| ImageProblem::Acl { name, detail: fault.to_string() })?;
            return Ok(ENTRY_HEADER + round(stored.len()));
        }
    }
    let suffix = NAMESPACES
        .iter()
        .find_map(|namespace| xattr.name.strip_prefix(*namespace))
        .filter(|suffix| (1..=SUFFIX_MAX).contains(&suffix.len()) && !suffix.contains(&0))
        .ok_or_else(|| ImageProblem::XattrName(shown()))?;
    match carrier {
        Carrier::Direct if std::str::from_utf8(suffix).is_err() => {
            return Err(ImageProblem::XattrNameNotText(shown()));
        }
        Carrier::E2fsprogs { can_stage }
            if writer(xattr.name) == Writer::Mkfs && !(can_stage && xattr.name.starts_with(b"user.")) =>
        {
            return Err(ImageProblem::XattrNameUnsupported(shown()));
        }
        _ => {}
    }
    Ok(ENTRY_HEADER + round(suffix.len()) + round(xattr.value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar;

    fn xattr(name: &[u8], len: usize) -> tar::Xattr {
        tar::Xattr { name: name.into(), value: vec![7; len].into() }
    }

    fn one(name: &[u8], len: usize) -> Xattrs {
        [xattr(name, len)].into_iter().collect()
    }

    const STAGED: Carrier = Carrier::E2fsprogs { can_stage: true };
    const UNSTAGED: Carrier = Carrier::E2fsprogs { can_stage: false };

    fn fits(sizes: &[usize], carrier: Carrier) -> Option<bool> {
        let named: Xattrs = (0..).zip(sizes).map(|(n, len)| xattr(format!("user.{n:04}").as_bytes(), *len)).collect();
        needs_block(&named, carrier).ok()
    }

    #[test]
    fn xattr_limits_equal_those_of_the_engines() {
        for carrier in [STAGED, Carrier::Direct] {
            assert_eq!(fits(&[], carrier), Some(false));
            assert_eq!(fits(&[68], carrier), Some(false));
            assert_eq!(fits(&[69], carrier), Some(true));
            assert_eq!(fits(&[4040], carrier), Some(true));
            assert_eq!(fits(&[4041], carrier), None);
            assert_eq!(fits(&[68, 4040], carrier), Some(true));
            assert_eq!(fits(&[72, 4040], carrier), None);
        }
        assert_eq!(fits(&[4040, 68], STAGED), Some(true));
        assert_eq!(fits(&[4040, 68], Carrier::Direct), None, "the second follows the first into the block");
    }

    #[test]
    fn unwritable_xattr_names_are_refused() {
        let problem = |name: &[u8], carrier| needs_block(&one(name, 1), carrier).unwrap_err().to_string();
        for carrier in [STAGED, Carrier::Direct] {
            assert_eq!(problem(b"bogus.x", carrier), "has the xattr \"bogus.x\", whose name ext4 cannot hold");
            assert_eq!(problem(b"user.", carrier), "has the xattr \"user.\", whose name ext4 cannot hold");
            assert_eq!(problem(b"user", carrier), "has the xattr \"user\", whose name ext4 cannot hold");
            let long = [b"user.".as_slice(), &[b'n'; 256]].concat();
            assert!(problem(&long, carrier).ends_with("ext4 cannot hold"));
        }
        let odd = r#"has the xattr "trusted.a\x0a!x", whose name only the direct engine could write"#;
        assert_eq!(problem(b"trusted.a\n!x", STAGED), odd);
        let bytes = r#"has the xattr "user.\xff", whose name only the e2fsprogs engine could write"#;
        assert_eq!(problem(b"user.\xff", Carrier::Direct), bytes);
        let taken = |name: &[u8], carrier| needs_block(&one(name, 1), carrier).is_ok();
        assert!(taken(b"user.a\n!x", STAGED) && taken(b"user.\xff", STAGED));
        assert!(taken(b"trusted.a\n!x", Carrier::Direct));
        assert!(!taken(b"user.a\n!x", UNSTAGED));
        assert!(taken(b"security.capability", UNSTAGED) && taken(b"trusted.x-y_z", UNSTAGED));
    }

    #[test]
    fn a_malformed_acl_is_refused() {
        for carrier in [STAGED, Carrier::Direct] {
            let problem = needs_block(&one(ACCESS_ACL, 5), carrier).unwrap_err();
            assert!(problem.to_string().starts_with("has the xattr system.posix_acl_access, which is no POSIX ACL: "));
        }
    }
}
