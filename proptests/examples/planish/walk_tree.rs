//! Flattens an image and lists its names with type, mode, owner and size, without making a filesystem.
//!
//!     cargo run --example walk_tree -- oci:fixtures/layered:latest

use std::error::Error;

use planish::Image;
use planish::tree::{DeviceKind, Metadata, Node};

fn main() -> Result<(), Box<dyn Error>> {
    let source = std::env::args().nth(1).ok_or("usage: walk_tree SOURCE")?;
    let image = Image::options().platform("linux/amd64".parse()?).open(&*source)?;
    let flat = image.flatten()?;
    let mut walk = flat.tree.walk();
    while let Some(visit) = walk.advance() {
        let inode = flat.tree.inode(visit.inode);
        let (kind, size) = match &inode.node {
            Node::Directory(_) => ('d', 0),
            Node::File(content) => ('-', content.size()),
            Node::Symlink(target) => ('l', target.len() as u64),
            Node::Device(device) if device.kind == DeviceKind::Block => ('b', 0),
            Node::Device(_) => ('c', 0),
            Node::Fifo => ('p', 0),
        };
        let Metadata { mode, uid, gid, .. } = inode.metadata;
        // Names are bytes, so they are escaped for a terminal.
        println!("{kind} {mode:04o} {:>11} {size:>8} /{}", format!("{uid}:{gid}"), visit.path.escape_ascii());
    }
    println!("{} layers, {} kinds of notes", flat.layers.len(), flat.notes.kinds().len());
    Ok(())
}
