//! How much there is in a text before it is read. Three bytes of JSON (`{},`) and two of Protobuf can be an object, which takes up to 400 bytes
//! in memory: a limit on bytes alone does not bound that.

/// So many objects are read of one text. Those of a real trace take 20 bytes and more each.
pub const MAX_OBJECTS: usize = 1 << 20;

/// Whether a JSON text has more than [`MAX_OBJECTS`] objects. Braces in strings count, too.
pub fn json(text: &[u8]) -> bool {
    text.iter().filter(|b| **b == b'{').count() > MAX_OBJECTS
}

/// Whether an OTLP request or `TracesData` in Protobuf has more than [`MAX_OBJECTS`] messages; `wrapped` if it is the first field of a message around it.
/// What is malformed is for the decoder to say.
pub fn protobuf(bytes: &[u8], wrapped: bool) -> bool {
    let mut left = MAX_OBJECTS;
    walk(bytes, if wrapped { Message::Wrapper } else { Message::Request }, 0, &mut left);
    left == 0
}

#[derive(Clone, Copy)]
enum Message {
    Wrapper,
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Value,
    List,
    Pairs,
    /// Without messages inside.
    Leaf,
}

impl Message {
    /// What a field of it is, if that is a message or one of many texts.
    fn field(self, number: u64) -> Option<Message> {
        use Message::*;
        Some(match (self, number) {
            (Wrapper, 1) => Request,
            (Request, 1) => ResourceSpans,
            (ResourceSpans, 1) => Resource,
            (ResourceSpans, 2) => ScopeSpans,
            (Resource, 1) | (Scope, 3) | (Span, 9) | (Event, 3) | (Link, 4) | (Pairs, 1) => Pair,
            (Resource, 3) => Leaf,
            (ScopeSpans, 1) => Scope,
            (ScopeSpans, 2) => Span,
            (Span, 11) => Event,
            (Span, 13) => Link,
            (Span, 15) => Leaf,
            (Pair, 2) | (List, 1) => Value,
            (Value, 5) => List,
            (Value, 6) => Pairs,
            // The texts of an entity reference.
            (Leaf, _) => Leaf,
            _ => return None,
        })
    }
}

/// Levels that the decoder takes.
const DEPTH: u32 = 100;

fn walk(mut rest: &[u8], message: Message, depth: u32, left: &mut usize) {
    while !rest.is_empty() && *left > 0 {
        let Some(tag) = varint(&mut rest) else { return };
        let length = match tag & 7 {
            0 => {
                if varint(&mut rest).is_none() {
                    return;
                }
                continue;
            }
            1 => 8,
            5 => 4,
            2 => match varint(&mut rest).and_then(|n| usize::try_from(n).ok()) {
                Some(n) => n,
                None => return,
            },
            // The begin and end of a group: what is in it counts as if it stood here, which is not too little.
            _ => continue,
        };
        let Some((value, after)) = rest.split_at_checked(length) else { return };
        rest = after;
        if tag & 7 == 2
            && depth < DEPTH
            && let Some(inner) = message.field(tag >> 3)
        {
            *left -= 1;
            if !matches!(message, Message::Leaf) {
                walk(value, inner, depth + 1, left);
            }
        }
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::analyze::samples;
    use crate::formats::otlp;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(value.len() as u64, &mut out);
        out.extend(value);
        out
    }

    #[test]
    fn a_real_trace_is_far_below() {
        let bytes = otlp::request([&samples::cold(12)]).encode_to_vec();
        let mut left = MAX_OBJECTS;
        walk(&bytes, Message::Request, 0, &mut left);
        let (used, bytes) = (MAX_OBJECTS - left, bytes.len());
        assert!((100..bytes / 10).contains(&used), "{used} objects in {bytes} bytes");
    }

    #[test]
    fn many_small_messages_are_seen_wherever_they_are() {
        let many = |number: u8| [number << 3 | 2, 0].repeat(MAX_OBJECTS + 1);
        let in_span = |inner: Vec<u8>| field(1, &field(2, &field(2, &inner)));
        let value = |inner: Vec<u8>| in_span(field(9, &field(2, &inner)));
        for bytes in [
            many(1),
            field(1, &many(2)),
            field(1, &field(2, &many(2))),
            field(1, &field(1, &many(1))),
            field(1, &field(1, &field(3, &many(3)))),
            in_span(many(9)),
            in_span(many(11)),
            in_span(many(13)),
            value(field(5, &many(1))),
            value(field(6, &many(1))),
        ] {
            assert!(protobuf(&bytes, false));
            assert!(protobuf(&field(1, &bytes), true));
            assert!(!protobuf(&bytes[..bytes.len() / 4], false));
        }
        assert!(json("{},".repeat(MAX_OBJECTS + 1).as_bytes()) && !json("{},".repeat(MAX_OBJECTS).as_bytes()));
    }
}
