//! The state of the screen: what each key changes, without a terminal.

use std::sync::Arc;

use super::history::History;
use super::keys::Key;
use super::line::Line;
use super::model::{Frame, FrameNetns, Row};
use super::order::{Column, SortOrder};
use super::view::{View, narrowed};

/// Views that `Esc` can go back to.
const MOST_BACK: usize = 32;

/// Milliseconds.
const MINUTE: u64 = 60_000;

/// What covers the table.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The keys, from this line on.
    Help(usize),
    /// The filter is edited.
    Filter(Line),
    /// All fields of one flow.
    Detail(Box<Detail>),
    /// What is deleted is chosen.
    Kill(Kill),
}

/// The flow whose fields are shown. It stays this one, whatever the rows are meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// As it was in the last frame that had it.
    pub row: Row,
    /// The frame does not have it.
    pub is_gone: bool,
    /// The first field on the screen.
    pub first: usize,
}

/// The dialog before a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The filter of what is deleted.
    pub filter: String,
    /// Entries of the frame, as shown.
    pub entries: u64,
    /// Timeouts are lowered instead.
    pub is_soft: bool,
    /// The digits of the most entries; empty: no maximum.
    pub max: String,
    /// Of several network namespaces, the one that it is done in.
    pub netns: Option<Arc<FrameNetns>>,
}

/// What the caller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ends.
    Quit,
    /// Samples what the view and the order require.
    Sample,
    /// Parses a filter, and calls [`Screen::set_filter`] or [`Screen::refuse_filter`].
    Parse(String),
    /// Deletes, with preview and question.
    Kill(Kill),
    /// Stops the process, as Ctrl-Z does.
    Suspend,
    /// Draws everything anew.
    Redraw,
    /// Goes so many milliseconds back or on in a recording; one frame for 0.
    Seek {
        /// Towards the start.
        back: bool,
        /// How far; 0 is one frame.
        by: u64,
    },
}

/// Where the frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The kernel. The text names the namespace.
    Kernel(String),
    /// A recording.
    Recording(String),
}

/// The state.
#[derive(Debug, Clone)]
pub struct Screen {
    pub source: Source,
    pub view: View,
    pub order: SortOrder,
    pub overlay: Overlay,
    pub is_paused: bool,
    /// The filter in force.
    pub filter: String,
    /// Of several network namespaces, the only one that is shown.
    pub netns: Option<Arc<FrameNetns>>,
    /// Several network namespaces are sampled.
    pub has_netns: bool,
    /// A line about what was just done, or what went wrong.
    pub message: Option<String>,
    /// Frames are recorded.
    pub is_recorded: bool,
    /// Why recording ended, if it did.
    pub not_recorded: Option<String>,
    /// The frame that is shown.
    pub frame: Option<Frame>,
    pub history: History,
    /// Seconds until a dump may begin that a key requires, where it has to wait.
    pub waits: Option<u64>,
    /// Milliseconds between two frames that were asked for.
    pub interval: u64,
    /// Rows of the table that fit on the screen.
    pub height: usize,
    /// The first row on the screen.
    pub first: usize,
    /// The place of the selected row, or where it was: see [`Screen::selected_row`].
    pub selected: usize,
    /// It stays selected when the rows change. `None`: the first row, whichever that is.
    followed: Option<Row>,
    /// The frame does not have the row that is followed: none is selected.
    is_lost: bool,
    /// The newest frame, while an earlier one is shown.
    newest: Option<Frame>,
    /// The frame that is shown is of another view or filter: the next one is shown also where the screen is paused.
    is_outdated: bool,
    back: Vec<Earlier>,
}

/// What `Esc` goes back to.
#[derive(Debug, Clone)]
struct Earlier {
    view: View,
    filter: String,
    netns: Option<Arc<FrameNetns>>,
}

