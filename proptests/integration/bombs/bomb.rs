//! The bombs: the multiplied feature of each and its count.

use planish_proptests::writer::{Entry, SparseFormat};

/// The entries of a layer, made one at a time.
pub type Entries = Box<dyn Iterator<Item = Entry>>;

/// An image that is more expensive than its content.
pub struct Bomb {
    /// The name of the multiplied feature.
    pub name: &'static str,
    /// The count at full size.
    pub count: usize,
    /// Returns the layers of an image for a count.
    pub layers: fn(usize) -> Vec<Entries>,
}

const fn bomb(name: &'static str, count: usize, layers: fn(usize) -> Vec<Entries>) -> Bomb {
    Bomb { name, count, layers }
}

pub const BOMBS: &[Bomb] = &[
    bomb("files", 200_000, |count| one((0..count).map(|n| file(n, "", 0)))),
    bomb("long-names", 300_000, |count| one((0..count).map(|n| file(n, "", 240)))),
    bomb("middle-names", 300_000, |count| one((0..count).map(|n| file(n, "", 60)))),
    bomb("xattrs", 100_000, |count| one((0..count).map(|n| file(n, "", 0).xattr("user.k", digits(n, 3900))))),
    bomb("same-xattrs", 100_000, |count| one((0..count).map(|n| file(n, "", 0).xattr("user.k", digits(0, 3900))))),
    bomb("small-xattrs", 200_000, |count| one((0..count).map(|n| file(n, "", 0).xattr("user.k", digits(n, 24))))),
    bomb("many-xattrs", 50_000, many_xattrs),
    bomb("capabilities", 100_000, |count| {
        let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        one((0..count).map(move |n| file(n, "", 0).xattr("security.capability", *capability)))
    }),
    bomb("symlinks", 100_000, |count| one((0..count).map(|n| Entry::symlink(place(n, 0), digits(n, 4090))))),
    bomb("short-links", 200_000, |count| one((0..count).map(|n| Entry::symlink(place(n, 0), digits(n, 59))))),
    bomb("hard-links", 200_000, hard_links),
    bomb("pairs", 100_000, |count| {
        let pair = |n| [file(n, "", 0), Entry::hardlink(place(n, 30), place(n, 0))];
        one((0..count).flat_map(pair))
    }),
    bomb("directories", 200_000, |count| one((0..count).map(|n| Entry::dir(place(n, 0))))),
    bomb("deep", 1000, |count| one((0..count).map(|n| Entry::file(format!("r/{n:05}/{}f", "d/".repeat(1000)), "")))),
    bomb("fifos", 200_000, |count| one((0..count).map(|n| Entry::fifo(place(n, 0))))),
    bomb("sparse", 400, sparse),
    bomb("notes", 200_000, |count| one((0..count).map(|n| file(n, "", 0).xattr("user.overlay.a", "x")))),
    bomb("many-notes", 400, |count| one((0..count).map(|n| with_xattrs(file(n, "", 200), "user.overlay.", 10_000)))),
    bomb("duplicates", 300_000, |count| one((0..count).map(|_| Entry::file("d/f", "")))),
    bomb("markers-in-paths", 100_000, |count| one((0..count).map(|n| Entry::file(format!("d/.wh.x/{n}"), "")))),
    bomb("link-headers", 100_000, |count| {
        let links = (0..count).map(|n| Entry::hardlink(place(n, 0), "d/f").mode(0o600));
        one(std::iter::once(Entry::file("d/f", "")).chain(links.take(60_000)))
    }),
    bomb("replaced", 200_000, |count| one((0..count).map(|n| Entry::file("d/f", "").xattr("user.k", digits(n, 900))))),
    bomb("replaced-links", 200_000, |count| {
        let begin = [Entry::dir("d"), Entry::symlink("l", "d")];
        one(begin.into_iter().chain((0..count).map(|n| Entry::symlink("l/f", digits(n, 900)))))
    }),
    bomb("replaced-trees", 100_000, replaced_trees),
    bomb("whiteouts", 200_000, |count| {
        vec![
            Box::new((0..count).map(|n| file(n, "", 200))),
            Box::new((0..count).map(|n| Entry::whiteout(format!("{:04}/.wh.{}", n / 500, name(n, 200))))),
        ]
    }),
    bomb(
        "vain-whiteouts",
        300_000,
        |count| one((0..count).map(|n| Entry::whiteout(format!("d/.wh.{}", name(n, 200))))),
    ),
    bomb("emptied", 10_000, |count| {
        let layer = move |layer| -> Entries {
            let opaque = (layer > 0).then(|| Entry::opaque("d"));
            Box::new(opaque.into_iter().chain((0..count).map(|n| Entry::file(format!("d/{}", name(n, 100)), ""))))
        };
        (0..20).map(layer).collect()
    }),
    bomb("bookkeeping", 200_000, |count| {
        one((0..count).map(|n| Entry::file(format!(".wh..wh.plnk/{}", name(n, 240)), "")))
    }),
    bomb("layers", 500, |count| {
        (0..count.min(1000)).map(|n| -> Entries { Box::new(std::iter::once(file(n, "x", 0))) }).collect()
    }),
    bomb("siblings", 15_000, |count| {
        // Each name has a long path and shares it with no other.
        let parents = format!("{}/", "d".repeat(200)).repeat(19);
        one((0..count).map(move |n| Entry::file(format!("{parents}{n:06}"), "")))
    }),
    bomb("extensions", 200, |count| one((0..count).map(|n| file(n, "", 0).pax("comment", digits(n, 1_000_000))))),
];

