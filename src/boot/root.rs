//! A root directory whose paths are followed as in a chroot: of a tree in memory, or of a filesystem.

use std::collections::VecDeque;

use crate::error::Result;

/// The number of symlinks that one path may follow, as in Linux.
const HOPS_MAX: usize = 40;

/// The file at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File { mode: u16, size: u64 },
    Symlink(Box<[u8]>),
    Other,
}

/// The names and files of a root directory.
pub(super) trait Root {
    type Id: Copy;

    fn root(&self) -> Self::Id;

    /// Returns the file of a name in a directory.
    fn child(&self, directory: Self::Id, name: &[u8]) -> Result<Option<Self::Id>>;

    fn node(&self, id: Self::Id) -> Result<Node>;

    /// Returns at most `len` bytes of a file, fewer at its end.
    fn read(&self, id: Self::Id, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// Returns the names in a directory, the first `most` of them.
    fn names(&self, directory: Self::Id, most: usize) -> Result<Vec<Box<[u8]>>>;
}

/// The end of a path.
#[derive(Debug, Clone)]
pub(super) struct End<I> {
    pub id: I,
    /// The path without symlinks, with a leading `/`.
    pub path: Vec<u8>,
    pub node: Node,
}

/// Follows a path to its end; `None` if a name of it is missing or no directory, or after forty symlinks.
pub(super) fn follow<R: Root>(root: &R, path: &[u8]) -> Result<Option<End<R::Id>>> {
    let names = |path: &[u8]| path.split(|byte| *byte == b'/').map(Box::from).collect::<Vec<Box<[u8]>>>();
    let mut todo: VecDeque<Box<[u8]>> = names(path).into();
    let mut at: Vec<(R::Id, Box<[u8]>)> = Vec::new();
    let mut node = Node::Directory;
    let mut hops = 0;
    while let Some(name) = todo.pop_front() {
        match &*name {
            b"" | b"." => continue,
            b".." => {
                at.pop();
                continue;
            }
            _ if node != Node::Directory => return Ok(None),
            _ => {}
        }
        let directory = at.last().map_or(root.root(), |(id, _)| *id);
        let Some(id) = root.child(directory, &name)? else { return Ok(None) };
        match root.node(id)? {
            Node::Symlink(target) => {
                hops += 1;
                if hops > HOPS_MAX {
                    return Ok(None);
                }
                if target.first() == Some(&b'/') {
                    at.clear();
                }
                for name in names(&target).into_iter().rev() {
                    todo.push_front(name);
                }
            }
            found => {
                node = found;
                at.push((id, name));
            }
        }
    }
    let id = at.last().map_or(root.root(), |(id, _)| *id);
    let path =
        if at.is_empty() { b"/".to_vec() } else { at.iter().flat_map(|(_, name)| [b"/", &**name].concat()).collect() };
    Ok(Some(End { id, path, node }))
}

/// The text of a file.
#[derive(Debug)]
pub(super) struct Text {
    pub bytes: Vec<u8>,
    /// True if there is more than was read.
    pub is_cut: bool,
}

/// Returns the first bytes of a file; nothing if the path leads to no file.
pub(super) fn text<R: Root>(root: &R, path: &[u8], most: usize) -> Result<Option<Text>> {
    match follow(root, path)? {
        Some(End { id, node: Node::File { size, .. }, .. }) => {
            Ok(Some(Text { bytes: root.read(id, 0, most)?, is_cut: size > most as u64 }))
        }
        _ => Ok(None),
    }
}
