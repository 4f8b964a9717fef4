//! Hostile images through the real binary, in little memory, beside a file that must not change.
//!
//! Each is refused with one clear line, or gives one filesystem. The digests and sizes of all blobs are right:
//! the fault is in the content.

mod catalogue;
mod control;
mod entry;
mod header;
mod many;
mod stream;
mod users;

use std::path::PathBuf;
use std::process::{Command, Output};

use planish_proptests::listing::Listing;

use crate::support::raw::Raw;
use crate::support::{Bench, failed, read_clean, stderr, succeeded};

/// The limit of private memory of a build and each of its tools.
const MEMORY: u64 = 512 << 20;
const CANARY: &str = "untouched";

/// A bench with a file outside that the user may write, and that no build may change.
struct Yard {
    bench: Bench,
}

impl Yard {
    fn new() -> Self {
        let bench = Bench::new();
        let yard = Self { bench };
        std::fs::create_dir(yard.outside()).unwrap();
        std::fs::write(yard.outside().join("canary"), CANARY).unwrap();
        yard.bench.give(&yard.outside());
        yard.bench.give(&yard.outside().join("canary"));
        yard
    }

    fn outside(&self) -> PathBuf {
        self.bench.shared("outside")
    }

    fn build(&self, layers: &[Raw], more: &[&str]) -> Output {
        let layout = self.bench.shared("image");
        crate::support::raw::write(&layout, layers);
        let build = self.bench.planish();
        let mut command = Command::new("prlimit");
        command
            .args([format!("--data={MEMORY}"), "--nofile=1024:4096".to_owned()])
            .arg(build.get_program())
            .args(["build", "--output", "out.ext4"]);
        command.args(["--platform", "linux/amd64"]).arg(format!("oci:{}", layout.display())).args(more);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(self.bench.home());
        self.bench.as_user(&mut command);
        let output = command.output().unwrap();
        std::fs::remove_dir_all(&layout).unwrap();
        let outside: Vec<_> = self.outside().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["canary"]);
        assert_eq!(std::fs::read_to_string(self.outside().join("canary")).unwrap(), CANARY);
        output
    }

    /// Requires a refusal that leaves no file, and returns its one line without digests and long names.
    #[track_caller]
    fn refused(&self, layers: &[Raw], more: &[&str], code: i32) -> String {
        let output = self.build(layers, more);
        let text = failed(&output, code);
        assert!(stderr(&output).replace('…', "").is_ascii(), "{text}");
        assert_eq!(self.bench.left(), [""; 0], "{text}");
        without_digests(&text).replace(&"n".repeat(190), "[190 n]")
    }

    /// Requires a filesystem, and returns its listing.
    #[track_caller]
    fn made(&self, layers: &[Raw]) -> Listing {
        self.made_with(layers, &[])
    }

    #[track_caller]
    fn made_with(&self, layers: &[Raw], more: &[&str]) -> Listing {
        let output = self.build(layers, more);
        succeeded(&output);
        assert!(stderr(&output).replace('…', "").bytes().all(|b| b == b'\n' || (0x20..0x7f).contains(&b)));
        let image = self.bench.at("out.ext4");
        let found = read_clean(&image);
        std::fs::remove_file(image).unwrap();
        assert_eq!(self.bench.left(), [""; 0]);
        found
    }

    /// Requires a refusal of each image of one layer; the table omits the layer's name in the text.
    #[track_caller]
    fn refuses<L: Into<Raw>>(&self, table: impl IntoIterator<Item = (L, i32, &'static str)>) {
        let wrong: Vec<String> = table
            .into_iter()
            .filter_map(|(layer, code, expected)| {
                let text = self.refused(&[layer.into()], &[], code);
                let found =
                    text.strip_prefix("layer 1 of 1").map_or(&*text, |rest| rest.trim_start_matches([':', ' ']));
                (found != expected).then(|| format!("expected {expected}\n   found {found}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Removes the digests and their parentheses from a message.
fn without_digests(text: &str) -> String {
    let mut pieces = text.split("sha256:");
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        plain.push_str("sha256:");
        plain.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '…'));
    }
    plain.replace(" (sha256:)", "")
}

/// The paths of a listing, one a line, without the root.
fn paths(listing: &Listing) -> String {
    let paths: Vec<String> = listing.iter().skip(1).map(|(path, _)| path.escape_ascii().to_string()).collect();
    paths.join(" ")
}
