//! Layers that GNU tar and bsdtar make of a real tree have the tree's content and attributes.

use std::os::unix::fs::symlink;
use std::path::Path;

use planish_proptests::listing::Listing;

use crate::fidelity::{ENGINES, equal};
use crate::support::process::{command, run};
use crate::support::raw::{self, Raw};
use crate::support::{Bench, read_clean, succeeded};

/// The commands that make a tar of their directory; true if they write names with `=` or `%` unchanged.
const TARS: [(&str, bool); 5] = [
    ("tar --format=posix --acls --xattrs --xattrs-include=* -cf - .", false),
    ("tar --format=posix --acls --xattrs --xattrs-include=* --xattrs-exclude=system.* -cf - .", false),
    ("tar --format=posix --acls --xattrs --xattrs-include=* --xattrs-exclude=system.* --numeric-owner -cf - .", false),
    ("bsdtar --format pax --acls --xattrs -cf - .", true),
    ("bsdtar --format pax --acls --xattrs --numeric-owner -cf - .", true),
];

/// Makes a tree with every attribute that both programs store.
fn plant(root: &Path) {
    let directories = ["etc", "d", "d/e"].map(|name| root.join(name));
    directories.iter().for_each(|directory| std::fs::create_dir(directory).unwrap());
    // User names have the same ids inside and outside.
    std::fs::copy("/etc/passwd", root.join("etc/passwd")).unwrap();
    std::fs::copy("/etc/group", root.join("etc/group")).unwrap();
    for name in ["f", "bare", "mask", "many", "d/inherits"] {
        std::fs::write(root.join(name), name).unwrap();
    }
    symlink("f", root.join("s")).unwrap();
    std::fs::hard_link(root.join("f"), root.join("g")).unwrap();
    let on = |words: &str| {
        let mut words = command(words);
        run(words.current_dir(root));
    };
    on("mkfifo p");
    on("mknod b b 8 300000");
    on("mknod c c 4095 1048575");
    on("chmod 4750 f");
    on("setfacl -m u:1000:r-x,u:daemon:rw-,u:2000000000:---,g:games:--x,g:70000:rwx f");
    on("setfacl -m m::r mask");
    on("setfacl -m u:daemon:rwx p b d");
    on("setfacl -d -m u:daemon:rwx,g:1234567:- d");
    on("setfacl -d -m o::- d/e");
    on("setfattr -n user.plain -v value f");
    on("setfattr -n user.empty f");
    on("setfattr -n user.binary -v 0x000a3dff f");
    on("setfattr -n user.\u{e4} -v 0x0a f");
    on("setfattr -n trusted.d -v 0x00 d");
    on("setfattr -h -n trusted.s -v link s");
    on("setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 bare");
    for n in 0..20 {
        on(&format!("setfattr -n user.number{n} -v {n} many"));
    }
    on("touch -h -d @1600000000.123456789 f s p b c d/e d etc .");
}

#[test]
#[ignore = "needs root, bsdtar, setfacl and setfattr"]
fn archives_of_gnu_tar_equal_the_archived_tree() {
    let bench = Bench::new();
    let root = bench.shared("tree");
    std::fs::create_dir(&root).unwrap();
    plant(&root);
    for (words, raw_names) in TARS {
        if raw_names {
            run(command("setfattr -n user.a=50% -v odd many").current_dir(&root));
        }
        let made = command(words).current_dir(&root).output().unwrap();
        assert!(made.status.success(), "{words}: {}", String::from_utf8_lossy(&made.stderr));
        let layout = bench.shared("layout");
        raw::write(&layout, &[Raw::tar(made.stdout)]);
        let expected = Listing::read_directory(&root).unwrap();
        for engine in ENGINES {
            let source = format!("oci:{}", layout.display());
            let more = ["--force", "--free", "1M", "--strict", "--engine", engine];
            succeeded(&bench.build(&source, "out.ext4", &more));
            equal(&format!("{words} {engine}"), &expected, &read_clean(&bench.at("out.ext4")));
        }
        std::fs::remove_dir_all(&layout).unwrap();
    }
}
