//! Compares an ext4 filesystem of any program with an image, and prints the differences.
//!
//!     cargo run -- build oci:fixtures/layered:latest -o rootfs.ext4 --platform linux/amd64 --force
//!     debugfs -w -R 'set_inode_field /etc/passwd uid 7' rootfs.ext4
//!     cargo run --example verify_ext4 -- oci:fixtures/layered:latest rootfs.ext4

use std::error::Error;
use std::process::ExitCode;

use planish::{Builder, Image};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(source), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: verify_ext4 SOURCE FILE".into());
    };
    let image = Image::options().platform("linux/amd64".parse()?).open(source.as_os_str())?;
    let verification = Builder::new(image).verify(file)?;
    for mismatch in &verification.mismatches {
        println!("{mismatch}");
    }
    if let Some(found) = &verification.fsck_found {
        println!("e2fsck -fn: {found}");
    }
    println!("{} inodes compared, {} differences", verification.compared.inodes, verification.mismatch_count);
    Ok(if verification.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
