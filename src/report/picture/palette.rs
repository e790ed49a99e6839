//! The colours of all pictures: one per kind of work, the same in waterfall, charts and HTML, light and dark.
//!
//! Hues follow Okabe and Ito's set, which people with any of the common colour blindnesses tell apart; the shades are
//! moved until each stands out from its background by 3:1 (WCAG 2.2, 1.4.11), text by 4.5:1 (1.4.3). Each kind has a
//! hatching too, and in the pictures a name: colour is never the only sign.

use crate::names::span;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Starting up, looking into the store, starting the built-in hub.
    Lookup,
    /// The pull as a whole and a layer as a whole.
    Pull,
    /// Requests and bytes on their way.
    Network,
    /// Hashing.
    Verify,
    /// gzip, zstd.
    Inflate,
    /// Files made.
    Extract,
    /// The container prepared.
    Create,
    /// The process started.
    Start,
    /// The process itself.
    Run,
    /// Taken away: the image of a run that is to be cold, the container.
    Cleanup,
    /// What we have no name for.
    Other,
}

/// How an area is hatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hatch {
    /// Not at all.
    Plain,
    /// `/`
    Rising,
    /// `\`
    Falling,
    /// `-`
    Level,
    /// `|`
    Upright,
    /// Dots.
    Dots,
}

/// Colour as 0xRRGGBB.
pub type Rgb = u32;

/// A colour on light and on dark ground.
#[derive(Clone, Copy, Debug)]
pub struct Shades {
    /// On [`BACK`]'s light.
    pub light: Rgb,
    /// On [`BACK`]'s dark.
    pub dark: Rgb,
}

const fn shades(light: Rgb, dark: Rgb) -> Shades {
    Shades { light, dark }
}

/// The ground.
pub const BACK: Shades = shades(0xffffff, 0x14171c);
/// Bands, boxes.
pub const PANEL: Shades = shades(0xf3f5f7, 0x1d2229);
/// Text, and the outline of the critical path.
pub const TEXT: Shades = shades(0x1b2027, 0xe8ebef);
/// Less important text.
pub const MUTED: Shades = shades(0x555e69, 0xa9b2bd);
/// Grid lines; they carry nothing that the numbers don't say.
pub const GRID: Shades = shades(0xd5dae0, 0x353c46);
/// Failures.
pub const FAILED: Shades = shades(0xb3261e, 0xff8a80);

impl Work {
    /// All, in the order of a run, which is that of the legend.
    pub const ALL: [Work; 11] = [
        Work::Lookup,
        Work::Pull,
        Work::Network,
        Work::Verify,
        Work::Inflate,
        Work::Extract,
        Work::Create,
        Work::Start,
        Work::Run,
        Work::Cleanup,
        Work::Other,
    ];

    /// The kind of a span by its name.
    pub fn of(name: &str) -> Work {
        match name {
            span::STARTUP | span::CONTAINER_FIND | span::USERNS_ENTER | span::CACHE_CHECK | span::HUB_START => {
                Work::Lookup
            }
            span::PULL
            | span::IMAGE_PULL
            | span::PULL_WAIT
            | span::LAYER_PULL
            | span::LAYER_COMMIT
            | span::LAYER_SYNC
            | span::IMAGE_COMMIT => Work::Pull,
            span::REGISTRY_AUTH
            | span::MANIFEST_FETCH
            | span::CONFIG_FETCH
            | span::HTTP_GET
            | span::HTTP_HEAD
            | span::HTTP_POST
            | span::DNS_LOOKUP
            | span::TCP_CONNECT
            | span::TLS_HANDSHAKE
            | span::HTTP_WAIT
            | span::HTTP_RECEIVE
            | span::LAYER_DOWNLOAD => Work::Network,
            span::LAYER_VERIFY | span::STORE_VERIFY => Work::Verify,
            span::LAYER_DECOMPRESS => Work::Inflate,
            span::LAYER_EXTRACT => Work::Extract,
            span::CONTAINER_CREATE
            | span::ROOTFS_MOUNT
            | span::VOLUME_MOUNT
            | span::CGROUP_CREATE
            | span::PTY_OPEN
            | span::NETWORK_SETUP => Work::Create,
            span::CONTAINER_START
            | span::EXEC_START
            | span::PROCESS_CLONE
            | span::INIT_NAMESPACES
            | span::INIT_MOUNTS
            | span::INIT_PIVOT_ROOT
            | span::INIT_HARDENING
            | span::PROCESS_EXEC => Work::Start,
            span::CONTAINER_RUN | span::EXEC_RUN => Work::Run,
            span::IMAGE_FORGET
            | span::CONTAINER_EXIT
            | span::EXEC_EXIT
            | span::CONTAINER_CLEANUP
            | span::NETWORK_TEARDOWN
            | span::ROOTFS_UNMOUNT
            | span::CGROUP_REMOVE
            | span::CONTAINER_REMOVE => Work::Cleanup,
            _ => Work::Other,
        }
    }

