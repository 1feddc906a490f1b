//! The state of a server in a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use status::problems::{self, condition};
use status::snapshot::{Event, Group, Mode, Request, SCHEMA, Snapshot};
use status::trend::Trend;
use status::{figures, printable};

use crate::failure::Failure;
use crate::general;
use crate::inquiry::{self, Place, PlaceFile};
use crate::parse::Parsed;
use crate::settings::Settings;
use crate::spec::Spec;
use crate::terminal::{complain, say, say_to_reader};

/// The path of the status of servers with `--server-status`.
pub(crate) const PATH: &str = "/wsgi-status";
/// The file of the server root that tells where the status is; empty without one.
pub(crate) const PLACE: &str = "status";
const FILE: PlaceFile =
    PlaceFile { name: PLACE, lacks: "does not show its status; start it with --server-status" };

static WATCH: Spec = Spec::flag("--watch", "Shows it again every two seconds, until it is interrupted.");
static JSON: Spec = Spec::flag("--json", "Prints it as JSON, which docs/status.md describes.");

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// The longest answer, in bytes. A thousand groups with two processes have about seven million.
const LONGEST: u64 = 256 << 20;
/// The most requests and events that are shown.
const MOST_REQUESTS: usize = 20;
const MOST_EVENTS: usize = 5;
/// The longest text of a column, in characters.
const WIDEST: usize = 60;

/// The options of `status`.
pub(crate) fn options() -> Vec<&'static Spec> {
    vec![&general::SERVER_ROOT, &general::HOST, &general::PORT, &WATCH, &JSON]
}

/// Returns the content of the file that tells the command where to ask.
pub(crate) fn place(settings: &Settings) -> String {
    if !settings.files.status {
        return String::new();
    }
    // By the name that the server has, since it may refuse others.
    let url = settings.url();
    let name = url.split_once("://").map_or(&*url, |(_, name)| name);
    inquiry::place(settings.host.as_deref(), settings.port, PATH, Some(name))
}

/// Shows the state of a server; 0.
///
/// # Errors
/// It cannot be asked.
pub(crate) fn show(parsed: &Parsed) -> Result<u8, Failure> {
    let mut place = match &parsed.positional[..] {
        [] => Place::of(parsed, &FILE)?,
        [url] => Place::at(url)?,
        _ => return Err(Failure::usage("Incorrect number of arguments.")),
    };
    place.path = as_json(&place.path);
    let is_json = parsed.has(&JSON);
    if !parsed.has(&WATCH) {
        say(&look(&place, is_json)?)?;
        return Ok(0);
    }
    let is_terminal = stdout().is_terminal();
    loop {
        let is_read = match look(&place, is_json) {
            // The cursor goes home, and what was below it is cleared.
            Ok(text) if is_terminal => {
                let size = os::terminal::size(stdout().as_fd()).filter(|_| !is_json);
                let text = size.map_or_else(|| text.clone(), |size| fitted(&text, size));
                say_to_reader(&format!("\x1b[H\x1b[2J{text}"))?
            }
            Ok(text) => say_to_reader(&format!("{text}\n"))?,
            Err(failure) => {
                complain(&format!("{failure}"));
                true
            }
        };
        if !is_read {
            return Ok(0);
        }
        thread::sleep(INTERVAL);
    }
}

/// Returns as much of a text as a terminal has room for, with the line of the cursor.
fn fitted(text: &str, size: os::terminal::Size) -> String {
    let (columns, rows) = (usize::from(size.columns).max(2), usize::from(size.rows).max(3) - 1);
    let all: Vec<_> = text.lines().collect();
    let most = if all.len() > rows { rows - 1 } else { rows };
    let mut fitted: String =
        all.iter().take(most).map(|line| format!("{}\n", shortened(line, columns))).collect();
    if all.len() > most {
        fitted += &shortened(&format!("... and {} more lines", all.len() - most), columns);
        fitted.push('\n');
    }
    fitted
}

/// Returns the path of a status, with its query, as that of its JSON.
fn as_json(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    // The first format counts.
    let more = if query.is_empty() { "" } else { "&" };
    format!("{path}?format=json{more}{query}")
}

