//! Text at a place of a buffer.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Puts parts of a line one behind the other into row `row` of `area`. What does not fit is left out.
pub fn line(buffer: &mut Buffer, area: Rect, row: u16, parts: &[(&str, Style)]) {
    if row >= area.height {
        return;
    }
    let (mut x, y, end) = (area.x, area.y + row, area.x + area.width);
    for (text, style) in parts {
        if x >= end {
            return;
        }
        (x, _) = buffer.set_stringn(x, y, text, usize::from(end - x), *style);
    }
}

/// A line of one style over the whole width.
pub fn filled(buffer: &mut Buffer, area: Rect, row: u16, style: Style) {
    if row < area.height {
        buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, style);
    }
}
