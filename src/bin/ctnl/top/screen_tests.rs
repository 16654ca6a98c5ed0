//! What keys do.

use super::keys::Key;
use std::sync::Arc;

use super::made_up::{frame, frame_of_all};
use super::model::{Frame, FrameNetns, NetnsFigures, Row};
use super::order::{Column, SortOrder};
use super::screen::{Action, Detail, Kill, Overlay, Screen, Source};
use super::view::View;

fn screen() -> Screen {
    let source = Source::Kernel(String::new());
    let mut screen = Screen::new(source, View::Source, SortOrder::default(), "tcp".to_owned(), 2000);
    screen.set_height(10);
    screen.show(frame());
    screen
}

fn press(screen: &mut Screen, keys: &str) -> Option<Action> {
    keys.chars().map(|c| screen.press(Key::Char(c))).last().flatten()
}

fn selected(screen: &Screen) -> &str {
    &screen.rows()[screen.selected].text
}

fn detail(screen: &Screen) -> &Detail {
    match &screen.overlay {
        Overlay::Detail(detail) => detail,
        other => panic!("{other:?}"),
    }
}

/// A frame of these flows: port, state, and the number of the namespace.
fn flows(flows: &[(u16, &str, u32)]) -> Frame {
    let mut frame = frame_of_all();
    let section = frame.sections.iter_mut().find(|section| section.view == View::Flows).unwrap();
    let first = section.rows.pop().unwrap();
    section.rows.extend(flows.iter().map(|(port, state, id)| {
        let field = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        Row {
            text: format!("ns{id}: tcp 10.0.0.1:{port} {state}"),
            term: Some(format!("sport {port} and id {port}")),
            fields: vec![field("proto", "tcp"), field("sport", &port.to_string()), field("state", state)],
            netns: Some(Arc::new(FrameNetns { id: *id, name: format!("ns{id}"), ..FrameNetns::default() })),
            ..first.clone()
        }
    }));
    frame
}

fn state_of(row: &Row) -> &str {
    &row.fields.iter().find(|(name, _)| name == "state").unwrap().1
}

#[test]
fn the_fields_of_a_flow_stay_those_of_this_flow_and_a_delete_there_is_of_no_other() {
    let mut screen = screen_of_all();
    press(&mut screen, "f");
    screen.show(flows(&[(1, "SYN_SENT", 1), (2, "SYN_SENT", 1)]));
    screen.press(Key::Enter);
    assert_eq!((detail(&screen).is_gone, state_of(&detail(&screen).row)), (false, "SYN_SENT"));
    // It is another one of the rows now, and its state, which is in its text, is another one.
    screen.show(flows(&[(1, "SYN_SENT", 2), (2, "SYN_SENT", 1), (1, "ESTABLISHED", 1)]));
    let Detail { row, is_gone, .. } = detail(&screen).clone();
    assert_eq!((state_of(&row), is_gone), ("ESTABLISHED", false));
    assert_eq!(row.netns.as_ref().map(|netns| netns.id), Some(1));
    // The same flow of another namespace is another one.
    screen.show(flows(&[(1, "SYN_SENT", 2), (2, "SYN_SENT", 1)]));
    let gone = detail(&screen);
    assert_eq!((&gone.row, gone.is_gone), (&row, true));
    press(&mut screen, "k");
    assert_eq!(kill_netns(&screen), Some(("(tcp) and sport 1 and id 1", "ns1")));
    assert!(matches!(&screen.overlay, Overlay::Kill(Kill { entries: 0, .. })), "the frame has none");
}

#[test]
fn where_the_selected_row_is_gone_none_is_selected_until_an_arrow_selects_one() {
    let mut screen = screen_of_all();
    press(&mut screen, "f");
    screen.show(flows(&[(1, "SYN_SENT", 1), (2, "SYN_SENT", 1), (3, "SYN_SENT", 1)]));
    screen.press(Key::Down);
    // It is followed with another state and at another place.
    screen.show(flows(&[(2, "ESTABLISHED", 1), (1, "SYN_SENT", 1), (3, "SYN_SENT", 1)]));
    assert_eq!(screen.selected_row().map(|row| &*row.text), Some("ns1: tcp 10.0.0.1:2 ESTABLISHED"));
    screen.show(flows(&[(1, "SYN_SENT", 1), (3, "SYN_SENT", 1), (2, "SYN_SENT", 2)]));
    assert_eq!(screen.selected_row(), None);
    for key in [Key::Char('k'), Key::Enter] {
        assert_eq!((screen.press(key), &screen.overlay), (None, &Overlay::None));
        assert_eq!(screen.message.as_deref(), Some("not in this frame: ns1: tcp 10.0.0.1:2 SYN_SENT"));
    }
    screen.press(Key::Down);
    press(&mut screen, "k");
    assert_eq!(kill_netns(&screen), Some(("(tcp) and sport 3 and id 3", "ns1")));
}

