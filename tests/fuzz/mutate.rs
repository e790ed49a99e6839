//! Files made from real ones, broken in ways that keep most of their structure.

use serde_json::Value as Json;

/// Small and repeatable (xorshift64*): a finding is known by its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// One broken file from `seeds`.
pub fn file(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = dice.one(seeds).clone();
    let mut bytes = match dice.below(10) {
        0..=4 => json(dice, &seed).unwrap_or_else(|| fields(dice, &seed)),
        5 | 6 => fields(dice, &seed),
        7 => {
            let other = dice.one(seeds).clone();
            splice(dice, &seed, &other)
        }
        _ => seed,
    };
    // Most stay whole in form: what is no JSON at all tries nothing but the parser.
    if dice.below(4) == 0 {
        for _ in 0..1 + dice.below(3) {
            scramble(dice, &mut bytes);
        }
    }
    wrap(dice, bytes)
}

/// Changes in the tree of a JSON text, or of one of its lines.
fn json(dice: &mut Dice, seed: &[u8]) -> Option<Vec<u8>> {
    let mut values: Vec<Json> = serde_json::Deserializer::from_slice(seed)
        .into_iter()
        .collect::<Result<_, _>>()
        .ok()
        .filter(|v: &Vec<_>| !v.is_empty())?;
    let at = dice.below(values.len());
    for _ in 0..1 + dice.below(6) {
        let change = 1 + dice.below(60);
        let mut left = change;
        node(dice, &mut values[at], &mut left);
    }
    let pretty = dice.below(4) == 0;
    let mut out = Vec::new();
    for value in values {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        out.extend(text.ok()?);
        out.push(b'\n');
    }
    Some(out)
}

/// Changes the `left`-th node that a walk comes to.
fn node(dice: &mut Dice, value: &mut Json, left: &mut usize) {
    *left = left.saturating_sub(1);
    if *left == 0 {
        change(dice, value);
        *left = usize::MAX;
        return;
    }
    // A walk that takes turns: else only the first branch would ever change.
    match value {
        Json::Array(list) if !list.is_empty() => {
            let at = dice.below(list.len());
            node(dice, &mut list[at], left);
        }
        Json::Object(map) if !map.is_empty() => {
            let at = dice.below(map.len());
            if let Some((_, inner)) = map.iter_mut().nth(at) {
                node(dice, inner, left);
            }
        }
        leaf => change(dice, leaf),
    }
}

