//! Platforms: which of several images is the one for a machine.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::ImageConfiguration;

use crate::path::Escaped;

/// What an image was built to run on, in Go's words: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The architecture.
    pub architecture: String,
    /// The variant of the architecture, where one is named.
    pub variant: Option<String>,
}

/// A string is not `OS/ARCH[/VARIANT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a platform: it has the form OS/ARCH[/VARIANT], like linux/arm64")]
pub struct PlatformSyntax;

impl Platform {
    /// Returns Linux on the architecture that this program was built for.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let (architecture, variant) = go_names(std::env::consts::ARCH);
        Self { os: "linux".into(), architecture: architecture.into(), variant: variant.map(Into::into) }
    }

    pub(super) fn of_config(config: &ImageConfiguration) -> Self {
        Self {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }

    /// Returns how far an image's platform is from this one, 0 being nearest; `None` when it does not run here.
    ///
    /// A lower level of the same architecture runs on a higher one, never the other way.
    pub(super) fn distance(&self, image: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&image.os, &image.architecture) {
            return None;
        }
        match (self.level(), image.level()) {
            (Some(here), Some(needed)) => here.checked_sub(needed),
            _ if self.variant == image.variant => Some(0),
            _ => (self.variant.is_none() || image.variant.is_none()).then_some(1),
        }
    }

    /// Returns whether an image whose config says `config` may be taken for this platform. Old configs name no variant.
    pub(super) fn admits(&self, config: &Self) -> bool {
        let same = (&self.os, &self.architecture) == (&config.os, &config.architecture);
        same && (config.variant.is_none() || self.distance(config).is_some())
    }

    /// The number in a variant like `v7`; where none is named, the one that containerd takes for it.
    fn level(&self) -> Option<u32> {
        match (&self.variant, self.architecture.as_str()) {
            (Some(variant), _) => variant.strip_prefix('v')?.parse().ok(),
            (None, "amd64") => Some(1),
            (None, "arm") => Some(7),
            (None, "arm64") => Some(8),
            (None, _) => None,
        }
    }
}

/// Go's names for what kernels, compilers and distributions call differently.
fn go_names(architecture: &str) -> (&str, Option<&str>) {
    match architecture {
        "x86_64" => ("amd64", None),
        "x86" | "i386" | "i686" => ("386", None),
        "aarch64" => ("arm64", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
        "powerpc64" => ("ppc64", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    }
}

impl FromStr for Platform {
    type Err = PlatformSyntax;

    fn from_str(text: &str) -> Result<Self, PlatformSyntax> {
        let text = text.to_ascii_lowercase();
        let mut parts = text.split('/');
        let mut part = || {
            let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            parts
                .next()
                .map(|part| if part.is_empty() || !part.bytes().all(word) { Err(PlatformSyntax) } else { Ok(part) })
        };
        let os = part().ok_or(PlatformSyntax)??;
        let (architecture, implied) = go_names(part().ok_or(PlatformSyntax)??);
        let variant = part().transpose()?.or(implied);
        if parts.next().is_some() {
            return Err(PlatformSyntax);
        }
        Ok(Self { os: os.into(), architecture: architecture.into(), variant: variant.map(Into::into) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Escaped(self.os.as_bytes()), Escaped(self.architecture.as_bytes()))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", Escaped(variant.as_bytes())),
            None => Ok(()),
        }
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
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(text).to_string(), want);
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "linux/a b", "linux/\x1b"] {
            assert_eq!(bad.parse::<Platform>(), Err(PlatformSyntax), "{bad:?}");
        }
    }

    #[test]
    fn lower_levels_run_on_higher_ones_and_the_nearest_is_best() {
        let table = [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm/v8", "linux/arm/v6", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64", "linux/arm/v7", None),
            ("linux/riscv64", "linux/riscv64/rva20", Some(1)),
            ("linux/riscv64/rva23", "linux/riscv64/rva20", None),
            ("linux/amd64", "windows/amd64", None),
        ];
        for (here, image, want) in table {
            assert_eq!(platform(here).distance(&platform(image)), want, "{image} on {here}");
        }
    }

    #[test]
    fn a_config_without_a_variant_is_taken_at_its_word() {
        assert!(platform("linux/arm/v6").admits(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").admits(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm64").admits(&platform("linux/amd64")));
    }
}
