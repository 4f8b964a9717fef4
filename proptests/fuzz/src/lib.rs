//! Fuzz targets for every part of planish that reads foreign input, with seeds of the harness's writer.
//!
//! A target runs the library on bytes. It requires that nothing panics, and that the result keeps the guarantees of the
//! reader or agrees with another reader. `cargo test` runs every target on its seeds, on mutated seeds and on inputs
//! that failed earlier; `proptests/fuzz/run` searches for more.

mod targets;

use std::path::Path;

/// A function that must accept any bytes, and its seeds.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics if planish is wrong.
    pub run: fn(&[u8]),
    /// Inputs that pass the first checks.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Writes the seeds into a directory, one file each.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write_seeds(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        for (number, seed) in (self.seeds)().iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
        Ok(())
    }
}

/// All targets.
pub const TARGETS: [Target; 11] = [
    Target { name: "tar", run: targets::tar::stream, seeds: targets::tar::stream_seeds },
    Target { name: "pax", run: targets::tar::pax, seeds: targets::tar::pax_seeds },
    Target { name: "sparse", run: targets::tar::sparse, seeds: targets::tar::sparse_seeds },
    Target { name: "manifest", run: targets::document::manifest, seeds: targets::document::manifest_seeds },
    Target { name: "index", run: targets::document::index, seeds: targets::document::index_seeds },
    Target { name: "config", run: targets::document::config, seeds: targets::document::config_seeds },
    Target { name: "reference", run: targets::word::reference, seeds: targets::word::reference_seeds },
    Target { name: "challenge", run: targets::word::challenge, seeds: targets::word::challenge_seeds },
    Target { name: "apply", run: targets::apply::run, seeds: targets::apply::seeds },
    Target { name: "ext4", run: targets::ext4::run, seeds: targets::ext4::seeds },
    Target { name: "debugfs", run: targets::debugfs::run, seeds: targets::debugfs::seeds },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of mutated seeds for each target.
    const CHANGED: usize = 300;

    /// A reproducible random number generator.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap_or_default() % bound.max(1)
        }
    }

    /// Changes a few bytes, truncates, or repeats a part.
    fn changed(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=numbers.below(4) {
            let (at, other) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
            match numbers.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at.min(other)..at.max(other)),
                2 => bytes.insert(at, b"\0\xff09{\"/:"[numbers.below(8)]),
                _ if bytes.is_empty() => {}
                3 => bytes[at] ^= 1 << numbers.below(8),
                _ => bytes[at] = b"\0\xff09-, =\n/"[numbers.below(10)],
            }
        }
        bytes
    }

    #[test]
    fn targets_accept_seeds_and_mutated_seeds() {
        for target in &TARGETS {
            let started = std::time::Instant::now();
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            seeds.iter().for_each(|seed| (target.run)(seed));
            let mut numbers = Numbers(1);
            for number in 0..CHANGED {
                (target.run)(&changed(&seeds[number % seeds.len()], &mut numbers));
            }
            println!("{}: {:?}", target.name, started.elapsed());
        }
    }

    #[test]
    fn earlier_failing_inputs_pass() {
        let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
        for directory in found.read_dir().into_iter().flatten() {
            let directory = directory.unwrap();
            let name = directory.file_name();
            let target = TARGETS.iter().find(|target| target.name == name).expect("a directory is named for a target");
            for input in directory.path().read_dir().unwrap() {
                (target.run)(&std::fs::read(input.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn target_names_are_unique() {
        let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TARGETS.len());
    }
}
