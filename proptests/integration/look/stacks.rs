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

#[test]
fn listings_of_layers_tell_what_the_layers_tell() {
    hold(&mut Listed, laws::named("model-agreement"), 40, 4);
}

/// The tree of a stack, looked at by listings.
struct Listed;

impl Subject for Listed {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        match listed(layers) {
            Ok(listing) => Outcome::Tree(listing),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
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

/// Tells the same by the layers, by listings that are made, and by listings that are there.
fn listed(layers: &[Layer]) -> planish::Result<Listing> {
    let cache = tempfile::tempdir().unwrap();
    let archive = Layout::new().tag("latest", &WrittenImage::new(layers.iter().cloned())).to_tar();
    let image = open(&archive)?;
    let tree = image.flatten()?.tree;
    let documents = |image: &Image| {
        let mut documents = vec![serde_json::to_string(&image.layers().unwrap()).unwrap()];
        let mut walk = tree.walk();
        for _ in 0..4 {
            let Some(visit) = walk.advance() else { break };
            // The root has no life where no layer mentions it.
            let life = image.explain(visit.path).map(|life| serde_json::to_string(&life).unwrap());
            documents.push(life.unwrap_or_else(|error| error.to_string()));
        }
        documents
    };
    let expected = (documents(&image), names(&tree));
    let options = Image::options().platform("linux/amd64".parse().unwrap());
    let options = options.listings(cache.path().join("cache"), None);
    for round in ["made", "used"] {
        let image = options.from_reader(&archive[..])?;
        assert_eq!((documents(&image), names(&image.flatten_names()?.tree)), expected, "{round}");
    }
    Ok(listing(&tree))
}

fn names(tree: &planish::tree::Tree) -> Vec<String> {
    let (mut walk, mut names) = (tree.walk(), Vec::new());
    while let Some(visit) = walk.advance() {
        names.push(serde_json::to_string(&planish::NameReport::of(tree, &visit)).unwrap());
    }
    names
}
