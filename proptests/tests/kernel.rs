//! The kernel reads a built filesystem as its listing says.

mod support;

use planish_proptests::listing::Listing;
use support::mounted::Mounted;
use support::{Bench, equal, listing, read_clean, succeeded};

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
