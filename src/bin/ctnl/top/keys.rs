//! Keys, and what each does: the table that the help shows.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// With the control key; the letter is lower case.
    Ctrl(char),
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// The keys of the help that are no views.
pub const HELP: [(&str, &str); 14] = [
    ("/", "filter (Tab completes, Enter applies)"),
    ("Enter", "flows of the group; fields of a flow"),
    ("Esc", "back"),
    ("< >", "sort by the column to the left, right"),
    ("1-7", "sort by this column (1 is the group)"),
    ("r", "reverse the order"),
    ("k", "delete or soft expire the selected row"),
    ("K", "the same for all that match the filter"),
    ("Space", "pause"),
    ("Left Right", "in a recording: a frame back, on"),
    ("[ ]", "in a recording: a minute back, on"),
    ("Ctrl-L", "draw anew"),
    ("? h F1", "help"),
    ("q", "quit"),
];