impl Screen {
    /// A screen without a frame.
    pub fn new(source: Source, view: View, order: SortOrder, filter: String, interval: u64) -> Self {
        Screen {
            source,
            view,
            order,
            overlay: Overlay::None,
            is_paused: false,
            filter,
            netns: None,
            has_netns: false,
            message: None,
            is_recorded: false,
            not_recorded: None,
            frame: None,
            history: History::default(),
            waits: None,
            interval,
            height: 1,
            first: 0,
            selected: 0,
            followed: None,
            is_lost: false,
            newest: None,
            is_outdated: false,
            back: Vec::new(),
        }
    }

    fn is_recording(&self) -> bool {
        matches!(self.source, Source::Recording(_))
    }

    /// The rows that are shown, in their order. Those of other namespaces are none.
    pub fn rows(&self) -> &[Row] {
        let frame = self.frame.as_ref().filter(|frame| self.is_of_netns(frame));
        frame.and_then(|frame| frame.section(self.view)).map_or(&[], |section| &section.rows)
    }

    /// Whether a frame is of the namespaces that are shown.
    pub fn is_of_netns(&self, frame: &Frame) -> bool {
        let id = |netns: Option<&Arc<FrameNetns>>| netns.map(|netns| netns.id);
        self.is_recording() || id(frame.only_netns()) == id(self.netns.as_ref())
    }

    /// Shows `frame`, unless the screen is paused. A recording is shown also then: it only moves when a key is pressed.
    pub fn show(&mut self, frame: Frame) {
        self.history.add(&frame);
        let is_awaited = self.is_outdated
            && frame.filter == self.filter
            && self.is_of_netns(&frame)
            && frame.section(self.view).is_some();
        if self.is_paused && !self.is_recording() && !is_awaited {
            self.newest = Some(frame);
        } else {
            self.is_outdated &= !is_awaited;
            self.replace(frame);
        }
    }

    fn replace(&mut self, frame: Frame) {
        if self.is_recording() {
            self.filter.clone_from(&frame.filter);
            self.has_netns = frame.netns.is_some();
        }
        self.frame = Some(frame);
        self.sort();
    }

    /// Sorts the rows, and finds the selected one.
    fn sort(&mut self) {
        let (view, order) = (self.view, self.order);
        let sections = self.frame.iter_mut().flat_map(|frame| &mut frame.sections);
        // Flows come in the order of their totals, which they have no column for.
        if view != View::Flows || order.column == Column::Group {
            for section in sections.filter(|section| section.view == view) {
                section.rows.sort_by(|a, b| order.compare(a, b));
            }
        }
        if let Some(followed) = &self.followed {
            let place = self.rows().iter().position(|row| row.is_same(followed));
            self.is_lost = place.is_none();
            self.selected = place.unwrap_or(self.selected);
        }
        self.update_detail();
        self.scroll();
    }

    /// The flow whose fields are shown has those of the frame, if it is in it.
    fn update_detail(&mut self) {
        let Overlay::Detail(detail) = &self.overlay else { return };
        let found = self.rows().iter().find(|row| row.is_same(&detail.row)).cloned();
        if let Overlay::Detail(detail) = &mut self.overlay {
            detail.is_gone = found.is_none();
            detail.row = found.unwrap_or_else(|| std::mem::take(&mut detail.row));
            detail.first = detail.first.min(detail.row.fields.len().saturating_sub(1));
        }
    }

    /// The selected row. None where there are no rows, and where the frame does not have the one that was selected.
    pub fn selected_row(&self) -> Option<&Row> {
        self.rows().get(self.selected).filter(|_| !self.is_lost)
    }

    /// The selected row; a message where the frame does not have it any more.
    fn require_selected(&mut self) -> Option<Row> {
        if let Some(followed) = self.followed.as_ref().filter(|_| self.is_lost) {
            self.message = Some(format!("not in this frame: {}", followed.text));
        }
        self.selected_row().cloned()
    }