#[test]
fn a_namespace_stays_selected_with_another_name_and_in_a_recording_by_its_name() {
    let mut screen = screen_of_all();
    screen.press(Key::Down);
    let mut renamed = frame_of_all();
    let row = renamed.sections.last_mut().unwrap().rows.last_mut().unwrap();
    (row.text, row.netns) =
        ("web".to_owned(), Some(Arc::new(FrameNetns { id: 7, name: "web".to_owned(), ..FrameNetns::default() })));
    let named = |name: &str| Row {
        text: name.to_owned(),
        netns: Some(Arc::new(FrameNetns { name: name.to_owned(), ..FrameNetns::default() })),
        ..Row::default()
    };
    screen.show(renamed);
    assert_eq!(screen.selected_row().map(|row| &*row.text), Some("web"));
    assert!(named("blue").is_same(&named("blue")) && !named("blue").is_same(&named("red")));
}

#[test]
fn letters_switch_the_view_and_digits_and_signs_the_order() {
    let mut screen = screen();
    assert_eq!((press(&mut screen, "p"), screen.view), (Some(Action::Sample), View::Port));
    assert_eq!((press(&mut screen, "s>"), screen.view), (Some(Action::Sample), View::Source));
    assert_eq!(screen.order, SortOrder::of(Column::Evictable));
    press(&mut screen, "7r");
    assert_eq!(screen.order, SortOrder { column: Column::Idle, descending: false });
    assert_eq!(selected(&screen), "10.0.0.1", "the smallest first");
    press(&mut screen, "1");
    assert_eq!(selected(&screen), "10.0.0.1");
    assert_eq!(screen.rows()[1].text, "192.0.2.1");
}

#[test]
fn the_selected_group_stays_selected_when_the_rows_change_and_the_first_row_stays_the_first() {
    let mut screen = screen();
    screen.press(Key::Down);
    assert_eq!(selected(&screen), "2001:db8::7");
    let mut other = frame();
    other.sections[0].rows[1].figures.entries = 500_000;
    screen.show(other.clone());
    assert_eq!((selected(&screen), screen.selected), ("2001:db8::7", 0));
    screen.press(Key::Home);
    screen.show(frame());
    assert_eq!((selected(&screen), screen.selected), ("10.0.0.1", 0));
    screen.press(Key::End);
    other.sections[0].rows.clear();
    screen.show(other);
    assert_eq!((screen.selected, screen.rows().len()), (0, 0));
}

#[test]
fn a_pause_keeps_the_frame_and_its_end_shows_the_newest() {
    let mut screen = screen();
    press(&mut screen, " ");
    screen.show(Frame { entries: 7, ..frame() });
    assert_eq!(screen.frame.as_ref().map(|frame| frame.entries), Some(200_000));
    press(&mut screen, " ");
    assert_eq!(screen.frame.as_ref().map(|frame| frame.entries), Some(7));
    // Another view has no frame yet: its first one is shown.
    press(&mut screen, " z");
    let mut zones = frame();
    zones.sections[0].view = View::Zone;
    screen.show(frame());
    assert!(screen.rows().is_empty());
    screen.show(Frame { entries: 8, ..zones.clone() });
    screen.show(Frame { entries: 9, ..zones });
    assert_eq!((screen.frame.as_ref().map(|frame| frame.entries), screen.rows().len()), (Some(8), 3));
}

