//! A made-up frame, for tests.

use std::sync::Arc;

use super::model::{Figures, Frame, FrameNetns, IdleTime, NetnsFigures, Rate, Row, Section};
use super::view::View;

/// A busy host, by source and as flows.
pub fn frame() -> Frame {
    Frame {
        at: 1_795_917_600_000,
        interval: 2000,
        took: 120,
        filter: "tcp".to_owned(),
        entries: 200_000,
        max: Some(262_144),
        seen: 200_000,
        matched: 150_000,
        undecided: 3,
        evictable: 60_000,
        new: Rate::Known(1200.0),
        destroyed: Rate::AtLeast(90.0),
        drop: Rate::Known(0.0),
        early_drop: Rate::Unknown,
        is_resized: false,
        sections: vec![sources(), flows()],
        netns: None,
    }
}

/// The same host, of all of whose network namespaces two can be read.
pub fn frame_of_all() -> Frame {
    let netns = |id, name: &str| {
        Arc::new(FrameNetns { id, name: name.to_owned(), argument: Some(name.to_owned()), ..FrameNetns::default() })
    };
    let row = |netns: Arc<FrameNetns>, entries, evictable, new| Row {
        text: netns.name.clone(),
        figures: Figures { entries, evictable, new, idle: IdleTime::Between(2, 3), ..Figures::default() },
        netns: Some(netns),
        ..Row::default()
    };
    let rows = vec![
        row(netns(1, "blue"), 140_000, 50_000, Rate::Known(1100.0)),
        row(netns(7, "pid:4711(nginx)"), 10_000, 12, Rate::AtLeast(7.0)),
    ];
    let mut flows = flows();
    for row in &mut flows.rows {
        (row.text, row.netns) = (format!("blue: {}", row.text), Some(netns(1, "blue")));
    }
    Frame {
        max: Some(262_144),
        sections: vec![sources(), flows, Section { view: View::Netns, rows, groups: 2, beyond: 0 }],
        netns: Some(NetnsFigures {
            read: 2,
            missing: vec!["red: cannot enter network namespace /run/netns/red: EPERM".to_owned()],
            fullest: "blue".to_owned(),
            fullest_entries: 180_000,
            ..NetnsFigures::default()
        }),
        ..frame()
    }
}

fn sources() -> Section {
    let row = |address: &str, figures| Row {
        text: address.to_owned(),
        term: Some(format!("src {address}")),
        figures,
        ..Row::default()
    };
    let known = |new: f64, packets, bytes, idle| Figures {
        new: Rate::Known(new),
        packets: Rate::Known(packets),
        bytes: Rate::Known(bytes),
        idle,
        ..Figures::default()
    };
    let largest = known(1100.0, 9000.0, 2.5e6, IdleTime::Between(2, 3));
    let second = Figures { new: Rate::AtLeast(7.0), idle: IdleTime::AtLeast(5400), ..Figures::default() };
    let rows = vec![
        row("10.0.0.1", Figures { entries: 120_000, evictable: 50_000, ..largest }),
        row("2001:db8::7", Figures { entries: 3000, missing: 4, evictable: 12, ..second }),
        row("192.0.2.1", Figures { entries: 1, new: Rate::Unknown, ..known(0.0, 0.0, 0.0, IdleTime::Unknown) }),
    ];
    Section { view: View::Source, rows, groups: 43, beyond: 7 }
}

fn flows() -> Section {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let row = Row {
        text: "tcp 10.0.0.1:4711 -> 192.0.2.1:443 ESTABLISHED src=>203.0.113.7:4711".to_owned(),
        term: Some("proto 6 and src 10.0.0.1 and dst 192.0.2.1 and sport 4711 and dport 443 and id 7".to_owned()),
        figures: Figures { entries: 1, idle: IdleTime::Between(5, 6), ..Figures::default() },
        fields: vec![
            field("source NAT", "10.0.0.1:4711 -> 203.0.113.7:4711"),
            field("idle", "5 to 6 s"),
            field("proto", "tcp"),
            field("state", "ESTABLISHED"),
        ],
        netns: None,
    };
    Section { view: View::Flows, rows: vec![row], groups: 150_000, beyond: 0 }
}
