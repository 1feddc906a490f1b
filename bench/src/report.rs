//! Figures in words and tables.

use std::fmt::Write as _;

use crate::backend::Backend;
use crate::contest::{Contest, Sample, least_share};
use crate::goals::{Goal, goals};
use crate::machine::Machine;
use crate::memory::{Footprint, Memory, Scope};
use crate::options::Comparison;
use crate::packages;
use crate::restarts::Restarts;
use crate::run::Run;
use crate::scale::Scaling;
use crate::statistics::median;
use crate::table::Table;
use crate::workload::{Repeat, WORKLOADS};
use crate::yardstick::Yardstick;

/// Returns the section about a run.
pub(crate) fn section(run: &Run, comparison: &Comparison) -> String {
    let mut text = format!("### {}, {}\n\n", run.mpm.name(), run.place.title());
    if !run.contests.is_empty() {
        push(&mut text, speed(run));
        push(&mut text, latencies(run));
        push_closed(&mut text, run);
    }
    if let Some(Memory { scope, ours, original }) = run.memory {
        let what = match scope {
            Scope::Children => "children",
            Scope::Server => "all processes",
        };
        let mut table = Table::new(&[what, "number", "sum of PSS", "largest PSS"]);
        for (name, footprint) in [("ours", ours), ("original", original)] {
            let Footprint { processes, sum, largest } = footprint;
            table.row([name.into(), processes.to_string(), megabytes(sum), megabytes(largest)]);
        }
        push(&mut text, table);
    }
    if comparison.noise {
        return text;
    }
    push_goals(&mut text, &goals(run));
    text
}

/// Returns the section about scaling.
pub(crate) fn scaling(scaling: &Scaling) -> String {
    let mut text = String::new();
    let header = [
        "groups",
        "used",
        "start",
        "start of one",
        "sum of PSS",
        "PSS of one",
        "RSS of the supervisor",
        "its PSS",
    ];
    let mut table = Table::new(&header);
    for crowd in scaling.crowds.iter().chain(&scaling.used) {
        let groups = f64::from(crowd.used);
        table.row([
            crowd.groups.to_string(),
            crowd.used.to_string(),
            duration(crowd.start),
            duration(crowd.start / groups),
            megabytes(crowd.sum),
            megabytes(crowd.sum / groups),
            megabytes(crowd.supervisor),
            megabytes(crowd.supervisor_alone),
        ]);
    }
    push(&mut text, table);
    push_goals(&mut text, &scaling.goals());
    text
}

/// Returns the section about restarts.
pub(crate) fn restarts(all: &[Restarts]) -> String {
    let mut text = String::new();
    for restarts in all {
        push(&mut text, format_args!("### {}, {}\n", restarts.mpm.name(), restarts.place.title()));
        let mut table =
            Table::new(&["during", "server", "asked for", "requests", "lost", "median", "p99", "slowest"]);
        for trial in &restarts.trials {
            for (what, requests) in [("hello", &trial.application), ("static file", &trial.static_file)] {
                table.row([
                    trial.disturbance.name().to_owned(),
                    trial.side.name().to_owned(),
                    what.to_owned(),
                    thousands((requests.seconds.len() + requests.lost) as f64),
                    requests.lost.to_string(),
                    duration(requests.median()),
                    duration(requests.p99()),
                    duration(requests.worst()),
                ]);
            }
        }
        push(&mut text, table);
        push_goals(&mut text, &restarts.goals());
        push(&mut text, "");
    }
    text
}

/// Returns the conditions of a measurement of scaling or restarts.
pub(crate) fn brief_conditions(machine: &Machine) -> String {
    let Machine { cores, processor, kernel, python, rustc, date, commit } = machine;
    format!("- {date}, {cores} cores, {processor}, Linux {kernel}; {commit}, {rustc}; {python}\n")
}

/// Returns the conditions of the comparison, with the names that the servers give themselves, ours
/// first.
pub(crate) fn conditions(machine: &Machine, banners: &[String; 2], comparison: &Comparison) -> String {
    let Machine { cores, processor, kernel, python, rustc, date, commit } = machine;
    let [ours, original] = banners;
    let original_is = if comparison.noise { "the original, too" } else { "ours" };
    format!(
        "- {date}, {cores} cores, {processor}, Linux {kernel}\n\
         - {original_is}: {ours} ({commit}, {rustc})\n\
         - original: {original}\n\
         - {python}; {}\n\
         - {} rounds, of {} s each where they are timed\n",
        backends(comparison),
        comparison.rounds(),
        comparison.seconds(),
    )
}

