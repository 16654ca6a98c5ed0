//! Tests of both formats: what is written is read again, and what is damaged is refused.

use proptest::prelude::*;

use super::*;
use crate::model::{
    Counters, DccpInfo, Family, Flow, HelperName, L4, Labels, ProtoInfo, Protocol, SctpInfo, SequenceAdjustment,
    Status, Synproxy, TcpInfo, TcpState, Tuple,
};
use crate::units::Nanos;
use crate::wire::{MessageClass, Messages};

const TRAFFIC: &[u8] = include_bytes!("../../tests/data/traffic.bin");
const CREATED: &[u8] = include_bytes!("../../tests/data/created.bin");
/// Written by hand: also entries that no kernel has.
const CRAFTED: &[u8] = include_bytes!("../../tests/data/crafted.bin");

/// The recorded entries, without what a save file does not have.
fn recorded() -> Vec<Flow> {
    flows_in(&[TRAFFIC, CREATED, CRAFTED])
}

fn flows_in(dumps: &[&[u8]]) -> Vec<Flow> {
    let messages = dumps.iter().flat_map(|dump| Messages::new(dump).map(Result::unwrap));
    let data = messages.filter(|message| matches!(message.classify(), Ok(MessageClass::Data)));
    data.map(|message| kept(&Flow::decode(&message).unwrap())).collect()
}

fn kept(flow: &Flow) -> Flow {
    let unknown = Flow::blank().unknown;
    Flow { use_count: None, stop: None, event_time: None, unknown, ..flow.clone() }
}

fn head() -> Head {
    Head {
        time: Nanos(1_700_000_000_000_000_000),
        kernel: "6.18.44".into(),
        host: "router".into(),
        program: "ctnl".into(),
        filter: "tcp".into(),
        max: Some(262_144),
        entries: Some(3),
    }
}

fn written(flows: &[Flow]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = BinaryWriter::begin(&mut out, &head());
    for (number, flow) in (1..).zip(flows) {
        writer.entry(&mut out, flow, Nanos(number));
    }
    assert_eq!(writer.end(&mut out).entries, flows.len() as u64);
    out
}

fn read(file: &[u8]) -> Result<Vec<Flow>, SnapshotError> {
    let (mut reader, mut flows, mut flow) = (SaveReader::new(file)?, Vec::new(), Flow::blank());
    while reader.next_entry(&mut flow)? {
        flows.push(flow.clone());
    }
    assert!(!reader.next_entry(&mut flow)?);
    Ok(flows)
}

#[test]
fn the_recorded_entries_are_read_as_they_were_written() {
    let flows = recorded();
    assert!(flows.len() > 100);
    // More than one block.
    let many: Vec<Flow> = flows.iter().cycle().take(2000).cloned().collect();
    let file = written(&many);
    assert!(file.len() > 64 * 1024 && file.len() < many.len() * 120, "{}", file.len());
    assert_eq!(read(&file).unwrap(), many);
}

#[test]
fn the_head_and_the_times_of_the_blocks_are_kept() {
    let file = written(&recorded());
    let mut reader = SaveReader::new(&file[..]).unwrap();
    assert_eq!((reader.head(), reader.format(), reader.time()), (Some(&head()), SaveFormat::Binary, Some(head().time)));
    assert!(reader.next_entry(&mut Flow::blank()).unwrap());
    assert_eq!(reader.time(), Some(Nanos(1)));
    while reader.next_entry(&mut Flow::blank()).unwrap() {}
    assert!(reader.totals().zones.len() > 2);
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_refused() {
    let flows: Vec<Flow> = recorded().into_iter().take(20).collect();
    let file = written(&flows);
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "{end} of {}", file.len());
    }
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let flows: Vec<Flow> = recorded().into_iter().take(8).collect();
    let file = written(&flows);
    for at in 0..file.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            assert!(read(&damaged).is_err(), "{at} of {}", file.len());
        }
    }
}