    /// Keeps the selected row on the screen.
    fn scroll(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
        self.first = self.first.min(self.selected).max((self.selected + 1).saturating_sub(self.height));
    }

    /// So many rows fit on the screen.
    pub fn set_height(&mut self, height: usize) {
        self.height = height.max(1);
        self.scroll();
    }

    /// The filter that was typed is in force.
    pub fn set_filter(&mut self, filter: String) {
        (self.filter, self.overlay) = (filter, Overlay::None);
        self.start_over();
    }

    /// The filter that was typed is none.
    pub fn refuse_filter(&mut self, error: String) {
        match &mut self.overlay {
            Overlay::Filter(line) => line.error = Some(error),
            _ => self.message = Some(error),
        }
    }

    /// The rows are others from now on.
    fn start_over(&mut self) {
        self.is_outdated = true;
        (self.selected, self.first, self.followed, self.is_lost) = (0, 0, None, false);
    }

    /// What `key` does.
    pub fn press(&mut self, key: Key) -> Option<Action> {
        self.message = None;
        match key {
            Key::Ctrl('c') => return Some(Action::Quit),
            Key::Ctrl('z') => return Some(Action::Suspend),
            Key::Ctrl('l') => return Some(Action::Redraw),
            _ => {}
        }
        match std::mem::take(&mut self.overlay) {
            Overlay::None => self.press_table(key),
            Overlay::Help(first) => {
                self.press_help(first, key);
                None
            }
            Overlay::Filter(line) => self.press_filter(line, key),
            Overlay::Detail(detail) => self.press_detail(detail, key),
            Overlay::Kill(kill) => self.press_kill(kill, key),
        }
    }

    fn press_table(&mut self, key: Key) -> Option<Action> {
        match key {
            Key::Char('q') => return Some(Action::Quit),
            Key::Char('?' | 'h') => self.overlay = Overlay::Help(0),
            Key::Char('/') if self.is_recording() => self.message = Some(self.cannot_filter()),
            Key::Char('/') => self.overlay = Overlay::Filter(Line::new(&self.filter)),
            Key::Char(' ') => self.pause(),
            Key::Char('<') => return self.sort_by(SortOrder::of(self.order.column.next(false))),
            Key::Char('>') => return self.sort_by(SortOrder::of(self.order.column.next(true))),
            Key::Char('r') => {
                return self.sort_by(SortOrder { descending: !self.order.descending, ..self.order });
            }
            Key::Char(digit @ '1'..='7') => {
                let place = digit.to_digit(10).map_or(0, |place| place as usize - 1);
                return self.sort_by(SortOrder::of(Column::ALL.get(place).copied().unwrap_or(Column::Entries)));
            }
            Key::Char(sign @ ('[' | ']')) if self.is_recording() => {
                return Some(Action::Seek { back: sign == '[', by: MINUTE });
            }
            Key::Char('k') => self.kill_selected(),
            Key::Char('K') => self.kill_filter(),
            Key::Char(letter) => match View::of_key(letter)? {
                View::Netns => return self.switch_to_netns(),
                view => return self.switch_to(view),
            },
            Key::Enter => return self.enter(),
            Key::Escape | Key::Backspace => return self.go_back(),
            _ => return self.moves(key),
        }
        None
    }

    fn moves(&mut self, key: Key) -> Option<Action> {
        let seek = |back, by| Some(Action::Seek { back, by });
        let last = self.rows().len().saturating_sub(1);
        match key {
            Key::Left | Key::Right if self.is_recording() => return seek(key == Key::Left, 0),
            Key::Up => self.select(self.selected.saturating_sub(1)),
            Key::Down => self.select(self.selected + 1),
            Key::PageUp => self.select(self.selected.saturating_sub(self.height)),
            Key::PageDown => self.select(self.selected + self.height),
            Key::Home => self.select(0),
            Key::End => self.select(last),
            _ => {}
        }
        None
    }