fn one(entries: impl Iterator<Item = Entry> + 'static) -> Vec<Entries> {
    vec![Box::new(entries)]
}

/// A number with a fixed count of digits.
fn digits(n: usize, width: usize) -> String {
    let text = n.to_string();
    "0".repeat(width.saturating_sub(text.len())) + &text
}

fn name(n: usize, width: usize) -> String {
    format!("f{}", digits(n, width.max(7)))
}

/// A path in one of many directories.
fn place(n: usize, width: usize) -> String {
    format!("{:04}/{}", n / 500, name(n, width))
}

fn file(n: usize, content: &'static str, width: usize) -> Entry {
    Entry::file(place(n, width), content)
}

fn with_xattrs(entry: Entry, prefix: &str, count: usize) -> Entry {
    (0..count).fold(entry, |entry, n| entry.xattr(format!("{prefix}{n}"), ""))
}

fn many_xattrs(count: usize) -> Vec<Entries> {
    let with = |n: usize| (0..100).fold(file(n, "", 0), |entry, x| entry.xattr(format!("user.{n:07}{x:02}"), "x"));
    one((0..count).map(with))
}

/// The largest number of names for one inode that ext4 allows, several times.
fn hard_links(count: usize) -> Vec<Entries> {
    const NAMES: usize = 60_000;
    let entry = |n: usize| {
        let target = format!("target{}", n / NAMES);
        if n.is_multiple_of(NAMES) { Entry::file(target, "x") } else { Entry::hardlink(place(n, 0), target) }
    };
    one((0..count).map(entry))
}

fn sparse(count: usize) -> Vec<Entries> {
    let runs = 2000;
    let file = move |n: usize| {
        let segments = (0..runs).map(|run| (run * 8192, 1));
        Entry::sparse(place(n, 0), SparseFormat::Pax10, segments, runs * 8192, vec![b'x'; 2000])
    };
    one((0..count).map(file))
}

/// A large directory that a file replaces, several times.
fn replaced_trees(count: usize) -> Vec<Entries> {
    let tree = move |_| {
        let begin = [Entry::file("d", ""), Entry::dir("d")];
        begin.into_iter().chain((0..count / 10).map(|n| Entry::file(format!("d/{}", name(n, 100)), "")))
    };
    one((0..10).flat_map(tree))
}
