//! The kernel reads a built filesystem as its listing says.

mod support;

use std::path::Path;

use planish_proptests::listing::Listing;
use support::process::{command, run};
use support::{Bench, equal, listing, read_clean, succeeded};

/// A filesystem mounted read-only through a loop device, until it is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(image: &Path, at: &'a Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run(command("mount -t ext4 -o ro,noload,loop").arg(image).arg(at));
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run(command("umount").arg(self.0));
    }
}

fn mounted(bench: &Bench, source: &str) -> Listing {
    succeeded(&bench.build(source, "out.ext4", &["--force"]));
    let at = bench.shared("mounted");
    let _mounted = Mounted::new(&bench.at("out.ext4"), &at);
    Listing::read_directory(&at).unwrap()
}

#[test]
#[ignore = "needs root"]
fn the_kernel_shows_what_the_hand_written_listings_say() {
    let bench = Bench::new();
    for name in ["layered", "hardlink", "devices", "sparse"] {
        let source = format!("oci:{}", bench.fixture(name).display());
        equal(&listing(&format!("{name}.listing")), &mounted(&bench, &source));
    }
}

#[test]
#[ignore = "needs root"]
fn the_kernel_shows_what_the_bytes_hold() {
    let bench = Bench::new();
    let image = support::generated::image();
    let layout = bench.shared("generated");
    image.write_layout(&layout, "latest").unwrap();
    let seen = mounted(&bench, &format!("oci:{}", layout.display()));
    equal(&read_clean(&bench.at("out.ext4")), &seen);
    assert!(seen.len() > 500, "{}", seen.len());
}
