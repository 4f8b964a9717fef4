//! Laws about the encoding of layers.

use super::bench::Bench;
use super::{Input, Law, Picks, Verdict};
use crate::level::Level;
use crate::name;
use crate::writer::{Compression, Entry, EntryType, TarEnd};

/// A path may be spelled in more than one way.
pub(super) const SPELLING: Law = Law {
    name: "spelling",
    level: Level::Spec,
    summary: "equivalent spellings of names give the same filesystem",
    sentence: "\"./etc/my-app-config\", in the example, is what the text calls \"/etc/my-app-config\".",
    run: spelling,
};

type Spell = fn(&[u8]) -> Vec<u8>;

/// The forms of the specification, then those of existing archives.
const SPELLINGS: [Spell; 6] = [
    |path| [b"./", path].concat(),
    |path| path.to_vec(),
    |path| [b"/", path].concat(),
    |path| path.split(|&byte| byte == b'/').collect::<Vec<_>>().join(&b"//"[..]),
    |path| [b"a/../", path].concat(),
    |path| [b".//./", path].concat(),
];

fn spelling(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let spellings = if bench.level == Level::Spec { &SPELLINGS[..2] } else { &SPELLINGS };
    let closed = picks.below(2) == 1;
    let mut respelled = input.stack.clone();
    let spells = [picks.one_of(spellings)?, picks.one_of(spellings)?];
    let entries = respelled.layers.iter_mut().flat_map(|layer| &mut layer.entries);
    for (entry, spell) in entries.zip(spells.into_iter().cycle()) {
        respell(entry, *spell, closed)?;
    }
    bench.same("equivalent spellings of names change the filesystem", &input.stack, &respelled)
}

fn respell(entry: &mut Entry, spell: Spell, closed: bool) -> Result<(), Verdict> {
    let clean = |raw: &[u8], clamp| name::clean(raw, clamp).map_err(|_| Verdict::Inapplicable);
    let path = clean(&entry.name, false)?;
    // The root has few spellings, and old entries have their type in the spelling.
    if path.is_empty() || entry.kind == EntryType::OldRegular {
        return Ok(());
    }
    entry.name = spell(&path.join(&b'/'));
    if closed && entry.kind == EntryType::Directory && !name::is_marker(&entry.name) {
        entry.name.push(b'/');
    }
    if entry.kind == EntryType::HardLink {
        entry.linkname = spell(&clean(&entry.linkname, true)?.join(&b'/'));
    }
    Ok(())
}

/// The same archive can be in different blobs: several members, other compressions, other ends.
///
/// A reader that takes the result of one read for everything misses a part of some.
pub(super) const SHORT_READS: Law = Law {
    name: "short-reads",
    level: Level::Spec,
    summary: "all encodings of an archive give the same filesystem",
    sentence: "\"… represents an application/vnd.oci.image.layer.v1.tar payload which has been compressed\"",
    run: short_reads,
};

const STORED: [(Compression, TarEnd); 10] = [
    // The forms of the specification.
    (Compression::None, TarEnd::Normal),
    (Compression::Zstd, TarEnd::Normal),
    (Compression::Gzip, TarEnd::Pad(10_240)),
    // Forms that RFC 1952, RFC 8878 and the common readers allow.
    (Compression::GzipMulti, TarEnd::Normal),
    (Compression::ZstdMulti, TarEnd::Normal),
    (Compression::ZstdRaw, TarEnd::Normal),
    (Compression::ZstdSkippable, TarEnd::Pad(512)),
    (Compression::None, TarEnd::None),
    (Compression::Gzip, TarEnd::OneBlock),
    // Forms that some readers refuse.
    (Compression::GzipNulPad, TarEnd::Normal),
];

fn short_reads(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let known = match bench.level {
        Level::Spec => &STORED[..3],
        Level::Consensus => &STORED[..9],
        Level::Planish => &STORED,
    };
    let mut stored = input.stack.clone();
    for layer in &mut stored.layers {
        (layer.compression, layer.tar_end) = *picks.one_of(known)?;
    }
    bench.same("other encodings of the same archives change the filesystem", &input.stack, &stored)
}
