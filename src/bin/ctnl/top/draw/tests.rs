//! Screens as text, of several sizes.

use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::keys::Key;
use super::super::look::Look;
use super::super::made_up::{frame, frame_of_all};
use super::super::model::Frame;
use super::super::order::SortOrder;
use super::super::screen::{Screen, Source};
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
    shown.show(Frame { at: frame().at + 10_000, ..frame_of_all() });
    assert_screen(&drawn(&mut shown, ASCII, 80, 24), include_str!("screens/netns.txt"));
    press(&mut shown, "k");
    assert_screen(&drawn(&mut shown, ASCII, 80, 16), include_str!("screens/kill.txt"));
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

/// No size makes it fail, whatever covers the table.
#[test]
fn every_size_is_drawn() {
    for keys in ["", "?", "/tcp", "k", "f", "z"] {
        let mut shown = screen();
        press(&mut shown, keys);
        for width in [1, 2, 19, 20, 40, 69, 70, 76, 300] {
            for height in [1, 2, 3, 5, 8, 15, 24, 100] {
                drawn(&mut shown, ASCII, width, height);
            }
        }
    }
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
