//! Finds a path of a finished tree, as a process in a chroot finds it.

use super::resolve::HOPS_MAX;
use super::similar::similar;
use super::{Child, InodeId, Node, Tree};

/// A path that was found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The path without symlinks among its parents and without a leading `/`; empty for the root.
    pub path: Vec<u8>,
    /// The inode.
    pub inode: InodeId,
    /// The child with its layer; `None` for the root.
    pub child: Option<Child>,
}

impl Found {
    pub(super) const ROOT: Self = Self { path: Vec::new(), inode: InodeId::ROOT, child: None };
}

/// A path that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The path without symlinks as far as it exists, without a leading `/`.
    pub end: Vec<u8>,
    /// The rest of the path, from the missing name on.
    pub rest: Vec<u8>,
    /// The reason.
    pub reason: MissingReason,
}

/// The reason why a path was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingReason {
    /// The directory has no such name. The name of it that is most similar, if one is.
    NoName(Option<Vec<u8>>),
    /// The path goes on below something that is not a directory.
    NotDirectory,
    /// The path follows more than 40 symlinks.
    Loop,
}

impl Missing {
    fn at(found: &Found, name: &[u8], rest: &[Vec<u8>], reason: MissingReason) -> Self {
        let names = std::iter::once(name).chain(rest.iter().rev().map(Vec::as_slice));
        let names: Vec<&[u8]> = names.filter(|name| *name != b".").collect();
        Self { end: found.path.clone(), rest: names.join(&b'/'), reason }
    }
}

impl Tree {
    /// Finds a path, following symlinks among its parents as in a chroot, and with a final `/` also its last name.
    ///
    /// # Errors
    ///
    /// The path does not exist.
    pub fn find_path(&self, path: &[u8]) -> Result<Found, Missing> {
        // The names that are still to be found, the next one last.
        let mut rest = names(path);
        rest.reverse();
        let mut at = Found::ROOT;
        let mut above: Vec<Found> = Vec::new();
        let mut hops = 0;
        while let Some(name) = rest.pop() {
            if self.directory(at.inode).is_none() {
                return Err(Missing::at(&at, &name, &rest, MissingReason::NotDirectory));
            }
            match &*name {
                b"." => continue,
                b".." => {
                    at = above.pop().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.child(at.inode, &name) else {
                let there = self.directory(at.inode).into_iter().flat_map(super::Directory::names);
                let similar = similar(&name, there.map(|(name, _)| name)).map(<[u8]>::to_vec);
                return Err(Missing::at(&at, &name, &rest, MissingReason::NoName(similar)));
            };
            match &self.inode(child.inode).node {
                Node::Symlink(target) if !rest.is_empty() => {
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(Missing::at(&at, &name, &rest, MissingReason::Loop));
                    }
                    if target.first() == Some(&b'/') {
                        above.clear();
                        at = Found::ROOT;
                    }
                    rest.extend(names(target).into_iter().rev());
                }
                _ => {
                    let path = if at.path.is_empty() { name } else { [&*at.path, &name].join(&b'/') };
                    let below = Found { path, inode: child.inode, child: Some(child) };
                    above.push(std::mem::replace(&mut at, below));
                }
            }
        }
        Ok(at)
    }
}

/// Returns the names of a path; after a final `/` comes a `.`.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(Vec::from).collect();
    if path.ends_with(b"/") {
        names.push(b".".to_vec());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    fn find(lines: &[&str], path: &str) -> Result<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match tree(&[lines]).find_path(path.as_bytes()) {
            Ok(found) => Ok(text(&found.path)),
            Err(Missing { end, rest, reason }) => Err(format!("{}|{}|{reason:?}", text(&end), text(&rest))),
        }
    }

    const LINES: [&str; 9] = [
        "d usr/bin",
        "f usr/bin/vi x",
        "l bin usr/bin",
        "l usr/up ..",
        "l abs /usr/./bin/",
        "l loop loop",
        "l nowhere gone/x",
        "l climb ../../../usr",
        "l file usr/bin/vi",
    ];

    #[test]
    fn only_symlinks_among_the_parents_are_followed() {
        for (path, expected) in [
            ("", ""),
            ("/", ""),
            ("/..", ""),
            ("bin", "bin"),
            ("/bin/", "usr/bin"),
            ("/bin/.", "usr/bin"),
            ("bin/vi", "usr/bin/vi"),
            ("//bin//vi", "usr/bin/vi"),
            ("bin/../..", ""),
            ("bin/../bin/vi", "usr/bin/vi"),
            ("usr/up/bin/vi", "usr/bin/vi"),
            ("usr/up/usr/up", "usr/up"),
            ("abs/vi", "usr/bin/vi"),
            ("climb/bin", "usr/bin"),
            ("file", "file"),
        ] {
            assert_eq!(find(&LINES, path), Ok(expected.into()), "{path}");
        }
    }

    #[test]
    fn a_missing_path_names_its_last_parent_and_similar_names() {
        for (path, expected) in [
            ("usr/bin/vim", "usr/bin|vim|NoName(Some([118, 105]))"),
            ("bni/vi", "|bni/vi|NoName(Some([98, 105, 110]))"),
            ("etc/passwd", "|etc/passwd|NoName(None)"),
            ("usr/something/else/", "usr|something/else|NoName(None)"),
            ("bin/vi/x", "usr/bin/vi|x|NotDirectory"),
            ("file/", "usr/bin/vi||NotDirectory"),
            ("loop/y", "|loop/y|Loop"),
            ("nowhere/y", "|gone/x/y|NoName(None)"),
        ] {
            assert_eq!(find(&LINES, path), Err(expected.into()), "{path}");
        }
    }
}