fn backends(comparison: &Comparison) -> String {
    let others = &comparison.others;
    let text = |name: &str, version: Option<String>| match version {
        Some(version) => format!("{name} {version}"),
        None => format!("{name} is left out: `bench/others {}` installs it", others.display()),
    };
    let backends = Backend::ALL.map(|backend| text(backend.name(), backend.version(others)));
    let packages = WORKLOADS.iter().filter_map(|workload| workload.package);
    let packages = packages.map(|package| text(package, packages::version(others, package)));
    backends.into_iter().chain(packages).collect::<Vec<_>>().join("; ")
}

/// Rates, with the processor time of a request beside each.
fn speed(run: &Run) -> Table {
    let mut header = vec!["workload", "connections", "unit", "ours", "original", "ratio", "in rounds"];
    let was_measured =
        |yardstick: &&Yardstick| run.contests.iter().any(|contest| contest.samples(**yardstick).is_some());
    let yardsticks: Vec<_> = Yardstick::of(run.place).iter().filter(was_measured).collect();
    header.extend(yardsticks.iter().map(|yardstick| yardstick.name()));
    let mut table = Table::new(&header);
    for contest in &run.contests {
        let ratio = contest.rate();
        let mut cells = vec![
            contest.workload.name.to_owned(),
            contest.connections.to_string(),
            unit(contest).to_owned(),
            rate(contest, &contest.ours),
            rate(contest, &contest.original),
            format!("{:.2}", ratio.value),
            format!("{:.2}–{:.2}", ratio.low, ratio.high),
        ];
        let yardstick = |&&yardstick: &&Yardstick| contest.samples(yardstick);
        cells.extend(yardsticks.iter().map(yardstick).map(|samples| match samples {
            Some(samples) => rate(contest, samples),
            None => String::new(),
        }));
        table.row(cells);
    }
    table
}

/// Latencies of ours and the original, and what the connections get.
fn latencies(run: &Run) -> Table {
    let mut table = Table::new(&[
        "workload",
        "connections",
        "p50 ours",
        "original",
        "p99 ours",
        "original",
        "p99.9 ours",
        "original",
        "least share ours",
        "original",
    ]);
    for contest in &run.contests {
        let mut cells = vec![contest.workload.name.to_owned(), contest.connections.to_string()];
        for figure in
            [|sample: &Sample| sample.p50, |sample: &Sample| sample.p99, |sample: &Sample| sample.p999]
        {
            for samples in [&contest.ours, &contest.original] {
                cells.push(duration(median(samples.iter().map(figure))));
            }
        }
        for samples in [&contest.ours, &contest.original] {
            cells.push(least_share(samples).map(|share| format!("{share:.2}")).unwrap_or_default());
        }
        table.row(cells);
    }
    table
}

/// Says how often connections were closed between requests, where that happened.
fn push_closed(text: &mut String, run: &Run) {
    let sum = |samples: &[Sample]| samples.iter().map(|sample| sample.closed).sum::<usize>();
    for contest in &run.contests {
        let (ours, original) = (sum(&contest.ours), sum(&contest.original));
        if ours + original > 0 {
            let name = format_args!("{} at {}", contest.workload.name, contest.connections);
            push(
                text,
                format_args!(
                    "Apache closed kept connections between requests ({name}): {ours} times with ours, {original} with the original.\n"
                ),
            );
        }
    }
}

fn push_goals(text: &mut String, goals: &[Goal]) {
    for goal in goals {
        let verdict = if goal.reached { "reached" } else { "MISSED" };
        push(text, format_args!("- {verdict}: {}", goal.text));
    }
}

fn push(text: &mut String, part: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{part}");
}

const fn unit(contest: &Contest) -> &'static str {
    match contest.workload.repeat {
        Repeat::Timed(_) | Repeat::Mixed(_) => "req/s",
        Repeat::Counted { .. } => "MB/s",
    }
}

/// The median rate, with the processor time of a request in brackets.
fn rate(contest: &Contest, samples: &[Sample]) -> String {
    let rate = median(samples.iter().map(|sample| sample.rate));
    let rate = match contest.workload.repeat {
        Repeat::Timed(_) | Repeat::Mixed(_) => thousands(rate),
        Repeat::Counted { bytes, .. } => thousands(rate * bytes as f64 / f64::from(1 << 20)),
    };
    format!("{rate} ({})", duration(median(samples.iter().map(|sample| sample.processor))))
}

fn megabytes(kilobytes: f64) -> String {
    format!("{:.1} MB", kilobytes / 1024.0)
}

/// A whole number, in groups of three digits.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds, in the unit that suits them.
fn duration(seconds: f64) -> String {
    match seconds {
        ..0.001 => format!("{:.0} µs", seconds * 1e6),
        ..0.1 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_in_groups_of_three() {
        let texts = [0.4, 999.0, 1000.0, 44_800.4, 1_234_567.0].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "44,800", "1,234,567"]);
    }

    #[test]
    fn durations_have_their_unit() {
        assert_eq!([0.000_061, 0.0123, 0.354].map(duration), ["61 µs", "12.3 ms", "0.35 s"]);
    }
}
