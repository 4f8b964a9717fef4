//! The reader on filesystems made by e2fsprogs: it must return what was put in.

mod damage;
mod image;
mod node;
mod refusal;
mod shape;

use std::collections::BTreeMap;

use self::image::Image;
use self::node::{Kind, Node, NodeXattr, walk};
use crate::time::Timestamp;

/// One form of filesystem.
struct Form {
    options: &'static [&'static str],
    size: &'static str,
    block_size: u64,
    inode_size: u16,
    /// The largest xattr value that fits and that debugfs can read from a file: no more than a block.
    xattr_max: usize,
}

const PLAIN: Form = Form { options: &[], size: "64M", block_size: 4096, inode_size: 256, xattr_max: 3900 };
const SMALL: Form = Form { size: "220M", block_size: 1024, xattr_max: 900, ..PLAIN };

/// Every layout of e2fsprogs in which something is stored at another place or in another form. Few inodes per group
/// (`-N`) spread the tree over groups whose descriptors are not in the first block.
const FORMS: [Form; 22] = [
    PLAIN,
    Form { options: &["-I", "128"], inode_size: 128, ..PLAIN },
    Form { options: &["-I", "1024"], inode_size: 1024, ..PLAIN },
    Form { options: &["-O", "^64bit"], ..PLAIN },
    Form { options: &["-O", "^metadata_csum"], ..PLAIN },
    Form { options: &["-O", "metadata_csum_seed,casefold,large_dir"], ..PLAIN },
    Form { options: &["-O", "^extent,^64bit"], ..PLAIN },
    Form { options: &["-O", "^filetype"], ..PLAIN },
    Form { options: &["-O", "inline_data"], ..PLAIN },
    Form { options: &["-O", "inline_data", "-I", "1024"], inode_size: 1024, ..PLAIN },
    Form { options: &["-O", "ea_inode"], xattr_max: 4096, ..PLAIN },
    Form { options: &["-O", "bigalloc", "-C", "16384"], ..PLAIN },
    Form { options: &["-O", "^flex_bg,^huge_file", "-g", "1024", "-N", "512"], ..PLAIN },
    Form { options: &["-O", "^sparse_super,^resize_inode", "-g", "1024", "-N", "512"], ..PLAIN },
    Form { options: &["-O", "none,ext_attr", "-I", "128"], inode_size: 128, ..PLAIN },
    SMALL,
    Form { options: &["-O", "^extent,^64bit"], ..SMALL },
    Form { options: &["-O", "meta_bg,^resize_inode", "-g", "2048", "-N", "880"], ..SMALL },
    Form { options: &["-O", "meta_bg,^resize_inode,sparse_super2", "-g", "2048", "-N", "880"], ..SMALL },
    Form { options: &["-O", "meta_bg,^resize_inode,^sparse_super", "-g", "2048", "-N", "880"], ..SMALL },
    Form { options: &["-O", "^has_journal,^metadata_csum"], size: "512M", block_size: 65_536, ..PLAIN },
    Form { options: &["-O", "^has_journal"], size: "512M", block_size: 65_536, ..PLAIN },
];

/// The limits of times, and -1 ns, which borrows from the second.
const TIMES: [(i64, u32); 8] = [
    (-(1 << 31), 0),
    (-1, 999_999_999),
    (0, 0),
    ((1 << 31) - 1, 1),
    (1 << 31, 500_000_000),
    (1 << 32, 0),
    ((1 << 33) + (1 << 31), 7),
    (15_032_385_535, 999_999_999),
];
const NARROW_TIMES: [(i64, u32); 4] = [(-(1 << 31), 0), (-1, 0), (0, 0), ((1 << 31) - 1, 0)];
const IDS: [u32; 6] = [0, 1, 65_535, 65_536, 100_000, 4_294_967_294];

/// A tree in which every node has different permissions, ids and times.
struct Nodes<'a> {
    form: &'a Form,
    list: Vec<Node>,
}

impl Nodes<'_> {
    fn add(&mut self, names: &[&str], kind: Kind) -> &mut Node {
        let index = self.list.len();
        let wide_times = self.form.inode_size > 128;
        let times: &[(i64, u32)] = if wide_times { &TIMES } else { &NARROW_TIMES };
        let time = |step: usize| {
            let (seconds, nanos) = times[(index + step) % times.len()];
            Timestamp { seconds, nanos }
        };
        self.list.push(Node {
            names: names.iter().map(ToString::to_string).collect(),
            kind,
            permissions: [0o7777, 0, 0o755, 0o4711, 0o2640, 0o1777][index % 6],
            uid: IDS[index % IDS.len()],
            gid: IDS[(index + 3) % IDS.len()],
            generation: 0,
            times: [time(0), time(1), time(2), time(3)],
            wide_times,
            xattrs: Vec::new(),
            links: None,
        });
        self.list.last_mut().unwrap()
    }

    fn file(&mut self, names: &[&str], size: u64, pieces: Vec<(u64, Vec<u8>)>) -> &mut Node {
        self.add(names, Kind::File { size, pieces })
    }
}

