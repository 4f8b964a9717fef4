//! The layers of a case, as the file describes them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Mode, Time, from_base64, from_hex, name};
use crate::writer::{Compression, Content, Entry, EntryType, Format, Layer, Sparse, SparseFormat, TarEnd};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLayer {
    #[serde(default)]
    entries: Vec<RawEntry>,
    compression: Option<String>,
    media_type: Option<String>,
    tar_end: Option<String>,
    #[serde(default)]
    truncate_tar: usize,
    #[serde(default)]
    truncate_blob: usize,
    #[serde(default)]
    append_blob_hex: String,
    #[serde(default)]
    wrong_diff_id: bool,
    #[serde(default)]
    wrong_digest: bool,
    #[serde(default)]
    wrong_size: i64,
    #[serde(default)]
    urls: Vec<String>,
}

impl RawLayer {
    pub(super) fn read(self) -> Result<Layer, String> {
        let compression = self.compression.as_deref().unwrap_or("gzip");
        let empty = compression == "empty";
        let entries = if empty { Vec::new() } else { self.entries };
        let tar_end = self.tar_end.as_deref().unwrap_or("normal");
        Ok(Layer {
            entries: entries.into_iter().map(RawEntry::read).collect::<Result<_, _>>()?,
            compression: match compression {
                "gzip" => Compression::Gzip,
                "none" | "empty" => Compression::None,
                "gzip-multi" => Compression::GzipMulti,
                "gzip-nul-pad" => Compression::GzipNulPad,
                "zstd-raw" => Compression::ZstdRaw,
                "zstd-skippable" => Compression::ZstdSkippable,
                other => return Err(format!("unknown compression {other:?}")),
            },
            media_type: self.media_type,
            tar_end: match (tar_end, tar_end.strip_prefix("pad:").map(str::parse)) {
                _ if empty => TarEnd::None,
                ("normal", _) => TarEnd::Normal,
                ("none", _) => TarEnd::None,
                ("one-block", _) => TarEnd::OneBlock,
                ("garbage", _) => TarEnd::Garbage,
                (_, Some(Ok(bytes))) => TarEnd::Pad(bytes),
                (other, _) => return Err(format!("unknown tar_end {other:?}")),
            },
            cut_tar: self.truncate_tar,
            cut_blob: self.truncate_blob,
            append_blob: from_hex(&self.append_blob_hex)?,
            wrong_diff_id: self.wrong_diff_id,
            wrong_digest: self.wrong_digest,
            size_error: self.wrong_size,
            urls: self.urls,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: Option<String>,
    name_hex: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    mode: Option<Mode>,
    #[serde(default)]
    uid: i64,
    #[serde(default)]
    gid: i64,
    mtime: Option<Time>,
    linkname: Option<String>,
    linkname_hex: Option<String>,
    content: Option<String>,
    content_b64: Option<String>,
    content_repeat: Option<(u8, usize)>,
    #[serde(default)]
    xattrs: Pairs,
    #[serde(default)]
    xattrs_b64: Pairs,
    #[serde(default)]
    pax: Pairs,
    format: Option<String>,
    #[serde(default)]
    devmajor: i64,
    #[serde(default)]
    devminor: i64,
    size: Option<u64>,
    #[serde(default)]
    bad_checksum: bool,
    #[serde(default)]
    pax_first: bool,
    sparse: Option<Vec<(u64, u64)>>,
    realsize: Option<u64>,
}

impl RawEntry {
    fn read(self) -> Result<Entry, String> {
        let kind = kind(&self.kind)?;
        let default_mode = match kind {
            EntryType::Directory => 0o755,
            EntryType::Symlink => 0o777,
            _ => 0o644,
        };
        let mut entry = Entry::new(kind, name(self.name, self.name_hex)?)
            .mode(self.mode.map_or(Ok(default_mode), |mode| mode.read())?)
            .owner(self.uid, self.gid);
        entry.linkname = name(self.linkname, self.linkname_hex)?;
        for (key, value) in self.pax.0 {
            entry = entry.pax(key, value);
        }
        match self.mtime {
            // The exact text goes to the record, which readers prefer; the header gets the part before the point.
            Some(Time::Text(text)) if text.contains('.') => {
                let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
                let seconds = seconds.ok_or_else(|| format!("{text:?} is no time"))?;
                entry = entry.mtime(seconds, 0).pax("mtime", text);
            }
            Some(time) => entry.mtime = time.read()?,
            None => {}
        }
        for (key, value) in self.xattrs.0 {
            entry = entry.xattr(key, value);
        }
        for (key, value) in self.xattrs_b64.0 {
            entry = entry.xattr(key, from_base64(&value)?);
        }
        let has_content =
            matches!(kind, EntryType::Regular | EntryType::OldRegular | EntryType::Contiguous | EntryType::Raw(_));
        if has_content {
            entry.content = match (self.content_b64, self.content_repeat) {
                (Some(text), _) => from_base64(&text)?.into(),
                (None, Some((byte, count))) => Content::Repeat { byte, count },
                (None, None) => self.content.unwrap_or_default().into_bytes().into(),
            };
        }
        if self.kind == "sparse" {
            let segments = self.sparse.ok_or("a sparse file without a map")?;
            let real_size = self.realsize.ok_or("a sparse file without its size")?;
            entry.sparse = Some(Sparse { format: SparseFormat::OldGnu, segments, real_size });
        }
        entry.format = match self.format.as_deref() {
            None | Some("auto") => Format::Auto,
            Some("ustar") => Format::Ustar,
            Some("gnu") => Format::Gnu,
            Some("pax") => Format::Pax,
            Some(other) => return Err(format!("unknown format {other:?}")),
        };
        let Self { devmajor: major, devminor: minor, size, bad_checksum, pax_first, .. } = self;
        Ok(Entry { major, minor, size, bad_checksum, pax_first, ..entry })
    }
}

fn kind(word: &str) -> Result<EntryType, String> {
    Ok(match word {
        "reg" | "sparse" => EntryType::Regular,
        "regA" => EntryType::OldRegular,
        "hardlink" => EntryType::HardLink,
        "symlink" => EntryType::Symlink,
        "char" => EntryType::CharDevice,
        "block" => EntryType::BlockDevice,
        "dir" => EntryType::Directory,
        "fifo" => EntryType::Fifo,
        "cont" => EntryType::Contiguous,
        "global" => EntryType::GlobalHeader,
        _ => match word.strip_prefix("raw:").map(str::as_bytes) {
            Some([flag]) => EntryType::Raw(*flag),
            _ => return Err(format!("unknown type {word:?}")),
        },
    })
}

/// The members of an object in the order of the file, which is the order of the records in the archive.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
