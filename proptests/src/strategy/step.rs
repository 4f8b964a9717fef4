//! One step of a stack: an entry that does not yet depend on the entries before it.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::sample::{Index, select};
use proptest::strategy::{Just, Union};

use crate::Mtime;
use crate::name::Path;
use crate::writer::EntryType;

/// Three names on three levels are 39 paths: few enough for entries to collide.
const NAMES: &[&[u8]] = &[b"a", b"b", b"c"];
/// Names that some program changes or misinterprets.
const ODD_NAMES: &[&[u8]] = &[b"\xff", b"\xfe", b"A", b".WH.a", b"a.wh.b", b"...", b".a", b"a b\n"];
/// Two names, so that a merge of two sets is visible.
const XATTRS: &[(&str, &[u8])] = &[("user.a", b"1"), ("user.b", b"2"), ("user.a", b"3")];
/// Binary with a newline, a valid capability, and an empty value.
const HARD_XATTRS: &[(&str, &[u8])] =
    &[("security.capability", b"\x01\0\0\x02\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), ("user.empty", b"")];
const HOST_XATTRS: &[(&str, &[u8])] =
    &[("trusted.overlay.opaque", b"y"), ("user.overlay.opaque", b"y"), ("security.selinux", b"l")];

/// Records beyond names and numbers: ACLs as text with ids only, and xattrs in libarchive's form.
const RECORDS: &[&[(&str, &str)]] = &[
    &[("LIBARCHIVE.xattr.user.b", "Mg"), ("LIBARCHIVE.xattr.user.%2Fc d", "AP8K")],
    &[("SCHILY.acl.access", "user::rwx,user:2:r--,user:lisa:-w-:1,group::r-x,mask::r-x,other::---")],
    &[("SCHILY.acl.access", "user::rw-\ngroup::r--\nother::r--\n")],
    &[("SCHILY.acl.default", "u::rwx,g::r-x,g:3:---,m::rwx,o::-")],
    &[("SCHILY.acl.access", "u::rwx,g::rwx,m::r,o::x,d:u::rw,d:g::r,d:o::-"), ("LIBARCHIVE.xattr.user.a", "MQ==")],
];

/// A step that becomes an entry.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub what: What,
    /// The path, unless `what` aims at an existing one.
    pub path: Path,
    /// An existing path below which the last name is placed.
    pub below: Option<Index>,
    pub style: Style,
    pub metadata: Metadata,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// A type that needs only a name, or a file of this content.
    Plain(EntryType, &'static str),
    /// A file of this many KiB with 1,024 bytes of data.
    Sparse(u64),
    Symlink(Vec<u8>),
    /// A symlink to an existing path, absolute or relative.
    SymlinkTo(Index, bool),
    /// Another name of an existing path.
    HardLink(Aim),
    /// A marker of any type.
    Whiteout(Aim, EntryType),
    Opaque(Aim, EntryType),
    Root,
    /// A name of AUFS's.
    Bookkeeping(EntryType, &'static str),
    /// An invalid entry.
    Invalid(Nonsense),
}

/// The target of a step.
#[derive(Debug, Clone)]
pub(super) enum Aim {
    /// A path left by a lower layer.
    Lower(Index),
    /// Any existing path.
    Present(Index),
    /// The step's own path, existing or not.
    Path,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Nonsense {
    Marker(&'static str),
    Climbing,
    Owner(i64),
    Device,
    LinkToNothing,
    LinkToDirectory,
    EmptyTarget,
    LongName,
    RootFile,
    Type,
}

/// The spelling of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// `./a/b`
    DotSlash,
    /// `a/b/`
    Closed,
    /// `/a/b`
    Absolute,
    /// `a//b`
    Doubled,
    /// `a/./b`
    Dotted,
    /// `c/../a/b`
    Back,
}

#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// The permission bits, instead of the usual ones of the type.
    pub mode: Option<u32>,
    pub owner: (i64, i64),
    pub mtime: Mtime,
    pub xattrs: Vec<(&'static str, &'static [u8])>,
    pub records: &'static [(&'static str, &'static str)],
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    // Half of the names are below an existing path, possibly a symlink; the others need parents.
    let below = prop_oneof![Just(None), any::<Index>().prop_map(Some)];
    (what(), path(), below, style(), metadata()).prop_map(|(what, path, below, style, metadata)| Step {
        what,
        path,
        below,
        style,
        metadata,
    })
}

fn what() -> Union<proptest::strategy::BoxedStrategy<What>> {
    prop_oneof![
        // Everything else happens in directories.
        20 => Just(What::Plain(EntryType::Directory, "")).boxed(),
        // The most common entries; the content shows which of several was used.
        16 => select(&["1", "2", "3", "4", ""][..]).prop_map(|text| What::Plain(EntryType::Regular, text)).boxed(),
        // Layers are about deletions; most of them have something to delete.
        16 => (aim(), marker_type()).prop_map(|(aim, kind)| What::Whiteout(aim, kind)).boxed(),
        // Rarer in images, and each touches many names.
        8 => (aim(), marker_type()).prop_map(|(aim, kind)| What::Opaque(aim, kind)).boxed(),
        // Often enough to be among the parents of others, for which most must be valid.
        6 => (any::<Index>(), any::<bool>()).prop_map(|(index, absolute)| What::SymlinkTo(index, absolute)).boxed(),
        5 => target().prop_map(What::Symlink).boxed(),
        // Often enough that a later layer hides or replaces one of the names.
        10 => aim().prop_map(What::HardLink).boxed(),
        // These differ from files only in their creation.
        2 => Just(What::Plain(EntryType::Fifo, "")).boxed(),
        2 => select(&[EntryType::CharDevice, EntryType::BlockDevice][..]).prop_map(|kind| What::Plain(kind, "")).boxed(),
        1 => (1_u64..=4).prop_map(What::Sparse).boxed(),
        1 => select(&[EntryType::OldRegular, EntryType::Contiguous][..]).prop_map(|kind| What::Plain(kind, "5")).boxed(),
        // One in a stack is enough, and many images have none.
        2 => Just(What::Root).boxed(),
        // Specific to one storage driver.
        1 => bookkeeping().boxed(),
        // Skipped in stacks that must be valid.
        5 => invalid().prop_map(What::Invalid).boxed(),
    ]
}

fn aim() -> impl Strategy<Value = Aim> {
    prop_oneof![
        5 => any::<Index>().prop_map(Aim::Lower),
        // A deletion of something that the same layer adds, a link within a layer.
        2 => any::<Index>().prop_map(Aim::Present),
        // Of a later path, a missing one, or one through symlinks.
        3 => Just(Aim::Path),
    ]
}

fn marker_type() -> impl Strategy<Value = EntryType> {
    // AUFS made its markers hard links of each other, overlayfs uses devices.
    let others = select(&[EntryType::HardLink, EntryType::CharDevice, EntryType::Symlink, EntryType::Fifo][..]);
    prop_oneof![15 => Just(EntryType::Regular), 1 => others]
}

fn path() -> impl Strategy<Value = Path> {
    // The odd ones are about names, not about layers.
    let last = prop_oneof![60 => select(NAMES), 3 => select(ODD_NAMES)];
    // A name with the prefix of markers, where no marker can be.
    let parent = prop_oneof![80 => select(NAMES), 1 => Just(&b".wh.a"[..])];
    // The root's children collide most, the third level shows the effect on whole subtrees.
    let depth = prop_oneof![7 => Just(0_usize), 8 => Just(1), 5 => Just(2)];
    (depth.prop_flat_map(move |depth| vec(parent.clone(), depth)), last)
        .prop_map(|(parents, last)| parents.into_iter().chain([last]).map(<[u8]>::to_vec).collect())
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Short ones are most often valid, and then occur among the parents of others.
        4 => select(&["a", "b", "c"][..]),
        3 => select(&["/a", "/b", "/a/b", "/"][..]),
        2 => select(&["../a", "../b", "b/../c", "./a", "a/"][..]),
        // Beyond the root, where a chroot stops them.
        1 => select(&["../../../../a", "/../b", "../../../.."][..]),
        // Dangling in every stack.
        1 => select(&["/n", "n/m", "../n"][..]),
    ]
    .prop_map(|target| target.as_bytes().to_vec())
}

fn bookkeeping() -> impl Strategy<Value = What> {
    select(
        &[
            (EntryType::Regular, ".wh..wh.aufs"),
            (EntryType::Directory, ".wh..wh.plnk"),
            (EntryType::Regular, ".wh..wh.plnk/1"),
            (EntryType::HardLink, ".wh..wh.plnk/2"),
            (EntryType::Directory, "a/.wh..wh.orph"),
        ][..],
    )
    .prop_map(|(kind, name)| What::Bookkeeping(kind, name))
}

fn invalid() -> impl Strategy<Value = Nonsense> {
    // They delete something if a program joins paths without a check.
    let markers = select(&[".wh.", ".wh..", ".wh..."][..]).prop_map(Nonsense::Marker);
    let others = select(
        &[
            Nonsense::Climbing,
            Nonsense::Owner(-1),
            Nonsense::Owner(0xffff_ffff),
            Nonsense::Device,
            Nonsense::LinkToNothing,
            Nonsense::LinkToDirectory,
            Nonsense::EmptyTarget,
            Nonsense::LongName,
            Nonsense::RootFile,
            Nonsense::Type,
        ][..],
    );
    prop_oneof![markers, others]
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        // The form of tar and most builders; any other form only makes a stack harder to read.
        30 => Just(Style::Plain),
        4 => Just(Style::Closed),
        4 => Just(Style::DotSlash),
        1 => select(&[Style::Absolute, Style::Doubled, Style::Dotted, Style::Back][..]),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let mode = prop_oneof![
        // Half of the entries have default metadata, so that a stack shows the essential.
        6 => Just(None),
        4 => select(&[0o755, 0o700, 0o600, 0o750][..]).prop_map(Some),
        1 => select(&[0o4755, 0o2755, 0o1777, 0o7777, 0][..]).prop_map(Some),
    ];
    let owner = prop_oneof![
        6 => Just((0, 0)),
        4 => (0_i64..=3, 0_i64..=3),
        // Over 16 bits, and the largest.
        1 => Just((70_000, 0xffff_fffe)),
    ];
    let mtime = prop_oneof![
        6 => Just((0, 0)),
        4 => (1_i64..=9, Just(0_u32)),
        1 => select(&[(1, 500_000_000), (1_700_000_000, 1), (1 << 32, 999_999_999)][..]),
        // Before 1970, and on both sides of ext4's limits.
        1 => select(&[(-1, 0), (-2, 999_999_999), (-(1_i64 << 31) - 1, 5), (1 << 34, 7)][..]),
    ];
    let xattrs = prop_oneof![
        8 => Just(vec![]),
        3 => vec(select(XATTRS), 1..=2),
        1 => select(HARD_XATTRS).prop_map(|xattr| vec![xattr]),
        1 => select(HOST_XATTRS).prop_map(|xattr| vec![xattr]),
    ];
    let records = prop_oneof![12 => Just(&[][..]), 1 => select(RECORDS)];
    (mode, owner, mtime, xattrs, records).prop_map(|(mode, owner, (seconds, nanos), xattrs, records)| {
        let mtime = Mtime { seconds, nanos };
        Metadata { mode, owner, mtime, xattrs, records }
    })
}