fn change(dice: &mut Dice, value: &mut Json) {
    let odd: [Json; 16] = [
        Json::Null,
        true.into(),
        0.into(),
        (-1).into(),
        u64::MAX.into(),
        i64::MIN.into(),
        1.7e308.into(),
        (-0.5).into(),
        "".into(),
        "0".into(),
        "18446744073709551616".into(),
        "ffffffffffffffffffffffffffffffff".into(),
        "\u{0}\u{1b}[31m\u{202e}".into(),
        "NaN".into(),
        Json::Array(Vec::new()),
        Json::Object(serde_json::Map::new()),
    ];
    match (dice.below(8), value) {
        (0, Json::Array(list)) if !list.is_empty() => {
            let again = list[dice.below(list.len())].clone();
            let times = 1 << dice.below(8);
            // Not so often that one case takes the time of a thousand.
            if again.to_string().len() * times < 1 << 18 {
                list.extend(std::iter::repeat_n(again, times));
            }
        }
        (1, Json::Array(list)) => {
            let at = dice.below(list.len());
            if at < list.len() {
                list.remove(at);
            }
        }
        (2, Json::Object(map)) => {
            let key = map.keys().nth(dice.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (3, Json::Object(map)) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            if keys.len() > 1 {
                let (a, b) = (dice.one(&keys).clone(), dice.one(&keys).clone());
                let (x, y) = (map[&a].clone(), map[&b].clone());
                map.insert(a, y);
                map.insert(b, x);
            }
        }
        (4, slot) => {
            let depth = *dice.one(&[2, 50, 126, 127, 128, 200]);
            let inner = std::mem::take(slot);
            *slot = (0..depth).fold(inner, |inner, _| Json::Array(vec![inner]));
        }
        (5, Json::String(text)) => {
            let mut bytes = text.clone().into_bytes();
            scramble(dice, &mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        (_, slot) => *slot = dice.one(&odd).clone(),
    }
}

/// Changes in the fields of Protobuf, or of what is taken for it: lengths, doubled and lost fields, at any depth.
fn fields(dice: &mut Dice, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + dice.below(5) {
        let (mut from, mut to) = (0, bytes.len());
        // Go into fields that have a length, while they look as if they had fields too.
        for _ in 0..dice.below(9) {
            let all = parts(&bytes[from..to]);
            let with_length: Vec<_> = all.iter().filter(|p| p.2 > p.1).collect();
            if with_length.is_empty() {
                break;
            }
            let (_, begin, end) = **dice.one(&with_length);
            (from, to) = (from + begin, from + end);
        }
        let all = parts(&bytes[from..to]);
        if all.is_empty() {
            scramble(dice, &mut bytes);
            continue;
        }
        let (tag, begin, end) = *dice.one(&all);
        let (field, begin, end) = (from + tag, from + begin, from + end);
        match dice.below(5) {
            0 => drop(bytes.drain(field..end)),
            1 => {
                let again = bytes[field..end].to_vec();
                let times = 1 + dice.below(40);
                if again.len() * times < 1 << 18 {
                    bytes.splice(end..end, again.repeat(times));
                }
            }
            2 => bytes[begin.saturating_sub(1)] = dice.next() as u8,
            3 => bytes[field] = dice.next() as u8,
            _ => drop(bytes.drain(begin..end)),
        }
    }
    bytes
}

/// The fields of a message: where each begins, and where its content begins and ends.
fn parts(message: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut out = Vec::new();
    let mut rest = message;
    let at = |rest: &[u8]| message.len() - rest.len();
    while !rest.is_empty() {
        let field = at(rest);
        let Ok((tag, wire)) = prost::encoding::decode_key(&mut rest) else { break };
        if wire == prost::encoding::WireType::LengthDelimited {
            let Ok(length) = prost::encoding::decode_varint(&mut rest) else { break };
            let begin = at(rest);
            let Some((_, after)) = usize::try_from(length).ok().and_then(|l| rest.split_at_checked(l)) else { break };
            rest = after;
            out.push((field, begin, at(rest)));
        } else {
            let context = prost::encoding::DecodeContext::default();
            if prost::encoding::skip_field(wire, tag, &mut rest, context).is_err() {
                break;
            }
            out.push((field, at(rest), at(rest)));
        }
    }
    out
}

fn splice(dice: &mut Dice, a: &[u8], b: &[u8]) -> Vec<u8> {
    let (cut, begin) = (dice.below(a.len()), dice.below(b.len()));
    [&a[..cut], &b[begin..]].concat()
}

fn scramble(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    match dice.below(6) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.next() as u8,
        2 => bytes.truncate(at),
        3 => {
            let words: [&[u8]; 8] = [
                b"{\"resourceSpans\":[",
                b"\"\\ud800\"",
                b"[[[[[[[[",
                b"null",
                b"\xff\xff\xff\xff\x0f",
                b"\n",
                b"1e999",
                b"\0\0\0\x05",
            ];
            bytes.splice(at..at, dice.one(&words).iter().copied());
        }
        4 => {
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = dice.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
}

/// Sometimes in gzip, zstd or records, and sometimes broken once more.
fn wrap(dice: &mut Dice, bytes: Vec<u8>) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = match dice.below(12) {
        0 => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&bytes).unwrap();
            packed.finish().unwrap()
        }
        1 => zstd::encode_all(&bytes[..], 1).unwrap(),
        2 => {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&length[..], &bytes, &length, &bytes].concat()
        }
        3 => {
            let mut out = Vec::new();
            prost::encoding::encode_varint(bytes.len() as u64, &mut out);
            [out, bytes].concat()
        }
        _ => return bytes,
    };
    if dice.below(3) == 0 {
        scramble(dice, &mut out);
    }
    out
}