    fn select(&mut self, place: usize) {
        self.selected = place;
        self.scroll();
        self.is_lost = false;
        self.followed = self.rows().get(self.selected).filter(|_| self.selected > 0).cloned();
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if let Some(frame) = self.newest.take().filter(|_| !self.is_paused) {
            self.replace(frame);
        }
    }

    fn sort_by(&mut self, order: SortOrder) -> Option<Action> {
        self.order = order;
        self.sort();
        Some(Action::Sample)
    }

    fn switch_to(&mut self, view: View) -> Option<Action> {
        self.view = view;
        self.start_over();
        self.sort();
        Some(Action::Sample)
    }

    /// Of one namespace there is no view of namespaces: all are shown again.
    fn switch_to_netns(&mut self) -> Option<Action> {
        if !self.has_netns {
            let hint = if self.is_recording() { "was recorded" } else { "is shown: start with --all-netns" };
            self.message = Some(format!("one network namespace {hint}"));
            return None;
        }
        self.netns = None;
        self.switch_to(View::Netns)
    }

    fn enter(&mut self) -> Option<Action> {
        let row = self.require_selected()?;
        if self.view == View::Flows {
            if row.fields.is_empty() {
                self.message = Some("the fields of this flow were not recorded".to_owned());
            } else {
                self.overlay = Overlay::Detail(Box::new(Detail { row, is_gone: false, first: 0 }));
            }
            return None;
        }
        if self.is_recording() {
            self.message =
                Some(format!("the flows of a group were not recorded: {} shows the first flows", View::Flows.key()));
            return None;
        }
        if let (View::Netns, Some(netns)) = (self.view, row.netns.clone()) {
            self.push_back();
            self.netns = Some(netns);
            return self.switch_to(View::Flows);
        }
        let Some(term) = row.term.clone() else {
            self.message = Some(format!("no filter selects '{}' alone", row.text));
            return None;
        };
        let filter = narrowed(&self.filter, &term);
        self.push_back();
        self.switch_to(View::Flows);
        Some(Action::Parse(filter))
    }

    fn push_back(&mut self) {
        if self.back.len() == MOST_BACK {
            self.back.remove(0);
        }
        self.back.push(Earlier { view: self.view, filter: self.filter.clone(), netns: self.netns.clone() });
    }

    fn go_back(&mut self) -> Option<Action> {
        let Some(Earlier { view, filter, netns }) = self.back.pop() else {
            // A filter that was typed left what was before it.
            return self.netns.is_some().then(|| self.switch_to_netns()).flatten();
        };
        self.netns = netns;
        self.switch_to(view);
        Some(Action::Parse(filter))
    }

    /// Why a recording is not filtered.
    fn cannot_filter(&self) -> String {
        let filter = ctnl::text::printable(&self.filter);
        let of = if filter.is_empty() { "all entries".to_owned() } else { format!("what matches '{filter}'") };
        format!("a recording cannot be filtered: it has the first rows of {of}, and no other entries")
    }

    fn press_filter(&mut self, mut line: Line, key: Key) -> Option<Action> {
        match key {
            Key::Escape => return None,
            Key::Enter => {
                let text = line.text().trim().to_owned();
                self.overlay = Overlay::Filter(line);
                self.back.clear();
                return Some(Action::Parse(text));
            }
            _ => {}
        }
        let known = self.known_values();
        line.press(key, &known);
        self.overlay = Overlay::Filter(line);
        None
    }

    /// The values of the rows, for completion.
    fn known_values(&self) -> Vec<(&'static str, String)> {
        let Some(name) = self.view.by().filter(|by| !by.contains([',', '/'])) else { return Vec::new() };
        self.rows().iter().filter(|row| row.term.is_some()).map(|row| (name, row.text.clone())).collect()
    }

