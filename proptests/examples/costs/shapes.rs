//! Images that are expensive for their size, each in any size.

use planish_proptests::writer::{Content, Entry, Layer, SparseFormat};

/// A family of images.
pub struct Shape {
    pub name: &'static str,
    /// The first size for each engine; the second is twice as large.
    pub direct: u64,
    pub e2fsprogs: u64,
    pub layers: fn(u64) -> Vec<Layer>,
}

pub const SHAPES: [Shape; 28] = [
    // Names and directories.
    Shape { name: "names", direct: 100_000, e2fsprogs: 2_000, layers: names },
    Shape { name: "long-names", direct: 50_000, e2fsprogs: 2_000, layers: long_names },
    Shape { name: "directories", direct: 50_000, e2fsprogs: 20_000, layers: directories },
    Shape { name: "deep", direct: 100, e2fsprogs: 50, layers: deep },
    Shape { name: "depth", direct: 900, e2fsprogs: 900, layers: depth },
    Shape { name: "bottom", direct: 5_000, e2fsprogs: 2_000, layers: bottom },
    Shape { name: "ladder", direct: 10_000, e2fsprogs: 5_000, layers: ladder },
    // Links.
    Shape { name: "links", direct: 30_000, e2fsprogs: 30_000, layers: links },
    Shape { name: "pairs", direct: 50_000, e2fsprogs: 20_000, layers: pairs },
    Shape { name: "deep-links", direct: 10_000, e2fsprogs: 10_000, layers: deep_links },
    Shape { name: "hops", direct: 2_000, e2fsprogs: 2_000, layers: hops },
    // Metadata.
    Shape { name: "xattrs", direct: 20_000, e2fsprogs: 5_000, layers: xattrs },
    Shape { name: "values", direct: 20_000, e2fsprogs: 5_000, layers: values },
    Shape { name: "devices", direct: 50_000, e2fsprogs: 20_000, layers: devices },
    Shape { name: "headers", direct: 20_000, e2fsprogs: 5_000, layers: headers },
    // Notes.
    Shape { name: "replaced", direct: 5_000, e2fsprogs: 2_000, layers: replaced },
    Shape { name: "same", direct: 100_000, e2fsprogs: 50_000, layers: same },
    Shape { name: "swapped", direct: 20_000, e2fsprogs: 20_000, layers: swapped },
    // Whiteouts.
    Shape { name: "opaque", direct: 10_000, e2fsprogs: 2_000, layers: opaque },
    Shape { name: "explicit", direct: 50_000, e2fsprogs: 2_000, layers: explicit },
    Shape { name: "layers", direct: 400, e2fsprogs: 400, layers: many_layers },
    Shape { name: "nested", direct: 20_000, e2fsprogs: 5_000, layers: nested },
    Shape { name: "markers", direct: 100_000, e2fsprogs: 50_000, layers: markers },
    Shape { name: "aufs", direct: 50_000, e2fsprogs: 20_000, layers: aufs },
    // Contents.
    Shape { name: "extents", direct: 20_000, e2fsprogs: 20_000, layers: extents },
    Shape { name: "maps", direct: 100, e2fsprogs: 50, layers: maps },
    Shape { name: "zeros", direct: 256, e2fsprogs: 256, layers: zeros },
    Shape { name: "archive", direct: 200_000, e2fsprogs: 100_000, layers: archive },
];

fn one(entries: impl IntoIterator<Item = Entry>) -> Vec<Layer> {
    vec![Layer::new(entries)]
}

/// A path of `depth` directories.
fn chain(name: &str, depth: u64) -> String {
    vec![name; usize::try_from(depth).unwrap_or(usize::MAX)].join("/")
}

fn names(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("d/{i:07}"), "")))
}

fn long_names(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("d/{i:0255}"), "")))
}

fn directories(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::dir(format!("{}/{i:07}", i / 200))))
}

/// Paths of a thousand directories without a common directory.
fn deep(n: u64) -> Vec<Layer> {
    let below = chain("d", 1000);
    one((0..n).map(|i| Entry::file(format!("r/{i:05}/{below}/f"), "")))
}

/// A hundred chains of n directories.
fn depth(n: u64) -> Vec<Layer> {
    let below = chain("d", n);
    one((0..100).map(|i| Entry::dir(format!("{i:03}/{below}"))))
}

/// n files below a thousand directories.
fn bottom(n: u64) -> Vec<Layer> {
    let above = chain("d", 1000);
    one((0..n).map(|i| Entry::file(format!("{above}/{:04}/{i:07}", i / 1000), "")))
}

/// A chain of directories as deep as a path allows, with n files spread over it; each file follows the next directory.
/// Only the number of files grows: a longer chain has longer paths, so the image would be four times as large.
fn ladder(n: u64) -> Vec<Layer> {
    const RUNGS: u64 = 1800;
    one((0..n).map(|i| Entry::file(format!("{}/e{:07}", chain("d", i % RUNGS + 1), i / RUNGS), "")))
}

fn links(n: u64) -> Vec<Layer> {
    let link = |i: u64| Entry::hardlink(format!("{}/{i:07}", i / 1000), "a");
    one([Entry::file("a", "x")].into_iter().chain((0..n).map(link)))
}

fn pairs(n: u64) -> Vec<Layer> {
    one((0..n).flat_map(|i| {
        let first = format!("{}/{i:07}", i / 500);
        [Entry::file(first.clone(), "x"), Entry::hardlink(format!("{first}b"), first)]
    }))
}

