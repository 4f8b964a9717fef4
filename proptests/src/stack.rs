//! The layers of an image, in a readable form.

use std::fmt;

use crate::Mtime;
use crate::listing::escape;
use crate::name::{self, Spelling};
use crate::writer::{Compression, Content, Entry, EntryType, Image, Layer, TarEnd};

/// Layers, the lowest first.
///
/// The text has a line for each entry; default properties are left out:
///
/// ```
/// use planish_proptests::Stack;
/// use planish_proptests::writer::Entry;
///
/// let below = [Entry::dir("a/").mode(0o750).owner(5, 6), Entry::file("a/b", "old")];
/// let stack = Stack::new([below.to_vec(), vec![Entry::whiteout("a/.wh.b")]]);
/// let text = "layer 1: dir a/ 0750 5:6\n\
///             layer 1: file a/b 0644 text=\"old\"\n\
///             layer 2: whiteout a/.wh.b\n";
/// assert_eq!(stack.to_string(), text);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// The layers.
    pub layers: Vec<Layer>,
}

impl Stack {
    /// Returns a stack of layers that are lists of entries, each in one gzip member.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = Vec<Entry>>) -> Self {
        Self { layers: layers.into_iter().map(Layer::new).collect() }
    }

    /// Returns the image.
    #[must_use]
    pub fn image(&self) -> Image {
        Image::new(self.layers.clone())
    }

    /// Returns the stack with a further layer on top.
    #[must_use]
    pub fn with(&self, layer: impl IntoIterator<Item = Entry>) -> Self {
        let mut layers = self.layers.clone();
        layers.push(Layer::new(layer));
        Self { layers }
    }

    /// Returns the lowest layers.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Self {
        Self { layers: self.layers[..count.min(self.layers.len())].to_vec() }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.layers.iter().map(|layer| layer.entries.len()).sum()
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.layers.iter().enumerate() {
            let number = index + 1;
            if layer.compression != Compression::default() || layer.tar_end != TarEnd::default() {
                writeln!(f, "layer {number}: stored as {:?}, archive end {:?}", layer.compression, layer.tar_end)?;
            }
            if layer.entries.is_empty() {
                writeln!(f, "layer {number}: no entries")?;
            }
            for entry in &layer.entries {
                writeln!(f, "layer {number}: {}", Line(entry))?;
            }
        }
        Ok(())
    }
}

/// An entry on one line.
struct Line<'a>(&'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(entry) = self;
        let word = match entry.kind {
            EntryType::Regular | EntryType::OldRegular | EntryType::Contiguous if entry.sparse.is_some() => "sparse",
            EntryType::Regular | EntryType::OldRegular | EntryType::Contiguous => "file",
            EntryType::HardLink => "hardlink",
            EntryType::Symlink => "symlink",
            EntryType::CharDevice => "char",
            EntryType::BlockDevice => "block",
            EntryType::Directory => "dir",
            EntryType::Fifo => "fifo",
            EntryType::GlobalHeader => "global",
            EntryType::Raw(_) => "unknown",
        };
        let last = name::clean(&entry.name, true).unwrap_or_default().pop().unwrap_or_default();
        let name = escape(&entry.name);
        // An empty name is a case, too, and must be visible.
        let name = if name.is_empty() { "\"\"" } else { &name };
        match name::spelling(&last) {
            Spelling::Opaque if entry.kind == EntryType::Regular => return write!(f, "opaque {name}"),
            Spelling::Opaque => return write!(f, "opaque {name} as {word}"),
            Spelling::Whiteout(_) | Spelling::Invalid if entry.kind == EntryType::Regular => {
                return write!(f, "whiteout {name}");
            }
            Spelling::Whiteout(_) | Spelling::Invalid => return write!(f, "whiteout {name} as {word}"),
            Spelling::Ordinary | Spelling::Bookkeeping => write!(f, "{word} {name}")?,
        }
        match entry.kind {
            EntryType::Symlink => write!(f, " -> {}", escape(&entry.linkname))?,
            EntryType::HardLink => write!(f, " = {}", escape(&entry.linkname))?,
            EntryType::CharDevice | EntryType::BlockDevice => write!(f, " {}:{}", entry.major, entry.minor)?,
            EntryType::Raw(flag) => write!(f, " typeflag {flag:#04x}")?,
            _ => {}
        }
        if entry.kind != EntryType::Symlink {
            write!(f, " {:04o}", entry.mode)?;
        }
        if (entry.uid, entry.gid) != (0, 0) {
            write!(f, " {}:{}", entry.uid, entry.gid)?;
        }
        if entry.mtime != Mtime::default() {
            write!(f, " mtime {}", entry.mtime)?;
        }
        match (&entry.sparse, &entry.content) {
            (Some(sparse), _) => write!(f, " size={} data={:?}", sparse.real_size, sparse.segments)?,
            (None, Content::Bytes(bytes)) if entry.kind == EntryType::Regular => {
                write!(f, " text=\"{}\"", escape(bytes))?;
            }
            (None, Content::Repeat { byte, count }) => write!(f, " text={count}*{byte:#04x}")?,
            _ => {}
        }
        for (name, value) in &entry.xattrs {
            write!(f, " xattr.{}=\"{}\"", escape(name), escape(value))?;
        }
        for (key, value) in &entry.pax {
            write!(f, " pax.{}=\"{}\"", escape(key), escape(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_line_shows_the_fields_that_differ_from_defaults() {
        let whole = Entry::file("x\n", b"\xff").mode(0o4755).owner(1, 2).mtime(-1, 500_000_000).xattr("user.a", *b"\0");
        for (entry, line) in [
            (Entry::dir("./"), "dir ./ 0755"),
            (Entry::symlink("a", "../b c"), "symlink a -> ../b\\x20c"),
            (Entry::hardlink("a", "b"), "hardlink a = b 0644"),
            (Entry::char_device("a", 1, 3).owner(0, 6), "char a 1:3 0644 0:6"),
            (Entry::fifo("a"), "fifo a 0644"),
            (Entry::opaque("a"), "opaque a/.wh..wh..opq"),
            (Entry::whiteout("./.wh.a"), "whiteout ./.wh.a"),
            (Entry::whiteout(".wh.."), "whiteout .wh.."),
            (Entry::dir(".wh..wh.plnk"), "dir .wh..wh.plnk 0755"),
            (Entry::new(EntryType::Raw(b'Z'), ""), "unknown \"\" typeflag 0x5a 0644"),
            (whole, "file x\\x0a 4755 1:2 mtime -0.5 text=\"\\xff\" xattr.user.a=\"\\x00\""),
        ] {
            assert_eq!(Line(&entry).to_string(), line);
        }
    }

    #[test]
    fn empty_and_unusual_layers_are_printed() {
        let stack = Stack { layers: vec![Layer::default(), Layer::new([]).compression(Compression::GzipMulti)] };
        let text = "layer 1: no entries\nlayer 2: stored as GzipMulti, archive end Normal\nlayer 2: no entries\n";
        assert_eq!(stack.to_string(), text);
    }
}