#[test]
fn blocks_that_are_missing_repeated_or_of_another_file_are_refused() {
    let flows: Vec<Flow> = recorded().into_iter().cycle().take(2000).collect();
    let (file, mut changed) = (written(&flows), flows.clone());
    changed[0].mark = Some(77);
    let frames = |file: &[u8]| -> Vec<Vec<u8>> {
        let (mut frames, mut rest) = (vec![file[..10].to_vec()], &file[10..]);
        while !rest.is_empty() {
            let length = 13 + u32::from_le_bytes(rest[5..9].try_into().unwrap()) as usize;
            frames.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
        frames
    };
    let (own, other) = (frames(&file), frames(&written(&changed)));
    assert!(own.len() > 5);
    let without = [&own[..2], &own[3..]].concat().concat();
    let twice = [&own[..3], &own[2..]].concat().concat();
    let foreign = [&own[..2], &other[2..3], &own[3..]].concat().concat();
    let longer = [&file[..], &[0]].concat();
    for damaged in [without, twice, foreign, longer] {
        assert!(matches!(read(&damaged), Err(SnapshotError::Corrupt { .. })));
    }
    assert_eq!(own.concat(), file);
}

#[test]
fn other_files_and_other_versions_are_named() {
    let mut newer = written(&[]);
    newer[8] = 2;
    assert!(matches!(read(&newer), Err(SnapshotError::UnknownVersion(2))));
    assert!(matches!(read(b""), Err(SnapshotError::Empty)));
    assert!(matches!(read(b"tcp 6 10 src=1"), Err(SnapshotError::UnknownFormat)));
    assert!(matches!(read(b"\x89PNG\r\n\x1a\n"), Err(SnapshotError::UnknownFormat)));
    assert_eq!(read(&written(&[])).unwrap(), []);
}

#[test]
fn a_line_has_the_nat_that_is_the_difference_of_its_tuples() {
    let nat = |line: &str| read(line.as_bytes()).unwrap()[0].status & (Status::SrcNat | Status::DstNat);
    let line = |addresses, sport, dport| {
        format!(
            "-A -t 9 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 {addresses} -p tcp --sport 1 --dport 80 \
             --reply-port-src {sport} --reply-port-dst {dport} --state ESTABLISHED\n"
        )
    };
    assert_eq!(nat(&line("-r 10.0.0.2 -q 10.0.0.1", 80, 1)), Status::empty());
    assert_eq!(nat(&line("-r 10.0.0.2 -n 192.0.2.1", 80, 1)), Status::SrcNat);
    assert_eq!(nat(&line("-g 10.0.0.9 -q 10.0.0.1", 80, 1)), Status::DstNat);
    assert_eq!(nat(&line("-r 10.0.0.2 -q 10.0.0.1", 8080, 1)), Status::DstNat);
    assert_eq!(nat(&line("-r 10.0.0.2 -q 10.0.0.1", 80, 61_000)), Status::SrcNat);
}

#[test]
fn what_is_wrong_with_a_line_is_named_with_its_number() {
    let good = "-A -t 9 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p 50\n";
    assert_eq!(read(good.as_bytes()).unwrap().len(), 1);
    assert_eq!(read(format!("\n{good}\n{good}").as_bytes()).unwrap().len(), 2);
    for (bad, expected) in [
        ("-D -s 10.0.0.1", "line 2: expected -A"),
        ("-A -s", "line 2: option '-s' has no value"),
        ("-A -s 10.0.0", "line 2: invalid value '10.0.0' of '-s'"),
        ("-A --fnord 5", "line 2: unknown option '--fnord'"),
        ("-A -s 10.0.0.1 -d 10.0.0.2", "line 2: -p is missing"),
        ("-A -s 10.0.0.1 -d ::1 -p 50", "line 2: addresses of both IPv4 and IPv6"),
        ("-A -s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1", "line 2: ports, keys, or the ICMP type"),
        ("-A -s 10.0.0.1 -d 10.0.0.2 -p 50 -u FNORD", "line 2: invalid value 'FNORD' of '-u'"),
        ("-A -s 10.0.0.1 -d 10.0.0.2 -p 50 --state NONE", "line 2: invalid value 'NONE' of '--state'"),
    ] {
        let error = read(format!("{good}{bad}\n").as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let long = format!("{good}-A {}\n", "x".repeat(5000));
    assert!(read(long.as_bytes()).unwrap_err().to_string().contains("line 2: the line is too long"));
}

#[test]
fn lines_that_are_cut_within_a_line_are_refused() {
    let file = "-A -t 9 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p 50\n";
    for end in 0..file.len() {
        assert!(read(&file.as_bytes()[..end]).is_err(), "{end}");
    }
}

fn flow_of(numbers: &[u64; 8], set: u32, text: &str) -> Flow {
    let [a, b, c, d, e, f, g, h] = *numbers;
    let has = |bit: u32| set >> bit & 1 == 1;
    let tuple = |n: u64, kind: u64, is_v6: bool| Tuple {
        src: if is_v6 {
            std::net::Ipv6Addr::from(u128::from(n) << 64 | u128::from(h)).into()
        } else {
            (n as u32).to_be_bytes().into()
        },
        dst: if is_v6 { std::net::Ipv6Addr::from(u128::from(n)).into() } else { (g as u32).to_be_bytes().into() },
        protocol: Protocol::from(kind as u8),
        l4: match kind % 3 {
            0 => L4::None,
            1 => L4::Ports { src: n as u16, dst: (n >> 16) as u16 },
            _ => L4::Icmp { kind: n as u8, code: (n >> 8) as u8, id: (n >> 16) as u16 },
        },
        zone: n.is_multiple_of(5).then_some(n as u16),
        has_unknown_part: n.is_multiple_of(7),
    };
    let orig = tuple(a, b, has(0));
    let reply = if has(1) { orig.inverse() } else { tuple(c, d, has(2)) };
    let number = |bit, n: u64| has(bit).then_some(n as u32);
    let counters = |bit, n| has(bit).then_some(Counters { packets: n, bytes: n >> 7 });
    let adjustment =
        |bit, n: u64| has(bit).then_some(SequenceAdjustment { position: n as u32, before: 1, after: (n >> 32) as u32 });
    let byte = |bit: u32| (e >> bit & 1 == 1).then_some((e >> 8) as u8);
    let protoinfo = match f % 5 {
        0 => ProtoInfo::None,
        1 => ProtoInfo::Tcp(TcpInfo {
            state: TcpState::from((f >> 8) as u8),
            wscale_orig: byte(0),
            wscale_reply: byte(1),
            flags_orig: byte(2),
            flags_reply: byte(3),
        }),
        2 => ProtoInfo::Sctp(SctpInfo {
            state: ((f >> 8) as u8).into(),
            vtag_orig: number(3, e),
            vtag_reply: number(4, g),
        }),
        3 => ProtoInfo::Dccp(DccpInfo {
            state: ((f >> 8) as u8).into(),
            role: byte(1),
            handshake_seq: has(5).then_some(e),
        }),
        _ => ProtoInfo::Unknown(f as u16),
    };
    Flow {
        family: if has(6) { Family::from(h as u8) } else { orig.family() },
        status: Status::from_bits_retain(e as u32),
        timeout: number(7, c),
        mark: number(8, d),
        zone_both: has(9).then_some(e as u16),
        id: number(10, f),
        counters_orig: counters(11, g),
        counters_reply: counters(12, h),
        start: has(13).then_some(a),
        protoinfo,
        helper: has(14).then(|| HelperName::new(text.as_bytes())),
        labels: has(15).then(|| Labels::from_bits(u128::from(a) << 64 | u128::from(b))),
        master: has(16).then(|| tuple(h, g, has(17))),
        seq_adj_orig: adjustment(18, a),
        seq_adj_reply: adjustment(19, b),
        synproxy: has(20).then_some(Synproxy { isn: a as u32, its: b as u32, tsoff: c as u32 }),
        secctx: has(21).then(|| text.into()),
        ..Flow::new(orig, reply)
    }
}

proptest! {
    #[test]
    fn any_entry_is_read_as_it_was_written(numbers: Vec<([u64; 8], u32)>, text: String) {
        let flows: Vec<Flow> = numbers.iter().map(|(numbers, set)| flow_of(numbers, *set, &text)).collect();
        prop_assert_eq!(read(&written(&flows)).unwrap(), flows);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, at: usize, change: u8) {
        let _ = read(&bytes);
        let _ = read(&[b"-A ", &bytes[..]].concat());
        let mut file = written(&recorded()[..4]);
        let at = at % file.len();
        file[at] ^= change;
        prop_assert_eq!(read(&file).is_err(), change != 0);
    }

    /// With checksums that are right, so that the decoder of entries is reached.
    #[test]
    fn no_entry_makes_the_decoder_panic(body: Vec<u8>) {
        let _ = super::entry_decode::decode(&mut super::bytes::Bytes(&body), &mut Flow::blank());
        let _ = (Head::decode(&body), End::decode(&body));
    }
}