#[test]
fn a_filter_is_edited_parsed_and_refused_with_the_text_kept() {
    let mut screen = screen();
    press(&mut screen, "/ and dprot 5q");
    assert_eq!(screen.press(Key::Enter), Some(Action::Parse("tcp and dprot 5q".to_owned())));
    screen.refuse_filter("unknown field".to_owned());
    let Overlay::Filter(line) = &screen.overlay else { panic!("{:?}", screen.overlay) };
    assert_eq!((line.text(), line.error.as_deref()), ("tcp and dprot 5q", Some("unknown field")));
    assert_eq!(screen.press(Key::Escape), None);
    assert_eq!((&screen.overlay, &*screen.filter), (&Overlay::None, "tcp"));
    press(&mut screen, "/ and udp");
    screen.press(Key::Enter);
    screen.set_filter("udp".to_owned());
    assert_eq!((&screen.overlay, &*screen.filter), (&Overlay::None, "udp"));
}

#[test]
fn values_of_the_rows_are_completed() {
    let mut screen = screen();
    press(&mut screen, "/ and src 2001");
    screen.press(Key::Tab);
    let Overlay::Filter(line) = &screen.overlay else { panic!("{:?}", screen.overlay) };
    assert_eq!(line.text(), "tcp and src 2001:db8::7 ");
}

#[test]
fn enter_shows_the_flows_of_a_group_and_esc_goes_back() {
    let mut screen = screen();
    let parsed = screen.press(Key::Enter);
    assert_eq!((parsed, screen.view), (Some(Action::Parse("(tcp) and src 10.0.0.1".to_owned())), View::Flows));
    screen.set_filter("tcp and src 10.0.0.1".to_owned());
    assert_eq!(screen.press(Key::Enter), None);
    assert_eq!(detail(&screen).first, 0);
    screen.press(Key::Down);
    assert_eq!(detail(&screen).first, 1);
    screen.press(Key::Escape);
    assert_eq!((screen.press(Key::Escape), screen.view), (Some(Action::Parse("tcp".to_owned())), View::Source));
    assert_eq!(screen.press(Key::Escape), None);
}

#[test]
fn a_delete_is_of_the_selected_group_within_the_filter_or_of_the_filter_and_needs_two_keys() {
    let mut screen = screen();
    screen.press(Key::Down);
    press(&mut screen, "k05s0");
    let kill = Kill {
        filter: "(tcp) and src 2001:db8::7".to_owned(),
        entries: 3000,
        is_soft: true,
        max: "50".to_owned(),
        netns: None,
    };
    assert_eq!(screen.overlay, Overlay::Kill(kill.clone()));
    // A frame that comes meanwhile changes nothing of it.
    let mut other = frame();
    other.sections[0].rows.reverse();
    screen.show(other);
    assert_eq!(screen.press(Key::Enter), Some(Action::Kill(kill)));
    assert_eq!(screen.overlay, Overlay::None);
    press(&mut screen, "K");
    assert!(matches!(&screen.overlay, Overlay::Kill(Kill { filter, entries: 150_000, .. }) if filter == "tcp"));
    assert_eq!((screen.press(Key::Escape), &screen.overlay), (None, &Overlay::None));
}

#[test]
fn what_no_filter_selects_and_the_whole_table_are_not_deleted() {
    let mut screen = screen();
    let mut unnamed = frame();
    unnamed.sections[0].rows[0].term = None;
    screen.show(unnamed);
    press(&mut screen, "k");
    assert_eq!((&screen.overlay, screen.message.is_some()), (&Overlay::None, true));
    screen.set_filter(String::new());
    press(&mut screen, "K");
    assert_eq!((&screen.overlay, screen.message.is_some()), (&Overlay::None, true));
}

#[test]
fn control_keys_work_everywhere_and_q_is_a_letter_in_a_filter() {
    let mut screen = screen();
    assert_eq!(press(&mut screen, "/q"), None);
    assert_eq!(screen.press(Key::Ctrl('z')), Some(Action::Suspend));
    assert!(matches!(&screen.overlay, Overlay::Filter(line) if line.text() == "tcpq"), "state is kept");
    assert_eq!(screen.press(Key::Ctrl('l')), Some(Action::Redraw));
    assert_eq!(screen.press(Key::Ctrl('c')), Some(Action::Quit));
    screen.press(Key::Escape);
    assert_eq!(press(&mut screen, "?q"), None, "the first key leaves the help");
    assert_eq!(press(&mut screen, "q"), Some(Action::Quit));
}

