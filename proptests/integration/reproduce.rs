//! Equal images, options and e2fsprogs give equal bytes for each user, machine, time and source.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use planish::{Algorithm, Digest};
use planish_proptests::writer::{Compression, DockerArchive, Flavour, Image, Layer, Layout};

use crate::support::{Bench, is_root, set_mode, succeeded};

const ENGINES: [&str; 2] = ["e2fsprogs", "direct"];

/// A configuration that changes a filesystem if mkfs reads it.
const CONFIG: &str = "[defaults]\nbase_features = sparse_super\nblocksize = 1024\ninode_size = 128\nreserved_ratio = 9\n\
                      [fs_types]\next4 = {\nfeatures = extent,encrypt\n}\n";

fn recompressed(image: &Image, compression: Compression) -> Image {
    Image::new(image.layers.iter().cloned().map(|layer: Layer| layer.compression(compression)))
}

/// The environment of one build.
struct Around<'a> {
    name: &'a str,
    source: String,
    /// Arguments after those of every build.
    more: Vec<&'a str>,
    environment: Vec<(&'a str, String)>,
    umask: &'a str,
    directory: &'a str,
    root: bool,
}

impl<'a> Around<'a> {
    fn of(name: &'a str, source: &str) -> Self {
        let (more, environment) = (Vec::new(), Vec::new());
        Self { name, source: source.into(), more, environment, umask: "022", directory: "", root: false }
    }

    fn variable(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn more(self, more: &[&'a str]) -> Self {
        Self { more: more.into(), ..self }
    }

    /// Builds and returns the digest of the file and that of the tree.
    fn build(&self, bench: &Bench, engine: &str) -> (Digest, String) {
        let planish = bench.planish();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("umask {}; exec \"$@\"", self.umask), "sh"]).arg(planish.get_program());
        command.args(["build", &self.source, "--output", "out.ext4", "--platform", "linux/amd64", "--force"]);
        command.args(["--free", "1M", "--json", "--engine", engine]).args(&self.more);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(self.environment.clone());
        command.current_dir(bench.at(self.directory));
        if !self.root {
            bench.as_user(&mut command);
        }
        let output = command.output().unwrap();
        succeeded(&output);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let path = bench.at(self.directory).join("out.ext4");
        if self.umask == "0777" {
            set_mode(&path, 0o600);
        }
        let digest = Digest::of(Algorithm::Sha256, &std::fs::read(&path).unwrap());
        assert_eq!(report["filesystem"]["digest"], digest.to_string(), "{}", self.name);
        std::fs::remove_file(&path).unwrap();
        (digest, report["tree_digest"].as_str().unwrap().to_owned())
    }
}

/// The image in every form in which it can be read.
fn sources(bench: &Bench) -> Vec<(&'static str, String)> {
    let image = crate::support::generated::image();
    let mut sources = Vec::new();
    for (name, image) in [
        ("a layout", image.clone()),
        ("zstd layers", recompressed(&image, Compression::ZstdMulti)),
        ("uncompressed layers", recompressed(&image, Compression::None)),
    ] {
        let layout = bench.shared(name);
        image.write_layout(&layout, "latest").unwrap();
        sources.push((name, format!("oci:{}", layout.display())));
    }
    let archive = bench.readable("oci.tar", &Layout::new().tag("latest", &image).to_tar());
    sources.push(("an OCI archive", format!("oci-archive:{}", archive.display())));
    for (name, flavour) in
        [("docker save", Flavour::Layout), ("an old docker save", Flavour::Legacy), ("skopeo", Flavour::Skopeo)]
    {
        let tar = DockerArchive::new(flavour).image(["planish/test:latest"], &image).to_tar();
        sources.push((name, format!("docker-archive:{}", bench.readable(&format!("{name}.tar"), &tar).display())));
    }
    sources
}

fn circumstances<'a>(bench: &Bench, sources: &'a [(&'static str, String)]) -> Vec<Around<'a>> {
    let layout = &sources[0].1;
    let config = bench.readable("mke2fs.conf", CONFIG.as_bytes()).display().to_string();
    for directory in ["other", "other/work"] {
        std::fs::create_dir(bench.at(directory)).unwrap();
        bench.give(&bench.at(directory));
    }
    let mut around: Vec<Around<'_>> = sources.iter().map(|(name, source)| Around::of(name, source)).collect();
    around.extend(["0", "077", "0777"].map(|umask| Around { umask, ..Around::of("umask", layout) }));
    around.extend([
        Around { directory: "other", ..Around::of("another directory", layout) },
        Around::of("work on a tmpfs", layout).more(&["--work-dir", "/dev/shm"]),
        Around::of("work on the disk", layout).more(&["--work-dir", "other/work"]),
        Around::of("one job", layout).more(&["--jobs", "1"]),
        Around::of("eight jobs", layout).more(&["--jobs", "8"]),
        Around::of("time zone", layout).variable("TZ", "Pacific/Kiritimati"),
        Around::of("locale", layout).variable("LC_ALL", "tr_TR.UTF-8").variable("LANGUAGE", "tr"),
        Around::of("tools' environment", layout)
            .variable("MKE2FS_CONFIG", config.clone())
            .variable("E2FSCK_CONFIG", config)
            .variable("E2FSPROGS_FAKE_TIME", "77")
            .variable("E2FSPROGS_UNDO_DIR", bench.home().display().to_string())
            .variable("MKE2FS_FIRST_META_BG", "1"),
    ]);
    if is_root() {
        around.push(Around { root: true, ..Around::of("root", layout) });
    }
    around
}

#[test]
fn the_bytes_depend_on_image_options_and_tools_only() {
    assert!(Path::new("/dev/shm").is_dir(), "a tmpfs is needed");
    let bench = Bench::new();
    let sources = sources(&bench);
    let circumstances = circumstances(&bench, &sources);
    for engine in ENGINES {
        let (digest, tree) = circumstances[0].build(&bench, engine);
        println!("{engine}: {digest}, tree {tree}");
        // The clocks of all other stages advance.
        std::thread::sleep(Duration::from_millis(1100));
        for around in &circumstances {
            assert_eq!(around.build(&bench, engine), (digest.clone(), tree.clone()), "{engine}: {}", around.name);
        }
    }
}

#[test]
fn another_clock_changes_the_bytes_and_keeps_the_tree() {
    let bench = Bench::new();
    let image = Image::new([Layer::new([planish_proptests::writer::Entry::dir("./").mtime(5, 0)])]);
    let layout = bench.shared("layout");
    image.write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    for engine in ENGINES {
        let (digest, tree) = Around::of("the image's clock", &source).build(&bench, engine);
        let set = Around::of("a clock", &source).variable("SOURCE_DATE_EPOCH", "1234567890").build(&bench, engine);
        assert_ne!(set.0, digest, "{engine}");
        assert_eq!(set.1, tree, "{engine}");
    }
}
