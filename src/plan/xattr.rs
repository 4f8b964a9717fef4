//! Where ext4 puts an inode's xattrs: in the inode while they fit, else in one block.

use crate::error::ImageProblem;
use crate::ext4::acl;
use crate::layer::entry::Xattr;
use crate::path::Quoted;

/// Bytes for xattrs in an inode of 256 bytes (measured, e2fsprogs 1.47.0).
const INODE_ROOM: usize = 88;
/// Bytes for xattrs in a block of 4 KiB (measured, e2fsprogs 1.47.0).
const BLOCK_ROOM: usize = 4060;
const ENTRY_HEADER: usize = 16;
const SUFFIX_MAX: usize = 255;

const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Who writes an xattr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// mkfs copies it from the staged inode: its name must not enter a debugfs script.
    Mkfs,
    /// debugfs sets it.
    Debugfs,
}

/// Returns who writes an xattr of this name.
#[must_use]
pub fn writer(name: &[u8]) -> Writer {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    if name.iter().all(safe) { Writer::Debugfs } else { Writer::Mkfs }
}

/// Returns the order in which xattrs are written: the staged ones first, then the large ones before the small.
#[must_use]
pub fn ordered(xattrs: &[Xattr]) -> Vec<&Xattr> {
    let mut ordered: Vec<&Xattr> = xattrs.iter().collect();
    ordered.sort_by_key(|x| (writer(&x.name) == Writer::Debugfs, std::cmp::Reverse(x.value.len()), &x.name));
    ordered
}

/// Who writes the xattrs of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// debugfs, and mkfs where `can_stage` says that the inode may carry odd names on the staging filesystem.
    E2fsprogs {
        /// Whether it may.
        can_stage: bool,
    },
    /// The direct engine.
    Direct,
}

/// Returns whether an inode's xattrs need a block of their own.
///
/// # Errors
///
/// They do not fit; a name that ext4 has no room or no namespace for, or that cannot be written; an ACL of another form
/// than the kernel's.
pub fn needs_block(xattrs: &[Xattr], carrier: Carrier) -> Result<bool, ImageProblem> {
    let (mut inode, mut block, mut needed) = (INODE_ROOM, BLOCK_ROOM, 0);
    let mut fits = true;
    let ordered = if carrier == Carrier::Direct { stored_order(xattrs) } else { ordered(xattrs) };
    for xattr in ordered {
        let size = size(xattr, carrier)?;
        needed += size;
        if size > inode && carrier == Carrier::Direct {
            // The direct engine puts this one and all after it into the block.
            inode = 0;
        }
        let room = if size <= inode { &mut inode } else { &mut block };
        fits &= size <= *room;
        *room = room.saturating_sub(size);
    }
    if fits { Ok(block < BLOCK_ROOM) } else { Err(ImageProblem::XattrSpace { needed, room: INODE_ROOM + BLOCK_ROOM }) }
}

/// Returns the order in which ext4 stores xattrs: by namespace, length and name.
fn stored_order(xattrs: &[Xattr]) -> Vec<&Xattr> {
    const STORED: [&[u8]; 5] = [b"user.", ACCESS_ACL, DEFAULT_ACL, b"trusted.", b"security."];
    let namespace = |name: &[u8]| STORED.iter().position(|prefix| name.starts_with(prefix));
    let mut ordered: Vec<&Xattr> = xattrs.iter().collect();
    ordered.sort_by_key(|x| (namespace(&x.name), x.name.len(), &x.name));
    ordered
}

fn size(xattr: &Xattr, carrier: Carrier) -> Result<usize, ImageProblem> {
    let round = |len: usize| len.next_multiple_of(4);
    let shown = || Quoted(&xattr.name).to_string();
    for (name, known) in [("system.posix_acl_access", ACCESS_ACL), ("system.posix_acl_default", DEFAULT_ACL)] {
        if *xattr.name == *known {
            let stored =
                acl::to_stored(&xattr.value).map_err(|fault| ImageProblem::Acl { name, detail: fault.to_string() })?;
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
            if writer(&xattr.name) == Writer::Mkfs && !(can_stage && xattr.name.starts_with(b"user.")) =>
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

    fn xattr(name: &[u8], len: usize) -> Xattr {
        Xattr { name: name.into(), value: vec![7; len].into() }
    }

    const STAGED: Carrier = Carrier::E2fsprogs { can_stage: true };
    const UNSTAGED: Carrier = Carrier::E2fsprogs { can_stage: false };

    fn fits(sizes: &[usize], carrier: Carrier) -> Option<bool> {
        let named: Vec<_> = (0..).zip(sizes).map(|(n, len)| xattr(format!("user.{n:04}").as_bytes(), *len)).collect();
        needs_block(&named, carrier).ok()
    }

    #[test]
    fn the_edges_are_where_the_engines_put_them() {
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
    fn names_are_taken_only_where_they_can_be_written() {
        let problem = |name: &[u8], carrier| needs_block(&[xattr(name, 1)], carrier).unwrap_err().to_string();
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
        let taken = |name: &[u8], carrier| needs_block(&[xattr(name, 1)], carrier).is_ok();
        assert!(taken(b"user.a\n!x", STAGED) && taken(b"user.\xff", STAGED));
        assert!(taken(b"trusted.a\n!x", Carrier::Direct));
        assert!(!taken(b"user.a\n!x", UNSTAGED));
        assert!(taken(b"security.capability", UNSTAGED) && taken(b"trusted.x-y_z", UNSTAGED));
    }

    #[test]
    fn an_acl_of_another_form_is_refused() {
        for carrier in [STAGED, Carrier::Direct] {
            let problem = needs_block(&[xattr(ACCESS_ACL, 5)], carrier).unwrap_err();
            assert!(problem.to_string().starts_with("has the xattr system.posix_acl_access, which is no POSIX ACL: "));
        }
    }
}
