//! Writing HTML: what is not a literal of ours is escaped.

use std::fmt::{self, Display, Write};

/// HTML that is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(String::with_capacity(capacity))
    }

    /// Appends markup of ours.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Appends text, for an element or for an attribute in double quotes.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a string does not fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        while let Some(at) = text.find(['&', '<', '>', '"', '\'']) {
            let (plain, rest) = text.split_at(at);
            self.0.push_str(plain);
            self.0.push_str(match rest.as_bytes()[0] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            });
            text = &rest[1..];
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Appends literals, which are markup, and values in parentheses, which are escaped.
macro_rules! write_html {
    ($html:expr $(,)?) => {};
    ($html:expr, ($value:expr) $(, $($rest:tt)*)?) => {
        $html.text($value);
        $crate::html::markup::write_html!($html $(, $($rest)*)?);
    };
    ($html:expr, $markup:literal $(, $($rest:tt)*)?) => {
        $html.markup($markup);
        $crate::html::markup::write_html!($html $(, $($rest)*)?);
    };
}

pub(super) use write_html;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_literals_are_not() {
        let mut html = Html::default();
        write_html!(html, "<p title=\"", ("a\"b'c"), "\">", ("<script>&é</script>"), (7), "</p>");
        assert_eq!(
            html.into_string(),
            "<p title=\"a&quot;b&#39;c\">&lt;script&gt;&amp;é&lt;/script&gt;7</p>"
        );
    }
}
