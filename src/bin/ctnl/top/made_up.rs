//! A made-up frame, for tests.

use super::model::{Figures, Frame, IdleTime, Rate, Row, Section};
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
    }
}

fn sources() -> Section {
    let row = |address: &str, figures| Row {
        text: address.to_owned(),
        term: Some(format!("src {address}")),
        figures,
        fields: Vec::new(),
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
    };
    Section { view: View::Flows, rows: vec![row], groups: 150_000, beyond: 0 }
}
