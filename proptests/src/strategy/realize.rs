//! Converts steps to entries, based on the state before each of them.

use proptest::sample::Index;

use super::step::{Aim, Metadata, Nonsense, Step, Style, What};
use super::{Invalid, Options};
use crate::changes::with_metadata;
use crate::listing::Kind;
use crate::model::Model;
use crate::name::{self, Path};
use crate::oddity::Oddity;
use crate::stack::Stack;
use crate::writer::{Entry, EntryType, SparseFormat};

/// A step that needs an excluded option is skipped, or realized in the usual spelling.
///
/// An invalid step is also skipped, unless the stack is to be invalid.
pub(super) fn realize(layers: &[Vec<Step>], invalid: Invalid, options: &Options) -> Stack {
    let mut model = Model::new();
    let mut pending = match invalid {
        Invalid::Never => None,
        Invalid::Made => Some(true),
        Invalid::Found => Some(false),
    };
    let mut stack = Vec::new();
    for steps in layers {
        let mut entries = Vec::new();
        for step in steps {
            let taken = step.entries(&model, options).into_iter().find_map(|entry| {
                let mut next = model.clone();
                match next.apply(&entry) {
                    Ok(()) if within(&next, options) => Some((entry, next)),
                    Err(_) if pending == Some(matches!(step.what, What::Invalid(_))) => {
                        pending = None;
                        Some((entry, model.clone()))
                    }
                    _ => None,
                }
            });
            if let Some((entry, next)) = taken {
                entries.push(entry);
                model = next;
            }
        }
        model.end_layer();
        stack.push(entries);
    }
    Stack::new(stack)
}

fn within(model: &Model, options: &Options) -> bool {
    if !model.oddities().is_subset(&options.oddities) {
        return false;
    }
    if options.oddities.contains(&Oddity::UsedAndGone) {
        return true;
    }
    // This problem appears only when the layer's markers take effect.
    let mut ended = model.clone();
    ended.end_layer();
    !ended.oddities().contains(&Oddity::UsedAndGone)
}

impl Step {
    /// Returns the possible entries of a step, the best first.
    fn entries(&self, model: &Model, options: &Options) -> Vec<Entry> {
        let Some(entry) = self.entry(model, options) else { return Vec::new() };
        let named = |style: Style| {
            let name = spell(&entry.name, entry.kind, style);
            Entry { name, ..entry.clone() }
        };
        // The last one remains if its xattrs, or the type of a marker, are excluded by the options.
        let kind = if name::is_marker(&entry.name) { EntryType::Regular } else { entry.kind };
        vec![named(self.style), named(Style::Plain), Entry { xattrs: vec![], pax: vec![], kind, ..named(Style::Plain) }]
    }

    fn entry(&self, model: &Model, options: &Options) -> Option<Entry> {
        let path = self.place(model).join(&b'/');
        let metadata = &self.metadata;
        let entry = match &self.what {
            What::Plain(EntryType::CharDevice | EntryType::BlockDevice, _) if !options.devices => return None,
            What::Plain(EntryType::CharDevice, _) => {
                // The whiteout of overlayfs is 0:0.
                let overlay = options.oddities.contains(&Oddity::OverlayDevice) && self.metadata.mode.is_none();
                if overlay { Entry::char_device(path, 0, 0) } else { Entry::char_device(path, 1, 3) }
            }
            What::Plain(EntryType::BlockDevice, _) => Entry::block_device(path, 0xfff, 0xf_ffff),
            What::Plain(EntryType::Directory, _) => Entry::dir(path),
            What::Plain(kind, text) => Entry { content: (*text).into(), ..Entry::new(*kind, path) },
            What::Sparse(kilobytes) => {
                let (start, size) = (512 * (kilobytes - 1), 1024 * kilobytes);
                let data = vec![b'x'; 1024];
                Entry::sparse(path, SparseFormat::Pax10, [(start, 512), (size - 512, 512)], size, data)
            }
            What::Symlink(target) => Entry::symlink(path, &target[..]),
            What::SymlinkTo(index, absolute) => {
                let place = self.place(model);
                let target = index.get(&model.paths()).join(&b'/');
                let up = b"../".repeat(place.len() - 1);
                let target = if *absolute { [b"/", &target[..]].concat() } else { [&up[..], &target].concat() };
                // The root, from itself.
                Entry::symlink(path, if target.is_empty() { b".".to_vec() } else { target })
            }
            What::Root => Entry::dir("./"),
            What::Bookkeeping(EntryType::HardLink, name) => Entry::hardlink(*name, ".wh..wh.plnk/1"),
            What::Bookkeeping(kind, name) => Entry::new(*kind, *name),
            What::Whiteout(_, kind) => {
                let marker = Entry::whiteout(name::whiteout_of(&self.target(model)?));
                return Some(Entry { kind: *kind, linkname: b"n".to_vec(), ..marker });
            }
            What::Opaque(_, kind) => {
                let marker = Entry::opaque(self.target(model)?.join(&b'/'));
                return Some(Entry { kind: *kind, linkname: b"n".to_vec(), ..marker });
            }
            What::HardLink(_) => return self.link(model, options, path),
            What::Invalid(nonsense) => return Some(self.nonsense(*nonsense, path)),
        };
        Some(metadata.of(entry, options))
    }

