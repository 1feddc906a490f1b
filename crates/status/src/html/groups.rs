//! The groups: with details, or with a line each.

use super::markup::{Html, write_html};
use super::overview::{charts, encoded};
use super::requests::shown as or;
use super::{FEW, Page, Shown, element_id, since, title};
use crate::figures;
use crate::histogram::Histogram;
use crate::problems::{Condition, condition, plural};
use crate::snapshot::{Group, Mode, Process, State, Times};

/// The largest number of groups with details that are unfolded at first.
const UNFOLDED: usize = 3;

/// Writes the section of the groups.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    let total = page.snapshot.groups.len();
    write_html!(
        html,
        "<section id=\"groups\" aria-labelledby=\"groups-title\"><h2 id=\"groups-title\">Groups <span class=\"number\">",
        (figures::count(total as u64)),
        "</span></h2>"
    );
    if !page.needle.is_empty() {
        let matching = figures::count(page.groups.len() as u64);
        write_html!(
            html,
            "<p class=\"none\">",
            (matching),
            " of ",
            (figures::count(total as u64)),
            " groups match.</p>"
        );
    } else if total == 0 {
        write_html!(
            html,
            "<p class=\"none\">There are no process groups, and nothing has run in Apache's children.</p>"
        );
    }
    let detailed = page.groups.iter().filter(|shown| shown.is_detailed);
    let is_unfolded = detailed.clone().count() <= UNFOLDED;
    for shown in detailed {
        group(page, shown, is_unfolded, html);
    }
    others(page, html);
    write_html!(html, "</section>");
}

fn group(page: &Page<'_>, shown: &Shown<'_>, is_unfolded: bool, html: &mut Html) {
    let (group, recent) = (shown.group, shown.trend.recent.unwrap_or_default());
    let condition = condition(group);
    write_html!(html, "<details class=\"group\" id=\"", (element_id(group)), "\"");
    if is_unfolded || condition == Condition::Failing {
        write_html!(html, " open");
    }
    write_html!(
        html,
        "><summary><h3>",
        (title(group)),
        "</h3> <span class=\"badge ",
        (condition.word()),
        "\">",
        (condition.word()),
        "</span>"
    );
    if !group.is_partial {
        let share = if recent.rate > 0.0 { recent.error_rate / recent.rate } else { 0.0 };
        let figures = [
            ("per second", figures::decimal(recent.rate)),
            ("mean", recent.mean.map_or("–".to_owned(), figures::time)),
            ("errors", figures::percent(share)),
            ("busy", format!("{}/{}", group.busy(), threads(group))),
            ("waiting", figures::count(group.queued)),
            (
                "processes",
                format!(
                    "{}/{}",
                    group.running().count(),
                    group.most_processes.max(group.running().count() as u32)
                ),
            ),
            ("memory", figures::size(group.processes.iter().map(|process| process.resident).sum())),
        ];
        write_html!(html, "<span class=\"figures\">");
        for (name, value) in figures {
            write_html!(html, " <span><b>", (value), "</b> ", (name), "</span>");
        }
        write_html!(html, "</span>");
    }
    write_html!(html, "</summary><div class=\"body\">");
    if group.is_partial {
        write_html!(
            html,
            "<p class=\"none\">It belongs to another part of the server: only requests of this virtual host are shown.</p>"
        );
    } else {
        facts(group, html);
        charts(&shown.trend, group.under_way(), html);
        processes(page, group, html);
        write_html!(html, "<div class=\"tables\">");
        times(group, html);
        responses(group, html);
        rejections(group, html);
        write_html!(html, "</div>");
    }
    write_html!(html, "</div></details>");
}

/// Returns the number of threads that serve.
fn threads(group: &Group) -> u64 {
    let serving = group.processes.iter().filter(|process| process.state == State::Serving).count();
    u64::from(group.threads) * serving as u64
}

fn facts(group: &Group, html: &mut Html) {
    let processes = match (group.least_processes, group.most_processes) {
        _ if group.mode == Mode::Embedded => String::new(),
        (least, most) if least == most => format!("{most}, of {} threads", group.threads),
        (least, most) => format!("{least} to {most}, of {} threads", group.threads),
    };
    let some = |count: u64| if count > 0 { figures::count(count) } else { String::new() };
    let facts = [
        ("Mode", if group.mode == Mode::Embedded { "embedded".to_owned() } else { "daemon".to_owned() }),
        ("Processes", processes),
        ("Python", group.python.clone()),
        ("User", group.user.clone()),
        ("Virtual host", group.virtual_host.clone()),
        ("Scripts", group.scripts.join(", ")),
        ("Slow requests so far", some(group.slow_requests)),
        ("Stuck requests so far", some(group.stuck_requests)),
    ];
    write_html!(html, "<dl class=\"facts\">");
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        write_html!(html, "<div><dt>", (name), "</dt><dd>", (value), "</dd></div>");
    }
    write_html!(html, "</dl>");
}

