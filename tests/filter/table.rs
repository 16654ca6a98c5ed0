//! Expressions and flags one by one, from `tests/data/expressions.txt`.

use ctnl::field::{FIELDS, keywords};
use ctnl::filter::{Context, Filter, FilterBuilder, ParseError, flags};

use super::{context, parse};

const TABLE: &str = include_str!("../data/expressions.txt");

/// Lines `KIND ⟶ TEXT ⟶ EXPECTED…`, cut at tabs.
fn rows(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| line.split(" -> ").map(str::trim).collect::<Vec<_>>()).filter(move |row| row[0] == kind)
}

fn flag(name: &str, value: &str) -> Result<Filter, ParseError> {
    let context = context();
    FilterBuilder::new(&context).flag(name, value)?.build()
}

#[test]
fn the_normal_form_of_an_expression_is_parsed_as_the_same_filter() {
    let mut count = 0;
    for row in rows("ok") {
        let filter = parse(row[1]).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(filter.to_string(), row[2], "{}", row[1]);
        assert_eq!(parse(row[2]).unwrap().to_string(), row[2]);
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn an_invalid_expression_is_refused_with_a_caret_under_the_error() {
    let mut count = 0;
    for row in rows("bad") {
        let text = row[1].replace("<TAB>", "\t");
        let Err(error) = parse(&text) else { panic!("understood: {text}") };
        check(&error, &row, &text);
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn a_flag_has_the_syntax_of_what_follows_its_field() {
    assert!(rows("flag").count() >= 10);
    for row in rows("flag") {
        let (name, value) = row[1].split_once(' ').unwrap();
        let filter = flag(name, value).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(filter.to_string(), row[2], "{}", row[1]);
    }
}

#[test]
fn a_wrong_flag_value_is_refused_with_a_caret_and_the_name_of_the_flag() {
    assert!(rows("badflag").count() > 5);
    for row in rows("badflag") {
        let (name, value) = row[1].split_once(' ').unwrap();
        let Err(error) = flag(name, value) else { panic!("understood: {}", row[1]) };
        check(&error, &row, row[1]);
        assert!(error.render().contains(&format!("\n  --{name} {value}\n")), "{}", error.render());
    }
}

/// The fault is the text between the third column's quotation marks: `^TEXT^`, and
/// the message contains the fourth.
fn check(error: &ParseError, row: &[&str], text: &str) {
    let fault = &error.text[error.span.start..error.span.end];
    let (column, part) = row[2].split_once(':').unwrap();
    assert_eq!(fault, part, "{text}: {}", error.render());
    assert_eq!(error.column().to_string(), column, "{text}: {}", error.render());
    assert!(error.render().contains(row[3]), "{text}: {}", error.render());
    let caret = error.render().lines().find(|line| line.trim_start().starts_with('^')).map(str::to_owned);
    assert!(caret.is_some(), "{}", error.render());
}

#[test]
fn every_example_of_the_registry_is_valid() {
    for field in FIELDS {
        let filter = parse(field.example).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(filter.fields()[0].name, field.name);
        assert!(!filter.matches_everything() && !filter.never_matches(), "{}", field.example);
    }
    for keyword in keywords() {
        assert_eq!(parse(keyword.name).unwrap().fields()[0].id, keyword.field);
    }
}

#[test]
fn every_flag_has_a_name_of_its_own_and_a_doc() {
    let mut names: Vec<&str> = flags().map(|flag| flag.name).collect();
    assert!(flags().all(|flag| !flag.doc.is_empty() && !flag.value_name.is_empty()));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(flag("no-such-flag", "1").is_err());
}

#[test]
fn flags_and_expression_are_one_filter() {
    let context = context();
    let builder = FilterBuilder::new(&context).expression("udp or tcp").unwrap();
    let filter = builder.flag("dport", "80,443").unwrap().flag("older", "12h").unwrap().build().unwrap();
    assert_eq!(filter.to_string(), "proto {udp, tcp} and dport {80, 443} and idle >= 12h");
    assert!(filter.needs().idle && !filter.needs().age);
    let empty = FilterBuilder::new(&context).expression("  ").unwrap().build().unwrap();
    assert!(empty.is_empty() && empty.matches_everything() && empty.to_string().is_empty());
}

#[test]
fn an_error_in_a_file_names_its_line() {
    let error = parse("tcp and src @bad").unwrap_err();
    assert_eq!(
        error.render().lines().take(3).collect::<Vec<_>>(),
        ["invalid address '10.0.0.300'", "  bad:2: 10.0.0.2 10.0.0.300", "                  ^^^^^^^^^^"]
    );
}

#[test]
fn a_value_that_is_not_utf8_is_refused_with_its_line_and_a_comment_is_not() {
    let error = parse("src @not-utf8").unwrap_err();
    let rendered = error.render();
    assert_eq!(
        rendered.lines().take(3).collect::<Vec<_>>(),
        ["invalid value: not UTF-8", "  not-utf8:2: 10.0.0.2 10.0.0.\u{fffd} # no", "                       ^^^^^^^^"]
    );
    assert!(parse("src @utf16").unwrap_err().render().contains("iconv"));
}

#[test]
fn a_file_without_values_matches_nothing_and_is_reported() {
    let empty = parse("tcp and src @empty").unwrap();
    assert!(empty.never_matches() && !empty.negates_empty_file());
    assert_eq!(empty.empty_files(), ["empty"]);
    for text in
        ["src @empty", "dport @empty", "mark @empty", "state @empty", "label @empty", "helper @empty", "status @empty"]
    {
        let filter = parse(text).unwrap();
        assert!(filter.never_matches() && filter.empty_files() == ["empty"], "{text}");
        assert_eq!(filter.dump_request(), ctnl::table::DumpRequest::default(), "{text}");
    }
    let some = parse("src {@empty, 10.0.0.1}").unwrap();
    assert!(!some.never_matches() && some.empty_files() == ["empty"]);
    assert!(parse("src @nets").unwrap().empty_files().is_empty());
}

/// Everything would match where the list of what to spare has lost its contents.
#[test]
fn the_negation_of_a_file_without_values_is_recognised() {
    for text in
        ["not src @empty", "tcp and src != @empty", "not (tcp and src @empty)", "tcp and not src {@empty, @empty}"]
    {
        assert!(parse(text).unwrap().negates_empty_file(), "{text}");
    }
    for text in [
        "src @empty",
        "not not src @empty",
        "not src {@empty, 10.0.0.1}",
        "not src @nets",
        "not src @empty or src @empty",
    ] {
        let expected = text.ends_with("or src @empty");
        assert_eq!(parse(text).unwrap().negates_empty_file(), expected, "{text}");
    }
}

#[test]
fn a_flag_restricts_the_filter_to_the_protocol_of_a_state_and_an_alternative_does_not() {
    let context = context();
    let builder = || FilterBuilder::new(&context).expression("state open").unwrap();
    assert!(builder().flag("proto", "dccp").unwrap().build().is_ok());
    assert!(builder().flag("proto", "tcp").unwrap().build().is_err());
    let error = builder().build().unwrap_err();
    assert_eq!(&error.text[error.span.start..error.span.end], "open");
    let error = parse("state @states").unwrap_err();
    assert!(error.render().contains("states:2: open"), "{}", error.render());
}

#[test]
fn deeply_nested_parentheses_do_not_overflow_the_stack() {
    for text in ["(".repeat(500_000), "not ".repeat(200_000), "!".repeat(500_000), "(tcp and ".repeat(50_000)] {
        assert!(parse(&text).unwrap_err().message.contains("levels"));
    }
    assert!(parse(&format!("{}tcp{}", "(".repeat(63), ")".repeat(63))).is_ok());
    assert!(parse(&"x".repeat(2 << 20)).unwrap_err().message.contains("longer"));
}

#[test]
fn a_long_chain_of_alternatives_becomes_one_lookup() {
    let text = (0..20_000).map(|i| format!("src 10.{}.{}.1", i / 256, i % 256)).collect::<Vec<_>>().join(" or ");
    assert_eq!(parse(&text).unwrap().to_string().matches("src").count(), 1);
    let text = (0..9_000).map(|i| format!("not dport {i}")).collect::<Vec<_>>().join(" and ");
    assert!(!parse(&text).unwrap().never_matches());
}

#[test]
fn a_long_set_is_shortened_in_the_alternate_form() {
    let filter = parse("src @many").unwrap();
    assert_eq!(filter.to_string().matches("/25").count(), 2780);
    let short = format!("{filter:#}");
    assert!(short.ends_with(", … 2774 more}") && short.len() < 150, "{short}");
}

#[test]
fn a_service_with_several_ports_cannot_be_compared_with_less_or_greater() {
    let services = ctnl::filter::ServiceNames::parse("one 7/tcp\none 7/udp\nmany 10/tcp\nmany 20/udp\n");
    let context = Context { services: &services, ..Context::default() };
    let parse = |text| Filter::parse(text, &context);
    assert!(parse("dport many").is_ok() && parse("dport >= one").is_ok());
    assert!(parse("dport >= many").is_err());
}
