//! planish's tree in memory as the harness's listing. The fuzz targets include this file, too.

use std::collections::HashMap;

use planish::tree::{DeviceKind, InodeId, Node as TreeNode, Tree};
use planish_proptests::Mtime;
use planish_proptests::listing::{Contents, Kind, Listing, Node};

/// Returns the tree as a listing of the harness.
pub fn listing(tree: &Tree) -> Listing {
    let mut listing = Listing::new();
    let mut first: HashMap<InodeId, Vec<u8>> = HashMap::new();
    let mut walk = tree.walk();
    while let Some(visit) = walk.advance() {
        let path = [b"/", visit.path].concat();
        if let Some(first) = first.get(&visit.inode) {
            listing.link(path, first);
            continue;
        }
        let inode = tree.inode(visit.inode);
        let kind = match &inode.node {
            TreeNode::Directory(_) => Kind::Directory,
            TreeNode::File(content) => {
                let mut bytes = vec![0; usize::try_from(content.size()).expect("it is small")];
                for (offset, run) in content.runs() {
                    let offset = usize::try_from(offset).expect("it is small");
                    bytes[offset..offset + run.len()].copy_from_slice(run);
                }
                Kind::File(Contents::of(&bytes))
            }
            TreeNode::Symlink(target) => Kind::Symlink(target.to_vec()),
            TreeNode::Device(device) => match device.kind {
                DeviceKind::Character => Kind::CharDevice { major: device.major, minor: device.minor },
                DeviceKind::Block => Kind::BlockDevice { major: device.major, minor: device.minor },
            },
            TreeNode::Fifo => Kind::Fifo,
        };
        let metadata = &inode.metadata;
        let mut node = Node::new(kind, metadata.mode);
        (node.uid, node.gid) = (metadata.uid, metadata.gid);
        node.mtime = Mtime { seconds: metadata.mtime.seconds, nanos: metadata.mtime.nanos };
        node.xattrs = metadata.xattrs.iter().map(|x| (x.name.to_vec(), x.value.to_vec())).collect();
        first.insert(visit.inode, path.clone());
        listing.insert(path, node);
    }
    if listing.has_empty_lost_found() {
        listing.remove(b"/lost+found");
    }
    listing
}
