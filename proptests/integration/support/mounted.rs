//! The kernel's view of a filesystem.

use std::path::Path;

use super::process::{command, run};

/// A filesystem mounted read-only through a loop device, until it is dropped.
pub struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    pub fn new(image: &Path, at: &'a Path) -> Self {
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
