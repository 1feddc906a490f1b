//! The state of a server as a page for people.
//!
//! The page stands alone: it has no outside resources, and all of it is made here, for scripts as
//! for those without. A script of it gets the page again at intervals, and changes what has
//! changed, so that focus, selection and what was unfolded stay ([`SCRIPT`]). JSON would have to be
//! rendered a second time, in another language, and of many groups it is longer than the page.

mod chart;
mod events;
mod groups;
mod markup;
mod mod_status;
mod overview;
mod requests;

use crate::Snapshot;
use crate::figures;
use crate::problems::{self, Problem};
use crate::snapshot::{Group, Mode};
use crate::trend::Trend;
use markup::{Html, write_html};
pub use mod_status::{Form, mod_status};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The most groups that are shown with all details. The others have a line each.
const MOST_DETAILED: usize = 40;

/// The largest number of groups of which those that rest are shown with all details, too.
const FEW: usize = 12;

/// The wishes of the one who looks at the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// A text that the names of groups, paths of requests and events are to contain, in any case;
    /// empty for all.
    pub filter: String,
}

/// Returns the page. `nonce` is what the `Content-Security-Policy` of [`policy`] lets its script and
/// style pass with.
#[must_use]
pub fn render(snapshot: &Snapshot, view: &View, nonce: &str) -> String {
    let page = Page::new(snapshot, view);
    let mut html = Html::with_capacity(64 << 10);
    page.render(&mut html, nonce);
    html.into_string()
}

/// Returns the value of `Content-Security-Policy` for a page with this nonce.
#[must_use]
pub fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// A page, as far as it is known before it is written.
struct Page<'a> {
    snapshot: &'a Snapshot,
    view: &'a View,
    /// The filter in lower case.
    needle: String,
    problems: Vec<Problem>,
    /// The groups, in the order of the snapshot, that the filter lets pass.
    groups: Vec<Shown<'a>>,
}

/// A group of the page.
struct Shown<'a> {
    index: usize,
    group: &'a Group,
    trend: Trend,
    is_detailed: bool,
}

impl<'a> Page<'a> {
    fn new(snapshot: &'a Snapshot, view: &'a View) -> Self {
        let needle = view.filter.to_lowercase();
        let problems = problems::of(snapshot);
        let wanted = snapshot.groups.iter().enumerate().filter(|(_, group)| {
            needle.is_empty()
                || contains(title(group), &needle)
                || contains(&group.virtual_host, &needle)
                || group.scripts.iter().any(|script| contains(script, &needle))
        });
        let mut groups: Vec<_> = wanted
            .map(|(index, group)| Shown {
                index,
                group,
                trend: Trend::of_group(group, snapshot.time),
                is_detailed: false,
            })
            .collect();
        let all = groups.len() <= FEW || !needle.is_empty();
        let mut ranked: Vec<_> = groups
            .iter()
            .enumerate()
            .map(|(place, shown)| (shown.rank(&problems), place))
            .filter(|(rank, _)| all || *rank < RESTS)
            .collect();
        ranked.sort_unstable();
        for (_, place) in ranked.into_iter().take(MOST_DETAILED) {
            groups[place].is_detailed = true;
        }
        Self { snapshot, view, needle, problems, groups }
    }