/// The columns of the table of processes, and whether they are numbers.
const COLUMNS: [(&str, bool); 13] = [
    ("Slot", true),
    ("State", false),
    ("Process", true),
    ("Age", true),
    ("Processor", true),
    ("Memory", true),
    ("Busy", true),
    ("Waiting", true),
    ("Requests", true),
    ("Errors", true),
    ("In / out", true),
    ("Replaced", false),
    ("Ended badly", false),
];

fn processes(page: &Page<'_>, group: &Group, html: &mut Html) {
    if group.processes.is_empty() {
        return;
    }
    write_html!(html, "<table role=\"table\" class=\"cards\"><caption>Processes");
    if group.mode == Mode::Embedded {
        write_html!(html, ": Apache's children");
    }
    write_html!(html, "</caption><thead role=\"rowgroup\"><tr role=\"row\">");
    for (name, is_number) in COLUMNS {
        write_html!(
            html,
            "<th role=\"columnheader\" scope=\"col\" class=\"",
            (if is_number { "n" } else { "" }),
            "\">",
            (name),
            "</th>"
        );
    }
    write_html!(html, "</tr></thead><tbody role=\"rowgroup\">");
    for process in &group.processes {
        let cells = cells(page.snapshot.time, group, process);
        write_html!(
            html,
            "<tr role=\"row\" data-key=\"",
            (process.slot),
            "\"><th role=\"rowheader\" scope=\"row\" class=\"n\" data-label=\"Slot\">",
            (process.slot),
            "</th>"
        );
        for ((name, is_number), cell) in COLUMNS.iter().skip(1).zip(cells) {
            write_html!(
                html,
                "<td role=\"cell\" class=\"",
                (if *is_number { "n" } else { "" }),
                "\" data-label=\"",
                (name),
                "\">",
                (or(&cell, "–")),
                "</td>"
            );
        }
        write_html!(html, "</tr>");
    }
    write_html!(html, "</tbody></table>");
}

fn cells(now: f64, group: &Group, process: &Process) -> [String; COLUMNS.len() - 1] {
    let state = match process.state {
        State::Starting => "starting",
        State::Serving if process.lacks_import => "serving, lacks a script",
        State::Serving => "serving",
        State::Failing => "failing",
        State::Dormant => "dormant",
        State::Cut => "cut off",
    };
    let peak =
        |now: u64, peak: u64| if peak > now { format!("{now} (peak {peak})") } else { now.to_string() };
    let busy = peak(process.busy, process.peak_busy);
    let has_process = process.pid != 0;
    let known = |text: String| if has_process { text } else { String::new() };
    let mut badly: Vec<(&str, u64)> =
        process.crashes.iter().map(|(signal, count)| (&**signal, *count)).collect();
    badly.extend([
        ("exit", process.exits),
        ("failed start", process.failed_starts),
        ("failed reload", process.failed_reloads),
    ]);
    let replaced = process.restarts.iter().map(|(reason, count)| (&**reason, *count));
    let ended: u64 = process.ended.iter().sum();
    [
        state.to_owned(),
        known(process.pid.to_string()),
        known(since(now, process.started)),
        known(figures::time(process.cpu)),
        known(figures::size(process.resident)),
        if group.threads > 0 { format!("{busy} of {}", group.threads) } else { busy },
        peak(process.queued, process.peak_queued),
        figures::count(ended),
        figures::count(process.ended[4]),
        format!("{} / {}", figures::size(process.bytes_in), figures::size(process.bytes_out)),
        counted(replaced),
        counted(badly.into_iter()),
    ]
}

/// Returns how many there are of each thing, without those of which there is none.
fn counted<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> String {
    let counts = counts.filter(|(_, count)| *count > 0);
    let counts =
        counts.map(|(name, count)| format!("{} × {}", figures::count(count), name.replace('_', " ")));
    counts.collect::<Vec<_>>().join(", ")
}

/// Writes the table of responses, by method and class of status.
fn responses(group: &Group, html: &mut Html) {
    let mut methods: Vec<&str> = group.http.iter().map(|ended| ended.method.as_str()).collect();
    methods.dedup();
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() {
        return;
    }
    write_html!(
        html,
        "<table role=\"table\"><caption>Responses since the start</caption><thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Method</th>"
    );
    for class in 1..=5_u8 {
        write_html!(html, "<th role=\"columnheader\" scope=\"col\" class=\"n\">", (class), "xx</th>");
    }
    write_html!(html, "</tr></thead><tbody role=\"rowgroup\">");
    for method in methods {
        write_html!(
            html,
            "<tr role=\"row\" data-key=\"",
            (method),
            "\"><th role=\"rowheader\" scope=\"row\">",
            (if method == "_OTHER" { "others" } else { method }),
            "</th>"
        );
        for class in 1..=5 {
            let of_class =
                group.http.iter().filter(|ended| ended.method == method && ended.status_class == class);
            let count = of_class.map(|ended| ended.duration.count()).sum();
            write_html!(html, "<td role=\"cell\" class=\"n\">", (figures::count(count)), "</td>");
        }
        write_html!(html, "</tr>");
    }
    write_html!(html, "</tbody></table>");
}

