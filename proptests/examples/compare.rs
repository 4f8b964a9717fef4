//! Compares a filesystem with a directory that another program unpacked, or with another filesystem.
//!
//! `cargo run -p planish-proptests --example compare -- EXPECTED ACTUAL.ext4`
//!
//! Both are read without planish's own reader. The number of differences goes to stdout, and the first ten to stderr. Not
//! compared are the nanoseconds of an mtime: `mkfs.ext4 -d` stores none.

use std::path::Path;
use std::process::ExitCode;

use planish_proptests::listing::{Difference, Fields, Listing, diff};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [expected, actual] = &*arguments else { return Err("two paths are needed: EXPECTED ACTUAL.ext4".into()) };
    let (expected, actual) = (read(expected.as_ref())?, Listing::read_ext4(actual.as_ref())?);
    let mut differences = diff(&expected, &actual, &Fields::all());
    differences.retain(|difference| !is_fraction(difference));
    println!("{}", differences.len());
    differences.iter().take(10).for_each(|difference| eprintln!("{difference}"));
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> Result<Listing, Box<dyn std::error::Error>> {
    Ok(if path.is_dir() { Listing::read_directory(path)? } else { Listing::read_ext4(path)? })
}

/// Returns true if two mtimes differ in their nanoseconds alone.
fn is_fraction(difference: &Difference) -> bool {
    let seconds = |text: &str| text.split('.').next().map(str::to_owned);
    match difference {
        Difference::Field { field, expected, actual, .. } => {
            field.name() == "mtime" && seconds(expected) == seconds(actual)
        }
        Difference::Missing { .. } | Difference::Unexpected { .. } => false,
    }
}
