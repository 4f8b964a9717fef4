//! The laws of layer semantics for planish itself: its tree in memory, and its binary with an ext4 filesystem.

use planish::tree::Tree;
use planish_proptests::check::{Checks, check};
use planish_proptests::laws::{self, Law};
use planish_proptests::level::Level;
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::{Image, Layer, Layout};

use crate::support::tree_listing::listing;
use crate::support::{Bench, equal, read_clean, succeeded};

/// Checks laws, and prints the seed so that a run can be repeated.
pub fn hold(subject: &mut dyn Subject, laws: impl IntoIterator<Item = &'static Law>, cases: u32, seed: u64) {
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
fn the_tree_obeys_every_law() {
    hold(&mut InMemory, laws::ALL, 300, 1);
}

#[test]
fn the_binary_obeys_every_law() {
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

fn tree(layers: &[Layer]) -> planish::Result<Tree> {
    let archive = Layout::new().tag("latest", &Image::new(layers.iter().cloned())).to_tar();
    let platform = "linux/amd64".parse().unwrap();
    let image = planish::Image::options().platform(platform).from_reader(&archive[..])?;
    Ok(image.flatten()?.tree)
}

/// The program as an ordinary user runs it, with a listing from the filesystem.
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
            Some(5) => Outcome::Refused(crate::support::stderr(&output)),
            _ => Outcome::Unusable(crate::support::stderr(&output)),
        }
    }
}

/// Both engines, which must write the same listing or refuse with the same error.
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
            let errors = [&reference.0, &direct.0].map(|output| crate::support::failed(output, 5));
            assert_eq!(errors[0], errors[1]);
            return Outcome::Refused(crate::support::stderr(&reference.0));
        }
        succeeded(&reference.0);
        succeeded(&direct.0);
        let (reference, direct) = (read_clean(&reference.1), read_clean(&direct.1));
        equal(&reference, &direct);
        Outcome::Tree(reference)
    }
}
