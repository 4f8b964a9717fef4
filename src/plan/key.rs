//! The build key: the name of a filesystem's bytes, known before anything is built.
//!
//! It is the SHA-256 of a text with a line `name=value` for everything that decides a byte, in the byte order of the
//! lines, each ended by a line feed. Equal keys mean equal bytes.

use std::fmt::Write as _;

use super::PlanOptions;
use super::choice::EngineChoice;
use crate::digest::{Algorithm, Digest};

/// The version of the key's form: raised whenever a line gets another meaning or form.
const KEY_FORMAT: u32 = 1;
/// The version of the output's form: raised whenever the bytes of any filesystem change for the same key.
const OUTPUT_FORMAT: u32 = 2;

/// The name of a filesystem's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildKey {
    /// The lines, each with its line feed.
    pub text: String,
    /// The key: the text's SHA-256.
    pub digest: Digest,
}

/// The inputs that decide the bytes of a filesystem.
#[derive(Debug)]
pub(crate) struct KeyParts<'a> {
    /// The digest of the image's config, which has the platform and the diff IDs of the layers.
    pub config: &'a Digest,
    /// The creation time in the image's config.
    pub created: Option<i64>,
    /// The options of the filesystem.
    pub options: &'a PlanOptions,
    /// The mtime of directories that no layer describes.
    pub implied_mtime: i64,
    /// True if SELinux labels are kept.
    pub keep_selinux: bool,
    /// The names and versions of the programs that may write the filesystem.
    pub programs: Vec<(&'static str, &'a str)>,
}

impl BuildKey {
    /// Returns the key of a build.
    ///
    /// The engine is the requested one: what `auto` chooses follows from the tree, the options and the version of
    /// e2fsprogs, which the other lines fix.
    #[must_use]
    pub fn of(parts: &KeyParts<'_>) -> Self {
        let KeyParts { config, created, options, implied_mtime, keep_selinux, programs } = parts;
        let engine = match options.engine {
            EngineChoice::Auto => "auto".to_owned(),
            EngineChoice::Only(engine) => engine.to_string(),
        };
        let mut lines = vec![
            format!("key-format={KEY_FORMAT}"),
            format!("output-format={OUTPUT_FORMAT}"),
            format!("config={config}"),
            format!("clock={}", options.clock(*created).seconds()),
            format!("implied-mtime={implied_mtime}"),
            format!("keep-selinux={keep_selinux}"),
            format!("engine={engine}"),
        ];
        lines.extend(options.derivation());
        lines.extend(programs.iter().map(|(name, version)| format!("{name}={version}")));
        lines.sort();
        let mut text = String::new();
        for line in &lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        Self { text, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Engine, Features, FreeInodes, Headroom, Journal, JournalBlocks, Label, Uuid};

    fn key(options: &PlanOptions, change: impl FnOnce(&mut KeyParts<'_>)) -> BuildKey {
        let config = Digest::of(Algorithm::Sha256, b"");
        let mut parts = KeyParts {
            config: &config,
            created: Some(7),
            options,
            implied_mtime: 0,
            keep_selinux: false,
            programs: vec![("mkfs.ext4", "1.47.0"), ("debugfs", "1.47.0")],
        };
        change(&mut parts);
        BuildKey::of(&parts)
    }

    /// The text's digest is that of `sha256sum`.
    #[test]
    fn a_key_is_the_digest_of_sorted_lines() {
        let found = key(&PlanOptions::default(), |_| {});
        let text = "clock=7\n\
                    config=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
                    debugfs=1.47.0\n\
                    engine=auto\n\
                    features=none,ext_attr,filetype,extent,sparse_super,large_file,huge_file,dir_nlink,extra_isize,\
                    dir_index,flex_bg,metadata_csum\n\
                    free-inodes=default\n\
                    free=268435456\n\
                    implied-mtime=0\n\
                    journal=default\n\
                    keep-selinux=false\n\
                    key-format=1\n\
                    mkfs.ext4=1.47.0\n\
                    output-format=2\n";
        assert_eq!(found.text, text);
        assert_eq!(found.digest.to_string(), "sha256:4cb574b95a761b9b68f68a4f8945f8dc3e98e8c9a839bc5a22eb23e88f614d50");
    }

    #[test]
    fn every_input_of_the_bytes_changes_the_key() {
        let plain = PlanOptions::default;
        let options = [
            plain(),
            PlanOptions { size: Some(1 << 30), ..plain() },
            PlanOptions { free: Headroom::Bytes(0), ..plain() },
            PlanOptions { free: Headroom::Percent(5), ..plain() },
            PlanOptions { free_inodes: Some(FreeInodes::Count(20)), ..plain() },
            PlanOptions { free_inodes: Some(FreeInodes::Percent(20)), ..plain() },
            PlanOptions { journal: Journal::None, ..plain() },
            PlanOptions { journal: Journal::Blocks(JournalBlocks::of_bytes(4 << 20).unwrap()), ..plain() },
            PlanOptions { label: Some(Label::new("x").unwrap()), ..plain() },
            PlanOptions { uuid: Uuid::parse("c0ffee00-0102-0304-0506-0708090a0b0c"), ..plain() },
            PlanOptions { features: Features::parse("64bit").unwrap().0, ..plain() },
            PlanOptions { clock: Some(8), ..plain() },
            PlanOptions { engine: EngineChoice::Only(Engine::E2fsprogs), ..plain() },
            PlanOptions { engine: EngineChoice::Only(Engine::Direct), ..plain() },
        ];
        let mut keys: Vec<String> = options.iter().map(|options| key(options, |_| {}).digest.to_string()).collect();
        let (usual, other) = (plain(), Digest::of(Algorithm::Sha256, b"other"));
        let mut add = |key: BuildKey| keys.push(key.digest.to_string());
        add(key(&usual, |parts| parts.created = Some(9)));
        add(key(&usual, |parts| parts.implied_mtime = 7));
        add(key(&usual, |parts| parts.keep_selinux = true));
        add(key(&usual, |parts| parts.programs = vec![("mkfs.ext4", "1.47.2"), ("debugfs", "1.47.0")]));
        let mut parts = KeyParts {
            config: &other,
            created: Some(7),
            options: &usual,
            implied_mtime: 0,
            keep_selinux: false,
            programs: vec![],
        };
        add(BuildKey::of(&parts));
        parts.programs = vec![("mkfs.ext4", "1.47.0")];
        add(BuildKey::of(&parts));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn an_explicit_clock_equals_the_same_clock_of_the_image() {
        let given = PlanOptions { clock: Some(7), ..PlanOptions::default() };
        assert_eq!(key(&given, |parts| parts.created = Some(9)), key(&PlanOptions::default(), |_| {}));
    }
}
