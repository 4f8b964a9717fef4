//! Makes an ext4 filesystem of the only image of an OCI layout, with a library that has no program of its own.
//!
//!     peers oci2rootfs|microsandbox LAYOUT OUT
//!
//! `proptests/benches/builds` compares planish with it. Nothing here contacts a registry.

mod image;
mod microsandbox;
mod oci2rootfs;

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use image::Image;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<()> {
    let [library, layout, out] = arguments else {
        return Err("three arguments are needed: oci2rootfs|microsandbox LAYOUT OUT".into());
    };
    let build = match library.to_str() {
        Some("oci2rootfs") => oci2rootfs::build,
        Some("microsandbox") => microsandbox::build,
        _ => return Err(format!("unknown library {library:?}: oci2rootfs or microsandbox").into()),
    };
    build(&Image::open(Path::new(layout))?, Path::new(out))
}
