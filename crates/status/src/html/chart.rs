//! Charts of the last minutes, as SVG within the page.

use super::markup::{Html, write_html};
use crate::figures;

/// The width and height of the picture, which is stretched to the room that there is.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;

/// A line of a chart.
pub(super) struct Line<'a> {
    /// The class that gives it its color.
    pub(super) class: &'static str,
    /// True if what is below it is filled; it must have no gaps.
    pub(super) is_area: bool,
    /// Its values, in the order of the times; a gap where there is none.
    pub(super) values: &'a [Option<f64>],
}

/// A chart.
pub(super) struct Chart<'a> {
    pub(super) title: &'static str,
    /// The present value, as text.
    pub(super) now: &'a str,
    /// The moments of the values.
    pub(super) times: &'a [f64],
    pub(super) lines: &'a [Line<'a>],
    pub(super) format: fn(f64) -> String,
}

impl Chart<'_> {
    pub(super) fn render(&self, html: &mut Html) {
        let values = self.lines.iter().flat_map(|line| line.values).flatten().copied();
        let found = values.reduce(f64::max);
        let highest = found.unwrap_or(0.0);
        write_html!(
            html,
            "<figure class=\"chart\"><figcaption><span>",
            (self.title),
            "</span> <strong>",
            (self.now),
            "</strong></figcaption>"
        );
        let [first, .., last] = self.times else {
            write_html!(html, "<p class=\"none\">No counts yet</p></figure>");
            return;
        };
        let length = last - first;
        let top = found.map_or("–".to_owned(), self.format);
        write_html!(
            html,
            "<svg role=\"img\" viewBox=\"0 0 240 48\" preserveAspectRatio=\"none\" aria-label=\"",
            (self.title),
            " over the last ",
            (figures::age(length)),
            ": now ",
            (self.now),
            ", at most ",
            (&top),
            "\">"
        );
        write_html!(html, "<path class=\"grid\" d=\"M0 .5H240M0 24H240M0 47.5H240\"/>");
        for (index, line) in self.lines.iter().enumerate() {
            // At the bottom it would hide the first one, and say nothing.
            if index > 0 && line.values.iter().flatten().all(|value| *value == 0.0) {
                continue;
            }
            let path = self.path(line, highest);
            if line.is_area {
                write_html!(html, "<path class=\"", (line.class), " area\" d=\"", (&path), "V48H0z\"/>");
            }
            write_html!(html, "<path class=\"", (line.class), " line\" d=\"", (&path), "\"/>");
        }
        write_html!(
            html,
            "</svg><p class=\"scale\"><span>",
            (figures::age(length)),
            " ago</span><span>highest ",
            (&top),
            "</span></p></figure>"
        );
    }

    fn path(&self, line: &Line<'_>, highest: f64) -> String {
        use std::fmt::Write as _;

        let (first, last) =
            (self.times.first().copied().unwrap_or(0.0), self.times.last().copied().unwrap_or(0.0));
        let length = (last - first).max(f64::MIN_POSITIVE);
        let mut path = String::with_capacity(self.times.len() * 10);
        let mut is_drawing = false;
        for (time, value) in self.times.iter().zip(line.values) {
            let Some(value) = value else {
                is_drawing = false;
                continue;
            };
            let x = (time - first) / length * WIDTH;
            let y = HEIGHT - 1.0 - if highest > 0.0 { value / highest * (HEIGHT - 3.0) } else { 0.0 };
            // Writing to a string does not fail.
            let _ = match is_drawing {
                true => write!(path, "L{x:.0} {y:.1}"),
                // A line of no length, or nothing would be drawn of a value between two gaps.
                false => write!(path, "M{x:.0} {y:.1}h0"),
            };
            is_drawing = true;
        }
        path
    }
}
