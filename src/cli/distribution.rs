//! The distribution of this machine, for advice about packages.

use std::io::Read as _;

/// The bytes of `/etc/os-release` that are read.
const RELEASE_MAX: u64 = 64 << 10;
/// The package commands of distributions, by their `ID` or `ID_LIKE`.
const INSTALL: [(&str, &str); 7] = [
    ("debian", "apt-get install e2fsprogs"),
    ("ubuntu", "apt-get install e2fsprogs"),
    ("fedora", "dnf install e2fsprogs"),
    ("rhel", "dnf install e2fsprogs"),
    ("suse", "zypper install e2fsprogs"),
    ("arch", "pacman -S e2fsprogs"),
    ("alpine", "apk add e2fsprogs e2fsprogs-extra"),
];

/// Returns the command that installs e2fsprogs on this distribution, if it is known.
pub fn install() -> Option<&'static str> {
    let mut release = String::new();
    std::fs::File::open("/etc/os-release").ok()?.take(RELEASE_MAX).read_to_string(&mut release).ok()?;
    install_for(&release)
}

fn install_for(release: &str) -> Option<&'static str> {
    let value = |key| release.lines().find_map(|line| line.strip_prefix(key)).map(|text| text.trim_matches('"'));
    let words = value("ID=").into_iter().chain(value("ID_LIKE=").into_iter().flat_map(str::split_whitespace));
    let known =
        |word: &str| INSTALL.iter().find(|(id, _)| *id == word || word.starts_with("opensuse") && *id == "suse");
    words.filter_map(known).map(|(_, command)| *command).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_their_own_commands() {
        let table = [
            ("ID=debian\n", Some("apt-get install e2fsprogs")),
            ("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Some("apt-get install e2fsprogs")),
            ("ID=\"opensuse-leap\"\n", Some("zypper install e2fsprogs")),
            ("ID=alpine\n", Some("apk add e2fsprogs e2fsprogs-extra")),
            ("ID=unheard\n", None),
            ("", None),
        ];
        for (release, want) in table {
            assert_eq!(install_for(release), want, "{release}");
        }
    }
}
