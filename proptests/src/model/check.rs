//! The invariants of every filesystem, for all layers.

use std::collections::BTreeSet;

use super::Model;
use super::inode::EXT4_SECONDS;
use crate::flattened::Origin;
use crate::listing::Kind;
use crate::name::{self, Spelling};

impl Model {
    /// Panics if the map is not a filesystem.
    pub(crate) fn check(&self) {
        let mut directories = BTreeSet::new();
        assert!(self.node(&[]).is_some_and(|root| root.kind == Kind::Directory), "the root is a directory");
        for (path, name) in &self.names {
            let node = &self.inodes[name.inode];
            assert!(node.mode <= 0o7777, "a mode has twelve bits: {node}");
            assert!(EXT4_SECONDS.contains(&node.mtime.seconds), "a time fits ext4: {node}");
            assert!(name.layer <= self.layer, "no name comes from a later layer");
            assert!(name.origin == Origin::Entry || node.kind == Kind::Directory, "only directories are implied");
            if node.kind == Kind::Directory {
                assert!(directories.insert(name.inode), "a directory has one name");
            }
            let Some((last, parents)) = path.split_last() else { continue };
            assert_eq!(name::clean(last, true).as_deref(), Ok(&[last.clone()][..]), "a name is one name");
            assert!(last.len() <= 255, "a name has at most 255 bytes");
            assert!(self.node(parents).is_some_and(|parent| parent.kind == Kind::Directory), "parents are directories");
            let marker = matches!(name::spelling(last), Spelling::Whiteout(_) | Spelling::Opaque);
            assert!(!marker || name.origin != Origin::Entry, "no marker is a file");
        }
    }
}