fn look(place: &Place, is_json: bool) -> Result<String, Failure> {
    let (status, body) = place.ask(LONGEST)?;
    let shown = format!("{}{}", place.address, place.path);
    match status {
        200 => {}
        401 => return Err(Failure::machine(format!("{shown} asks for a user: look at it in a browser"))),
        403 => {
            let text = format!("{shown} is not for this client: see WSGIStatusClients and Require");
            return Err(Failure::machine(text));
        }
        // No other answer of wsgi-status has this one.
        503 => {
            let text = format!(
                "status 503 at {shown}: if that is wsgi-status, the server has no shared memory; its error log says why"
            );
            return Err(Failure::machine(text));
        }
        _ => return Err(Failure::machine(format!("status {status} at {shown}, which is no wsgi-status"))),
    }
    let parsed: Result<Snapshot, _> = serde_json::from_str(&body);
    let mut snapshot = match parsed {
        Ok(snapshot) if snapshot.schema == SCHEMA => snapshot,
        Ok(snapshot) if snapshot.schema > SCHEMA => {
            let text =
                format!("{shown} has the schema {}: ask it with its own mod_wsgi-express", snapshot.schema);
            return Err(Failure::machine(text));
        }
        _ => return Err(Failure::machine(format!("{shown} is no wsgi-status"))),
    };
    if is_json {
        let body = printable::json(body.trim_end());
        return Ok(format!("{body}\n"));
    }
    printable::make(&mut snapshot);
    Ok(text(&snapshot))
}

/// Returns the state as text.
fn text(snapshot: &Snapshot) -> String {
    let server = &snapshot.server;
    let mut text =
        format!("{}: mod_wsgi-rs {}, Apache {} ({})", server.host, server.version, server.apache, server.mpm);
    // Writing to a string does not fail.
    if server.started > 0.0 {
        let _ = write!(text, ", running for {}", figures::age(snapshot.time - server.started));
    }
    text.push('\n');
    if let Some(host) = &snapshot.scope {
        let host = if host.is_empty() { "the main server" } else { host };
        let _ = writeln!(text, "Only what belongs to {host} is shown.");
    }
    if server.dropped_spans > 0 {
        let count = figures::count(server.dropped_spans);
        let _ = writeln!(text, "Dropped spans of OpenTelemetry, which the exporter could not take: {count}");
    }
    text.push('\n');
    groups(snapshot, &mut text);
    requests(snapshot, &mut text);
    problems(snapshot, &mut text);
    events(snapshot, &mut text);
    text
}

fn groups(snapshot: &Snapshot, text: &mut String) {
    const HEADINGS: [&str; 10] =
        ["GROUP", "STATE", "PROCESSES", "BUSY", "WAITING", "PER SECOND", "MEAN", "95 %", "ERRORS", "MEMORY"];
    let row = |group: &Group| {
        let recent = Trend::of_group(group, snapshot.time).recent.unwrap_or_default();
        let threads = u64::from(group.threads) * group.running().count() as u64;
        let resident = group.processes.iter().map(|process| process.resident).sum();
        vec![
            title(group).to_owned(),
            condition(group).word().to_owned(),
            format!("{}/{}", group.running().count(), group.processes.len()),
            format!("{}/{threads}", group.busy()),
            figures::count(group.queued),
            figures::decimal(recent.rate),
            recent.mean.map_or("–".to_owned(), figures::time),
            figures::quantile(&group.durations(), 0.95),
            figures::count(group.errors()),
            figures::size(resident),
        ]
    };
    if snapshot.groups.is_empty() {
        text.push_str("There are no process groups, and nothing has run in Apache's children.\n");
    } else {
        table(&HEADINGS, 2, snapshot.groups.iter().map(row), text);
    }
}

fn requests(snapshot: &Snapshot, text: &mut String) {
    let groups = snapshot.groups.iter();
    let mut requests: Vec<(&Group, &Request)> =
        groups.flat_map(|group| group.requests.iter().map(move |request| (group, request))).collect();
    if requests.is_empty() {
        return;
    }
    requests.sort_by(|(_, one), (_, other)| other.age.total_cmp(&one.age));
    text.push('\n');
    let rows = requests.iter().take(MOST_REQUESTS).map(|(group, request)| {
        vec![
            figures::time(request.age),
            request.pid.to_string(),
            title(group).to_owned(),
            format!("{}{}", request.phase.word(), if request.slow { ", slow" } else { "" }),
            format!("{} {}", request.method, request.path),
        ]
    });
    table(&["AGE", "PROCESS", "GROUP", "PHASE", "REQUEST"], 0, rows, text);
    if requests.len() > MOST_REQUESTS {
        let _ = writeln!(text, "... and {} more", requests.len() - MOST_REQUESTS);
    }
}

