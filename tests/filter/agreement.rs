//! Random expressions over random flows: the library and the slow evaluator say
//! the same, and so does the filter that is read again from its own text.

use ctnl::field::Subject;
use ctnl::filter::Verdict;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::parse;
use ctnl_test_support::expressions::{Pools, asks};
use ctnl_test_support::flows::{self, PORTS};
use ctnl_test_support::reference::{Ask, Ast};

pub fn expressions() -> impl Strategy<Value = Ast> {
    ctnl_test_support::expressions::expressions(asks_of_pools())
}

/// A strategy for the terms of each field, with values that the flows have and others.
pub fn asks_of_pools() -> Vec<BoxedStrategy<Ask>> {
    let limits = |field: &str| {
        let limits = [0u64, 1, 2, 7, 8, 29, 30, 31, 60, 128, 300, 3600, 43_200, 100_000];
        let largest = match field {
            "icmp-type" | "icmp-code" => 255,
            "icmp-id" | "orig-zone" | "reply-zone" => 65_535,
            _ => u64::MAX,
        };
        limits.into_iter().filter(|limit| *limit <= largest).collect()
    };
    let addresses = flows::V4.iter().chain(&flows::V6).map(|text| text.parse().unwrap()).collect();
    asks(&Pools {
        addresses,
        ports: PORTS.to_vec(),
        protocols: vec![1, 6, 17, 33, 47, 50, 58, 253],
        zones: vec![0, 5, 7, 8],
        marks: vec![0, 1, 0x10, 0x1f, u32::MAX],
        label: "voip",
        limits: Box::new(limits),
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
    fn the_evaluator_agrees_with_a_slow_one(ast in expressions(), flows in vec(flows::flow(), 1..12)) {
        let text = ast.text();
        let filter = parse(&text).unwrap_or_else(|error| panic!("{}", error.render()));
        let again = parse(&filter.to_string()).unwrap_or_else(|error| panic!("{}", error.render()));
        prop_assert_eq!(again.to_string(), filter.to_string());
        let never = filter.never_matches();
        let ages = flows::ages();
        for flow in &flows {
            let subject = Subject::new(flow, &ages);
            let expected = ast.holds(flow, &ages);
            let verdict = filter.matches(&subject);
            prop_assert_eq!(decided(verdict), expected, "{}\n{:?}", text, flow);
            prop_assert_eq!(again.matches(&subject), verdict, "{}", filter);
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
    fn no_sequence_of_words_makes_the_parser_panic(words in vec(select(vec![
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
