//! Numbers and texts as they stand on the screen.

use ratatui::text::Span;

/// `98.87 %`
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2} %", share * 100.0) } else { "NaN".into() }
}

/// `842`, `28.1k`, `1.24M`
pub fn count(value: f64) -> String {
    match value {
        v if !v.is_finite() => "NaN".into(),
        v if v < 999.5 => format!("{v:.0}"),
        v if v < 99_950.0 => format!("{:.1}k", v / 1e3),
        v if v < 999_500.0 => format!("{:.0}k", v / 1e3),
        v => format!("{:.2}M", v / 1e6),
    }
}

/// A number that wavers, with two digits, so that it stands still: `840`, `28k`.
pub fn rate(value: f64) -> String {
    let unit = 10f64.powf(value.abs().max(1.0).log10().floor() - 1.0).max(1.0);
    let rounded = (value / unit).round() * unit;
    if (1e4..1e6).contains(&rounded) { format!("{:.0}k", rounded / 1e3) } else { count(rounded) }
}

/// `9s`, `1m 09s`, `2h 05m`
pub fn duration(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.round().max(0.0) as u64 } else { 0 };
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
    }
}

/// The time that something will take, in steps that are small beside it: `9s`, `1m 10s`, `2h 05m`.
pub fn remaining(seconds: f64) -> String {
    let step = if seconds < 30.0 { 1.0 } else { 5.0 };
    duration((seconds / step).round() * step)
}

/// A loss with three significant digits or more: `2.303`, `0.04217`, `0.00123`, `4.00e-6`.
pub fn loss(value: f64) -> String {
    match value {
        v if !v.is_finite() => v.to_string(),
        v if v >= 100.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.3}"),
        v if v >= 0.1 => format!("{v:.4}"),
        v if v > 0.0 && v < 1e-3 => format!("{v:.2e}"),
        v => format!("{v:.5}"),
    }
}

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// `text` in at most `columns`, its end replaced by `ellipsis` where it is too long.
pub fn shorten(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ellipsis));
    let mut short = take(text, room).to_owned();
    if columns > 0 {
        short += ellipsis;
    }
    short
}

/// The beginning of `text` that takes at most `columns`.
fn take(text: &str, columns: usize) -> &str {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let next = at + c.len_utf8();
        if width(&text[..next]) > columns {
            break;
        }
        end = next;
    }
    &text[..end]
}

/// The lines that `text` takes in `columns`: broken at spaces where possible; lines keep their indentation.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    if columns == 0 {
        return Vec::new();
    }
    text.lines().flat_map(|line| wrap_line(line, columns)).collect()
}

fn wrap_line(line: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for piece in line.split_inclusive(' ') {
        if !current.is_empty() && width(&current) + width(piece.trim_end()) > columns {
            lines.push(std::mem::take(&mut current).trim_end().to_owned());
        }
        current += piece;
        while width(current.trim_end()) > columns {
            let head = take(&current, columns);
            // A single character may be wider than the line.
            let cut = if head.is_empty() { current.chars().next().map_or(0, char::len_utf8) } else { head.len() };
            let rest = current.split_off(cut);
            lines.push(std::mem::replace(&mut current, rest));
        }
    }
    // A line that was cut at its very end leaves nothing over.
    if lines.is_empty() || !current.trim_end().is_empty() {
        lines.push(current.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{count, duration, loss, percent, rate, remaining, shorten, width, wrap};

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.98873), "98.87 %");
        assert_eq!(
            [3.0, 842.0, 999.7, 28_140.0, 123_456.0, 1_240_000.0].map(count),
            ["3", "842", "1.0k", "28.1k", "123k", "1.24M"]
        );
        assert_eq!(
            [0.4, 9.0, 69.0, 3599.0, 7500.0, f64::NAN].map(duration),
            ["0s", "9s", "1m 09s", "59m 59s", "2h 05m", "0s"]
        );
        assert_eq!(
            [842.4, 1234.0, 9960.0, 28_140.0, 123_456.0, f64::NAN].map(rate),
            ["840", "1.2k", "10k", "28k", "120k", "NaN"]
        );
        assert_eq!([9.4, 33.0, 69.0, 7500.0].map(remaining), ["9s", "35s", "1m 10s", "2h 05m"]);
        assert_eq!(
            [123.456, 2.3126, 0.1234, 0.042_17, 0.001_234, 4e-6, 0.0, f64::INFINITY, f64::NAN].map(loss),
            ["123.5", "2.313", "0.1234", "0.04217", "0.00123", "4.00e-6", "0.00000", "inf", "NaN"]
        );
    }

    #[track_caller]
    fn check(text: &str, columns: usize, expected: &[&str]) {
        let lines = wrap(text, columns);
        assert_eq!(lines, expected, "{text:?} in {columns}");
        assert!(lines.iter().all(|line| width(line) <= columns.max(2)));
    }

    #[test]
    fn texts_are_wrapped_at_spaces() {
        check("one two three", 20, &["one two three"]);
        check("one two three", 7, &["one two", "three"]);
        check("unbreakable", 4, &["unbr", "eaka", "ble"]);
        check("a\n\nb", 4, &["a", "", "b"]);
        check("  indented by two", 12, &["  indented", "by two"]);
        check("数字", 1, &["数", "字"]);
        check("abc", 0, &[]);
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shorten("confusion", 9, "…"), "confusion");
        assert_eq!(shorten("confusion", 5, "…"), "conf…");
        assert_eq!(shorten("confusion", 0, "…"), "");
    }
}