/// Two namespaces; the frame has the rows of the view of sources, flows and namespaces.
fn screen_of_all() -> Screen {
    let mut screen = screen();
    (screen.has_netns, screen.view) = (true, View::Netns);
    screen.show(frame_of_all());
    screen
}

/// The frame of one of them.
fn only(netns: &Arc<FrameNetns>) -> Frame {
    let netns = NetnsFigures { only: Some(Arc::clone(netns)), ..NetnsFigures::default() };
    Frame { netns: Some(netns), ..frame_of_all() }
}

fn kill_netns(screen: &Screen) -> Option<(&str, &str)> {
    match &screen.overlay {
        Overlay::Kill(kill) => Some((&kill.filter, &kill.netns.as_ref()?.name)),
        _ => None,
    }
}

#[test]
fn enter_narrows_to_a_namespace_and_shows_nothing_of_the_others_until_esc_goes_back() {
    let mut screen = screen_of_all();
    screen.press(Key::Down);
    assert_eq!((screen.press(Key::Enter), screen.view), (Some(Action::Sample), View::Flows));
    let netns = screen.netns.clone().unwrap();
    assert_eq!(&*netns.name, "pid:4711(nginx)");
    // A frame of all that comes late.
    screen.show(frame_of_all());
    assert_eq!(screen.rows().len(), 0);
    screen.show(only(&netns));
    assert_eq!(screen.rows().len(), 1);
    press(&mut screen, "s");
    assert_eq!((screen.view, screen.rows().len()), (View::Source, 3));
    assert_eq!((screen.press(Key::Escape), screen.view), (Some(Action::Parse("tcp".to_owned())), View::Netns));
    assert_eq!((&screen.netns, screen.rows().len()), (&None, 0));
    screen.show(frame_of_all());
    assert_eq!(screen.rows().len(), 2);
    // Also after a filter was typed, which leaves what was before it.
    screen.press(Key::Enter);
    press(&mut screen, "/");
    screen.press(Key::Enter);
    screen.set_filter("tcp".to_owned());
    assert!(screen.netns.is_some());
    assert_eq!((screen.press(Key::Escape), &screen.netns), (Some(Action::Sample), &None));
}

#[test]
fn a_delete_is_of_the_namespace_of_the_row_or_of_the_only_one_and_never_of_all() {
    let mut screen = screen_of_all();
    screen.press(Key::Down);
    press(&mut screen, "k");
    assert_eq!(kill_netns(&screen), Some(("tcp", "pid:4711(nginx)")));
    screen.press(Key::Escape);
    press(&mut screen, "f");
    press(&mut screen, "k");
    assert!(kill_netns(&screen).is_some_and(|(filter, netns)| filter.contains("and id 7") && netns == "blue"));
    screen.press(Key::Escape);
    // A source of all namespaces, and all that match the filter in them.
    for keys in ["sk", "K"] {
        press(&mut screen, keys);
        assert!(screen.message.as_ref().is_some_and(|text| text.contains("one network namespace at a time")));
        assert_eq!(screen.overlay, Overlay::None);
    }
    press(&mut screen, "e");
    screen.press(Key::Enter);
    let netns = screen.netns.clone().unwrap();
    // As long as only the frame of all is there, nothing can be deleted.
    press(&mut screen, "sK");
    assert_eq!((&screen.overlay, screen.message.is_some()), (&Overlay::None, true));
    screen.show(only(&netns));
    press(&mut screen, "k");
    assert_eq!(kill_netns(&screen), Some(("(tcp) and src 10.0.0.1", "blue")));
    screen.press(Key::Escape);
    press(&mut screen, "K");
    assert_eq!(kill_netns(&screen), Some(("tcp", "blue")));
}

#[test]
fn without_a_filter_a_namespace_is_not_deleted_as_a_whole() {
    let mut screen = screen_of_all();
    screen.set_filter(String::new());
    press(&mut screen, "k");
    assert!(screen.message.as_ref().is_some_and(|text| text.contains("the whole table")));
    assert_eq!(screen.overlay, Overlay::None);
}

#[test]
fn of_one_namespace_there_is_no_view_of_namespaces() {
    let mut screen = screen();
    assert_eq!((press(&mut screen, "e"), screen.view), (None, View::Source));
    assert!(screen.message.as_ref().is_some_and(|text| text.contains("--all-netns")));
}