    /// Returns the path of the entry, unless the step aims at another one.
    fn place(&self, model: &Model) -> Path {
        let Some(index) = &self.below else { return self.path.clone() };
        let mut parents = paths_of(model, |kind| *kind == Kind::Directory);
        let symlinks = paths_of(model, |kind| matches!(kind, Kind::Symlink(_)));
        // There are few symlinks, and they are more error-prone.
        parents.extend([&symlinks[..]; 3].concat());
        // Three levels are deep enough.
        parents.retain(|path| path.len() < 3);
        [&index.get(&parents)[..], &self.path[self.path.len() - 1..]].concat()
    }

    /// Returns the path that the step aims at.
    fn target(&self, model: &Model) -> Option<Path> {
        let (aim, fits): (_, fn(&Kind) -> bool) = match &self.what {
            What::Whiteout(aim, _) => (aim, |_| true),
            What::Opaque(aim, _) => (aim, |kind| *kind == Kind::Directory),
            What::HardLink(aim) => (aim, |kind| *kind != Kind::Directory),
            _ => return None,
        };
        let any_of = |index: &Index, mut paths: Vec<Path>| {
            let root = matches!(self.what, What::Opaque(..));
            paths.retain(|path| (root || !path.is_empty()) && model.node(path).is_some_and(|node| fits(&node.kind)));
            (!paths.is_empty()).then(|| index.get(&paths).clone())
        };
        match aim {
            Aim::Lower(index) => any_of(index, model.lower_paths()),
            Aim::Present(index) => any_of(index, model.paths()),
            Aim::Path => Some(self.place(model)),
        }
    }

    /// Returns a hard link, with its inode's metadata if the options require that.
    fn link(&self, model: &Model, options: &Options, path: Vec<u8>) -> Option<Entry> {
        let target = self.target(model)?;
        let link = Entry::hardlink(path, spell(&target.join(&b'/'), EntryType::HardLink, self.style));
        let Some(node) = model.node(&target) else { return Some(self.metadata.of(link, options)) };
        let differs = self.metadata.mode.is_some() && options.oddities.contains(&Oddity::LinkHeader);
        Some(if differs { self.metadata.of(link, options) } else { with_metadata(link, node) })
    }

    fn nonsense(&self, nonsense: Nonsense, path: Vec<u8>) -> Entry {
        match nonsense {
            Nonsense::Marker(name) => {
                let parents = &self.path[..self.path.len() - 1];
                Entry::whiteout([parents, &[name.as_bytes().to_vec()]].concat().join(&b'/'))
            }
            Nonsense::Climbing => Entry::file([b"../", &path[..]].concat(), ""),
            Nonsense::Owner(id) => Entry::file(path, "").owner(id, 0),
            Nonsense::Device => Entry::char_device(path, 0x1000, 0),
            Nonsense::LinkToNothing => Entry::hardlink(path, "n"),
            Nonsense::LinkToDirectory => Entry::hardlink(path, "/"),
            Nonsense::EmptyTarget => Entry::symlink(path, ""),
            Nonsense::LongName => Entry::dir(vec![b'n'; 256]),
            Nonsense::RootFile => Entry::symlink("./", "a"),
            Nonsense::Type => Entry::new(EntryType::Raw(b'Z'), path),
        }
    }
}

fn paths_of(model: &Model, fits: impl Fn(&Kind) -> bool) -> Vec<Path> {
    model.paths().into_iter().filter(|path| model.node(path).is_some_and(|node| fits(&node.kind))).collect()
}

impl Metadata {
    fn of(&self, entry: Entry, options: &Options) -> Entry {
        let mode = self.mode.filter(|_| entry.kind != EntryType::Symlink).unwrap_or(entry.mode);
        let odd_time = !(0..1 << 33).contains(&self.mtime.seconds) && !options.oddities.contains(&Oddity::OddTime);
        let mtime = if odd_time { crate::Mtime::default() } else { self.mtime };
        let entry = Entry { mode, mtime, ..entry }.owner(self.owner.0, self.owner.1);
        let xattrs = if options.xattrs { &self.xattrs[..] } else { &[] };
        let odd = options.xattrs && options.oddities.contains(&Oddity::OddRecord);
        let records = if odd { self.records } else { &[] };
        let entry = records.iter().fold(entry, |entry, (key, value)| entry.pax(*key, *value));
        // A duplicate name would test nothing about layers.
        xattrs.iter().fold(entry, |entry, (name, value)| {
            let twice = entry.xattrs.iter().any(|(other, _)| other == name.as_bytes());
            if twice { entry } else { entry.xattr(*name, *value) }
        })
    }
}

fn spell(name: &[u8], kind: EntryType, style: Style) -> Vec<u8> {
    if name == b"./" {
        return name.to_vec();
    }
    match style {
        Style::DotSlash => [b"./", name].concat(),
        // Some programs treat a file with such a name as a directory.
        Style::Closed if kind == EntryType::Directory => [name, b"/"].concat(),
        Style::Plain | Style::Closed => name.to_vec(),
        Style::Absolute => [b"/", name].concat(),
        Style::Doubled => name.split(|&byte| byte == b'/').collect::<Vec<_>>().join(&b"//"[..]),
        Style::Dotted => name.split(|&byte| byte == b'/').collect::<Vec<_>>().join(&b"/./"[..]),
        Style::Back => [b"c/../", name].concat(),
    }
}
