use super::*;
use crate::analyze::samples;
use std::collections::HashMap;

#[derive(Clone, PartialEq, prost::Message)]
struct Whole {
    #[prost(message, repeated, tag = "1")]
    packets: Vec<Packet>,
}

#[test]
fn slices_of_a_track_nest_and_flows_have_two_ends_in_order() {
    let mut cold = samples::cold(6);
    for (i, span) in cold.spans.iter_mut().enumerate().skip(1) {
        span.end += i as u64 % 7;
    }
    let bytes = render(&[cold.clone(), samples::warm()]);
    let whole = <Whole as prost::Message>::decode(&bytes[..]).unwrap();
    assert_eq!(whole.packets[0].sequence_flags, Some(number::STATE_CLEARED));
    let mut known: HashMap<u64, TrackDescriptor> = HashMap::new();
    let mut open: HashMap<u64, Vec<(String, u64)>> = HashMap::new();
    let (mut slices, mut flows, mut counters, mut last) = (Vec::new(), HashMap::new(), 0, 0);
    for packet in whole.packets {
        if let Some(track) = packet.track_descriptor {
            assert!(track.parent.is_none_or(|p| known.contains_key(&p)));
            known.insert(track.uuid.unwrap(), track);
        }
        let Some(event) = packet.track_event else { continue };
        let (time, track) = (packet.timestamp.unwrap(), event.track.unwrap());
        assert!(time >= last && known.contains_key(&track));
        last = time;
        match event.kind.unwrap() {
            number::BEGIN => open.entry(track).or_default().push((event.name.unwrap(), time)),
            number::END => {
                let (name, begin) = open.get_mut(&track).unwrap().pop().unwrap();
                slices.push((name, begin, time));
            }
            number::COUNTER => counters += usize::from(known[&track].counter.is_some()),
            _ => {}
        }
        for flow in event.flows {
            assert!(flows.insert(flow, 1).is_none());
        }
        for flow in event.flows_end {
            assert_eq!(flows.insert(flow, 2), Some(1), "an end comes after its begin");
        }
    }
    assert!(open.values().all(Vec::is_empty) && counters > 0 && !flows.is_empty());
    assert!(flows.values().all(|ends| *ends == 2));
    let warm = samples::warm();
    let mut expected: Vec<_> =
        cold.spans.iter().chain(&warm.spans).map(|s| (s.name.to_string(), s.start, s.end)).collect();
    expected.sort();
    slices.sort();
    assert_eq!(slices, expected);
}
