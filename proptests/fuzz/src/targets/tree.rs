//! planish's tree in memory, made of layers and converted to a listing of the harness.

use planish::fuzzing::apply;
use planish::tree::Tree;
use planish::{Error, Limits};
use planish_proptests::writer::Layer;

#[path = "../../../integration/support/tree_listing.rs"]
mod tree_listing;

pub use tree_listing::listing;

/// Limits that a small input can exceed.
fn limits() -> Limits {
    Limits {
        entries: 20_000,
        total_bytes: 64 << 20,
        file_bytes: 16 << 20,
        extension_bytes: 64 << 10,
        ..Limits::default()
    }
}

/// Applies the layers of a stack.
pub fn layers(layers: &[Layer]) -> Result<Tree, Error> {
    apply(layers.iter().map(Layer::tar), limits())
}

/// Applies one layer from a tar stream.
pub fn layer(tar: &[u8]) -> Result<Tree, Error> {
    apply([tar.to_vec()], limits())
}
