//! `planish ls`.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;

use planish::tree::{Found, Tree, Walk};
use planish::{DateTime, FileType, Image, NameReport};

use crate::cli::arguments::{listing, read};
use crate::cli::color::{self, Colors};
use crate::cli::exit::Failure;
use crate::cli::json::{Head, ListDocument};
use crate::cli::stdout;

/// The schema of a listing in JSON.
const SCHEMA: &str = "planish.ls.v1";

/// Lists the files of an image as ls -l does, each with the layer that its name comes from
///
/// Columns: mode, links, uid, gid, size or device number, mtime in UTC, [layer], name. Bytes of names that are not printable
/// ASCII are written as \xNN.
#[derive(Debug, clap::Args)]
pub struct LsArguments {
    /// List everything below, by path
    #[arg(long, short = 'R', help_heading = "Output")]
    recursive: bool,
    /// List a directory itself, not what is in it
    #[arg(long, short, help_heading = "Output")]
    directory: bool,
    /// Draw everything below as a tree; without a terminal the same as --recursive
    #[arg(long, help_heading = "Output", conflicts_with_all = ["json", "directory"])]
    tree: bool,
    /// Colour names by the type of their file
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    color: color::When,
    /// Print the names as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    listing: listing::ListingArguments,
    #[command(flatten)]
    read: read::ReadArguments,
    /// The path in the image; symlinks among its parents are followed as in a chroot, the last name only with a final /
    #[arg(default_value = "/", help_heading = clap::builder::Resettable::Reset)]
    path: OsString,
}

/// Runs the command.
pub fn run(arguments: &LsArguments) -> Result<(), Failure> {
    let job = arguments.listing.apply(read::Job::of(&arguments.read)?, arguments.read.cache());
    let image = job.open()?;
    let flattened = image.flatten_names();
    job.observer.end();
    let tree = flattened?.tree;
    let found = image.find_path(&tree, arguments.path.as_bytes())?;
    let listing = Listing { tree: &tree, found: &found, arguments };
    let out = stdout::patient(&job.cancel);
    job.printed(if arguments.json {
        listing.json(out, &image)
    } else if arguments.tree && color::is_terminal() {
        listing.draw(out)
    } else {
        listing.text(out)
    })
}

struct Listing<'a> {
    tree: &'a Tree,
    found: &'a Found,
    arguments: &'a LsArguments,
}

impl Listing<'_> {
    fn is_deep(&self) -> bool {
        (self.arguments.recursive || self.arguments.tree) && !self.arguments.directory
    }

    fn walk(&self) -> Walk<'_> {
        let walk = self.tree.walk_from(self.found);
        if self.is_deep() { walk } else { walk.depth_max(usize::from(!self.arguments.directory)) }
    }

    /// Calls `visit` with each name that is listed, and with its depth.
    fn each(&self, mut visit: impl FnMut(&NameReport, usize) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut walk = self.walk();
        let is_directory = self.tree.directory(self.found.inode).is_some();
        let hides_first = is_directory && !self.arguments.directory;
        while let Some(name) = walk.advance() {
            if name.depth > 0 || !hides_first {
                visit(&NameReport::of(self.tree, &name), name.depth)?;
            }
        }
        Ok(())
    }

    fn json(&self, out: impl Write, image: &Image) -> std::io::Result<()> {
        let mut document = ListDocument::begin(out, &Head::of(SCHEMA, image), "names")?;
        self.each(|report, _| document.item(report))?;
        document.end()
    }

    fn text(&self, out: impl Write) -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let colors = Colors::of_stdout(self.arguments.color);
        let mut widths = Widths::default();
        self.each(|report, _| {
            widths.count(report);
            Ok(())
        })?;
        let is_whole = self.is_deep() || self.tree.directory(self.found.inode).is_none() || self.arguments.directory;
        self.each(|report, _| {
            let name = if is_whole { &report.path } else { last(&report.path) };
            writeln!(out, "{}{}", widths.columns(report), shown(name, report, colors))
        })?;
        out.flush()
    }

    /// Draws the tree with the lines of tree(1).
    fn draw(&self, out: impl Write) -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let colors = Colors::of_stdout(self.arguments.color);
        let mut walk = self.walk();
        // For each level above: the number of names that follow on it.
        let mut left: Vec<usize> = Vec::new();
        while let Some(name) = walk.advance() {
            left.truncate(name.depth);
            let report = NameReport::of(self.tree, &name);
            let Some((own, above)) = left.split_last_mut() else {
                writeln!(out, "{}", shown(&report.path, &report, colors))?;
                left.push(self.names_in(name.inode));
                continue;
            };
            *own -= 1;
            above.iter().try_for_each(|left| out.write_all(if *left > 0 { "│   " } else { "    " }.as_bytes()))?;
            let branch = if *own > 0 { "├── " } else { "└── " };
            let layer = colors.paint("2", &format!("[{}]", report.layer.unwrap_or_default()));
            writeln!(out, "{branch}{layer} {}", shown(last(&report.path), &report, colors))?;
            left.push(self.names_in(name.inode));
        }
        out.flush()
    }

    fn names_in(&self, inode: planish::tree::InodeId) -> usize {
        self.tree.directory(inode).map_or(0, planish::tree::Directory::len)
    }
}

/// Returns the last name of an escaped path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
}

fn shown(name: &str, report: &NameReport, colors: Colors) -> String {
    let colored = colors.name(name, report);
    match &report.target {
        Some(target) => format!("{colored} -> {target}"),
        None => colored,
    }
}

/// The widths of columns.
#[derive(Default)]
struct Widths {
    links: usize,
    uid: usize,
    gid: usize,
    size: usize,
    layer: usize,
}

impl Widths {
    fn count(&mut self, report: &NameReport) {
        let widen = |width: &mut usize, text: String| *width = (*width).max(text.len());
        widen(&mut self.links, report.links.to_string());
        widen(&mut self.uid, report.uid.to_string());
        widen(&mut self.gid, report.gid.to_string());
        widen(&mut self.size, size(report));
        widen(&mut self.layer, layer(report));
    }

    fn columns(&self, report: &NameReport) -> String {
        let Self { links, uid, gid, size: size_width, layer: layer_width } = self;
        let DateTime { year, month, day, hour, minute, second, .. } = DateTime::from(report.mtime);
        format!(
            "{} {:>links$} {:<uid$} {:<gid$} {:>size_width$} {year:04}-{month:02}-{day:02} \
             {hour:02}:{minute:02}:{second:02} {:<layer_width$} ",
            mode(report),
            report.links,
            report.uid,
            report.gid,
            size(report),
            layer(report),
        )
    }
}

fn size(report: &NameReport) -> String {
    match (report.size, report.device) {
        (_, Some(device)) => format!("{},{}", device.major, device.minor),
        (Some(size), None) => size.to_string(),
        (None, None) => "-".into(),
    }
}

fn layer(report: &NameReport) -> String {
    report.layer.map_or_else(|| "[-]".into(), |layer| format!("[{layer}]"))
}

/// Returns the mode as `ls -l` writes it.
pub fn mode(report: &NameReport) -> String {
    let kind = match report.kind {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = report.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (report.mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    // As ls marks files with ACLs and other xattrs.
    text.push(if report.xattrs.is_empty() { ' ' } else { '+' });
    text
}