/// Writes the table of the parts of the requests' time.
fn times(group: &Group, html: &mut Html) {
    let total = group.durations();
    if total.count() == 0 {
        return;
    }
    let sum = |part: fn(&Times) -> &Histogram| {
        let mut sum = Histogram::default();
        group.processes.iter().for_each(|process| sum.add(part(&process.times)));
        sum
    };
    let parts = [
        ("Whole request", total),
        ("Waiting for a thread", sum(|times| &times.queue)),
        ("Waiting for the interpreter", sum(|times| &times.lock_wait)),
        ("In the application", sum(|times| &times.application)),
        ("Waiting for the body", sum(|times| &times.reading)),
        ("Sending the response", sum(|times| &times.writing)),
    ];
    write_html!(
        html,
        "<table role=\"table\"><caption>Where the time goes, since the start</caption><thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">Part</th>\
        <th role=\"columnheader\" scope=\"col\" class=\"n\">Mean</th><th role=\"columnheader\" scope=\"col\" class=\"n\">50 %</th>\
        <th role=\"columnheader\" scope=\"col\" class=\"n\">95 %</th><th role=\"columnheader\" scope=\"col\" class=\"n\">99 %</th></tr></thead><tbody role=\"rowgroup\">"
    );
    for (name, times) in parts {
        if times.count() == 0 {
            continue;
        }
        write_html!(
            html,
            "<tr role=\"row\" data-key=\"",
            (name),
            "\"><th role=\"rowheader\" scope=\"row\">",
            (name),
            "</th>"
        );
        let mean = times.mean().map_or("–".to_owned(), figures::time);
        let shares = [0.5, 0.95, 0.99].map(|share| figures::quantile(&times, share));
        for time in std::iter::once(&mean).chain(&shares) {
            write_html!(html, "<td role=\"cell\" class=\"n\">", (time), "</td>");
        }
        write_html!(html, "</tr>");
    }
    write_html!(html, "</tbody></table>");
}

/// Writes the list of rejections, by cause.
fn rejections(group: &Group, html: &mut Html) {
    let rejections = group.rejections.iter().filter(|(_, count)| **count > 0);
    if rejections.clone().next().is_none() {
        return;
    }
    write_html!(
        html,
        "<table role=\"table\"><caption>Requests that the application has not got, or not answered</caption><thead role=\"rowgroup\"><tr role=\"row\">\
        <th role=\"columnheader\" scope=\"col\">Cause</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Requests</th></tr></thead><tbody role=\"rowgroup\">"
    );
    for (cause, count) in rejections {
        write_html!(
            html,
            "<tr role=\"row\" data-key=\"",
            (cause),
            "\"><th role=\"rowheader\" scope=\"row\">",
            (cause.replace('_', " ")),
            "</th><td role=\"cell\" class=\"n\">",
            (figures::count(*count)),
            "</td></tr>"
        );
    }
    write_html!(html, "</tbody></table>");
}

/// Writes a line for each of the groups that have no details.
fn others(page: &Page<'_>, html: &mut Html) {
    let others = page.groups.iter().filter(|shown| !shown.is_detailed);
    let count = others.clone().count() as u64;
    if count == 0 {
        return;
    }
    let what =
        if page.groups.iter().filter(|shown| shown.is_detailed).count() >= FEW { "more" } else { "at rest" };
    write_html!(
        html,
        "<details id=\"others\"><summary><h3>",
        (figures::count(count)),
        " ",
        (plural(count, "group", "groups")),
        " ",
        (what),
        "</h3></summary><div class=\"body\"><table role=\"table\"><caption>Each name leads to the details of the group</caption><thead role=\"rowgroup\"><tr role=\"row\">\
        <th role=\"columnheader\" scope=\"col\">Group</th><th role=\"columnheader\" scope=\"col\">State</th>\
        <th role=\"columnheader\" scope=\"col\" class=\"n\">Processes</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Requests</th>\
        <th role=\"columnheader\" scope=\"col\" class=\"n\">Memory</th></tr></thead><tbody role=\"rowgroup\">"
    );
    for shown in others {
        let group = shown.group;
        write_html!(
            html,
            "<tr role=\"row\" data-key=\"",
            (element_id(group)),
            "\"><th role=\"rowheader\" scope=\"row\"><a href=\"?filter=",
            (encoded(title(group))),
            "\">",
            (title(group)),
            "</a></th><td role=\"cell\">",
            (condition(group).word()),
            "</td><td role=\"cell\" class=\"n\">",
            (group.running().count()),
            "</td><td role=\"cell\" class=\"n\">",
            (figures::count(group.ended())),
            "</td><td role=\"cell\" class=\"n\">",
            (figures::size(group.processes.iter().map(|process| process.resident).sum())),
            "</td></tr>"
        );
    }
    write_html!(html, "</tbody></table></div></details>");
}
