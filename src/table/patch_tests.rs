//! What a patch refuses, and its steps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::kernel_filter::Masked;
use super::patch::{NotUpdatable, Patch, SctpPatch, TcpPatch};
use super::target::NotDeletable;
use crate::model::{Flow, HelperName, L4, Labels, ProtoInfo, SctpState, Status, TcpInfo, TcpState, Tuple, tcp_flag};

fn flow(protocol: u8) -> Flow {
    let orig = Tuple {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        protocol: protocol.into(),
        l4: L4::Ports { src: 1, dst: 2 },
        ..Tuple::UNSPECIFIED
    };
    Flow { id: Some(1), mark: Some(0x11), timeout: Some(100), ..Flow::new(orig, orig.inverse()) }
}

fn everything() -> Patch {
    Patch {
        timeout: Some(5),
        mark: Some(Masked { value: 1, mask: 1 }),
        add_status: Status::Assured,
        tcp: TcpPatch {
            state: Some(TcpState::Close),
            flags_orig: Some((tcp_flag::BE_LIBERAL, 0xff)),
            flags_reply: None,
        },
        sctp: None,
        add_labels: Labels::from_numbers([1]),
        remove_labels: Labels::from_numbers([2]),
        remove_helper: true,
    }
}

#[test]
fn what_the_kernel_would_ignore_or_overwrite_is_refused_by_its_reason() {
    let state = Patch { tcp: TcpPatch { state: Some(TcpState::Close), ..TcpPatch::default() }, ..Patch::default() };
    let refusal = |patch: Patch, flow: Flow| patch.target_of(&flow).unwrap_err();
    let with = |status| Flow { status, ..flow(6) };
    assert_eq!(refusal(Patch::timeout(5), with(Status::FixedTimeout)), NotUpdatable::FixedTimeout);
    assert_eq!(refusal(Patch::timeout(5), with(Status::Offload)), NotUpdatable::Offloaded);
    assert_eq!(refusal(state, with(Status::Offload)), NotUpdatable::Offloaded);
    assert_eq!(refusal(state, flow(17)), NotUpdatable::NotTcp);
    let sctp = |state| Patch { sctp: Some(SctpPatch { state, vtag_orig: 1, vtag_reply: 2 }), ..Patch::default() };
    assert_eq!(refusal(sctp(SctpState::Closed), flow(6)), NotUpdatable::NotSctp);
    assert_eq!(refusal(sctp(SctpState::Unknown(99)), flow(132)), NotUpdatable::UnknownState);
    assert!(sctp(SctpState::Closed).target_of(&flow(132)).is_ok());
    let unknown = TcpPatch { state: Some(TcpState::Unknown(10)), ..TcpPatch::default() };
    assert_eq!(refusal(Patch { tcp: unknown, ..Patch::default() }, flow(6)), NotUpdatable::UnknownState);
    let nat = Patch { add_status: Status::SrcNat, ..Patch::default() };
    assert_eq!(refusal(nat, flow(6)), NotUpdatable::Status);
    assert_eq!(refusal(everything(), Flow { mark: None, ..flow(6) }), NotUpdatable::NoMarks);
    assert_eq!(refusal(everything(), Flow { master: Some(flow(6).orig), ..flow(6) }), NotUpdatable::ExpectedFlow);
    let no_id = Flow { id: None, ..flow(6) };
    assert_eq!(refusal(everything(), no_id), NotUpdatable::NoTarget(NotDeletable::NoId));
    assert!(everything().target_of(&flow(6)).is_ok());
}

#[test]
fn a_step_has_at_most_one_part_that_can_be_refused_and_all_steps_are_the_patch() {
    let steps = everything().steps();
    let refusable = |step: &Patch| {
        [
            step.timeout.is_some(),
            !step.add_status.is_empty(),
            step.remove_helper,
            !(step.add_labels.is_empty() && step.remove_labels.is_empty()),
        ]
        .iter()
        .filter(|part| **part)
        .count()
    };
    assert_eq!(steps.iter().map(refusable).collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert!(steps[3].mark.is_some() && steps[3].tcp == everything().tcp);
    // Labels are applied after the mark.
    let labels = Patch { timeout: None, add_status: Status::empty(), remove_helper: false, ..everything() };
    assert_eq!(labels.steps().len(), 2);
    assert_eq!(Patch { mark: everything().mark, ..Patch::default() }.steps().len(), 1);
    assert_eq!(Patch { mark: everything().mark, ..Patch::timeout(1) }.steps().len(), 1);
    assert_eq!(Patch::default().steps(), []);
}

#[test]
fn an_entry_that_is_as_the_patch_makes_it_meets_it() {
    let met = Flow {
        timeout: Some(5),
        status: Status::Assured | Status::Confirmed,
        labels: Some(Labels::from_numbers([1, 77])),
        protoinfo: ProtoInfo::Tcp(TcpInfo {
            state: TcpState::Close,
            flags_orig: Some(tcp_flag::BE_LIBERAL),
            ..TcpInfo::default()
        }),
        ..flow(6)
    };
    assert!(everything().is_met_by(&met));
    let unmet = [
        Flow { timeout: Some(6), ..met.clone() },
        Flow { timeout: None, ..met.clone() },
        Flow { mark: Some(0x10), ..met.clone() },
        Flow { status: Status::Confirmed, ..met.clone() },
        Flow { labels: Some(Labels::from_numbers([1, 2])), ..met.clone() },
        Flow { labels: None, ..met.clone() },
        Flow { protoinfo: ProtoInfo::None, ..met.clone() },
        Flow { helper: Some(HelperName::new(b"ftp")), ..met.clone() },
    ];
    for flow in unmet {
        assert!(!everything().is_met_by(&flow), "{flow:?}");
    }
    assert!(Patch::default().is_met_by(&met));
}