/// Links to names below a thousand directories, in separate directories.
fn deep_links(n: u64) -> Vec<Layer> {
    let above = chain("a", 1000);
    let first = [Entry::file(format!("{above}/f"), "x"), Entry::symlink("s", above)];
    one(first.into_iter().chain((0..n).map(|i| Entry::hardlink(format!("x/{i:07}/f"), "s/f"))))
}

/// Files below forty symlinks with long targets.
fn hops(n: u64) -> Vec<Layer> {
    let around = "a/../".repeat(800);
    let hop = |i: u64| {
        let next = if i == 39 { "a".to_owned() } else { format!("s{}", i + 1) };
        Entry::symlink(format!("s{i}"), format!("{around}{next}"))
    };
    let files = (0..n).map(|i| Entry::file(format!("s0/{i:07}"), ""));
    one([Entry::dir("a")].into_iter().chain((0..40).map(hop)).chain(files))
}

fn xattrs(n: u64) -> Vec<Layer> {
    let file = |i: u64| {
        let file = Entry::file(format!("{}/{i:07}", i / 500), "");
        (0..40).fold(file, |file, k| file.xattr(format!("user.key{k:02}"), format!("value{i:07}")))
    };
    one((0..n).map(file))
}

fn values(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("{}/{i:07}", i / 500), "").xattr("user.k", format!("{i:03900}"))))
}

fn devices(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::char_device(format!("{}/{i:07}", i / 500), 1, 3)))
}

fn headers(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file(format!("{}/{i:07}", i / 500), "").pax("comment", vec![b'c'; 10_000])))
}

/// Files that are replaced by directories, each with a note that has a path.
fn replaced(n: u64) -> Vec<Layer> {
    let files = (0..n).map(|i| Entry::file(format!("d/{i:07}/f"), ""));
    one(files.chain((0..n).map(|i| Entry::file(format!("d/{i:07}/f/g"), ""))))
}

fn same(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| Entry::file("same", i.to_string().into_bytes()).xattr("user.k", format!("{i:0200}"))))
}

/// A path that is alternately a directory with files and a file.
fn swapped(n: u64) -> Vec<Layer> {
    let files = |_| ["d/a/b", "d/c", "d"].map(|name| Entry::file(name, ""));
    one((0..n).flat_map(files))
}

/// A directory that twenty layers empty and fill.
fn opaque(n: u64) -> Vec<Layer> {
    let layer = |k: u64| {
        let marker = (k > 0).then(|| Entry::opaque("d"));
        Layer::new(marker.into_iter().chain((0..n).map(|i| Entry::file(format!("d/{i:07}"), ""))))
    };
    (0..20).map(layer).collect()
}

/// A directory whose names are hidden one by one.
fn explicit(n: u64) -> Vec<Layer> {
    let lower = (0..n).map(|i| Entry::file(format!("d/{i:07}"), ""));
    let upper = (0..n).map(|i| Entry::whiteout(format!("d/.wh.{i:07}")));
    vec![Layer::new(lower), Layer::new(upper)]
}

fn many_layers(n: u64) -> Vec<Layer> {
    let layer = |k: u64| {
        let names = (0..50).map(|i| Entry::file(format!("d/{k}-{i}"), ""));
        Layer::new([Entry::opaque(format!("e{}", k % 7))].into_iter().chain(names))
    };
    (0..n).map(layer).collect()
}

/// A chain of directories with an opaque marker in each, above n directories of the same layer. The chain does not
/// grow,
/// for the same reason as in [`ladder`].
fn nested(n: u64) -> Vec<Layer> {
    const DEPTH: u64 = 800;
    let bottom = chain("d", DEPTH);
    let markers = (1..DEPTH).map(|i| Entry::opaque(chain("d", i)));
    let entries = (0..n).map(|i| Entry::dir(format!("{bottom}/{i:07}"))).chain(markers);
    vec![Layer::new([Entry::file("d/old", "")]), Layer::new(entries)]
}

fn markers(n: u64) -> Vec<Layer> {
    let lower = (0..5000).map(|i| Entry::file(format!("d/{i:07}"), ""));
    let upper = (0..n).map(|i| if i % 2 == 0 { Entry::opaque("d") } else { Entry::whiteout("d/.wh.0000001") });
    vec![Layer::new(lower), Layer::new(upper)]
}

fn aufs(n: u64) -> Vec<Layer> {
    let source = (0..n).map(|i| Entry::file(format!(".wh..wh.plnk/{i:07}"), "x"));
    let links = (0..n).map(|i| Entry::hardlink(format!("{}/{i:07}", i / 500), format!(".wh..wh.plnk/{i:07}")));
    one([Entry::dir(".wh..wh.plnk")].into_iter().chain(source).chain(links))
}

fn sparse(name: String, format: SparseFormat, count: u64) -> Entry {
    let bytes = Content::Repeat { byte: 7, count: usize::try_from(count).unwrap_or(usize::MAX) };
    Entry::sparse(name, format, (0..count).map(|i| (i * 8192, 1)), count * 8192, bytes)
}

fn extents(n: u64) -> Vec<Layer> {
    one([sparse("f".into(), SparseFormat::Pax10, n)])
}

fn maps(n: u64) -> Vec<Layer> {
    one((0..n).map(|i| sparse(format!("f{i:07}"), SparseFormat::Pax10, 2000)))
}

fn zeros(mebibytes: u64) -> Vec<Layer> {
    let count = usize::try_from(mebibytes << 20).unwrap_or(usize::MAX);
    one([Entry::file("f", Content::Repeat { byte: 0, count })])
}

/// Global headers without a member after them.
fn archive(n: u64) -> Vec<Layer> {
    one((0..n).map(|_| Entry::global([(b"comment".to_vec(), b"c".to_vec())])))
}
