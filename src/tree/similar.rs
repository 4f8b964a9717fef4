//! Finds the name that was meant by a mistyped one.

/// The most names among which one is looked for.
const CANDIDATES: usize = 100_000;
/// The most edits between a name and a similar one.
const EDITS: usize = 2;

/// Returns the name with the fewest edits from a mistyped one: of short names half of the bytes must be right.
pub(super) fn similar<'a>(name: &[u8], there: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let allowed = EDITS.min(name.len() / 2);
    let near = there.take(CANDIDATES).filter_map(|other| Some((edits(name, other, allowed)?, other)));
    near.min().map(|(_, other)| other)
}

/// Returns the number of insertions, deletions, replacements, and swaps of neighbours between two names, if it is at most
/// `allowed`.
fn edits(a: &[u8], b: &[u8], allowed: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        if row.iter().all(|edits| *edits > allowed) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|edits| *edits <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_with_the_fewest_edits_is_suggested() {
        let find = |name: &str| {
            let there = ["passwd", "passwd-", "shadow", "vi", "x", ""].map(str::as_bytes);
            similar(name.as_bytes(), there.into_iter()).map(|name| String::from_utf8(name.to_vec()).unwrap())
        };
        for (name, expected) in [
            ("paswd", Some("passwd")),
            ("passwd+", Some("passwd")),
            ("apsswd", Some("passwd")),
            ("shdaow", Some("shadow")),
            ("sahdwo", Some("shadow")),
            ("vim", Some("vi")),
            ("v", None),
            ("y", None),
            ("something", None),
        ] {
            assert_eq!(find(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn edits_are_counted_up_to_a_limit() {
        for (a, b, expected) in [("", "", Some(0)), ("ab", "ba", Some(1)), ("abc", "c", Some(2)), ("abc", "xyz", None)]
        {
            assert_eq!(edits(a.as_bytes(), b.as_bytes(), 2), expected, "{a} {b}");
        }
    }
}
