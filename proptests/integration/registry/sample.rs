//! The default image, and its filesystem.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use planish_proptests::writer::{Entry, Image, Layer, Layout};

use crate::registry::documents::digest;
use crate::support::generated::noise;
use crate::support::{Bench, succeeded};

/// A layer in the middle, for faults.
pub const LAYER: usize = 1;

const LAYER_BYTES: usize = 300_000;

/// Flags for a small and quick build; other tests cover verification.
pub const QUICK: [&str; 6] = ["--platform", "linux/amd64", "--free", "0", "--verify=none", "--force"];

/// An image as a layout, and its digests.
pub struct Sample {
    pub files: BTreeMap<String, Vec<u8>>,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<Blob>,
}

/// A blob as its descriptor describes it.
pub struct Blob {
    pub digest: String,
    pub size: u64,
}

impl Sample {
    fn of(image: &Image) -> Self {
        let blob = |layer: &Layer| {
            let bytes = layer.blob();
            Blob { digest: digest(&bytes), size: bytes.len() as u64 }
        };
        Self {
            files: Layout::new().tag("latest", image).files(),
            manifest: digest(&image.manifest()),
            config: digest(&image.config()),
            layers: image.layers.iter().map(blob).collect(),
        }
    }

    /// Writes the layout.
    pub fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        for (path, content) in &self.files {
            std::fs::write(directory.join(path), content).unwrap();
        }
    }

    /// The layer that faults apply to.
    pub fn layer(&self) -> &Blob {
        &self.layers[LAYER]
    }

    /// The digests of everything that a pull fetches by digest: manifest, config and layers.
    pub fn digests(&self) -> Vec<&str> {
        let layers = self.layers.iter().map(|layer| &*layer.digest);
        [&*self.manifest, &*self.config].into_iter().chain(layers).collect()
    }
}

/// Three layers of bytes that do not compress.
pub fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| Sample::of(&image(0)))
}

/// The same image with another layer on top.
pub fn moved() -> &'static Sample {
    static MOVED: OnceLock<Sample> = OnceLock::new();
    MOVED.get_or_init(|| {
        let mut image = image(0);
        image.layers.push(Layer::new([Entry::file("moved", "moved")]));
        Sample::of(&image)
    })
}

/// Images that share all layers except the last.
pub fn variant_image(number: u8) -> Image {
    let mut image = image(0);
    image.layers.push(Layer::new([Entry::file("number", vec![number; 100])]));
    image
}

pub fn variant(number: u8) -> Sample {
    Sample::of(&variant_image(number))
}

pub fn image(seed: u32) -> Image {
    let layer = |number: u32| {
        let name = format!("data/file{number}");
        let file = Entry::file(name, noise(seed * 100 + number, LAYER_BYTES)).owner(i64::from(number), 7).mode(0o640);
        Layer::new([Entry::dir("data").mtime(1000 + i64::from(number), 0), file])
    };
    Image::new([layer(0), layer(1), layer(2)])
}

/// The filesystem of the sample, built from its layout without a registry or a cache.
pub fn oracle() -> &'static [u8] {
    static ORACLE: OnceLock<Vec<u8>> = OnceLock::new();
    ORACLE.get_or_init(|| built_from_layout(sample()))
}

/// Builds an image from its layout.
pub fn built_from_layout(sample: &Sample) -> Vec<u8> {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    sample.write(&layout);
    let source = format!("oci:{}", layout.display());
    succeeded(&bench.planish().args(["build", &source, "--output", "out.ext4"]).args(QUICK).output().unwrap());
    std::fs::read(bench.at("out.ext4")).unwrap()
}
