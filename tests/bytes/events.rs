//! Recorded events, whole and damaged.

use ctnl::model::{Event, EventKind, Family, Flow, L4, ProtoInfo, TcpState};
use ctnl::wire::Messages;
use proptest::prelude::*;

const RECORDED: &[u8] = include_bytes!("../data/events-6.18.bin");

/// Every event in `bytes`, and how many messages could not be read as one.
fn read(bytes: &[u8]) -> (Vec<Event>, usize) {
    // What was read before must not shine through.
    let (mut event, mut events, mut failed) = (Event::blank(), Vec::new(), 0);
    for message in Messages::new(bytes) {
        let Ok(message) = message else {
            failed += 1;
            continue;
        };
        match EventKind::of(&message).map(|kind| event.decode_from(kind, &message)) {
            Some(Ok(())) => events.push(event.clone()),
            _ => failed += 1,
        }
    }
    (events, failed)
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn kinds_marks_and_times_are_as_they_were_recorded() {
    let (events, failed) = read(RECORDED);
    assert_eq!(failed, 0);
    let told: Vec<(&str, Option<u32>)> = events.iter().map(|event| (event.kind.name(), event.flow.mark)).collect();
    let expected = [
        ("new", 0),
        ("update", 7),
        // Sent, because it changed.
        ("update", 0),
        ("update", 9),
        ("destroy", 9),
        ("new", 5),
        ("destroy", 5),
        // Not sent, because it never was another.
        ("new", 0),
        ("destroy", 0),
    ];
    assert_eq!(told, expected.map(|(kind, mark)| (kind, Some(mark))));
    for event in &events {
        let flow = &event.flow;
        assert!(event.port != 0, "made over netlink");
        assert!(flow.id.is_some() && flow.event_time.is_some() && flow.unknown.count() == 0);
        let is_over = event.kind == EventKind::Destroy;
        assert_eq!((flow.stop.is_some(), flow.start.is_some()), (is_over, is_over), "{flow:?}");
        assert_eq!((flow.counters_orig.is_some(), flow.use_count), (is_over, None));
    }
    let state = |event: &Event| match event.flow.protoinfo {
        ProtoInfo::Tcp(info) => Some(info.state),
        _ => None,
    };
    assert_eq!(state(&events[0]), Some(TcpState::Established));
    assert_eq!(events.iter().filter_map(state).collect::<Vec<_>>(), [TcpState::Established; 5]);
    assert_eq!(events[7].flow.orig.l4, L4::Icmp { kind: 8, code: 0, id: 77 });
    assert_eq!((events[8].flow.zone().orig(), events[4].flow.zone().orig()), (5, 0));
    assert_eq!((events[0].flow.family, events[5].flow.family), (Family::V4, Family::V6));
}

#[test]
fn a_message_of_something_else_is_no_event() {
    for (kind, flags, event) in [
        (0x100, 0x600, Some(EventKind::New)),
        (0x100, 0x400, Some(EventKind::New)),
        (0x100, 0, Some(EventKind::Update)),
        (0x102, 0, Some(EventKind::Destroy)),
        (0x101, 0, None),
        (0x200, 0x600, None),
        (0x202, 0, None),
        (0x002, 0, None),
        (0x003, 0, None),
    ] {
        let mut bytes = [0_u8; 20];
        bytes[..4].copy_from_slice(&20_u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&u16::to_ne_bytes(kind));
        bytes[6..8].copy_from_slice(&u16::to_ne_bytes(flags));
        let message = Messages::new(&bytes).next().unwrap().unwrap();
        assert_eq!(EventKind::of(&message), event, "{kind:#x} {flags:#x}");
    }
}

proptest! {
    #[test]
    fn a_damaged_event_is_an_error_or_an_event(at in 0..RECORDED.len(), value: u8, cut in 0..RECORDED.len()) {
        let mut bytes = RECORDED.to_vec();
        bytes[at] = value;
        bytes.truncate(cut);
        let (events, _) = read(&bytes);
        prop_assert!(events.len() <= 9);
        for message in Messages::new(&bytes).flatten() {
            if let Some(kind) = EventKind::of(&message) {
                prop_assert_eq!(Event::blank().decode_from(kind, &message).is_ok(), Flow::decode(&message).is_ok());
            }
        }
    }
}