fn problems(snapshot: &Snapshot, text: &mut String) {
    let problems = problems::of(snapshot);
    let of_groups = problems
        .iter()
        .map(|problem| format!("{}: {}", title(&snapshot.groups[problem.group]), problem.text));
    let lines: Vec<_> = of_groups.chain(snapshot.warnings.iter().cloned()).collect();
    if !lines.is_empty() {
        let _ = writeln!(text, "\nPROBLEMS\n{}", lines.join("\n"));
    }
}

fn events(snapshot: &Snapshot, text: &mut String) {
    if snapshot.events.is_empty() {
        return;
    }
    text.push_str("\nEVENTS\n");
    for Event { time, group, text: cause, .. } in snapshot.events.iter().take(MOST_EVENTS) {
        let ago = figures::age(snapshot.time - time);
        let group = if group.is_empty() { EMBEDDED } else { group };
        let _ = writeln!(text, "{} UTC, {ago} ago: {group}: {cause}", figures::moment(*time));
    }
}

const EMBEDDED: &str = "embedded mode";

fn title(group: &Group) -> &str {
    if group.mode == Mode::Embedded { EMBEDDED } else { &group.name }
}

/// Appends a table whose columns, but for the first `left` ones and the last one of texts, are
/// numbers.
fn table(headings: &[&str], left: usize, rows: impl Iterator<Item = Vec<String>>, text: &mut String) {
    let headings = headings.iter().map(|&heading| heading.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(rows).collect();
    let width = |column: usize| {
        let lengths = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        lengths.max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let cell = shortened(cell, WIDEST);
            let is_number = left > 0 && column >= left || left == 0 && column < 2;
            if is_number {
                let _ = write!(line, "{cell:>width$}  ");
            } else {
                let _ = write!(line, "{cell:<width$}  ");
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Returns a text of no more than so many characters.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use status::snapshot::{EventKind, Process, Server, State};

    use super::*;

    #[test]
    fn any_url_of_a_status_is_asked_for_json() {
        for (path, asked) in [
            ("/s", "/s?format=json"),
            ("/s?", "/s?format=json"),
            ("/s?filter=a&format=html", "/s?format=json&filter=a&format=html"),
        ] {
            assert_eq!(as_json(path), asked);
        }
    }

    #[test]
    fn a_terminal_gets_what_it_has_room_for() {
        let size = |columns, rows| os::terminal::Size { columns, rows };
        let text = "1234567890\n2\n3\n4\n";
        assert_eq!(fitted(text, size(10, 5)), text);
        assert_eq!(fitted(text, size(9, 4)), "12345678…\n2\n... and …\n");
        assert_eq!(fitted(text, size(1, 1)), "1…\n.…\n");
    }

    #[test]
    fn the_state_is_a_table() {
        let process =
            Process { pid: 71, state: State::Serving, busy: 2, resident: 5 << 20, ..Process::default() };
        let request = Request {
            pid: 71,
            method: "GET".to_owned(),
            path: format!("/{}", "x".repeat(80)),
            age: 12.0,
            ..Request::default()
        };
        let group = Group {
            name: "shop".to_owned(),
            threads: 2,
            queued: 3,
            processes: vec![process],
            requests: vec![request],
            ..Group::default()
        };
        let event = Event {
            time: 990.0,
            group: "shop".to_owned(),
            kind: EventKind::Crash,
            text: "it crashed".to_owned(),
            ..Event::default()
        };
        let server = Server {
            host: "web1".to_owned(),
            version: "1".to_owned(),
            dropped_spans: 1_234,
            ..Server::default()
        };
        let snapshot = Snapshot {
            time: 1_000.0,
            server,
            groups: vec![group],
            events: vec![event],
            warnings: vec!["a warning".to_owned()],
            ..Snapshot::default()
        };
        let text = text(&snapshot);
        for line in [
            "GROUP  STATE      PROCESSES  BUSY  WAITING  PER SECOND  MEAN  95 %  ERRORS  MEMORY",
            "shop   saturated        1/1   2/2        3           0     –     –       0  5.0 MB",
            "   AGE  PROCESS  GROUP  PHASE   REQUEST",
            "shop: all 2 threads are busy, and 3 requests wait",
            "a warning",
            "Dropped spans of OpenTelemetry, which the exporter could not take: 1,234",
            "1970-01-01 00:16:30 UTC, 10 s ago: shop: it crashed",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line:?} in\n{text}");
        }
        let request = format!("12.0 s       71  shop   queued  GET /{}…", "x".repeat(54));
        assert!(text.contains(&request), "{text}");
    }
}