    /// Scrolls, or leaves the help. What there is to scroll is known when it is drawn.
    fn press_help(&mut self, first: usize, key: Key) {
        let moved = match key {
            Key::Up => first.saturating_sub(1),
            Key::Down => first.saturating_add(1),
            Key::PageUp => first.saturating_sub(self.height),
            Key::PageDown | Key::Char(' ') => first.saturating_add(self.height),
            Key::Home => 0,
            Key::End => usize::MAX,
            _ => return,
        };
        self.overlay = Overlay::Help(moved);
    }

    fn press_detail(&mut self, mut detail: Box<Detail>, key: Key) -> Option<Action> {
        let (first, lines) = (detail.first, detail.row.fields.len());
        let moved = match key {
            Key::Up => first.saturating_sub(1),
            Key::Down => first + 1,
            Key::PageUp => first.saturating_sub(self.height),
            Key::PageDown | Key::Char(' ') => first + self.height,
            Key::Home => 0,
            Key::Char('k') => {
                let entries = if detail.is_gone { 0 } else { detail.row.figures.entries };
                self.kill_row(&detail.row, entries);
                return None;
            }
            _ => return None,
        };
        detail.first = moved.min(lines.saturating_sub(1));
        self.overlay = Overlay::Detail(detail);
        None
    }

    /// Whether rows can be deleted; a message where they cannot.
    fn refuses_deletes(&mut self) -> bool {
        if self.is_recording() {
            self.message = Some("a recording is not the table: nothing can be deleted".to_owned());
        }
        self.is_recording()
    }

    fn kill_selected(&mut self) {
        if self.refuses_deletes() {
            return;
        }
        if let Some(row) = self.require_selected() {
            self.kill_row(&row, row.figures.entries);
        }
    }

    fn kill_row(&mut self, row: &Row, entries: u64) {
        if self.refuses_deletes() {
            return;
        }
        let netns = row.netns.clone();
        match &row.term {
            // All of a namespace that match.
            None if self.view == View::Netns => self.kill_matching(netns, entries),
            None => self.message = Some(format!("no filter selects '{}' alone", row.text)),
            Some(term) => self.kill(narrowed(&self.filter, term), entries, netns),
        }
    }

    fn kill_filter(&mut self) {
        if self.refuses_deletes() {
            return;
        }
        let matched = self.frame.as_ref().map_or(0, |frame| frame.matched);
        self.kill_matching(None, matched);
    }

    fn kill_matching(&mut self, netns: Option<Arc<FrameNetns>>, entries: u64) {
        if self.filter.trim().is_empty() {
            self.message = Some("no filter is given: this would delete the whole table".to_owned());
            return;
        }
        self.kill(self.filter.clone(), entries, netns);
    }

    /// Of several namespaces, a delete is done in one: that of the row, or the only one that is shown.
    fn kill(&mut self, filter: String, entries: u64, netns: Option<Arc<FrameNetns>>) {
        let frame = self.frame.as_ref().filter(|frame| self.is_of_netns(frame));
        let netns = netns.or_else(|| frame.and_then(Frame::only_netns).cloned());
        if self.has_netns && netns.is_none() {
            let (key, text) = (View::Netns.key(), "entries are deleted in one network namespace at a time");
            self.message = Some(format!("{text}: {key} shows them, Enter narrows to one"));
            return;
        }
        self.overlay = Overlay::Kill(Kill { filter, entries, is_soft: false, max: String::new(), netns });
    }

    fn press_kill(&mut self, mut kill: Kill, key: Key) -> Option<Action> {
        match key {
            Key::Enter => return Some(Action::Kill(kill)),
            Key::Tab | Key::Char('s') => kill.is_soft = !kill.is_soft,
            Key::Char(digit @ '0'..='9') if kill.max.len() < 9 && (digit != '0' || !kill.max.is_empty()) => {
                kill.max.push(digit);
            }
            Key::Backspace => drop(kill.max.pop()),
            Key::Escape | Key::Char('q' | 'n') => return None,
            _ => {}
        }
        self.overlay = Overlay::Kill(kill);
        None
    }
}
