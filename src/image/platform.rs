//! Platforms, and the choice of the image for a machine.

use std::fmt;
use std::str::FromStr;

use crate::path::Escaped;

/// The platform that an image was built for, with Go's names: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The architecture.
    pub architecture: String,
    /// The variant of the architecture, if there is one.
    pub variant: Option<String>,
    /// The version of the operating system, if there is one; for Linux it has no meaning.
    pub os_version: Option<String>,
    /// The required features of the operating system.
    pub os_features: Vec<String>,
}

/// A string is not `OS/ARCH[/VARIANT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a platform: it has the form OS/ARCH[/VARIANT], like linux/arm64")]
pub struct PlatformSyntax;

impl Platform {
    /// Returns Linux on the architecture of this program.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "mips" if cfg!(target_endian = "little") => "mipsle",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            other => other,
        };
        Self::named("linux", architecture, None)
    }

    /// Returns a platform with Go's names for other common names. An absent system is Linux.
    pub(super) fn named(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let (architecture, implied) = go_names(&architecture);
        let variant = variant.filter(|variant| !variant.is_empty()).map(|variant| {
            let variant = variant.to_ascii_lowercase();
            if variant.starts_with(|c: char| c.is_ascii_digit()) { format!("v{variant}") } else { variant }
        });
        Self {
            os: if os.is_empty() { "linux".into() } else { os },
            architecture: architecture.into(),
            variant: variant.or(implied.map(Into::into)),
            ..Self::default()
        }
    }

    /// Returns the distance of an image's platform from this one, 0 being nearest; `None` if the image does not run
    /// here.
    ///
    /// A lower level of an architecture runs on a higher one, but not vice versa. An image that needs a feature of the
    /// system runs only on systems with it, and plain Linux has none.
    pub(super) fn distance(&self, image: &Self) -> Option<u32> {
        if !self.is_like(image) {
            return None;
        }
        match (self.level(), image.level()) {
            (Some(here), Some(needed)) => here.checked_sub(needed),
            _ if self.variant == image.variant => Some(0),
            _ => (self.variant.is_none() || image.variant.is_none()).then_some(1),
        }
    }

    /// Returns true if an image whose config has the platform `config` is acceptable for this one. Old configs have no
    /// variant.
    pub(super) fn admits(&self, config: &Self) -> bool {
        self.is_like(config) && (config.variant.is_none() || self.distance(config).is_some())
    }

    /// Returns true if only the variants differ.
    fn is_like(&self, image: &Self) -> bool {
        let same = (&self.os, &self.architecture) == (&image.os, &image.architecture);
        same && image.os_features.iter().all(|feature| self.os_features.contains(feature))
    }

    /// Returns the number in a variant like `v7` or `v8.2`, in hundredths; without a variant, containerd's default.
    fn level(&self) -> Option<u32> {
        match (&self.variant, self.architecture.as_str()) {
            (Some(variant), _) => {
                let number = variant.strip_prefix('v')?;
                let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
                let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 2;
                if !digits(major) || !digits(minor) {
                    return None;
                }
                Some(major.parse::<u32>().ok()? * 100 + minor.parse::<u32>().ok()?)
            }
            (None, "amd64") => Some(100),
            (None, "arm") => Some(700),
            (None, "arm64") => Some(800),
            (None, _) => None,
        }
    }
}

