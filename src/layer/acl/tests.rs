//! Spellings of ACLs, each with the value of the kernel's xattr, laid out by hand.

use super::*;

fn access(text: &[u8]) -> Result<Option<Acl>> {
    Acls::parse(Some(text), None).map(|acls| acls.access)
}

/// Returns an xattr value: the version, and entries of tag, permissions and id, as `getfattr -e hex` prints them.
fn xattr(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let words =
        |(tag, bits, id): &(u16, u16, u32)| [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat();
    [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(words).collect()].concat()
}

const NOBODY: u32 = u32::MAX;

#[test]
fn every_spelling_of_one_acl_is_read() {
    let want = xattr(&[
        (1, 6, NOBODY),
        (2, 0, 7),
        (2, 4, 1000),
        (4, 4, NOBODY),
        (8, 5, 50),
        (0x10, 5, NOBODY),
        (0x20, 0, NOBODY),
    ]);
    let spellings: &[&str] = &[
        // GNU tar and libacl.
        "user::rw-,user:7:---,user:1000:r--,group::r--,group:50:r-x,mask::r-x,other::---",
        "user::rw-\nuser:7:---\nuser:1000:r--\ngroup::r--\ngroup:50:r-x\nmask::r-x\nother::---\n",
        // star: the ids at the end.
        "user::rw-,user:daemon:---:7,user:lisa:r--:1000,group::r--,group:staff:r-x:50,mask::r-x,other::---",
        // libarchive: the base entries first, an id for a name that it could not read.
        "user::rw-,group::r--,other::---,user:7:---:7,user::r--:1000,group:staff:r-x:50,mask::r-x",
        // getfacl.
        "# file: f\n# owner: root, the first\nuser::rw-\nuser:7:---\t\t#effective:---\nuser:1000:r--\n\
         group::r--\ngroup:50:r-x  # remark\nmask::r-x\nother::---\n\n",
        "user::rw-,user:1000:r-- #effective:r--,user:7:---,group::r--,group:50:r-x,mask::r-x,other::---",
        // By hand.
        " u::rw , u:7:- ,u:1000:r,g::r,g:50:xr,m:rx,o:-,",
        "u::rw-\r\nu:7:---\r\nu:1000:r--\r\ng::r--\r\ng:50:r-x\r\nm::r-x:\r\no::---:\r\n",
        "user::rw-,user:0007:---,user:x:r--:1000,group::r--,group:50:r-x,mask:r-x,other:---",
    ];
    for text in spellings {
        let acl = access(text.as_bytes()).unwrap().unwrap();
        assert_eq!(acl.to_xattr().as_deref(), Some(&*want), "{text}");
        assert_eq!((acl.mode(), acl.is_minimal()), (0o650, false));
        assert_eq!(access(&acl.to_text()).unwrap(), Some(acl));
    }
}

#[test]
fn entries_of_the_default_acl_may_stand_in_both_texts() {
    let plain = "user::rwx,group::r-x,other::---";
    let want = Acls { access: access(plain.as_bytes()).unwrap(), default: access(b"u::r,g::-,o::x").unwrap() };
    for (access, default) in [
        (plain.to_owned(), "user::r--,group::---,other::--x"),
        (plain.to_owned(), "default:user::r--\ndefault:group::---\nd:other::--x"),
        (format!("{plain},default:user::r--,default:group::---,d:o::x"), ""),
        (format!("{plain},defaultuser::r--,defaultgroup::---,default:other:x"), ""),
        (format!("{plain},d:u::r"), "g::---,o::x"),
    ] {
        assert_eq!(Acls::parse(Some(access.as_bytes()), Some(default.as_bytes())).unwrap(), want, "{access}");
    }
    assert_eq!(Acls::parse(None, None).unwrap(), Acls::default());
    assert_eq!(access(b" \n,# nothing").unwrap(), None);
    assert!(want.access.unwrap().is_minimal());
}

#[test]
fn a_mask_alone_is_more_than_permissions_say() {
    let acl = access(b"u::rwx,g::rwx,m::r-x,o::-").unwrap().unwrap();
    assert_eq!((acl.mode(), acl.is_minimal()), (0o750, false));
    let want = xattr(&[(1, 7, NOBODY), (4, 7, NOBODY), (0x10, 5, NOBODY), (0x20, 0, NOBODY)]);
    assert_eq!(acl.to_xattr().as_deref(), Some(&*want));
}

#[test]
fn acl_names_are_bytes_resolved_later() {
    let names: [&[u8]; 6] = [b"lisa", b"\xff\xfe", b"a:b,c\n#", b"12", b"DOMAIN\\lisa", b"a b"];
    let quoted: [&[u8]; 6] = [b"lisa", b"\xff\xfe", b"a\\072b\\054c\\012\\043", b"\\0612", b"DOMAIN\\lisa", b"a\\040b"];
    for (name, quoted) in names.iter().zip(quoted) {
        let text = [b"u::rw,g::r,o::-,m::r,u:", quoted, b":r"].concat();
        let mut acl = access(&text).unwrap().unwrap();
        assert_eq!(acl.names().collect::<Vec<_>>(), [(Class::User, *name)]);
        assert_eq!(acl.to_xattr(), None);
        assert_eq!(access(&acl.to_text()).unwrap().as_ref(), Some(&acl));
        let lost = acl.clone().resolve(|_, _| None).unwrap();
        assert_eq!(lost.iter().map(|entry| &entry.who).collect::<Vec<_>>(), [&Principal::Name((*name).into())]);
        assert_eq!(acl.resolve(|class, seen| (class == Class::User && seen == *name).then_some(5)).unwrap(), []);
        let want = xattr(&[(1, 6, NOBODY), (2, 4, 5), (4, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]);
        assert_eq!(acl.to_xattr().as_deref(), Some(&*want));
    }
}

#[test]
fn an_entry_without_an_id_is_dropped_and_the_mask_stays() {
    let mut acl = access(b"u::rw,u:b:r,u:9:w,g::r,g:b:x,m::rx,o::-").unwrap().unwrap();
    let lost = acl.resolve(|class, _| (class == Class::User).then_some(3)).unwrap();
    assert_eq!(lost.iter().map(NamedEntry::to_text).collect::<Vec<_>>(), [b"group:b:--x"]);
    let want = [(1, 6, NOBODY), (2, 4, 3), (2, 2, 9), (4, 4, NOBODY), (0x10, 5, NOBODY), (0x20, 0, NOBODY)];
    assert_eq!(acl.to_xattr().as_deref(), Some(&*xattr(&want)));
    let mut twice = access(b"u::rw,u:b:r,u:9:w,g::r,m::rx,o::-").unwrap().unwrap();
    assert_eq!(twice.resolve(|_, _| Some(9)), Err(AclTextError::Twice));
    let mut nobody = access(b"u::rw,u:b:r,g::r,m::rx,o::-").unwrap().unwrap();
    assert_eq!(nobody.resolve(|_, _| Some(u32::MAX)).unwrap().len(), 1);
}

#[test]
fn malformed_acls_are_refused() {
    let base = "u::rwx,g::rx,o::x";
    let form = |entry: &str| format!("the entry \"{entry}\" is not of its form");
    let table = [
        (format!("{base},x::r"), form("x::r")),
        (format!("{base},user"), form("user")),
        (format!("{base},user:lisa"), form("user:lisa")),
        (format!("{base},user:lisa:"), form("user:lisa:")),
        (format!("{base},user:lisa:rwz"), form("user:lisa:rwz")),
        (format!("{base},user:lisa:rr"), form("user:lisa:rr")),
        (format!("{base},user:lisa:rwx-"), form("user:lisa:rwx-")),
        (format!("{base},user:lisa:r:x"), form("user:lisa:r:x")),
        (format!("{base},user:lisa:r:1:2"), form("user:lisa:r:1:2")),
        (format!("{base},mask:5:r"), form("mask:5:r")),
        (format!("{base},default"), form("default")),
        (format!("{base},owner@:rwxp::allow"), form("owner@:rwxp::allow")),
        (format!("{base},m::r,u:4294967295:r"), "the entry \"u:4294967295:r\" has an id that no user can have".into()),
        (
            format!("{base},m::r,g:a:r:99999999999"),
            "the entry \"g:a:r:99999999999\" has an id that no user can have".into(),
        ),
        ("u::rwx,g::rx".into(), AclTextError::Base.to_string()),
        ("u::rwx,o::rx".into(), AclTextError::Base.to_string()),
        (format!("{base},o::r"), AclTextError::Base.to_string()),
        (format!("{base},m::r,m::r"), AclTextError::Masks.to_string()),
        (format!("{base},u:1:r"), AclTextError::NoMask.to_string()),
        (format!("{base},m::r,u:1:r,u:x:w:1"), AclTextError::Twice.to_string()),
        (format!("{base},m::r,g:a:r,g:a:r"), AclTextError::Twice.to_string()),
    ];
    for (text, want) in table {
        assert_eq!(access(text.as_bytes()).unwrap_err().to_string(), want, "{text}");
    }
    assert!(access(format!("{base},m::r,u:1:r,g:1:r,u:a:r").as_bytes()).is_ok());
}
