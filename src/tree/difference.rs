//! The differences of two finished trees, name by name.

use std::cmp::Ordering;

use super::change::{Change, Side, changes};
use super::{InodeId, Tree, Visit};
use crate::cancel::Cancel;
use crate::error::Result;

/// The difference at one path.
#[derive(Debug)]
pub(crate) enum Difference<'a> {
    /// Only the second tree has the name.
    Added(Visit<'a>),
    /// Only the first tree has the name.
    Removed(Visit<'a>),
    /// Both have it, with inodes that differ.
    Changed(Visit<'a>, Vec<Change>),
}

/// Compares two trees, and calls `visit` with each difference: a directory before what is in it, siblings in byte order.
///
/// An inode with several names is compared at the first of them; that names belong together in one tree and not in the
/// other is a change of links.
///
/// # Errors
///
/// An error of `visit`; the run was cancelled.
pub(crate) fn compare(
    before: &Tree,
    after: &Tree,
    cancel: &Cancel,
    visit: &mut dyn FnMut(Difference<'_>) -> Result<()>,
) -> Result<()> {
    let (mut olds, mut news) = (before.walk(), after.walk());
    let (mut old, mut new) = (olds.advance(), news.advance());
    let mut pairs = Pairs { before: vec![NONE; before.arena_len()], after: vec![NONE; after.arena_len()] };
    loop {
        cancel.check()?;
        let order = match (&old, &new) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => in_walk(old.path, new.path),
        };
        if order == Ordering::Equal
            && let (Some(one), Some(other)) = (&old, &new)
        {
            let found = pairs.changes((before, one.inode), (after, other.inode), cancel)?;
            if !found.is_empty() {
                visit(Difference::Changed(*other, found))?;
            }
        }
        if order == Ordering::Less
            && let Some(old) = old
        {
            visit(Difference::Removed(old))?;
        }
        if order == Ordering::Greater
            && let Some(new) = new
        {
            visit(Difference::Added(new))?;
        }
        if order.is_le() {
            old = olds.advance();
        }
        if order.is_ge() {
            new = news.advance();
        }
    }
}

/// Compares two paths in the order of a walk: name by name, so that `/` comes before every other byte.
fn in_walk(a: &[u8], b: &[u8]) -> Ordering {
    let names = |path| <[u8]>::split(path, |b: &u8| *b == b'/').filter(|name: &&[u8]| !name.is_empty());
    names(a).cmp(names(b))
}

/// No inode.
const NONE: u32 = u32::MAX;

/// The inodes that stand for one another, by number.
struct Pairs {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Pairs {
    fn changes(
        &mut self,
        (before, old): (&Tree, InodeId),
        (after, new): (&Tree, InodeId),
        cancel: &Cancel,
    ) -> Result<Vec<Change>> {
        let known = (self.before[old.index()], self.after[new.index()]);
        if known == (new.0, old.0) {
            return Ok(Vec::new());
        }
        let side = |tree: &'_ Tree, id| -> u32 { tree.links(id) };
        let sides = (side(before, old), side(after, new));
        let mut found = changes(
            Side { inode: before.inode(old), links: sides.0 },
            Side { inode: after.inode(new), links: sides.1 },
            cancel,
        )?;
        if known != (NONE, NONE) && before.directory(old).is_none() && after.directory(new).is_none() {
            found.push(Change::of_names());
        }
        if known.0 == NONE {
            self.before[old.index()] = new.0;
        }
        if known.1 == NONE {
            self.after[new.index()] = old.0;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Escaped;
    use crate::tree::tests::tree;

    fn differences(before: &[&str], after: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let visit = &mut |difference: Difference<'_>| {
            let (letter, name, changes) = match difference {
                Difference::Added(name) => ("A", name, vec![]),
                Difference::Removed(name) => ("D", name, vec![]),
                Difference::Changed(name, changes) => ("C", name, changes),
            };
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            found.push(format!("{letter} {} {}", Escaped(name.path), changes.join(", ")).trim_end().to_owned());
            Ok(())
        };
        compare(&tree(&[before]), &tree(&[after]), &Cancel::default(), visit).unwrap();
        found
    }

    #[test]
    fn names_are_added_removed_and_changed() {
        let before = ["d a", "f a/x 1", "f a.b 1", "f gone 1", "l link one", "f kind 1"];
        let after = ["d a", "f a/x 2", "f a/y 1", "f a.b 1", "l link two", "d kind", "f kind/z 1"];
        let expected = [
            "C a/x content from byte 0 on",
            "A a/y",
            "D gone",
            "C kind type file -> directory",
            "A kind/z",
            "C link target \"one\" -> \"two\"",
        ];
        assert_eq!(differences(&before, &after), expected);
        assert_eq!(differences(&before, &before), [""; 0]);
    }

    #[test]
    fn names_that_belong_together_elsewhere_are_a_change() {
        let two = ["f a 1", "h b a", "f c 1", "h d c"];
        let crossed = ["f a 1", "h c a", "f b 1", "h d b"];
        let expected = ["C b links of other names -> of these names", "C c links of other names -> of these names"];
        let found = differences(&two, &crossed);
        assert_eq!(found[..2], expected, "{found:?}");
        assert_eq!(differences(&["f a 1", "f b 1"], &["f a 1", "h b a"]).len(), 2);
        assert_eq!(differences(&two, &two), [""; 0]);
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let mut paths: Vec<&[u8]> = vec![b"a.b", b"a/z", b"", b"a", b"a\0", b"b"];
        paths.sort_by(|a, b| in_walk(a, b));
        assert_eq!(paths, [&b""[..], b"a", b"a/z", b"a\0", b"a.b", b"b"]);
    }
}
