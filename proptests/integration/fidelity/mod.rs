//! Both engines keep every attribute of an inode up to the limits of ext4. Two readers check it: one that shares no
//! code
//! with planish, and the kernel. The table is in `fixtures/FIDELITY.md`.

pub mod rows;
mod tools;

use std::process::Command;

use planish_proptests::listing::{Contents, Field, Fields, Kind, Listing, Node, diff};
use planish_proptests::writer::{Entry, Image, Layer, SparseFormat};
use planish_proptests::{Stack, model};

use crate::support::mounted::Mounted;
use crate::support::process::run;
use crate::support::{Bench, failed, read_clean, succeeded, tool};

const ENGINES: [&str; 2] = ["e2fsprogs", "direct"];

/// Writes an image of one layer, readable for the user.
fn image(bench: &Bench, entries: &[Entry]) -> String {
    let layout = bench.shared("layout");
    let _ = std::fs::remove_dir_all(&layout);
    Image::new([Layer::new(entries.to_vec())]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// Builds `out.ext4` with an engine.
#[track_caller]
fn build(bench: &Bench, source: &str, engine: &str) {
    succeeded(&bench.build(source, "out.ext4", &["--force", "--free", "1M", "--engine", engine]));
}

/// Returns the listing of entries by the reference model.
#[track_caller]
fn meaning(entries: &[Entry]) -> Listing {
    model::flatten(&Stack::new([entries.to_vec()])).unwrap().listing
}

#[track_caller]
fn equal(engine: &str, expected: &Listing, found: &Listing) {
    let fields: Fields = Field::ALL.into_iter().collect();
    let differences: Vec<String> = diff(expected, found, &fields).iter().take(9).map(ToString::to_string).collect();
    assert_eq!(differences, [""; 0], "{engine}");
}

/// Requires both engines to keep every attribute of the entries.
#[track_caller]
fn assert_kept(entries: &[Entry]) {
    assert_kept_as(entries, entries);
}

/// Requires both engines to build the listing of `others` from `entries`.
#[track_caller]
fn assert_kept_as(entries: &[Entry], others: &[Entry]) {
    let bench = Bench::new();
    let source = image(&bench, entries);
    for engine in ENGINES {
        build(&bench, &source, engine);
        equal(engine, &meaning(others), &read_clean(&bench.at("out.ext4")));
    }
}

/// Requires both engines to refuse an image with the same error, and returns it.
#[track_caller]
fn refused(entries: &[Entry]) -> String {
    let bench = Bench::new();
    let source = image(&bench, entries);
    let [first, second] =
        ENGINES.map(|engine| failed(&bench.build(&source, "none.ext4", &["--free", "1M", "--engine", engine]), 5));
    assert_eq!(first, second);
    assert_eq!(bench.left(), [""; 0]);
    first
}

#[test]
fn every_mode_is_kept() {
    assert_kept(&rows::modes());
}

#[test]
fn owners_and_groups_up_to_the_last_are_kept() {
    assert_kept(&rows::owners());
    let text = refused(&[Entry::file("f", "").owner(0, 4_294_967_295)]);
    assert!(text.ends_with("has gid 4294967295, the largest in ext4 is 4294967294"), "{text}");
}

#[test]
fn times_are_kept_to_the_nanosecond_from_1901_to_2446() {
    assert_kept(&rows::times());
}

#[test]
fn the_roots_own_time_is_kept_at_every_edge() {
    for (seconds, nanos) in rows::TIMES {
        assert_kept(&[Entry::dir("./").mode(0o1711).owner(3, 4).mtime(seconds, nanos).xattr("user.root", "r")]);
    }
}

#[test]
fn xattrs_are_kept_in_the_inode_and_in_a_block() {
    assert_kept(&rows::xattrs());
}

#[test]
fn acls_as_text_and_xattrs_of_libarchive_are_kept() {
    assert_kept_as(&rows::text_form(), &rows::kernel_form());
}

#[test]
fn xattrs_of_the_largest_size_are_kept_and_larger_ones_refused() {
    let entry = |len| Entry::file("f", "").xattr("user.k", vec![0xa5; len]);
    assert_kept(&[entry(4040)]);
    let text = refused(&[entry(4041)]);
    assert_eq!(text, "/f has xattrs that need 4064 bytes, ext4 has 4148 for them");
    // The order matters: the direct engine moves no xattr back into the inode after it has begun the block.
    assert_kept(&[entry(4040).xattr("user.a", vec![1; 68])]);
    refused(&[entry(4040).xattr("user.a", vec![1; 69])]);
}

#[test]
fn devices_of_all_numbers_and_fifos_are_kept() {
    assert_kept(&rows::devices());
    let text = refused(&[Entry::char_device("c", 4096, 0)]);
    assert!(text.ends_with("has major device number 4096, the largest in ext4 is 4095"), "{text}");
    let text = refused(&[Entry::block_device("b", 0, 1_048_576)]);
    assert!(text.ends_with("has minor device number 1048576, the largest in ext4 is 1048575"), "{text}");
}

#[test]
fn symlink_targets_of_every_kind_are_kept() {
    assert_kept(&rows::symlinks());
    let text = refused(&[Entry::symlink("l", vec![b't'; 4096])]);
    assert!(text.contains("4096"), "{text}");
}

#[test]
fn names_of_every_byte_and_length_are_kept() {
    assert_kept(&rows::names());
    let text = refused(&[Entry::file(vec![b'n'; 256], "")]);
    assert!(text.ends_with("has a name of 256 bytes, Linux allows 255"), "{text}");
}

#[test]
fn the_lost_and_found_of_an_image_is_kept_with_its_contents() {
    let bench = Bench::new();
    let entries = rows::lost_and_found();
    let source = image(&bench, &entries);
    // The direct engine refuses it by name, and `auto` does not select that engine: see engines.rs.
    for engine in ["e2fsprogs", "auto"] {
        build(&bench, &source, engine);
        equal(engine, &meaning(&entries), &read_clean(&bench.at("out.ext4")));
    }
}

/// Returns the size of a file on disk by debugfs, in blocks of 512 bytes.
fn blocks(bench: &Bench, path: &str) -> u64 {
    let text = run(Command::new(tool("debugfs")).args(["-R", &format!("stat {path}")]).arg(bench.at("out.ext4")));
    text.split_once("Blockcount: ").unwrap().1.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn holes_take_no_blocks() {
    let bench = Bench::new();
    let entries = rows::holes();
    let source = image(&bench, &entries);
    for engine in ENGINES {
        build(&bench, &source, engine);
        equal(engine, &meaning(&entries), &read_clean(&bench.at("out.ext4")));
        let taken = ["/all", "/zeros", "/ends", "/middle", "/sparse"].map(|path| blocks(&bench, path));
        assert_eq!(taken, [80, 0, 16, 8, 16], "{engine}");
    }
}

/// The bytes "head", then zeros, and "tail" at the end of 4 GiB and 12,288 bytes.
fn over_four_gib() -> Entry {
    let size = (1 << 32) + 12_288;
    Entry::sparse("large", SparseFormat::Pax10, [(0, 4), (size - 4, 4)], size, "headtail")
}

/// `(printf head; head -c 4294979576 /dev/zero; printf tail) | sha256sum`
const OVER_FOUR_GIB: &str = "5ab03f22c354440fc3d3598522073c4685de61afa5f991e637aad64a3b0df35a";

fn large() -> Node {
    let digest = std::array::from_fn(|n| u8::from_str_radix(&OVER_FOUR_GIB[2 * n..2 * n + 2], 16).unwrap());
    let mut node = Node::file("");
    node.kind = Kind::File(Contents::known_by((1 << 32) + 12_288, digest));
    node
}

#[test]
fn files_over_four_gib_are_kept() {
    let bench = Bench::new();
    let source = image(&bench, &[over_four_gib()]);
    for engine in ENGINES {
        build(&bench, &source, engine);
        assert_eq!(blocks(&bench, "/large"), 16, "{engine}");
        let found = read_clean(&bench.at("out.ext4"));
        assert_eq!(found.get(b"/large").unwrap().kind, large().kind, "{engine}");
    }
}

#[test]
#[ignore = "takes minutes"]
fn inodes_of_every_type_have_up_to_65000_names() {
    let first = [Entry::file("f", "x"), Entry::symlink("s", "target"), Entry::char_device("c", 4095, 1_048_575)];
    for first in first {
        assert_kept(&rows::links(first, 65_000));
    }
}

#[test]
fn an_inode_of_65000_names_is_kept_and_one_more_is_refused() {
    assert_kept(&rows::links(Entry::file("f", "x"), 65_000));
    let text = refused(&rows::links(Entry::file("f", "x"), 65_001));
    assert_eq!(text, "/f has 65001 names, ext4 allows 65000");
}

#[test]
#[ignore = "needs root and a loop device"]
fn the_kernel_shows_every_row() {
    let bench = Bench::new();
    let at = bench.shared("mounted");
    for (name, entries) in rows::all() {
        let source = image(&bench, &entries);
        let expected = meaning(&entries);
        for engine in ENGINES.into_iter().filter(|engine| name != "lost+found" || *engine == "e2fsprogs") {
            build(&bench, &source, engine);
            let _mounted = Mounted::new(&bench.at("out.ext4"), &at);
            let found = Listing::read_directory(&at).unwrap();
            equal(&format!("{name} {engine}"), &expected, &found);
        }
    }
    let source = image(&bench, &rows::text_form());
    for engine in ENGINES {
        build(&bench, &source, engine);
        let _mounted = Mounted::new(&bench.at("out.ext4"), &at);
        equal(engine, &meaning(&rows::kernel_form()), &Listing::read_directory(&at).unwrap());
    }
}
