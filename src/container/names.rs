//! Names for containers that were given none: a quality and somebody who measured things well.

const QUALITIES: [&str; 32] = [
    "brisk", "calm", "candid", "careful", "clear", "curious", "deft", "eager", "exact", "fair", "fleet", "frank",
    "gentle", "keen", "lucid", "merry", "modest", "nimble", "patient", "plain", "polite", "prompt", "quick", "quiet",
    "sober", "steady", "subtle", "swift", "tidy", "vivid", "warm", "witty",
];

const PEOPLE: [&str; 32] = [
    "ampere",
    "arago",
    "bassi",
    "bell",
    "bessel",
    "bradley",
    "brahe",
    "cannon",
    "cassini",
    "celsius",
    "chatelet",
    "curie",
    "doppler",
    "fizeau",
    "foucault",
    "franklin",
    "galileo",
    "germain",
    "harrison",
    "herschel",
    "hooke",
    "huygens",
    "kelvin",
    "leavitt",
    "lovelace",
    "michelson",
    "noether",
    "payne",
    "roemer",
    "somerville",
    "watt",
    "wu",
];

/// A name by chance. Not unique by itself; only a given name is claimed.
pub fn invent() -> String {
    let mut random = [0u8; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let n = u32::from_ne_bytes(random) as usize;
    format!("{}_{}", QUALITIES[n % 32], PEOPLE[n / 32 % 32])
}
