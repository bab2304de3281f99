//! Writing of well-formed markup: what is opened is closed, and every text is escaped.

/// Markup in work.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    text: String,
}

/// Attributes in order; values are escaped when written.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a str)];

impl Markup {
    /// An element with content.
    pub(crate) fn element(
        &mut self,
        tag: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        self.text.push('>');
        content(self);
        self.text.push_str("</");
        self.text.push_str(tag);
        self.text.push('>');
    }

    /// An element that holds only text.
    pub(crate) fn line(&mut self, tag: &str, attributes: Attributes<'_>, text: &str) {
        self.element(tag, attributes, |markup| markup.text(text));
    }

    /// An SVG element without content.
    pub(crate) fn empty(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.open(tag, attributes);
        self.text.push_str("/>");
    }

    /// An HTML element that never has content (meta).
    pub(crate) fn void(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.open(tag, attributes);
        self.text.push('>');
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        escape(text, &mut self.text);
    }

    /// Our own styles and script, which need no escaping.
    pub(crate) fn own(&mut self, text: &'static str) {
        self.text.push_str(text);
    }

    /// Takes in finished markup.
    pub(crate) fn append(&mut self, other: Markup) {
        self.text.push_str(&other.text);
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }

    fn open(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
    }
}

/// Characters that change how what follows is shown: control characters but tab and newline, and changes of direction.
pub(crate) fn disturbs(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if disturbs(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_cannot_break_out() {
        let mut markup = Markup::default();
        let hostile = "\"><script>alert('x')</script>&\u{202e}\0";
        markup.element("p", &[("title", hostile)], |m| m.text(hostile));
        let text = markup.into_string();
        assert!(
            !text.contains("<script") && text.matches('<').count() == 2,
            "{text}"
        );
        assert!(text.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)"));
        assert!(!text.contains('\u{202e}') && !text.contains('\0'));
    }
}
