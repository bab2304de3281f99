//! Texts of others, made fit for people: bounded, and without what a terminal obeys.

use std::borrow::Cow;

/// Whether a terminal obeys a character instead of showing it: control characters, and those that turn the direction of
/// writing.
fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_wrong = |c: char| is_obeyed(c) && !stays(c);
    if !text.contains(is_wrong) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_wrong(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// The text with escapes such as `\u{1b}` for every character that a terminal obeys, line feeds among them.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The text with escapes such as `\u{1b}` for every character that a terminal obeys, but for line feeds and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Shortens a text to at most `limit` bytes, at the end of a character, and marks the cut.
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
    fn what_a_terminal_obeys_is_written_as_an_escape() {
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
    fn a_text_is_cut_at_the_end_of_a_character() {
        assert_eq!(cut("abc".into(), 3), "abc");
        assert_eq!(cut("abcdef".into(), 5), "ab…");
        assert_eq!(cut("ééé".into(), 6), "ééé");
        assert_eq!(cut("éééé".into(), 6), "é…");
        assert_eq!(cut("x".repeat(100), 0), "…");
    }
}
