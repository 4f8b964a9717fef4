//! The laws of layer semantics, on planish itself: its tree in memory, and its binary end to end through ext4.

mod support;

use std::io::Write;

use planish::digest::{Algorithm, Digest};
use planish::error::LayerPlace;
use planish::layer::entry::DeviceKind;
use planish::layer::{Budget, decode};
use planish::progress::Silent;
use planish::read_at::FileSlice;
use planish::source::{LayerBlob, LayerData};
use planish::time::Timestamp;
use planish::tree::{InodeId, LayerId, Node as TreeNode, Tree};
use planish::{Cancel, Error, Limits};
use planish_proptests::Mtime;
use planish_proptests::check::{Checks, check};
use planish_proptests::laws::{self, Law};
use planish_proptests::level::Level;
use planish_proptests::listing::{Contents, Kind, Listing, Node};
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::{Image, Layer};
use support::{Bench, equal, read_clean, succeeded};

/// Checks laws, and prints the seed so that a run can be repeated.
fn hold(subject: &mut dyn Subject, laws: impl IntoIterator<Item = &'static Law>, cases: u32, seed: u64) {
    println!("seed {seed}");
    for law in laws {
        let checks = Checks { cases, seed, ..Checks::of(Level::Planish) };
        let report = check(law, subject, &checks).unwrap();
        println!("{}: {} of {} hold, {} refused", law.name, report.holds, report.cases(), report.refused);
        if let Some(broken) = report.broken {
            panic!("{} (seed {seed}):\n{}\n{}", law.name, broken.input, broken.breach);
        }
        if let Some(refusal) = report.refusal {
            panic!("{} (seed {seed}) refuses a valid stack: {}\n{}", law.name, refusal.message, refusal.stack);
        }
    }
}

#[test]
fn the_tree_keeps_every_law() {
    hold(&mut InMemory, laws::ALL, 1_200, 1);
}

#[test]
fn the_binary_keeps_every_law() {
    hold(&mut Binary { bench: Bench::new() }, laws::ALL, 30, 2);
}

#[test]
fn both_engines_give_equal_listings_of_generated_stacks() {
    hold(&mut BothEngines { bench: Bench::new() }, laws::named("model-agreement"), 60, 3);
}

/// planish's own tree, without a filesystem.
struct InMemory;

impl Subject for InMemory {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        match tree(layers) {
            Ok(tree) => Outcome::Tree(listing(&tree)),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

fn tree(layers: &[Layer]) -> Result<Tree, Error> {
    let budget = Budget::new(Limits::default());
    let mut tree = Tree::new(Timestamp::default());
    for (id, layer) in (0..).zip(layers) {
        let (blob, tar) = (layer.blob(), layer.tar());
        let digest = Digest::of(Algorithm::Sha256, &blob);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&blob).unwrap();
        let data = FileSlice::whole(file).unwrap();
        let blob = LayerBlob {
            place: LayerPlace { number: usize::from(id) + 1, count: layers.len(), digest: digest.clone() },
            media_type: None,
            digest: Some(digest),
            size: Some(blob.len() as u64),
            diff_id: Digest::of(Algorithm::Sha256, &tar),
            data: LayerData::Here(data.clone()),
        };
        let decoded = decode(&blob, &data, &std::env::temp_dir(), &budget, &Silent, &Cancel::default())?;
        let changes = decoded.changes(&budget, false, &mut Vec::new()).collect::<Vec<_>>();
        tree.apply(LayerId(id), changes.into_iter().map(|change| change.map_err(Fault)))
            .map_err(|Fault(error)| error)?;
    }
    Ok(tree.finish())
}

struct Fault(Error);

impl From<planish::tree::ApplyFault> for Fault {
    fn from(fault: planish::tree::ApplyFault) -> Self {
        Self(Error::image(planish::error::Place::Path(fault.path.as_bytes().into()), fault.problem))
    }
}

fn listing(tree: &Tree) -> Listing {
    let mut listing = Listing::new();
    let mut first: std::collections::HashMap<InodeId, Vec<u8>> = std::collections::HashMap::new();
    for visit in tree.walk() {
        let path = [b"/", &*visit.path].concat();
        if let Some(first) = first.get(&visit.inode) {
            listing.link(path, first);
            continue;
        }
        let inode = tree.inode(visit.inode);
        let kind = match &inode.node {
            TreeNode::Directory(_) => Kind::Directory,
            TreeNode::File(content) => {
                let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
                for (offset, run) in content.runs() {
                    let offset = usize::try_from(offset).unwrap();
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

/// The program as an ordinary user runs it, and what the filesystem's bytes then say.
struct Binary {
    bench: Bench,
}

impl Subject for Binary {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        let layout = self.bench.shared("stack");
        Image::new(layers.iter().cloned()).write_layout(&layout, "latest").unwrap();
        let source = format!("oci:{}:latest", layout.display());
        let output = self.bench.build(&source, "out.ext4", &["--force", "--free", "1M"]);
        std::fs::remove_dir_all(layout).unwrap();
        match output.status.code() {
            Some(0) => Outcome::Tree(read_clean(&self.bench.at("out.ext4"))),
            Some(5) => Outcome::Refused(support::stderr(&output)),
            _ => Outcome::Unusable(support::stderr(&output)),
        }
    }
}

/// Both engines, which must write the same or refuse the same.
struct BothEngines {
    bench: Bench,
}

impl Subject for BothEngines {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        let layout = self.bench.shared("stack");
        Image::new(layers.iter().cloned()).write_layout(&layout, "latest").unwrap();
        let source = format!("oci:{}:latest", layout.display());
        let [reference, direct] = ["e2fsprogs", "direct"].map(|engine| {
            let more = ["--force", "--free", "1M", "--engine", engine];
            let output = self.bench.build(&source, &format!("{engine}.ext4"), &more);
            (output, self.bench.at(&format!("{engine}.ext4")))
        });
        std::fs::remove_dir_all(layout).unwrap();
        if reference.0.status.code() == Some(5) {
            let said = [&reference.0, &direct.0].map(|output| support::failed(output, 5));
            assert_eq!(said[0], said[1]);
            return Outcome::Refused(support::stderr(&reference.0));
        }
        succeeded(&reference.0);
        succeeded(&direct.0);
        let (reference, direct) = (read_clean(&reference.1), read_clean(&direct.1));
        equal(&reference, &direct);
        Outcome::Tree(reference)
    }
}