    fn render(&self, html: &mut Html, nonce: &str) {
        let server = &self.snapshot.server;
        write_html!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">\
             <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\
             <title>",
            (&server.host),
            " – mod_wsgi status</title><style nonce=\"",
            (nonce),
            "\">"
        );
        html.markup(STYLE);
        write_html!(html, "</style></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a>");
        self.header(html);
        write_html!(html, "<main id=\"main\">");
        overview::render(self, html);
        overview::problems(self, html);
        requests::render(self, html);
        groups::render(self, html);
        events::render(self, html);
        write_html!(
            html,
            "</main><footer><p>The same as <a href=\"?format=json\">JSON</a> and for \
            <a href=\"?format=prometheus\">Prometheus</a>. Counts are since the start of the server.</p></footer>\
            <script nonce=\"",
            (nonce),
            "\">"
        );
        html.markup(SCRIPT);
        write_html!(html, "</script></body></html>\n");
    }

    fn header(&self, html: &mut Html) {
        let Snapshot { server, time, .. } = self.snapshot;
        write_html!(
            html,
            "<header><h1>mod_wsgi on ",
            (&server.host),
            "</h1><p id=\"live\"><span id=\"updated\">Updated <time datetime=\"",
            (figures::moment(*time).replace(' ', "T")),
            "Z\">",
            (figures::moment(*time)),
            "</time> UTC</span><button type=\"button\" id=\"pause\" hidden aria-pressed=\"false\">Pause</button></p>\
            <p id=\"announce\" role=\"status\" class=\"unseen\" data-text=\"",
            (self.announcement()),
            "\"></p><dl class=\"facts\">"
        );
        let parts = [
            ("mod_wsgi-rs", server.version.clone()),
            ("Apache", format!("{} ({})", server.apache, server.mpm)),
            ("Parent process", server.pid.to_string()),
            ("Running for", since(*time, server.started)),
            ("Configured", since(*time, server.configured)),
            (
                "Requests at a time",
                if server.capacity > 0 { figures::count(server.capacity) } else { String::new() },
            ),
            (
                "Dropped spans",
                if server.dropped_spans > 0 { figures::count(server.dropped_spans) } else { String::new() },
            ),
        ];
        for (name, value) in parts.iter().filter(|(_, value)| !value.is_empty()) {
            write_html!(html, "<div><dt>", (name), "</dt><dd>", (value), "</dd></div>");
        }
        write_html!(html, "</dl>");
        if let Some(host) = &self.snapshot.scope {
            write_html!(
                html,
                "<p class=\"scope\">Only what belongs to ",
                (requests::shown(host, "the main server")),
                " is shown.</p>"
            );
        }
        write_html!(
            html,
            "<form role=\"search\" method=\"get\" id=\"search\"><label for=\"filter\">Filter by group, path or event</label>\
            <input type=\"search\" id=\"filter\" name=\"filter\" autocomplete=\"off\" spellcheck=\"false\" value=\"",
            (&self.view.filter),
            "\"><button type=\"submit\">Filter</button></form></header>"
        );
    }

    /// Returns what is read out when it changes.
    fn announcement(&self) -> String {
        match self.problems.as_slice() {
            [] => "No problems".to_owned(),
            [first, rest @ ..] => {
                let name = title(&self.snapshot.groups[first.group]);
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                format!("Problem: {name}: {}{more}", first.gist)
            }
        }
    }

    fn admits(&self, texts: &[&str]) -> bool {
        self.needle.is_empty() || texts.iter().any(|text| contains(text, &self.needle))
    }
}

/// The rank of a group that rests.
const RESTS: u64 = u64::MAX;

impl Shown<'_> {
    /// Returns the rank among those that are shown with details; the lowest ones are.
    fn rank(&self, problems: &[Problem]) -> u64 {
        let under_way = self.group.under_way();
        if problems.binary_search_by_key(&self.index, |problem| problem.group).is_ok() {
            0
        } else if under_way > 0 {
            // The busiest first.
            u64::from(u32::MAX) - under_way.min(u64::from(u32::MAX) - 1)
        } else if self.trend.points.iter().any(|point| point.rate > 0.0) {
            u64::from(u32::MAX)
        } else {
            RESTS
        }
    }
}

/// Returns the name of a group for people.
fn title(group: &Group) -> &str {
    if group.mode == Mode::Embedded && group.name.is_empty() { "Embedded mode" } else { &group.name }
}

/// Returns the id of a group's element, which is the same whatever other groups there are: names are
/// unique within a server.
fn element_id(group: &Group) -> String {
    format!("g-{}", overview::encoded(&group.name))
}

/// Returns the time since a moment; empty if it is not known.
fn since(now: f64, moment: f64) -> String {
    if moment > 0.0 { figures::age(now - moment) } else { String::new() }
}

fn contains(text: &str, needle: &str) -> bool {
    text.to_lowercase().contains(needle)
}

#[cfg(test)]
mod tests;
