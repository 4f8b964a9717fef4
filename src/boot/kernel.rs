//! The features of ext4 that a version of Linux does not mount.

use std::fmt;
use std::str::FromStr;

use crate::ext4::Features;

/// A version of Linux, as `MAJOR.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(u16, u16);

impl FromStr for KernelVersion {
    type Err = &'static str;

    /// Reads `5.10`, and as much of `5.10.0-28-cloud-amd64`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = "not a version of Linux, such as 5.10 or 6.1.0-18-amd64";
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut part = || parts.next().and_then(|digits| digits.parse().ok()).ok_or(problem);
        Ok(Self(part()?, part()?))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A feature that Linux did not know from the beginning of ext4 (2.6.28).
pub(super) struct Feature {
    pub name: &'static str,
    set: Set,
    bit: u32,
    /// The first version that supports it, as ext4(5) says under KERNEL SUPPORT.
    pub since: KernelVersion,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Incompat,
    RoCompat,
}

const fn feature(name: &'static str, set: Set, bit: u32, since: (u16, u16)) -> Feature {
    Feature { name, set, bit, since: KernelVersion(since.0, since.1) }
}

/// The versions are those of ext4(5), "KERNEL SUPPORT", of e2fsprogs 1.47. Linux ignores unknown features of the set
/// `compat`, orphan_file among them.
const FEATURES: [Feature; 13] = [
    feature("mmp", Set::Incompat, 0x100, (3, 0)),
    feature("ea_inode", Set::Incompat, 0x400, (4, 13)),
    feature("metadata_csum_seed", Set::Incompat, 0x2000, (4, 4)),
    feature("large_dir", Set::Incompat, 0x4000, (4, 13)),
    feature("inline_data", Set::Incompat, 0x8000, (3, 8)),
    feature("encrypt", Set::Incompat, 0x1_0000, (4, 1)),
    feature("casefold", Set::Incompat, 0x2_0000, (5, 2)),
    feature("quota", Set::RoCompat, 0x100, (3, 6)),
    feature("bigalloc", Set::RoCompat, 0x200, (3, 2)),
    feature("metadata_csum", Set::RoCompat, 0x400, (3, 18)),
    feature("project", Set::RoCompat, 0x2000, (4, 5)),
    feature("verity", Set::RoCompat, 0x8000, (5, 4)),
    feature("orphan_present", Set::RoCompat, 0x1_0000, (5, 15)),
];

/// Returns the features that a version does not mount, each with true if it mounts the filesystem read-only.
pub(super) fn beyond(features: Features, version: KernelVersion) -> Vec<(&'static Feature, bool)> {
    let has = |feature: &&Feature| match feature.set {
        Set::Incompat => features.incompat & feature.bit != 0,
        Set::RoCompat => features.ro_compat & feature.bit != 0,
    };
    let new = FEATURES.iter().filter(has).filter(|feature| feature.since > version);
    new.map(|feature| (feature, feature.set == Set::RoCompat)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_uname_prints() {
        for (text, expected) in [("5.10", "5.10"), ("6.1.0-18-amd64", "6.1"), ("4.14.336", "4.14"), ("3.2-rc1", "3.2")]
        {
            assert_eq!(text.parse::<KernelVersion>().unwrap().to_string(), expected);
        }
        for bad in ["", "5", "x", "v5.10", "5.", "99999.1"] {
            assert!(bad.parse::<KernelVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_feature_is_mounted_from_its_version_on() {
        let features = Features { compat: 0x1000, incompat: 0x2000 | 0x2c2, ro_compat: 0x400 | 0x7b };
        let names = |version: &str| {
            let found = beyond(features, version.parse().unwrap());
            found.iter().map(|(feature, reads)| (feature.name, *reads)).collect::<Vec<_>>()
        };
        assert_eq!(names("4.3"), [("metadata_csum_seed", false)]);
        assert_eq!(names("4.4"), []);
        assert_eq!(names("3.17"), [("metadata_csum_seed", false), ("metadata_csum", true)]);
    }
}
