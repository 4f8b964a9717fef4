//! An image like those of builders, with several hundred files.

use planish_proptests::writer::{Content, Entry, Image, Layer};

const DIRECTORIES: u32 = 20;
const FILES: u32 = 30;

/// Several hundred files in three layers; the upper ones delete, replace, empty a directory and link to below.
///
/// Every layer lists the directories that it writes into before their contents, so that their times are defined.
pub fn image() -> Image {
    Image::new([base(), changes(), additions()])
}

fn directory(number: u32) -> String {
    format!("srv/data{number:02}")
}

fn file(directory: u32, number: u32) -> String {
    format!("srv/data{directory:02}/file{number:03}.bin")
}

fn parent(name: &str, time: i64) -> Entry {
    Entry::dir(format!("{name}/")).mtime(time, 0)
}

/// Contents from zero to about ten blocks.
fn content(seed: u32) -> Content {
    noise(seed, [0, 1, 59, 60, 61, 512, 4095, 4096, 4097, 40_000][seed as usize % 10])
}

/// Bytes that compress little.
pub fn noise(seed: u32, length: usize) -> Content {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    Content::Bytes((0..length).map(next).collect())
}

fn base() -> Layer {
    let mut entries = vec![Entry::dir("./").mode(0o755).mtime(900, 0), parent("srv", 901)];
    for d in 0..DIRECTORIES {
        let owner = i64::from(d) * 1000;
        entries.push(parent(&directory(d), 1000 + i64::from(d)).owner(owner, owner + 1).mode(0o2755));
        for f in 0..FILES {
            let mode = [0o644, 0o755, 0o600, 0o4755, 0o2711, 0o444][f as usize % 6];
            let entry = Entry::file(file(d, f), content(d * FILES + f)).mode(mode);
            entries.push(entry.owner(owner, i64::from(f)).mtime(1_700_000_000 + i64::from(f), f * 1_000_003));
        }
        entries.push(Entry::symlink(format!("{}/link", directory(d)), "../data00/file001.bin").mtime(5, 0));
        entries.push(Entry::hardlink(format!("{}/second", directory(d)), file(d, 7)));
    }
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    entries.push(parent("usr", 902));
    entries.push(Entry::file("usr/ping", "ping").mode(0o755).xattr("security.capability", capability));
    entries.push(Entry::file("usr/attributes", "").xattr("user.one", "1").xattr("user.two", vec![0, 255, 10]));
    entries.push(parent("dev", 903));
    entries.push(Entry::char_device("dev/null", 1, 3).mode(0o666));
    entries.push(Entry::block_device("dev/disk", 259, 70_000).owner(0, 6).mode(0o660));
    entries.push(Entry::fifo("dev/initctl").mode(0o600));
    Layer::new(entries)
}

fn changes() -> Layer {
    let mut entries = vec![parent("srv", 2000)];
    for d in 0..4 {
        entries.push(parent(&directory(d), 2000 + i64::from(d)));
        for f in (0..FILES).step_by(5) {
            entries.push(Entry::whiteout(format!("{}/.wh.file{f:03}.bin", directory(d))).mtime(1, 0));
        }
        entries.push(Entry::file(file(d, 1), content(5000 + d)).owner(7, 8).mtime(2100, 500));
        entries.push(Entry::whiteout(format!("{}/.wh.link", directory(d))).mtime(1, 0));
    }
    entries.push(parent(&directory(4), 2004).mode(0o700));
    entries.push(Entry::opaque(directory(4)));
    entries.push(Entry::file(file(4, 99), content(99)));
    entries.push(Entry::whiteout("srv/.wh.data05"));
    entries.push(Entry::symlink(directory(6), "data00").mtime(2006, 0));
    Layer::new(entries)
}

fn additions() -> Layer {
    let mut entries = vec![parent("srv", 3000), parent("srv/data05", 3005), parent("opt", 3001)];
    entries.push(Entry::file(file(5, 0), content(1234)));
    for f in 0..FILES {
        entries.push(Entry::hardlink(format!("opt/link{f:03}"), file(9, f)));
    }
    let long = "long-".repeat(40);
    entries.push(Entry::file(format!("opt/{long}"), content(9)).mtime(3002, 1));
    entries.push(Entry::symlink("opt/far", format!("/{long}/{long}")).mtime(3003, 0));
    Layer::new(entries)
}
