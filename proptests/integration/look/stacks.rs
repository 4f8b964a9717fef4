//! Laws of these commands on generated stacks of layers.

use planish::{Builder, Image};
use planish_proptests::laws;
use planish_proptests::listing::{Kind, Listing};
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::{Image as WrittenImage, Layer, Layout};

use super::export::archive_of;
use crate::laws::hold;
use crate::support::tree_listing::listing;

#[test]
fn an_exported_tree_is_the_model_s_and_the_counts_agree() {
    hold(&mut Exported, laws::named("model-agreement"), 300, 4);
}

/// The tree of an image whose only layer is the exported tree of a stack.
struct Exported;

impl Subject for Exported {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        match exported(layers) {
            Ok(listing) => Outcome::Tree(listing),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

fn open(archive: &[u8]) -> planish::Result<Image> {
    Image::options().platform("linux/amd64".parse().unwrap()).from_reader(archive)
}

fn exported(layers: &[Layer]) -> planish::Result<Listing> {
    let image = open(&Layout::new().tag("latest", &WrittenImage::new(layers.iter().cloned())).to_tar())?;
    let flat = image.flatten()?;
    let tree = listing(&flat.tree);
    let mut stream = Vec::new();
    Builder::new(image.clone()).export_to(&mut stream)?;
    let exported = open(&archive_of(&stream))?;
    let differences = image.diff(&exported, &mut |difference| panic!("{difference:?}"))?;
    assert!(differences.are_none());
    counts(&image, &tree)?;
    lives(&image, &flat.tree)?;
    Ok(listing(&exported.flatten()?.tree))
}

/// The additions of all layers without their waste are the tree.
fn counts(image: &Image, tree: &Listing) -> planish::Result<()> {
    let report = image.layers()?;
    let added: u64 = report.layers.iter().map(|layer| layer.added_bytes).sum();
    let lost: u64 = report.layers.iter().map(|layer| layer.overridden_bytes + layer.hidden_bytes).sum();
    let size = |node: &planish_proptests::listing::Node| match &node.kind {
        Kind::File(contents) => contents.size(),
        _ => 0,
    };
    let firsts = tree.iter().filter(|(path, _)| tree.first_name(path).is_none_or(|first| first == *path));
    assert_eq!(added - report.wasted_bytes, firsts.map(|(_, node)| size(node)).sum::<u64>());
    assert!(lost <= report.wasted_bytes);
    Ok(())
}

/// The life of each path of the tree ends with the file that is there.
fn lives(image: &Image, tree: &planish::tree::Tree) -> planish::Result<()> {
    let mut walk = tree.walk();
    while let Some(visit) = walk.advance() {
        let Some(child) = visit.child else { continue };
        let life = image.explain(visit.path)?;
        assert!(life.exists, "{}", life.path);
        let last = life.steps.last().expect("a path that exists was added");
        let after = last.after.as_ref().expect("it exists after its last step");
        let now = planish::NameReport::of(tree, &visit);
        assert_eq!(
            (after.kind, after.mode, after.uid, after.size),
            (now.kind, now.mode, now.uid, now.size),
            "{life:?}"
        );
        assert!(life.steps.iter().any(|step| step.layer == usize::from(child.layer.0) + 1), "{life:?}");
    }
    Ok(())
}