    /// In a legend.
    pub fn label(self) -> &'static str {
        match self {
            Work::Lookup => "set up",
            Work::Pull => "pull",
            Work::Network => "network",
            Work::Verify => "verify",
            Work::Inflate => "decompress",
            Work::Extract => "extract",
            Work::Create => "create",
            Work::Start => "start",
            Work::Run => "run",
            Work::Cleanup => "clean up",
            Work::Other => "other",
        }
    }

    /// As the class of a mark and the name of a CSS variable.
    pub fn class(self) -> &'static str {
        match self {
            Work::Inflate => "inflate",
            Work::Lookup => "lookup",
            Work::Cleanup => "cleanup",
            other => other.label(),
        }
    }

    /// The colour.
    pub fn shades(self) -> Shades {
        match self {
            Work::Lookup => shades(0x5b6fa8, 0x94a6dd),
            Work::Pull => shades(0x2b86b8, 0x7cc4ee),
            Work::Network => shades(0x00609a, 0x3f97d1),
            Work::Verify => shades(0xa8528a, 0xd98fc0),
            Work::Inflate => shades(0xd05a00, 0xf5873c),
            Work::Extract => shades(0x007a5a, 0x2fb78c),
            Work::Create => shades(0x857200, 0xe0cc45),
            Work::Start => shades(0xb06f00, 0xeaab3c),
            Work::Run => shades(0x3a424d, 0xd3d9e0),
            Work::Cleanup => shades(0x7b6a5c, 0xb5a596),
            Work::Other => shades(0x6b737d, 0x8d959f),
        }
    }

    /// The hatching.
    pub fn hatch(self) -> Hatch {
        match self {
            Work::Pull | Work::Run | Work::Lookup => Hatch::Plain,
            Work::Network | Work::Start => Hatch::Rising,
            Work::Inflate | Work::Cleanup => Hatch::Falling,
            Work::Verify => Hatch::Dots,
            Work::Extract => Hatch::Upright,
            Work::Create | Work::Other => Hatch::Level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, WCAG 2.2.
    fn luminance(rgb: Rgb) -> f64 {
        let part = |shift: u32| {
            let c = f64::from((rgb >> shift) & 0xff) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn contrast_is_enough_on_light_and_dark() {
        assert!((contrast(0x000000, 0xffffff) - 21.0).abs() < 0.01);
        for ground in [BACK, PANEL] {
            for (name, text) in [("text", TEXT), ("muted", MUTED), ("failed", FAILED)] {
                assert!(
                    contrast(text.light, ground.light) >= 4.5,
                    "{name} light {}",
                    contrast(text.light, ground.light)
                );
                assert!(contrast(text.dark, ground.dark) >= 4.5, "{name} dark {}", contrast(text.dark, ground.dark));
            }
            for work in Work::ALL {
                let mark = work.shades();
                assert!(contrast(mark.light, ground.light) >= 3.0, "{work:?} {}", contrast(mark.light, ground.light));
                assert!(contrast(mark.dark, ground.dark) >= 3.0, "{work:?} {}", contrast(mark.dark, ground.dark));
            }
        }
    }

    #[test]
    fn every_stage_of_ours_has_a_kind() {
        let names = include_str!("../../names.rs").split("pub mod attr").next().expect("span names come first");
        let values: Vec<&str> = names
            .lines()
            .filter(|l| l.trim_start().starts_with("pub const"))
            .filter_map(|l| l.split('"').nth(1))
            .filter(|name| ![span::RUN, span::EXEC].contains(name))
            .collect();
        assert!(values.len() > 35, "{values:?}");
        for name in values {
            assert_ne!(Work::of(name), Work::Other, "{name}");
        }
    }

    #[test]
    fn kinds_are_told_apart_without_colour() {
        for (i, a) in Work::ALL.iter().enumerate() {
            for b in &Work::ALL[..i] {
                assert_ne!(a.class(), b.class());
                assert_ne!(a.label(), b.label());
            }
        }
        // The stages of one layer stand above one another, so each has its own hatching.
        let stages = [Work::Network, Work::Verify, Work::Inflate, Work::Extract, Work::Pull].map(Work::hatch);
        for (i, a) in stages.iter().enumerate() {
            assert!(!stages[..i].contains(a), "{a:?}");
        }
    }
}
