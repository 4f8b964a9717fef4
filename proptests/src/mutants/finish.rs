//! Lists the finished filesystem.

use std::collections::BTreeMap;

use super::Defect;
use super::apply::is_bookkeeping;
use super::tree::{Number, ROOT, Tree};
use crate::listing::Listing;

impl Tree {
    pub(super) fn finish(self) -> Listing {
        let mut listing = Listing::new();
        let mut listed = BTreeMap::new();
        self.list(ROOT, Vec::new(), &mut listed, &mut listing);
        if self.has(Defect::LinksByName) {
            self.relink(&mut listing);
        }
        listing
    }

    fn list(&self, at: Number, path: Vec<u8>, listed: &mut BTreeMap<Number, Vec<u8>>, listing: &mut Listing) {
        let shown = if path.is_empty() { b"/".to_vec() } else { path.clone() };
        match listed.get(&at) {
            Some(first) => _ = listing.link(shown.clone(), first),
            None => listing.insert(shown.clone(), self.inodes[at].node.clone()),
        }
        listed.entry(at).or_insert(shown);
        let is_visible = |name: &[u8]| !is_bookkeeping(name) || self.has(Defect::MarkerRemains);
        for (name, child) in self.inodes[at].children.iter().filter(|(name, _)| is_visible(name)) {
            self.list(child.inode, [&path[..], b"/", name].concat(), listed, listing);
        }
    }

    /// Makes each hard link by name a name of its target's final inode.
    fn relink(&self, listing: &mut Listing) {
        let mut links = Vec::new();
        let mut todo = vec![(ROOT, Vec::new())];
        while let Some((at, path)) = todo.pop() {
            links.extend(self.inodes[at].link.clone().map(|target| (path.clone(), [b"/", &target[..]].concat())));
            let below = self.inodes[at].children.iter();
            todo.extend(below.map(|(name, child)| (child.inode, [&path[..], b"/", name].concat())));
        }
        for (path, target) in links {
            if !listing.link(&path[..], &target) {
                listing.remove(&path);
            }
        }
    }
}