fn tree(form: &Form) -> Vec<Node> {
    let block = form.block_size;
    let mut nodes = Nodes { form, list: Vec::new() };
    nodes.add(&["/"], Kind::Directory).links = Some(5);
    nodes.add(&["/dir"], Kind::Directory).links = Some(3);
    nodes.add(&["/dir/sub"], Kind::Directory).links = Some(2);
    nodes.add(&["/many"], Kind::Directory).links = Some(2);
    for number in 0..250 {
        nodes.add(&[&format!("/many/{}{number}", "n".repeat(number))], Kind::Fifo);
    }
    nodes.file(&["/empty"], 0, vec![]);
    // Lengths around the limits of inline data: 60 bytes, and the rest of the inode's body.
    for length in [1, 59, 60, 61, 100, 140, 160, 600, block - 1, block, block + 1] {
        nodes.file(&[&format!("/dir/f{length}")], length, vec![(0, vec![b'f'; usize::try_from(length).unwrap()])]);
    }
    nodes.file(&["/hole-first"], 5 * block + 1, vec![(5 * block, vec![1])]);
    nodes.file(&["/hole-last"], 9 * block + 7, vec![(0, vec![2; 10])]);
    nodes.file(&["/hole-only"], 3 * block + 9, vec![]);
    let stripes = if block > 4096 { 40 } else { 1500 };
    nodes.file(&["/stripes"], 2 * stripes * block, (0..stripes).map(|n| (2 * n * block, vec![3; 9])).collect());
    // Far enough for three levels of indirect blocks of 1 KiB, and two of 4 KiB.
    let far = (12 + 256 + 256 * 256 + 300) * 1024;
    nodes.file(&["/far"], far + 9, vec![(13 * block, vec![4]), (270 * block, vec![5; 20]), (far, vec![6; 9])]);
    nodes.file(&["/linked", "/dir/linked", "/dir/sub/linked"], 4, vec![(0, b"link".to_vec())]);
    nodes.add(&["/fifo", "/dir/sub/fifo"], Kind::Fifo);
    nodes.add(&["/socket"], Kind::Socket);
    for (kind, major, minor) in [('c', 1, 3), ('b', 255, 255), ('c', 0, 256), ('b', 4095, 1_048_575), ('c', 256, 0)] {
        nodes.add(&[&format!("/{kind}-{major}-{minor}")], Kind::Device(kind, major, minor));
    }
    for length in [1, 59, 60, 61, 500, 4000].into_iter().filter(|length| *length < block) {
        let target = "t".repeat(usize::try_from(length).unwrap());
        nodes.add(&[&format!("/dir/l{length}")], Kind::Symlink(target));
    }
    add_xattrs(&mut nodes);
    nodes.list
}

fn add_xattrs(nodes: &mut Nodes<'_>) {
    let plain = |name, value: &[u8]| NodeXattr { name, set: value.to_vec(), stored: value.to_vec() };
    let acl = |name| NodeXattr {
        name,
        set: b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\
            \x10\0\x07\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff"
            .to_vec(),
        stored: b"\x01\0\0\0\x01\0\x06\0\x02\0\x07\0\xe8\x03\0\0\x04\0\x05\0\x10\0\x07\0\x20\0\0\0".to_vec(),
    };
    let capability = plain("security.capability", b"\x01\0\0\x02\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    nodes.file(&["/capability"], 3, vec![(0, b"cap".to_vec())]).xattrs.push(capability);
    let large = vec![b'v'; nodes.form.xattr_max];
    let file = nodes.file(&["/dir/xattrs"], 0, vec![]);
    file.xattrs = vec![plain("user.large", &large), plain("trusted.small", b"1"), plain("user.empty", b"")];
    let directory = nodes.add(&["/dir/sub/acls"], Kind::Directory);
    directory.links = Some(2);
    directory.xattrs = vec![
        acl("system.posix_acl_default"),
        plain("user.a", b"\0"),
        acl("system.posix_acl_access"),
        plain("trusted.overlay.opaque", b"y"),
    ];
    nodes.add(&["/dir/l-xattr"], Kind::Symlink("elsewhere".into())).xattrs = vec![plain("trusted.t", &[b'x'; 300])];
    nodes.list.iter_mut().find(|node| node.names[0] == "/dir/sub").unwrap().links = Some(3);
    for (number, node) in (1_u32..).zip(&mut nodes.list) {
        // debugfs does not recompute the checksum of an inode's extents or records for another generation.
        node.generation = if nodes.form.options == ["-O", "^metadata_csum"] { u32::MAX - number } else { 0 };
    }
}

#[test]
fn a_staged_tree_is_read_from_every_filesystem_form() {
    for form in &FORMS {
        let (block_size, inode_size) = (form.block_size.to_string(), form.inode_size.to_string());
        let options = [&["-b", &block_size, "-I", &inode_size], form.options].concat();
        let nodes = tree(form);
        let image = Image::make(&options, form.size, &nodes);
        // debugfs does not count the blocks of an inode that stores an xattr value for the owner.
        if form.options != ["-O", "ea_inode"] {
            image.check();
        }
        let filesystem = image.open();
        let superblock = filesystem.superblock();
        assert_eq!(u64::from(superblock.block_size), form.block_size);
        assert_eq!((superblock.inode_size, superblock.is_clean()), (form.inode_size, true));

        let expected: BTreeMap<_, _> =
            nodes.iter().flat_map(|node| node.names.iter().map(|name| (name.clone(), node.facts()))).collect();
        let found = walk(&filesystem);
        for (name, want) in &expected {
            assert_eq!(found.get(name), Some(want), "{name} with {:?} and blocks of {block_size}", form.options);
        }
        let names = |map: &BTreeMap<String, _>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{:?}", form.options);
    }
}
