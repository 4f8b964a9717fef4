//! Images that grow in one dimension.

use planish_proptests::writer::{Content, Entry, Layer, SparseFormat};

/// A family of images.
pub struct Shape {
    pub name: &'static str,
    /// The axis of the plot.
    pub title: &'static str,
    pub sizes: &'static [u64],
    pub layers: fn(u64) -> Vec<Layer>,
}

pub const SHAPES: [Shape; 5] = [
    Shape { name: "inodes", title: "inodes", sizes: &[1_000, 10_000, 100_000, 1_000_000], layers: inodes },
    Shape { name: "layers", title: "layers of 1,000 files", sizes: &[1, 10, 50, 100, 200], layers: stack },
    Shape { name: "names", title: "names in one directory", sizes: &[1_000, 10_000, 100_000], layers: names },
    // ext4 counts no more than 65,000.
    Shape { name: "links", title: "links to an inode, twice", sizes: &[500, 5_000, 50_000], layers: links },
    Shape { name: "bytes", title: "MiB, sparse", sizes: &[1, 100, 1_000, 20_000], layers: bytes },
];

fn one(entries: impl IntoIterator<Item = Entry>) -> Vec<Layer> {
    vec![Layer::new(entries)]
}

/// Files of a few bytes, a thousand in a directory.
fn inodes(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("srv/{:04}/{i}", i / 1000), i.to_string())))
}

/// Layers that replace a tenth of the files below them, hide some, and add files.
fn stack(n: u64) -> Vec<Layer> {
    let layer = |k: u64| {
        let added = (0..900).map(move |i| Entry::file(format!("srv/{k}/{i}"), k.to_string()));
        let replaced = (0..100).map(move |i| Entry::file(format!("common/{i}"), k.to_string()));
        let hidden = k.checked_sub(1).map(|below| Entry::whiteout(format!("srv/{below}/.wh.7")));
        Layer::new(added.chain(replaced).chain(hidden))
    };
    (0..n).map(layer).collect()
}

fn names(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("d/{i:07}"), "")))
}

/// Two files, each with half of the names.
fn links(n: u64) -> Vec<Layer> {
    let names = |target: &'static str| (0..n).map(move |i| Entry::hardlink(format!("links/{target}-{i:06}"), target));
    one([Entry::file("a", "a"), Entry::file("b", "b")].into_iter().chain(names("a")).chain(names("b")))
}

/// A file with 64 KiB in each 16 MiB.
fn bytes(mebibytes: u64) -> Vec<Layer> {
    let (segment, step, size) = (64 << 10, 16 << 20, mebibytes << 20);
    let count = size.div_ceil(step);
    let stored = usize::try_from(count * segment).unwrap_or(usize::MAX);
    let segments = (0..count).map(|n| (n * step, segment));
    one([Entry::sparse("disk.img", SparseFormat::Pax10, segments, size, Content::Repeat { byte: 7, count: stored })])
}
