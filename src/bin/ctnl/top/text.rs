//! Figures as text, in few characters.

use ctnl::units::Seconds;

use super::model::{IdleTime, Rate};

const UNITS: [(&str, f64); 5] = [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];

/// A number in six characters at most: `99999`, `123k`, `4.5M`. Rounded down, so that it is never more than it is.
pub fn count(number: u64) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    shortened(number as f64)
}

/// `text`, the number of entries of a group; `12+` where some may be missing.
pub fn bound(text: String, missing: u64) -> String {
    if missing > 0 { text + "+" } else { text }
}

fn shortened(number: f64) -> String {
    let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| number >= *factor) else {
        return format!("{}", number.floor());
    };
    let value = number / factor;
    if value < 10.0 {
        format!("{:.1}{unit}", (value * 10.0).floor() / 10.0)
    } else {
        format!("{}{unit}", value.floor())
    }
}

/// A rate: `0`, `0.3`, `25`, `12k`, `12k+` for a lower bound, `?`.
pub fn rate(rate: Rate) -> String {
    let number = |value: f64| match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 0.1 => "<0.1".to_owned(),
        value if value < 10.0 => format!("{value:.1}"),
        value if value < 10_000.0 => format!("{}", value.round()),
        value => shortened(value),
    };
    match rate {
        Rate::Known(value) => number(value),
        Rate::AtLeast(value) => number(value) + "+",
        Rate::Unknown => "?".to_owned(),
    }
}

/// An idle time: `5s`, `1h2m`, `5d+` where it may be longer, `<=5s` where it may be shorter, `?`.
pub fn idle(idle: IdleTime) -> String {
    match idle {
        IdleTime::Between(at_least, _) => duration(at_least.into()),
        IdleTime::AtLeast(at_least) => duration(at_least.into()) + "+",
        IdleTime::AtMost(at_most) => "<=".to_owned() + &duration(at_most.into()),
        IdleTime::Unknown => "?".to_owned(),
    }
}

/// A duration by its two largest units, rounded down.
pub fn duration(seconds: u64) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let text = Seconds(seconds).to_string();
    let second = text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).nth(1);
    match second {
        Some((end, _)) => text.get(..=end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// `text` in `width` characters at most. What is cut is shown by `~`.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    text.chars().take(kept).chain((width > 0).then_some('~')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_six_characters_at_most_and_is_rounded_down() {
        assert_eq!([0, 99_999, 100_000, 999_999, 1_290_000].map(count), ["0", "99999", "100k", "999k", "1.2M"]);
        assert!([u64::MAX, 10u64.pow(15), 123_456_789].map(count).iter().all(|text| text.len() <= 6));
    }

    #[test]
    fn a_rate_that_is_not_nothing_is_never_shown_as_nothing() {
        let rates = [0.0, 0.01, 0.34, 25.4, 12_345.0, 2.5e9].map(|value| rate(Rate::Known(value)));
        assert_eq!(rates, ["0", "<0.1", "0.3", "25", "12k", "2.5G"]);
        assert_eq!((rate(Rate::AtLeast(3.0)), rate(Rate::Unknown)), ("3.0+".into(), "?".into()));
    }

    #[test]
    fn a_duration_has_two_units() {
        assert_eq!([0, 59, 60, 3_599, 432_000, 86_399].map(duration), ["0s", "59s", "1m", "59m59s", "5d", "23h59m"]);
        assert_eq!(idle(IdleTime::AtLeast(90)), "1m30s+");
        assert_eq!([idle(IdleTime::Between(90, 91)), idle(IdleTime::AtMost(9))], ["1m30s", "<=9s"]);
        assert_eq!(idle(IdleTime::Unknown), "?");
    }

    #[test]
    fn what_is_cut_is_shown() {
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("abcd", 0)], ["abc", "ab~", ""]);
    }
}
