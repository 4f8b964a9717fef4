//! Conversion of a layer to a debugfs script: no byte of the layer is interpreted there.

use std::path::PathBuf;
use std::sync::OnceLock;

use planish::fuzzing::requests;

use super::tree::layer;

/// The bytes are a layer's tar stream.
pub fn run(bytes: &[u8]) {
    let Ok(tree) = layer(bytes) else { return };
    let Some(script) = requests(&tree, directory()) else { return };
    let script = script.expect("every planned tree has a script");
    for line in script.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(is_request(line), "{}", String::from_utf8_lossy(line));
    }
}

/// Returns true if a line is a valid request: keywords, inodes by number, numbers, names of a safe alphabet.
fn is_request(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else { return false };
    let words: Vec<&str> = text.split(' ').collect();
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let inode = |word: &str| word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).is_some_and(digits);
    let name = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let field = |word: &str| name(word) || word.starts_with("block[") && word.ends_with(']');
    let hex = |word: &str| {
        let escapes = word.as_bytes().chunks(4);
        escapes.into_iter().all(|e| e.len() == 4 && e.starts_with(b"\\x") && e[2..].iter().all(u8::is_ascii_hexdigit))
    };
    match words[..] {
        ["sif", number, which, value] => inode(number) && field(which) && digits(value),
        ["ea_set", number, key, value] => inode(number) && name(key) && hex(value),
        ["ea_set", "-f", file, number, key] => name(file) && inode(number) && name(key),
        ["zap_block", "-o", offset, "-l", "1", "-p", value, block] => [offset, value, block].into_iter().all(digits),
        _ => false,
    }
}

fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("planish-fuzz-").tempdir_in(place);
        directory.expect("there is a temporary directory").keep()
    })
}

/// Layers that cause every kind of request.
pub fn seeds() -> Vec<Vec<u8>> {
    use planish_proptests::writer::{Entry, Layer};
    let mut seeds = super::tar::stream_seeds();
    let long = vec![0; 700];
    let entries = [
        Entry::file("f", "x").owner(70_000, 80_000).mode(0o6755).mtime(1 << 33, 999_999_999),
        Entry::file("g", "").xattr("user.long", long).xattr("user.od\nd", "x").xattr("trusted.a", "\0"),
        Entry::symlink("s", "t").owner(1, 2),
        Entry::hardlink("second", "s"),
        Entry::char_device("c", 300, 70_000),
        Entry::symlink("lost+found", "elsewhere"),
        Entry::dir("dir").xattr("user.a", "b"),
    ];
    seeds.push(Layer::new(entries).tar());
    seeds
}
