//! Random expressions over random flows: the library and the slow evaluator say
//! the same, and so does the filter that is read again from its own text.

use ctnl::field::Subject;
use ctnl::filter::Verdict;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::flows::{self, PORTS};
use super::parse;
use super::slow::{Ask, Ast};

fn ask() -> impl Strategy<Value = Ask> {
    let port = || (select(&PORTS[..]), select(&PORTS[..])).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let net = || {
        (any::<bool>(), any::<u8>()).prop_flat_map(|(v6, length)| {
            let longest = if v6 { 129 } else { 33 };
            (flows::address(v6), Just(length % longest))
        })
    };
    let fields = vec!["src", "dst", "addr", "reply-src", "reply-dst", "any-addr", "nat-src", "nat-dst", "nat-addr"];
    let ports = vec!["sport", "dport", "port", "reply-sport", "reply-dport", "any-port", "gre-key"];
    let numbers = vec!["timeout", "age", "idle", "packets", "bytes", "orig-packets", "id", "use", "mark", "icmp-type"];
    let limits = vec![0u64, 1, 2, 7, 8, 29, 30, 31, 60, 128, 300, 3600, 43_200, 100_000];
    prop_oneof![
        select(vec!["ipv4", "ipv6", "tcp", "udp", "unreplied", "assured"]).prop_map(Ask::Word),
        vec(select(vec![1u8, 6, 17, 33, 47, 50, 58, 253]), 1..4).prop_map(Ask::Proto),
        (select(fields), vec(net(), 1..4)).prop_map(|(field, nets)| Ask::Address(field, nets)),
        (select(ports), vec(port(), 1..4)).prop_map(|(field, ranges)| Ask::Port(field, ranges)),
        vec(select(vec!["established", "Time_Wait", "CLOSED", "none", "close", "open"]), 1..3).prop_map(Ask::State),
        vec(select(vec!["unreplied", "expected", "seen-reply", "assured", "dying", "31"]), 1..3).prop_map(Ask::Status),
        select(vec!["src", "dst", "any", "none"]).prop_map(Ask::Nat),
        (select(vec![0u32, 1, 0x10, 0x1f, u32::MAX]), select(vec![0u32, 1, 0xf0, 0xff, u32::MAX]))
            .prop_map(|(value, mask)| Ask::Mark(value & mask, mask)),
        select(vec!["any", "none", "voip", "0", "127", "9"]).prop_map(Ask::Label),
        select(vec!["any", "none", "ftp", "\"any\"", "x"]).prop_map(Ask::Helper),
        select(vec![0u16, 5, 7, 8]).prop_map(Ask::Zone),
        (select(numbers), select(vec!["<", "<=", ">", ">=", "=", "!="]), select(limits))
            .prop_filter("icmp-type ends at 255", |(field, _, limit)| *field != "icmp-type" || *limit < 256)
            .prop_map(|(field, op, limit)| Ask::Compare(field, op, limit)),
    ]
}

fn ast() -> impl Strategy<Value = Ast> {
    ask().prop_map(Ast::Term).prop_recursive(4, 24, 4, |part| {
        prop_oneof![
            vec(part.clone(), 1..4).prop_map(Ast::And),
            vec(part.clone(), 1..4).prop_map(Ast::Or),
            part.prop_map(|part| Ast::Not(Box::new(part))),
        ]
    })
}

fn decided(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Match => Some(true),
        Verdict::NoMatch => Some(false),
        Verdict::Undecided(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_evaluator_agrees_with_a_slow_one(ast in ast(), flows in vec(flows::flow(), 1..12)) {
        let text = ast.text();
        let filter = parse(&text).unwrap_or_else(|error| panic!("{}", error.render()));
        let again = parse(&filter.to_string()).unwrap_or_else(|error| panic!("{}", error.render()));
        prop_assert_eq!(again.to_string(), filter.to_string());
        let (everything, never) = (filter.matches_everything(), filter.never_matches());
        let ages = flows::ages();
        for flow in &flows {
            let subject = Subject::new(flow, &ages);
            let expected = ast.holds(flow, &ages);
            let verdict = filter.matches(&subject);
            prop_assert_eq!(decided(verdict), expected, "{}\n{:?}", text, flow);
            prop_assert_eq!(again.matches(&subject), verdict, "{}", filter);
            prop_assert!(!everything || expected != Some(false), "not everything: {}", text);
            prop_assert!(!never || expected != Some(true), "not never: {}", text);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.render().lines().count() >= 3);
        }
    }

    #[test]
    fn no_row_of_words_makes_the_parser_panic(words in vec(select(vec![
        "tcp", "and", "or", "not", "!", "(", ")", "{", "}", ",", "=", "!=", "<", ">=", "src", "dport", "idle", "@nets",
        "10.0.0.1", "80-", "-80", "1h", "\"", "\"a b\"", "&&", "|", "\t", "é", "mark", "1/2", "label", "any", "::/0",
    ]), 0..12)) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(filter) => prop_assert_eq!(parse(&filter.to_string()).unwrap().to_string(), filter.to_string()),
            Err(error) => prop_assert!(error.span.end <= text.len() && error.render().contains('^')),
        }
    }
}
