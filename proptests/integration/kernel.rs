//! The kernel's view of a built filesystem equals its listing.

use planish_proptests::listing::Listing;

use crate::support::mounted::Mounted;
use crate::support::{Bench, equal, listing, read_clean, succeeded};

fn mounted(bench: &Bench, source: &str) -> Listing {
    succeeded(&bench.build(source, "out.ext4", &["--force"]));
    let at = bench.shared("mounted");
    let _mounted = Mounted::new(&bench.at("out.ext4"), &at);
    Listing::read_directory(&at).unwrap()
}

#[test]
#[ignore = "needs root"]
fn the_kernel_view_equals_the_hand_written_listings() {
    let bench = Bench::new();
    for name in ["layered", "hardlink", "devices", "sparse"] {
        let source = format!("oci:{}", bench.fixture(name).display());
        equal(&listing(&format!("{name}.listing")), &mounted(&bench, &source));
    }
}

#[test]
#[ignore = "needs root"]
fn the_kernel_view_equals_the_ext4_listing() {
    let bench = Bench::new();
    let image = crate::support::generated::image();
    let layout = bench.shared("generated");
    image.write_layout(&layout, "latest").unwrap();
    let seen = mounted(&bench, &format!("oci:{}", layout.display()));
    equal(&read_clean(&bench.at("out.ext4")), &seen);
    assert!(seen.len() > 500, "{}", seen.len());
}
