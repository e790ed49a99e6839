//! Which operating system and processor an image is for (`image-spec`, `image-index.md`, "platform").

use std::fmt;
use std::str::FromStr;

use crate::error::Failure;

/// Operating system, architecture and variant, in Go's spelling: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …; only where the architecture has any.
    pub variant: Option<String>,
}

/// What `--platform` could not be read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected OS/ARCH or OS/ARCH/VARIANT, e.g. `linux/arm64/v8`")]
pub struct PlatformError(String);

impl Failure for PlatformError {
    fn kind(&self) -> &'static str {
        "invalid_platform"
    }
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = normalise(std::env::consts::ARCH, None);
        Platform { os: "linux".into(), architecture, variant }
    }

    /// Parses `--platform`: `linux/arm64/v8`, `linux/amd64`, or one of both parts alone (`arm64`, `linux`).
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let fail = || PlatformError(text.chars().take(60).collect());
        let word = |w: &str| {
            !w.is_empty()
                && w.len() <= 32
                && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        if !parts.iter().all(|p| word(p)) {
            return Err(fail());
        }
        let host = Platform::host();
        Ok(match parts[..] {
            ["linux"] => host,
            [arch] => {
                let (architecture, variant) = normalise(arch, None);
                if !ARCHITECTURES.contains(&architecture.as_str()) {
                    return Err(fail());
                }
                Platform { os: host.os, architecture, variant }
            }
            [os, arch] => {
                let (architecture, variant) = normalise(arch, None);
                Platform { os: os.into(), architecture, variant }
            }
            [os, arch, variant] => {
                let (architecture, variant) = normalise(arch, Some(variant));
                Platform { os: os.into(), architecture, variant }
            }
            _ => return Err(fail()),
        })
    }

    /// From an index entry or an image configuration, whose spelling varies.
    pub fn from_parts(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalise(architecture, variant);
        Platform { os: os.to_ascii_lowercase(), architecture, variant }
    }

    /// How well an image for `image` suits this platform: 0 is exact, greater is an older variant of the same
    /// architecture, which still runs; `None` does not run. `amd64` without a variant is what this machine can do.
    pub fn suits(&self, image: &Platform) -> Option<u32> {
        self.suits_on(image, amd64_level())
    }

    fn suits_on(&self, image: &Platform, level: u32) -> Option<u32> {
        if self.os == image.os && self.architecture == "amd64" && image.architecture == "386" {
            // These processors run it as it is, but nobody means it who has the choice.
            return Some(I386);
        }
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        let rank = |p: &Platform, level| match (p.architecture.as_str(), p.variant.as_deref()) {
            ("amd64", None) => Some(level),
            ("arm", None) => Some(7),
            ("arm64", None) => Some(8),
            ("amd64" | "arm" | "arm64", Some(v)) => v.strip_prefix('v').and_then(|n| n.split('.').next()?.parse().ok()),
            _ => None,
        };
        match (rank(self, level), rank(image, 1)) {
            (Some(wanted), Some(has)) => u32::checked_sub(wanted, has),
            _ => (self.variant == image.variant).then_some(0),
        }
    }
}

/// Worse than any variant.
const I386: u32 = 1000;

/// Level of this machine's processor in the x86-64 psABI; 1 where it is no such processor.
fn amd64_level() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! all {
            ($($feature:tt)*) => { $(std::arch::is_x86_feature_detected!($feature))&&* };
        }
        let v2 = all!("cmpxchg16b" "popcnt" "sse3" "ssse3" "sse4.1" "sse4.2");
        let v3 = v2 && all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
        let v4 = v3 && all!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
        1 + u32::from(v2) + u32::from(v3) + u32::from(v4)
    }
    #[cfg(not(target_arch = "x86_64"))]
    1
}

const ARCHITECTURES: [&str; 10] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"];

/// Go's spelling of other people's names; the variant that is meant when none is said (containerd `platforms`).
fn normalise(arch: &str, variant: Option<&str>) -> (String, Option<String>) {
    let arch = arch.to_ascii_lowercase();
    let variant = variant.filter(|v| !v.is_empty()).map(str::to_ascii_lowercase);
    let (arch, default) = match arch.as_str() {
        "x86_64" | "x86-64" | "amd64" => ("amd64", None),
        "aarch64" | "arm64" => ("arm64", Some("v8")),
        "i386" | "i686" | "x86" | "386" => ("386", None),
        "armhf" | "arm" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64le" | "ppc64le" => ("ppc64le", None),
        other => (other, None),
    };
    let variant = match (arch, variant.as_deref()) {
        ("amd64", Some("v1")) => None,
        ("arm64" | "arm", Some(digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(format!("v{digits}")),
        (_, Some(given)) => Some(given.to_owned()),
        (_, None) => default.map(str::to_owned),
    };
    (arch.to_owned(), variant)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(v) => write!(f, "/{v}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Platform::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_one() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/aarch64/v8", "linux/arm64/v8"),
            ("arm64", "linux/arm64/v8"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("windows/amd64", "windows/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "/", "linux/", "linux//v8", "a/b/c/d", "linux/am d64", "nonsense", "linux/\n"] {
            assert!(Platform::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn older_variants_run_newer_ones_do_not() {
        let on = |level, want: &str, image: &str| {
            Platform::parse(want).unwrap().suits_on(&Platform::parse(image).unwrap(), level)
        };
        assert_eq!(on(3, "linux/amd64", "linux/amd64/v3"), Some(0), "the best that this machine can do");
        assert_eq!(on(3, "linux/amd64", "linux/amd64"), Some(2));
        assert_eq!(on(3, "linux/amd64", "linux/amd64/v4"), None);
        assert_eq!(on(1, "linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(on(1, "linux/amd64", "linux/386"), Some(I386), "it runs natively");
        assert_eq!(on(1, "linux/386", "linux/amd64"), None);
        let suits = |want: &str, image: &str| on(1, want, image);
        assert_eq!(suits("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(suits("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(suits("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(suits("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(suits("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(suits("linux/arm64", "linux/arm64"), Some(0));
        assert_eq!(suits("linux/arm64", "linux/arm/v7"), None);
        assert_eq!(suits("linux/riscv64", "linux/riscv64"), Some(0));
        assert_eq!(suits("linux/mips64le/softfloat", "linux/mips64le/hardfloat"), None);
        assert_eq!(suits("linux/amd64", "windows/amd64"), None);
        assert_eq!(
            Platform::from_parts("linux", "amd64", Some("v99999999999"))
                .suits(&Platform::parse("linux/amd64").unwrap()),
            None
        );
    }
}
