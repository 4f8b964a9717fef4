//! Names in a layer: their cleaning, and the names of markers.

use crate::problem::Problem;

/// Names from the root downwards; the root itself has none. In this order a directory comes right before the paths
/// below it.
pub(crate) type Path = Vec<Vec<u8>>;

const PREFIX: &[u8] = b".wh.";
const BOOKKEEPING: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;

/// The meaning of an entry's last name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// It is an ordinary entry.
    Ordinary,
    /// It is AUFS's, and not part of the filesystem.
    Bookkeeping,
    /// It hides this name.
    Whiteout(Vec<u8>),
    /// It hides all names of its directory.
    Opaque,
    /// It has the form of a whiteout without a name.
    Invalid,
}

pub(crate) fn spelling(name: &[u8]) -> Spelling {
    match name.strip_prefix(PREFIX) {
        None => Spelling::Ordinary,
        _ if name == OPAQUE => Spelling::Opaque,
        _ if is_bookkeeping(name) => Spelling::Bookkeeping,
        Some(b"" | b"." | b"..") => Spelling::Invalid,
        Some(hidden) => Spelling::Whiteout(hidden.to_vec()),
    }
}

pub(crate) fn is_bookkeeping(name: &[u8]) -> bool {
    name.starts_with(BOOKKEEPING)
}

/// Returns true if the name has the prefix of markers.
pub(crate) fn looks_like_marker(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// Returns true if an entry of this raw name is a whiteout or an opaque marker.
pub(crate) fn is_marker(raw: &[u8]) -> bool {
    let last = clean(raw, true).ok().and_then(|mut path| path.pop());
    last.is_some_and(|name| matches!(spelling(&name), Spelling::Whiteout(_) | Spelling::Opaque))
}

/// Returns the name of the whiteout that hides a path.
pub(crate) fn whiteout_of(path: &[Vec<u8>]) -> Vec<u8> {
    let Some((name, parents)) = path.split_last() else { return Vec::new() };
    let marker = [PREFIX, name].concat();
    [parents, &[marker]].concat().join(&b'/')
}

/// Removes `.`, `..` and empty names from a path without following symlinks. Above the root, `..` is a problem in a
/// relative name and means the root in an absolute one, and in every name with `clamp`.
pub(crate) fn clean(raw: &[u8], clamp: bool) -> Result<Path, Problem> {
    if raw.contains(&0) {
        return Err(Problem::Nul);
    }
    let mut path = Path::new();
    for name in raw.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                let above = path.pop().is_none();
                if above && !clamp && !raw.starts_with(b"/") {
                    return Err(Problem::Climbs);
                }
            }
            _ => path.push(name.to_vec()),
        }
    }
    Ok(path)
}

/// Checks the length limits of Linux. The name of a marker counts as the name that it hides.
pub(crate) fn check_lengths(path: &[Vec<u8>]) -> Result<(), Problem> {
    let mut path = path.to_vec();
    if let Some(last) = path.last_mut()
        && let Spelling::Whiteout(hidden) = spelling(last)
    {
        *last = hidden;
    }
    match path.iter().any(|name| name.len() > NAME_MAX) {
        true => Err(Problem::LongName),
        false if path.join(&b'/').len() > PATH_MAX => Err(Problem::LongPath),
        false => Ok(()),
    }
}

/// Returns true if a name has the usual spelling of archives: `a/b`, `./a/b`, and a trailing `/` for a directory.
pub(crate) fn is_plain(raw: &[u8], directory: bool) -> bool {
    if raw == b"./" || raw == b"." {
        return true;
    }
    let name = raw.strip_prefix(b"./").unwrap_or(raw);
    let name = if directory { name.strip_suffix(b"/").unwrap_or(name) } else { name };
    clean(name, false).is_ok_and(|path| !path.is_empty() && path.join(&b'/') == name)
}

/// Returns a path in the form of a listing.
pub(crate) fn absolute(path: &[Vec<u8>]) -> Vec<u8> {
    [b"/", &*path.join(&b'/')].concat()
}

/// Returns the names of a listing's path.
pub(crate) fn names_of(absolute: &[u8]) -> Path {
    absolute.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Returns the listing's paths of all directories above one, the root first.
pub(crate) fn names_above(path: &[u8]) -> Vec<Vec<u8>> {
    let names = names_of(path);
    (0..names.len()).map(|depth| absolute(&names[..depth])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_distinguishes_markers_from_entries() {
        for (name, expected) in [
            (&b"a"[..], Spelling::Ordinary),
            (b".WH.a", Spelling::Ordinary),
            (b"a.wh.b", Spelling::Ordinary),
            (b".wh", Spelling::Ordinary),
            (b".wh.a", Spelling::Whiteout(b"a".into())),
            (b".wh..a", Spelling::Whiteout(b".a".into())),
            (b".wh.\xff", Spelling::Whiteout(b"\xff".into())),
            (b".wh....", Spelling::Whiteout(b"...".into())),
            (b".wh.", Spelling::Invalid),
            (b".wh..", Spelling::Invalid),
            (b".wh...", Spelling::Invalid),
            (b".wh..wh..opq", Spelling::Opaque),
            (b".wh..wh.plnk", Spelling::Bookkeeping),
            (b".wh..wh.", Spelling::Bookkeeping),
        ] {
            assert_eq!(spelling(name), expected, "{}", crate::listing::escape(name));
        }
    }

    #[test]
    fn names_are_cleaned_lexically() {
        let cleaned = |raw: &[u8], clamp| clean(raw, clamp).map(|path| path.join(&b'/'));
        for (raw, expected) in
            [(&b""[..], &b""[..]), (b"./", b""), (b"./a//b/", b"a/b"), (b"a/../b", b"b"), (b"/../a", b"a")]
        {
            assert_eq!(cleaned(raw, false).unwrap(), expected);
        }
        assert_eq!(cleaned(b"../a", false), Err(Problem::Climbs));
        assert_eq!(cleaned(b"a/../../b", false), Err(Problem::Climbs));
        assert_eq!(cleaned(b"../a", true).unwrap(), b"a");
        assert_eq!(cleaned(b"a\0b", true), Err(Problem::Nul));
    }

    #[test]
    fn plain_spellings_are_those_of_ordinary_archives() {
        for (raw, directory, plain) in [
            (&b"a/b"[..], false, true),
            (b"./a", false, true),
            (b"a/", true, true),
            (b"a/", false, false),
            (b"./", true, true),
            (b"/a", false, false),
            (b"a//b", false, false),
            (b"a/./b", false, false),
            (b"a/../b", false, false),
            (b"", true, false),
        ] {
            assert_eq!(is_plain(raw, directory), plain, "{}", crate::listing::escape(raw));
        }
    }

    #[test]
    fn a_marker_of_a_maximal_name_is_valid() {
        let path = |length: usize| vec![[b".wh.", &*vec![b'n'; length]].concat()];
        assert_eq!(check_lengths(&path(255)), Ok(()));
        assert_eq!(check_lengths(&path(256)), Err(Problem::LongName));
        assert_eq!(check_lengths(&vec![vec![b'n'; 200]; 21]), Err(Problem::LongPath));
    }
}
