//! ACLs with user names that the image's own `etc/passwd` should define and does not.

use planish_proptests::writer::{Content, Entry, Layer};

use crate::hostile::{Yard, stderr, succeeded};

const TEXT: &str = "user::rw-,user:lisa:r-x,group::r--,mask::r--,other::---";

/// Rows: L15, L24. The host's users are not used: no symlink leads to them, and no unusual file defines a name.
#[test]
fn user_names_resolve_from_the_image_only() {
    let yard = Yard::new();
    let host = yard.bench.shared("users");
    std::fs::write(&host, "lisa:x:7:7::/:\n").unwrap();
    yard.bench.give(&host);
    let outside = host.into_os_string().into_encoded_bytes();
    let lines = |lines: &[u8]| Content::Bytes(lines.repeat(100_000));
    let users: [Vec<Entry>; 9] = [
        vec![],
        vec![Entry::symlink("etc/passwd", outside.clone())],
        vec![Entry::symlink("etc/passwd", [&b"../../../../.."[..], &outside].concat())],
        vec![Entry::symlink("etc/passwd", "passwd")],
        vec![Entry::symlink("etc", "etc")],
        vec![Entry::dir("etc/passwd/lisa:x:1")],
        vec![Entry::char_device("etc/passwd", 1, 5)],
        vec![Entry::file("etc/passwd", lines(b"lisa\0:x:1:1\n\xff:::\nlisa:x:-1:\nlisa:x\n"))],
        vec![Entry::file("etc/passwd", [vec![b'\n'; 17 << 20], b"lisa:x:7:7::/:\n".to_vec()].concat())],
    ];
    for entries in users {
        let guarded = Entry::file("f", "x").mode(0o640).pax("SCHILY.acl.access", TEXT);
        let output = yard.build(&[Layer::new(entries.into_iter().chain([guarded])).into()], &["--force"]);
        succeeded(&output);
        let text = stderr(&output);
        assert!(text.contains("no user or group of this name: user:lisa:r-x"), "{text}");
    }
}

/// Rows: L24.
#[test]
fn two_names_of_one_user_in_an_acl_are_refused() {
    let users = "lisa:x:7:7::/:\nbob:x:7:7::/:\n";
    let text = "user::rw-,user:lisa:r-x,user:bob:---,group::r--,mask::r--,other::---";
    let layer =
        || Layer::new([Entry::file("d/f", "x").pax("SCHILY.acl.access", text), Entry::file("etc/passwd", users)]);
    let expected = "/d/f has the record SCHILY.acl.access, which is no POSIX ACL: it names one user or group twice";
    Yard::new().refuses([(layer(), 5, expected)]);
}
