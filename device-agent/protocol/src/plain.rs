//! Foreign text made fit for a terminal: bounded, its control characters escaped.

use std::borrow::Cow;

/// Whether a terminal obeys a character instead of showing it: control characters, and those that
/// change the direction of writing.
fn is_control(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || changes_direction
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |c: char| is_control(c) && !kept(c);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Escapes every control character, line feeds among them, as `\u{1b}`.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Escapes every control character except line feeds and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Shortens a text to at most `limit` bytes, at a character boundary, and marks the cut.
pub fn cut(mut text: String, limit: usize) -> String {
    const MARK: char = '…';
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit.saturating_sub(MARK.len_utf8())));
        text.push(MARK);
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, line: &str, lines: &str| {
            assert_eq!(on_one_line(text), line);
            assert_eq!(printable(text), lines);
        };
        check("conv/1 `é` 畳", "conv/1 `é` 畳", "conv/1 `é` 畳");
        check(
            "\u{1b}[2J\u{7}\u{9b}1m",
            r"\u{1b}[2J\u{7}\u{9b}1m",
            r"\u{1b}[2J\u{7}\u{9b}1m",
        );
        check("a\nb\tc\rd", r"a\nb\tc\rd", "a\nb\tc\\rd");
        check("a\u{202e}b", r"a\u{202e}b", r"a\u{202e}b");
    }

    #[test]
    fn a_text_is_cut_at_a_character_boundary() {
        assert_eq!(cut("abc".into(), 3), "abc");
        assert_eq!(cut("abcdef".into(), 5), "ab…");
        assert_eq!(cut("ééé".into(), 6), "ééé");
        assert_eq!(cut("éééé".into(), 6), "é…");
        assert_eq!(cut("x".repeat(100), 0), "…");
    }
}
