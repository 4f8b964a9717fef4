//! Fixtures of one subject each.

use planish_proptests::writer::{Compression, Content, Entry, Image, Layer, Layout, SparseFormat};

/// Returns layers with whiteouts: what they hide, and what they leave.
pub(crate) fn whiteout() -> Image {
    let below = [
        Entry::file("file", "lower"),
        Entry::dir("kept").mtime(1000, 0),
        Entry::file("kept/gone", "lower"),
        Entry::file("kept/stays", "lower"),
        Entry::dir("gone"),
        Entry::file("gone/child", "lower"),
        Entry::file("again", "lower"),
        Entry::dir("dir-again").mode(0o700).owner(1, 2).mtime(1000, 0),
        Entry::file("dir-again/lower", "lower"),
        Entry::file("early", "lower"),
    ];
    let above = [
        Entry::whiteout(".wh.file"),
        Entry::whiteout("kept/.wh.gone"),
        Entry::whiteout(".wh.gone"),
        Entry::whiteout(".wh.again"),
        Entry::file("again", "upper"),
        Entry::file("dir-again/upper", "upper"),
        Entry::whiteout(".wh.dir-again"),
        Entry::file("early", "upper"),
        Entry::whiteout(".wh.early"),
        Entry::whiteout(".wh.missing"),
        Entry::whiteout("missing/.wh.child"),
    ];
    Image::new([Layer::new(below), Layer::new(above)])
}

/// Returns layers with an opaque directory.
pub(crate) fn opaque() -> Image {
    let below = [
        Entry::dir("dir").mode(0o750).owner(1, 2).mtime(1000, 0),
        Entry::file("dir/old", "lower"),
        Entry::file("dir/both", "lower"),
        Entry::dir("dir/sub").mode(0o700).owner(3, 4).mtime(1000, 0),
        Entry::file("dir/sub/old", "lower"),
        Entry::file("beside", "lower"),
    ];
    let above = [
        Entry::file("dir/before", "upper"),
        Entry::opaque("dir"),
        Entry::file("dir/both", "upper"),
        Entry::file("dir/sub/new", "upper"),
        Entry::opaque("missing"),
    ];
    Image::new([Layer::new(below), Layer::new(above)])
}

/// Returns names that share an inode, within a layer and across two.
pub(crate) fn hardlink() -> Image {
    let below = [
        Entry::file("a", "shared").mode(0o640).owner(5, 6).mtime(1000, 0).xattr("user.a", "1"),
        Entry::hardlink("b", "a").mode(0o777).owner(9, 9).mtime(9, 0),
        Entry::hardlink("c", "./b"),
        Entry::dir("dir"),
        Entry::hardlink("dir/d", "/a"),
        Entry::symlink("link", "a").mtime(1000, 0),
        Entry::hardlink("link-again", "link"),
    ];
    let above = [
        Entry::whiteout(".wh.a"),
        Entry::file("b", "of its own"),
        Entry::hardlink("e", "c"),
        Entry::whiteout(".wh.link"),
    ];
    Image::new([Layer::new(below), Layer::new(above)])
}

/// Returns entries whose parents are symlinks.
pub(crate) fn symlinked_parent() -> Image {
    let below = [
        Entry::dir("usr"),
        Entry::dir("usr/bin"),
        Entry::file("usr/bin/gone", "lower"),
        Entry::symlink("bin", "usr/bin"),
        Entry::symlink("absolute", "/usr/bin"),
        Entry::symlink("climbing", "../../../usr"),
        Entry::symlink("chain", "climbing/bin"),
        Entry::symlink("dangling", "made/by/entry"),
    ];
    let above = [
        Entry::file("bin/a", "upper"),
        Entry::file("absolute/b", "upper"),
        Entry::file("climbing/c", "upper"),
        Entry::file("chain/d", "upper"),
        Entry::file("dangling/e", "upper"),
        Entry::whiteout("bin/.wh.gone"),
    ];
    Image::new([Layer::new(below), Layer::new(above)])
}

/// Returns small and large device numbers, and a fifo.
pub(crate) fn devices() -> Image {
    let entries = [
        Entry::dir("dev"),
        Entry::char_device("dev/null", 1, 3).mode(0o666),
        Entry::char_device("dev/zero-zero", 0, 0),
        Entry::char_device("dev/old-end", 255, 255),
        Entry::char_device("dev/new-start", 255, 256),
        Entry::block_device("dev/sda", 8, 0).mode(0o660).owner(0, 6).mtime(1000, 0),
        Entry::block_device("dev/largest", 4095, 1_048_575),
        Entry::fifo("dev/fifo").mode(0o600),
        Entry::hardlink("dev/null-again", "dev/null"),
    ];
    Image::new([Layer::new(entries)])
}

/// Returns files with holes, in the four formats of GNU tar.
///
/// GNU tar writes segments of whole blocks, with an empty one at the end of a file that ends with a hole, and reads
/// only this form correctly.
pub(crate) fn sparse() -> Image {
    let data = [[b'a'; 512], [b'b'; 512]].concat();
    let short = |name, format| Entry::sparse(name, format, [(512, 512), (2048, 512), (4096, 0)], 4096, data.clone());
    let many = (0..30).map(|index| (index * 32_768, 512)).chain([(1 << 20, 0)]);
    let entries = [
        short("old-gnu", SparseFormat::OldGnu),
        short("pax-0.0", SparseFormat::Pax00),
        short("pax-0.1", SparseFormat::Pax01),
        short("pax-1.0", SparseFormat::Pax10),
        Entry::sparse("many", SparseFormat::OldGnu, many, 1 << 20, Content::Repeat { byte: b'x', count: 30 * 512 }),
        Entry::sparse("hole", SparseFormat::Pax10, [(1 << 20, 0)], 1 << 20, ""),
    ];
    Image::new([Layer::new(entries)])
}

/// Returns two images that share a layer, under two tags.
pub(crate) fn two_tags() -> Layout {
    let shared = Layer::new([Entry::file("shared", "in both")]);
    let first = Image::new([shared.clone(), Layer::new([Entry::file("first", "one")])]);
    let second = Image::new([shared, Layer::new([Entry::file("second", "two")]).compression(Compression::Zstd)]);
    Layout::new().tag("first", &first).tag("second", &second)
}

/// Returns a layer that is repeated after another one has deleted its file.
pub(crate) fn repeated_layer() -> Image {
    let again = Layer::new([Entry::file("again", "there")]);
    let deletion = Layer::new([Entry::whiteout(".wh.again"), Entry::file("other", "")]);
    Image::new([again.clone(), deletion, again])
}
