//! One target under libFuzzer: `planish-fuzz --target=NAME --seeds=DIRECTORY DIRECTORY [-max_total_time=60]`.
//!
//! libFuzzer ignores arguments that begin with two dashes. `proptests/fuzz/run` builds and starts it.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use planish_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = argument("--target=").expect("--target=NAME says which");
        let target = TARGETS.iter().find(|target| target.name == name).expect("--target= names a target");
        let target = TARGET.get_or_init(|| target);
        if let Some(directory) = argument("--seeds=") {
            target.write_seeds(Path::new(&directory)).expect("seeds can be written");
        }
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);

fn argument(prefix: &str) -> Option<String> {
    std::env::args().find_map(|argument| argument.strip_prefix(prefix).map(str::to_owned))
}
