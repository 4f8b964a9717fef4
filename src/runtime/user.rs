//! The user of an image's config, as numbers: found in the image's own `/etc/passwd` and `/etc/group`.

use std::collections::BTreeSet;

use crate::error::ImageProblem;
use crate::path::Quoted;

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups, in order.
    pub groups: Vec<u32>,
    /// The home directory, if the user has a line in `/etc/passwd`.
    pub home: Option<Vec<u8>>,
}

/// A line of `/etc/passwd`.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// Resolves `USER[:GROUP]`, each a name or a number; nothing is root.
///
/// As image-spec says, numbers are taken as they are; a user without a group has the group of `/etc/passwd`, or 0 if it is
/// a number without a line there; a name without a group has the supplementary groups of `/etc/group`.
pub(crate) fn resolve(text: &str, passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, ImageProblem> {
    let (user, chosen) = match text.split_once(':') {
        None => (text, None),
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user.as_bytes());
    let account = accounts(passwd).find(|account| match number {
        Some(uid) => account.uid == uid,
        None => account.name == user.as_bytes(),
    });
    let missing = |what, name: &str| ImageProblem::NoSuchUser { what, name: Quoted(name.as_bytes()).to_string() };
    let uid = number.or(account.as_ref().map(|account| account.uid)).ok_or_else(|| missing("user", user))?;
    let gid = match chosen {
        Some(name) => group_id(name, group).ok_or_else(|| missing("group", name))?,
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    let is_member = number.is_none() && chosen.is_none();
    let groups = if is_member { memberships(user.as_bytes(), gid, group) } else { Vec::new() };
    Ok(ResolvedUser { uid, gid, groups, home: account.map(|account| account.home.to_vec()) })
}

/// Returns the accounts, in order. Lines that are none are passed over, as the C library does.
fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, uid, gid) = (fields.next()?, number(fields.nth(1)?)?, number(fields.next()?)?);
        Some(Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

fn group_id(name: &str, group: &[u8]) -> Option<u32> {
    number(name.as_bytes()).or_else(|| groups(group).find(|(own, ..)| *own == name.as_bytes()).map(|(_, gid, _)| gid))
}

/// Returns the ids of the groups that list a user, but for its own group.
fn memberships(user: &[u8], gid: u32, group: &[u8]) -> Vec<u32> {
    let member = |(_, id, members): (&[u8], u32, &[u8])| {
        (id != gid && members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)).then_some(id)
    };
    groups(group).filter_map(member).collect::<BTreeSet<u32>>().into_iter().collect()
}

fn groups(group: &[u8]) -> impl Iterator<Item = (&[u8], u32, &[u8])> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, gid) = (fields.next()?, number(fields.nth(1)?)?);
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"# x:x:0\nroot:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:33:34:www:/var/www:/bin/sh\nweb:x:99:99::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:sys,web\nwww:x:34:web\nvideo:x:44:web , x\nagain:x:4:web\n100:x:7:\n";

    #[test]
    fn a_user_is_resolved_by_image_spec() {
        let found = |text: &str| {
            let user = resolve(text, PASSWD, GROUP).map_err(|problem| problem.to_string())?;
            Ok::<_, String>((user.uid, user.gid, user.groups))
        };
        for (text, expected) in [
            ("", (0, 0, vec![])),
            ("root", (0, 0, vec![])),
            ("web", (33, 34, vec![4, 44])),
            ("web:", (33, 34, vec![4, 44])),
            ("web:adm", (33, 4, vec![])),
            ("web:5", (33, 5, vec![])),
            ("33", (33, 34, vec![])),
            ("1000", (1000, 0, vec![])),
            ("1000:www", (1000, 34, vec![])),
            ("1000:100", (1000, 100, vec![])),
            (":adm", (0, 4, vec![])),
        ] {
            assert_eq!(found(text), Ok(expected), "{text}");
        }
        assert_eq!(found("nobody"), Err("has the user \"nobody\", whom the image's /etc/passwd does not list".into()));
        assert_eq!(found("0:x\n"), Err("has the group \"x\\x0a\", which the image's /etc/group does not list".into()));
        assert!(found("4294967295").is_err());
    }
}
