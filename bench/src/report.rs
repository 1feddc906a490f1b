//! Figures in words and tables.

use std::fmt::Write as _;

use e2e::Mpm;

use crate::contest::{Contest, Sample};
use crate::goals::goals;
use crate::machine::Machine;
use crate::memory::{Footprint, Memory};
use crate::options::{Comparison, Group};
use crate::statistics::median;
use crate::table::Table;
use crate::workload::Repeat;

/// All that was measured with one MPM and one kind of application group.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) mpm: Mpm,
    pub(crate) group: Group,
    pub(crate) memory: Option<Memory>,
    pub(crate) contests: Vec<Contest>,
}

/// What came of a run.
pub(crate) fn section(run: &Run, comparison: &Comparison) -> String {
    let group = match run.group {
        Group::Main => "main interpreter",
        Group::Own => "sub-interpreter",
    };
    let mut text = format!("### {}, {group}\n\n", run.mpm.name());
    if !run.contests.is_empty() {
        push(&mut text, speed(run));
    }
    if let Some(memory) = run.memory {
        let mut table = Table::new(&["children", "number", "sum of PSS", "largest PSS"]);
        for (name, footprint) in [("ours", memory.ours), ("original", memory.original)] {
            let Footprint { children, sum, largest } = footprint;
            table.row([name.into(), children.to_string(), megabytes(sum), megabytes(largest)]);
        }
        push(&mut text, table);
    }
    if comparison.noise {
        return text;
    }
    for goal in goals(run) {
        let verdict = if goal.reached { "reached" } else { "MISSED" };
        push(&mut text, format_args!("- {verdict}: {}", goal.text));
    }
    text
}

/// What it was measured on, and how.
pub(crate) fn conditions(machine: &Machine, comparison: &Comparison) -> String {
    let Machine { cores, processor, kernel, python, rustc, wrk, date, commit, banners: [ours, original] } =
        machine;
    let original_is = if comparison.noise { "the original, too" } else { "ours" };
    format!(
        "- {date}, {cores} cores, {processor}, Linux {kernel}\n\
         - {original_is}: {ours} ({commit}, {rustc})\n\
         - original: {original}\n\
         - {python}; {wrk}\n\
         - {} rounds, of {} s each where they are timed\n",
        comparison.rounds(),
        comparison.seconds(),
    )
}

fn speed(run: &Run) -> Table {
    let mut header = vec![
        "workload",
        "connections",
        "unit",
        "ours",
        "original",
        "ratio",
        "in rounds",
        "p99 ours",
        "p99 original",
    ];
    let yardstick = run.contests.iter().any(|contest| !contest.static_file.is_empty());
    header.extend(yardstick.then_some("static file"));
    let mut table = Table::new(&header);
    for contest in &run.contests {
        let ratio = contest.rate();
        let p99 = |samples: &[Sample]| duration(median(samples.iter().map(|sample| sample.p99)));
        let mut cells = vec![
            contest.workload.name.to_owned(),
            contest.connections.to_string(),
            unit(contest).to_owned(),
            rate(contest, &contest.ours),
            rate(contest, &contest.original),
            format!("{:.2}", ratio.value),
            format!("{:.2}–{:.2}", ratio.low, ratio.high),
            p99(&contest.ours),
            p99(&contest.original),
        ];
        cells.extend(yardstick.then(|| rate(contest, &contest.static_file)));
        table.row(cells);
    }
    table
}

fn push(text: &mut String, part: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{part}");
}

const fn unit(contest: &Contest) -> &'static str {
    match contest.workload.repeat {
        Repeat::Timed(_) => "req/s",
        Repeat::Counted { .. } => "MB/s",
    }
}

fn rate(contest: &Contest, samples: &[Sample]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let rate = median(samples.iter().map(|sample| sample.rate));
    match contest.workload.repeat {
        Repeat::Timed(_) => thousands(rate),
        Repeat::Counted { bytes, .. } => thousands(rate * bytes as f64 / f64::from(1 << 20)),
    }
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