/// Returns Go's name for an architecture of another naming scheme.
fn go_names(architecture: &str) -> (&str, Option<&str>) {
    match architecture {
        "x86_64" | "x86-64" => ("amd64", None),
        "x86" | "i386" | "i486" | "i586" | "i686" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" | "armv7" | "armv7l" => ("arm", Some("v7")),
        "armel" | "armv6" | "armv6l" => ("arm", Some("v6")),
        "armv5" | "armv5l" | "armv5tel" => ("arm", Some("v5")),
        "armv8l" => ("arm", Some("v8")),
        "ppc64el" | "powerpc64le" => ("ppc64le", None),
        "powerpc64" => ("ppc64", None),
        "mipsel" => ("mipsle", None),
        "mips64el" => ("mips64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    }
}

/// The architectures for which Go builds Linux programs; they may be given without the system.
const ARCHITECTURES: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x",
];

impl FromStr for Platform {
    type Err = PlatformSyntax;

    fn from_str(text: &str) -> Result<Self, PlatformSyntax> {
        // As messages call a platform that needs features.
        if let Some((plain, features)) = text.split_once(" with ") {
            let os_features: Vec<String> = features.split('+').map(str::to_owned).collect();
            if os_features.iter().any(|feature| feature.is_empty() || feature.contains(char::is_whitespace)) {
                return Err(PlatformSyntax);
            }
            return Ok(Self { os_features, ..plain.parse()? });
        }
        let text = text.to_ascii_lowercase();
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(word)) {
            return Err(PlatformSyntax);
        }
        let is_architecture = |part: &str| ARCHITECTURES.contains(&go_names(part).0);
        match parts[..] {
            [architecture] if is_architecture(architecture) => Ok(Self::named("linux", architecture, None)),
            [architecture, variant] if is_architecture(architecture) => {
                Ok(Self::named("linux", architecture, Some(variant)))
            }
            [os, architecture] => Ok(Self::named(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::named(os, architecture, Some(variant))),
            _ => Err(PlatformSyntax),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Escaped(self.os.as_bytes()), Escaped(self.architecture.as_bytes()))?;
        if let Some(variant) = &self.variant {
            write!(f, "/{}", Escaped(variant.as_bytes()))?;
        }
        if !self.os_features.is_empty() {
            write!(f, " with {}", Escaped(self.os_features.join("+").as_bytes()))?;
        }
        Ok(())
    }
}

impl serde::Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_are_spelled_as_go_spells_them() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/riscv64", "linux/riscv64"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("LINUX/ARM64/V8", "linux/arm64/v8"),
            ("linux/armv7l", "linux/arm/v7"),
            ("linux/i686", "linux/386"),
            ("linux/ppc64el", "linux/ppc64le"),
            ("amd64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(platform(text).to_string(), expected);
        }
        for bad in
            ["", "linux", "windows", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "linux/a b", "linux/\x1b"]
        {
            assert_eq!(bad.parse::<Platform>(), Err(PlatformSyntax), "{bad:?}");
        }
    }

    #[test]
    fn lower_levels_run_on_higher_ones_and_the_nearest_is_best() {
        let table = [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(100)),
            ("linux/amd64/v3", "linux/amd64", Some(200)),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm/v8", "linux/arm/v6", Some(200)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm64/v8.0", Some(0)),
            ("linux/arm64", "linux/arm64/v8.2", None),
            ("linux/arm64/v9", "linux/arm64/v8.2", Some(98)),
            ("linux/arm64/v9", "linux/arm64/v12345678901", None),
            ("linux/arm64", "linux/arm/v7", None),
            ("linux/riscv64", "linux/riscv64/rva20", Some(1)),
            ("linux/riscv64/rva23", "linux/riscv64/rva20", None),
            ("linux/amd64", "windows/amd64", None),
        ];
        for (here, image, expected) in table {
            assert_eq!(platform(here).distance(&platform(image)), expected, "{image} on {here}");
        }
    }

    #[test]
    fn platforms_with_os_features_do_not_match_plain_linux() {
        let plain = platform("linux/amd64");
        let special = Platform { os_features: vec!["erofs".into()], ..plain.clone() };
        assert_eq!((plain.distance(&special), plain.admits(&special)), (None, false));
        assert_eq!(special.distance(&plain), Some(0));
        assert_eq!(special.to_string(), "linux/amd64 with erofs");
        assert_eq!("linux/amd64 with erofs".parse(), Ok(special));
        let several = Platform { os_features: vec!["x.Y".into(), "z".into()], ..plain };
        assert_eq!(several.to_string().parse(), Ok(several));
        for bad in ["linux/amd64 with ", "linux/amd64 with a+", "linux/amd64 with a b", " with a"] {
            assert_eq!(bad.parse::<Platform>(), Err(PlatformSyntax), "{bad}");
        }
    }

    #[test]
    fn the_default_operating_system_is_linux() {
        assert_eq!(Platform::named("", "AMD64", Some("")), platform("linux/amd64"));
    }

    #[test]
    fn a_config_without_a_variant_matches_its_architecture() {
        assert!(platform("linux/arm/v6").admits(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").admits(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm64").admits(&platform("linux/amd64")));
    }
}
