//! Screens as text, of several sizes.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::keys::{HELP, Key};
use super::super::look::Look;
use super::super::made_up::{frame, frame_of_all};
use super::super::model::Frame;
use super::super::order::SortOrder;
use super::super::screen::{Action, Overlay, Screen, Source};
use super::super::view::View;
use super::draw;

const ASCII: Look = Look { has_colour: false, is_utf8: false };

fn screen() -> Screen {
    let source = Source::Kernel("netns blue".to_owned());
    let mut screen = Screen::new(source, View::Source, SortOrder::default(), "tcp".to_owned(), 2000);
    screen.show(Frame { at: frame().at - 10_000, entries: 180_000, ..frame() });
    screen.show(frame());
    screen
}

fn drawn(screen: &mut Screen, look: Look, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(screen, look, &TimeZone::UTC, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(width.into()).map(|row| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned() + "\n"
}

fn press(screen: &mut Screen, keys: &str) {
    keys.chars().for_each(|c| drop(screen.press(Key::Char(c))));
}

#[track_caller]
fn assert_screen(shown: &str, expected: &str) {
    assert!(shown == expected, "shown:\n{shown}\nexpected:\n{expected}");
}

#[test]
fn a_screen_of_24_lines_has_figures_curve_filter_rows_and_keys() {
    assert_screen(&drawn(&mut screen(), ASCII, 80, 24), include_str!("screens/80x24.txt"));
}

#[test]
fn a_screen_of_all_namespaces_names_the_fullest_one_and_those_that_were_not_read() {
    let mut shown = screen();
    (shown.source, shown.has_netns, shown.view) = (Source::Kernel(String::new()), true, View::Netns);
    let mut of_all = Frame { at: frame().at + 10_000, ..frame_of_all() };
    let netns = of_all.netns.as_mut().unwrap();
    netns.missing.push("green: the same".to_owned());
    netns.more_missing = 2;
    netns.no_events.push("pid:4711(nginx): ENOBUFS".to_owned());
    shown.show(of_all);
    assert_screen(&drawn(&mut shown, ASCII, 80, 24), include_str!("screens/netns.txt"));
    press(&mut shown, "k");
    assert_screen(&drawn(&mut shown, ASCII, 80, 16), include_str!("screens/kill.txt"));
}

#[test]
fn the_end_of_a_recording_is_shown_until_the_end() {
    let mut shown = screen();
    shown.is_recorded = true;
    let title = |text: String| text.lines().next().unwrap().to_owned();
    assert!(title(drawn(&mut shown, ASCII, 80, 24)).starts_with("ctnl top  recording  netns blue"));
    shown.not_recorded = Some("write 'x': No space left on device".to_owned());
    press(&mut shown, "p");
    shown.show(Frame { at: frame().at + 10_000, ..frame() });
    for (width, height) in [(80, 24), (40, 10)] {
        let text = drawn(&mut shown, ASCII, width, height);
        assert!(text.lines().any(|line| line.starts_with("NOT RECORDING: write 'x': No space left")), "{text}");
        assert!(title(text).starts_with("ctnl top  NOT RECORDING"));
    }
    // Where the table is covered, too.
    press(&mut shown, "?");
    assert!(title(drawn(&mut shown, ASCII, 40, 10)).contains("NOT RECORDING"));
}

#[test]
fn a_small_screen_leaves_out_columns_and_the_curve() {
    assert_screen(&drawn(&mut screen(), ASCII, 40, 10), include_str!("screens/40x10.txt"));
}

#[test]
fn a_large_screen_has_all_columns_and_utf_8_has_bars() {
    let look = Look { has_colour: true, is_utf8: true };
    assert_screen(&drawn(&mut screen(), look, 200, 60), include_str!("screens/200x60.txt"));
}

#[test]
fn the_help_the_fields_of_a_flow_and_the_dialog_of_a_delete_cover_the_table() {
    let mut shown = screen();
    press(&mut shown, "?");
    assert_screen(&drawn(&mut shown, ASCII, 80, 24), include_str!("screens/help.txt"));
    let mut shown = screen();
    press(&mut shown, "f");
    shown.press(Key::Enter);
    assert_screen(&drawn(&mut shown, ASCII, 80, 16), include_str!("screens/detail.txt"));
    let mut without = frame();
    without.sections[1].rows.clear();
    shown.show(without);
    let text = drawn(&mut shown, ASCII, 80, 16);
    let lines: Vec<&str> = text.lines().skip(5).take(3).collect();
    assert!(lines[0].starts_with("tcp 10.0.0.1:4711 -> 192.0.2.1:443"), "{text}");
    assert_eq!(lines[1], "not in this frame: it ended, or is not among the first; as it was:");
    assert!(lines[2].starts_with("source NAT"), "{text}");
}

#[test]
fn an_error_in_a_filter_is_shown_above_it_with_a_caret() {
    let mut shown = screen();
    press(&mut shown, "/ and dprot 53");
    shown.refuse_filter(
        "unknown field 'dprot'\n  tcp and dprot 53\n          ^^^^^\n  hint: did you mean dport?".to_owned(),
    );
    assert_screen(&drawn(&mut shown, ASCII, 80, 16), include_str!("screens/filter.txt"));
}

#[test]
fn without_colour_and_utf_8_a_screen_has_neither() {
    let mut shown = screen();
    for row in &mut shown.frame.as_mut().unwrap().sections[0].rows {
        row.text = "häß".to_owned();
    }
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(&mut shown, ASCII, &TimeZone::UTC, frame)).unwrap();
    let cells = &terminal.backend().buffer().content;
    let is_plain = |color| color == ratatui::style::Color::Reset;
    assert!(cells.iter().all(|cell| cell.symbol().is_ascii() && is_plain(cell.fg) && is_plain(cell.bg)));
}

/// Keys that change what is shown, one after the other, on screens of sizes that change.
#[derive(Debug, Clone)]
enum Step {
    Press(Key),
    Show(bool),
    Draw(u16, u16),
}

fn step() -> impl Strategy<Value = Step> {
    let special = [
        Key::Enter,
        Key::Escape,
        Key::Tab,
        Key::Backspace,
        Key::Up,
        Key::Down,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Left,
        Key::Right,
    ];
    let sizes = (prop_oneof![1..=3u16, 1..=300u16, 60..=80u16], prop_oneof![1..=3u16, 1..=100u16, 8..=16u16]);
    prop_oneof![
        proptest::char::range(' ', '~').prop_map(|c| Step::Press(Key::Char(c))),
        proptest::sample::select("?/kKsdptoznNlSDf ä".chars().collect::<Vec<_>>())
            .prop_map(|c| Step::Press(Key::Char(c))),
        proptest::sample::select(special.to_vec()).prop_map(Step::Press),
        any::<bool>().prop_map(Step::Show),
        sizes.clone().prop_map(|(width, height)| Step::Draw(width, height)),
        sizes.prop_map(|(width, height)| Step::Draw(width, height)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_at_any_size_whatever_is_shown(
        steps in proptest::collection::vec(step(), 1..30),
        is_recording in any::<bool>(),
        is_utf8 in any::<bool>(),
    ) {
        let mut shown = screen();
        if is_recording {
            shown.source = Source::Recording("night.top 3/7".to_owned());
        }
        let look = Look { has_colour: true, is_utf8 };
        for step in steps {
            match step {
                Step::Press(key) => match shown.press(key) {
                    Some(Action::Parse(text)) if text.contains('x') => shown.refuse_filter(format!("no\n{text}\n^")),
                    Some(Action::Parse(text)) => shown.set_filter(text),
                    _ => {}
                },
                Step::Show(has_rows) => {
                    let mut next = Frame { is_resized: has_rows, max: has_rows.then_some(7), ..frame() };
                    if !has_rows {
                        next.sections.clear();
                    }
                    shown.waits = has_rows.then_some(7);
                    shown.show(next);
                }
                Step::Draw(width, height) => drop(drawn(&mut shown, look, width, height)),
            }
        }
    }
}

#[test]
fn every_small_size_is_drawn_with_everything_that_covers_the_table() {
    for keys in ["", "?", "/tcp", "k", "K", "f", "f\r", "z"] {
        let mut shown = screen();
        for c in keys.chars() {
            shown.press(if c == '\r' { Key::Enter } else { Key::Char(c) });
        }
        for width in 1..=24 {
            for height in 1..=12 {
                drawn(&mut shown, ASCII, width, height);
            }
        }
        drawn(&mut shown, ASCII, 300, 100);
    }
}

#[test]
fn on_a_small_screen_the_help_is_scrolled_and_each_key_is_shown_whole() {
    let mut shown = screen();
    press(&mut shown, "?");
    // The first line of each place that it is scrolled to, and at the end all that is left.
    let (mut lines, mut before): (Vec<String>, _) = (Vec::new(), String::new());
    loop {
        let text = drawn(&mut shown, ASCII, 40, 10);
        assert_eq!(text.lines().last(), Some("Esc: back  Up Down: scroll"), "{text}");
        if text == before {
            lines.extend(text.lines().skip(3).take(6).map(str::to_owned));
            break;
        }
        lines.extend(text.lines().nth(2).map(str::to_owned));
        before = text;
        shown.press(Key::Down);
    }
    let all = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    for (key, text) in HELP {
        assert!(all.contains(&format!("{key} {text}")), "{key} {text}: {lines:#?}");
    }
    for view in View::ALL {
        assert!(all.contains(&format!("{} {}", view.key(), view.head().to_lowercase())), "{view:?}: {lines:#?}");
    }
    // One line up from the end moves at once.
    let end = drawn(&mut shown, ASCII, 40, 10);
    shown.press(Key::Up);
    assert_ne!(drawn(&mut shown, ASCII, 40, 10), end);
    press(&mut shown, "q");
    assert_eq!(shown.overlay, Overlay::None);
}

#[test]
fn a_small_screen_says_that_it_is_paused_and_shows_only_whole_keys() {
    let mut shown = screen();
    press(&mut shown, " ");
    let text = drawn(&mut shown, ASCII, 40, 10);
    assert!(text.starts_with("ctnl top  PAUSED  02:00:00  netns blue"), "{text}");
    assert_eq!(text.lines().last(), Some("? help  q quit  / filter  40 more"));
    press(&mut shown, "k");
    let text = drawn(&mut shown, ASCII, 40, 10);
    assert!(text.contains("filter    (tcp) and src 10.0.0.1") && text.contains("no maximum"), "{text}");
    assert_eq!(text.lines().last(), Some("Enter: preview  Esc: leave  Tab: soft"));
}

#[test]
fn a_view_that_has_to_wait_for_a_dump_says_for_how_long_and_why() {
    let mut shown = screen();
    press(&mut shown, "p");
    assert!(drawn(&mut shown, ASCII, 80, 24).contains("reading the table"));
    shown.waits = Some(3);
    let text = drawn(&mut shown, ASCII, 80, 24);
    assert!(text.contains("the next dump begins in 3 s, since one takes 0.1 s"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("next dump in 3 s  ? help"), "{text}");
}
