//! The public view of the model.

use std::collections::BTreeMap;

use super::{Model, flatten};
use crate::flattened::{Flattened, Origin};
use crate::listing::{Listing, Node};
use crate::name::{self, Path};
use crate::oddity::{Oddities, Oddity};
use crate::stack::Stack;
use crate::subject::{Outcome, Subject};
use crate::writer::Layer;

/// The model as a subject, which keeps every law.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Subject for Reference {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        match flatten(&Stack { layers: layers.to_vec() }) {
            Ok(meaning) => Outcome::Tree(meaning.listing),
            Err(fault) => Outcome::Refused(fault.to_string()),
        }
    }
}

impl Model {
    pub(crate) fn node(&self, path: &[Vec<u8>]) -> Option<&Node> {
        Some(&self.inodes[self.names.get(path)?.inode])
    }

    /// Returns a path and all paths below it.
    pub(super) fn subtree(&self, top: &[Vec<u8>]) -> Vec<Path> {
        let paths = self.names.range(top.to_vec()..).map(|(path, _)| path);
        paths.take_while(|path| path.starts_with(top)).cloned().collect()
    }

    /// Returns all paths.
    pub(crate) fn paths(&self) -> Vec<Path> {
        self.subtree(&[])
    }

    /// Returns the paths that no entry of this layer has written yet.
    pub(crate) fn lower_paths(&self) -> Vec<Path> {
        self.names.iter().filter(|(_, name)| name.layer != self.layer).map(|(path, _)| path.clone()).collect()
    }

    pub(super) fn note(&mut self, oddity: Oddity) {
        self.oddities[self.layer - 1].insert(oddity);
    }

    pub(crate) fn oddities(&self) -> Oddities {
        self.oddities.iter().flatten().copied().collect()
    }

    /// Returns the filesystem without AUFS's names.
    pub(crate) fn finish(self) -> Flattened {
        let mut flattened = Flattened { contents: self.contents, oddities: self.oddities, ..Flattened::default() };
        let mut first: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut listing = Listing::new();
        for (path, name) in self.names.iter().filter(|(path, _)| !path.iter().any(|name| name::is_bookkeeping(name))) {
            let absolute = name::absolute(path);
            match first.get(&name.inode) {
                Some(existing) => _ = listing.link(&*absolute, existing),
                None => listing.insert(&*absolute, self.inodes[name.inode].clone()),
            }
            first.entry(name.inode).or_insert_with(|| absolute.clone());
            let later = self.changed.get(path).is_some_and(|changed| *changed > name.layer);
            if later || self.roomy.contains(path) {
                flattened.disturbed.insert(absolute.clone());
            }
            if name.origin != Origin::Entry {
                flattened.implied.insert(absolute, name.origin);
            }
        }
        Flattened { listing, ..flattened }
    }
}
