//! Stacks of layers: planish's tree against the reference model and every other law.

use planish_proptests::laws::{self, Bench, Verdict};
use planish_proptests::level::Level;
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::Layer;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::tree::{self, listing};

/// The first byte selects a law; the rest is the seed of a generated stack.
pub fn run(bytes: &[u8]) {
    let Some((law, chance)) = bytes.split_first() else { return };
    let law = &laws::ALL[usize::from(*law) % laws::ALL.len()];
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed(chance)));
    let Ok(input) = laws::inputs(&Level::Planish.options()).new_tree(&mut runner) else { return };
    let input = input.current();
    let mut subject = InMemory;
    match law.check(&mut Bench::new(&mut subject, Level::Planish), &input) {
        Verdict::Holds | Verdict::Inapplicable => {}
        Verdict::Broken(breach) => panic!("{}:\n{input}\n{breach}", law.name),
        Verdict::Refused { stack, message } => panic!("{} refuses a valid stack: {message}\n{stack}", law.name),
        Verdict::Unusable(message) => panic!("{message}"),
    }
}

/// Hashes bytes into a seed. The bytes cannot replace the generator: it may wait for a value other than the last one.
fn seed(chance: &[u8]) -> [u8; 32] {
    let mut lanes = [0xcbf2_9ce4_8422_2325_u64; 4];
    for (at, &byte) in chance.iter().enumerate() {
        lanes[at % 4] = (lanes[at % 4] ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut seed = [0; 32];
    seed.as_chunks_mut::<8>().0.iter_mut().zip(lanes).for_each(|(bytes, lane)| *bytes = lane.to_le_bytes());
    seed
}

/// planish's own tree, without decompression and without a filesystem.
struct InMemory;

impl Subject for InMemory {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        match tree::layers(layers) {
            Ok(tree) => Outcome::Tree(listing(&tree)),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

/// Random bytes of several lengths from a reproducible generator.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut state = 1_u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..24_u8)
        .map(|n| (0..200 * (1 + usize::from(n) % 8)).map(|at| if at == 0 { n } else { next() }).collect())
        .collect()
}
