//! The goals that the figures have to reach.

use e2e::Mpm;

use crate::backend::Backend;
use crate::contest::{Contest, Ratio};
use crate::memory::Scope;
use crate::place::Place;
use crate::run::Run;
use crate::statistics::geometric_mean;
use crate::yardstick::Yardstick;

/// A goal, and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) text: String,
    pub(crate) reached: bool,
}

/// All goals that this run has figures for.
pub(crate) fn goals(run: &Run) -> Vec<Goal> {
    let mut goals = Vec::new();
    goals.extend(hello(run));
    goals.extend(static_file(run));
    goals.extend(embedded(run));
    goals.extend(floor(run));
    goals.extend(fairness(run));
    goals.extend(faster("the original's embedded mode", run, Yardstick::OriginalEmbedded));
    goals.extend(faster("uWSGI behind the same Apache", run, Yardstick::Behind(Backend::Uwsgi)));
    goals.extend(multiples(run));
    if !run.contests.is_empty() {
        goals.push(no_worse("nothing slower than the original", run, Contest::rate, Better::More));
        goals.push(no_worse("p99 no worse than the original's", run, Contest::p99, Better::Less));
        goals.push(no_worse("p99.9 no worse than the original's", run, Contest::p999, Better::Less));
    }
    goals.extend(memory(run));
    goals
}

fn hello(run: &Run) -> Option<Goal> {
    let wanted = match (run.place, run.mpm) {
        (Place::Main, Mpm::Prefork) => 2.2,
        (Place::Main, Mpm::Event) => 2.5,
        (Place::Daemon { .. }, Mpm::Prefork | Mpm::Event) => 3.0,
        _ => return None,
    };
    let ratios: Vec<_> = hello_contests(run).map(|contest| contest.rate().value).collect();
    if ratios.is_empty() {
        return None;
    }
    let mean = geometric_mean(ratios);
    let text = format!("hello, geometric mean of the ratios: {mean:.2} (goal: {wanted})");
    Some(Goal { text, reached: mean >= wanted })
}

fn static_file(run: &Run) -> Option<Goal> {
    let (connections, wanted): (&[u32], _) = match (run.place, run.mpm) {
        (Place::Main, Mpm::Prefork) => (&[4], 1.0),
        (Place::Daemon { .. }, _) => (&[4, 16], 0.85),
        _ => return None,
    };
    let contests = hello_contests(run).filter(|contest| connections.contains(&contest.connections));
    let ratio = |contest: &Contest| Some((contest.connections, contest.against(Yardstick::StaticFile)?));
    let ratios: Vec<_> = contests.filter_map(ratio).collect();
    let mut goal = each(&ratios, "hello against the static file", wanted, |ratio| ratio >= wanted)?;
    let contests = hello_contests(run).filter(|contest| connections.contains(&contest.connections));
    let bare: Vec<_> = contests.filter_map(bare_against_static_file).collect();
    if !bare.is_empty() {
        goal.text += &format!("; the C handler and process: {}", bare.join(", "));
    }
    Some(goal)
}

fn bare_against_static_file(contest: &Contest) -> Option<String> {
    let ratio = contest.against(Yardstick::StaticFile)? / contest.against(Yardstick::FloorDaemon)?;
    Some(format!("{ratio:.2} at {}", contest.connections))
}

/// The processor time that daemon mode may take, as a multiple of the bare design's.
const OVER_FLOOR: f64 = 1.6;

fn floor(run: &Run) -> Option<Goal> {
    let ratio =
        |contest: &Contest| Some((contest.connections, contest.processor_against(Yardstick::FloorDaemon)?));
    let ratios: Vec<_> = hello_contests(run).filter_map(ratio).collect();
    let what = "processor time of hello against the C handler and process";
    each(&ratios, what, OVER_FLOOR, |ratio| ratio <= OVER_FLOOR)
}

/// The responses of the connection that gets fewest within a second, of those of the median one.
const FAIR: f64 = 0.5;

fn fairness(run: &Run) -> Option<Goal> {
    let share = |contest: &Contest| Some((contest.connections, contest.least_share()?));
    let shares: Vec<_> = hello_contests(run).filter_map(share).collect();
    each(&shares, "hello, least connection of the median one in the worst second", FAIR, |share| {
        share >= FAIR
    })
}

/// A goal that each number of connections has to reach.
fn each(figures: &[(u32, f64)], what: &str, wanted: f64, reached: impl Fn(f64) -> bool) -> Option<Goal> {
    if figures.is_empty() {
        return None;
    }
    let list: Vec<_> =
        figures.iter().map(|(connections, figure)| format!("{figure:.2} at {connections}")).collect();
    let text = format!("{what}: {} (goal: {wanted})", list.join(", "));
    Some(Goal { text, reached: figures.iter().all(|&(_, figure)| reached(figure)) })
}

fn embedded(run: &Run) -> Option<Goal> {
    let contest = hello_contests(run).find(|contest| contest.connections == 1)?;
    let ratio = contest.against(Yardstick::OursEmbedded)?;
    let text = format!("hello at 1 connection against our embedded mode: {ratio:.2} (goal: 0.7)");
    Some(Goal { text, reached: ratio >= 0.7 })
}

fn faster(whom: &str, run: &Run, yardstick: Yardstick) -> Option<Goal> {
    let ratios: Vec<_> = hello_contests(run).filter_map(|contest| contest.against(yardstick)).collect();
    if ratios.is_empty() {
        return None;
    }
    let single: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let mean = geometric_mean(ratios);
    let text = format!(
        "hello against {whom}, geometric mean: {mean:.2} of {} (goal: more than 1)",
        single.join(", ")
    );
    Some(Goal { text, reached: mean > 1.0 })
}

/// The workloads that daemon mode has to do faster than the original, and how many times.
const MULTIPLES: &[(&str, f64)] = &[("cpu", 1.25), ("stream", 2.0), ("file", 2.0), ("upload", 2.0)];

fn multiples(run: &Run) -> Vec<Goal> {
    if !matches!(run.place, Place::Daemon { .. }) {
        return Vec::new();
    }
    let wanted = |contest: &Contest| {
        let (name, wanted) = MULTIPLES.iter().find(|(name, _)| *name == contest.workload.name)?;
        let ratio = contest.rate().value;
        Some(Goal { text: format!("{name}: {ratio:.2} (goal: {wanted})"), reached: ratio >= *wanted })
    };
    run.contests.iter().filter_map(wanted).collect()
}

#[derive(Clone, Copy)]
enum Better {
    More,
    Less,
}

/// The distance of a median from 1 that still counts as even, if single rounds are on either side
/// of 1.
pub(crate) const EVEN: f64 = 0.1;

/// A goal that every contest has to reach.
fn no_worse(what: &str, run: &Run, ratio: impl Fn(&Contest) -> Ratio, better: Better) -> Goal {
    let mut worse = Vec::new();
    let mut even = Vec::new();
    for contest in &run.contests {
        let Ratio { value, low, high } = ratio(contest);
        let (is_worse, is_even) = match better {
            Better::More => (value < 1.0, high >= 1.0 && value >= 1.0 - EVEN),
            Better::Less => (value > 1.0, low <= 1.0 && value <= 1.0 + EVEN),
        };
        if is_worse {
            let name = format!("{} at {} ({value:.2})", contest.workload.name, contest.connections);
            if is_even { even.push(name) } else { worse.push(name) }
        }
    }
    let mut text = what.to_owned();
    if !worse.is_empty() {
        text += &format!("; worse: {}", worse.join(", "));
    }
    if !even.is_empty() {
        text += &format!("; even within the noise: {}", even.join(", "));
    }
    Goal { text, reached: worse.is_empty() }
}

fn memory(run: &Run) -> Option<Goal> {
    let memory = run.memory?;
    // Beyond two digits there is chance: where a heap's end lies, which page was just touched.
    let ratio = |ours: f64, original: f64| (ours / original * 100.0).round() / 100.0;
    let sum = ratio(memory.ours.sum, memory.original.sum);
    let largest = ratio(memory.ours.largest, memory.original.largest);
    Some(match memory.scope {
        Scope::Children => Goal {
            text: format!(
                "children no larger: sum of PSS {sum:.2}, largest child {largest:.2} (goal: at most 1)"
            ),
            reached: sum <= 1.0 && largest <= 1.0,
        },
        Scope::Server => Goal {
            text: format!("the whole server smaller: sum of PSS {sum:.2} (goal: less than 1)"),
            reached: sum < 1.0,
        },
    })
}

fn hello_contests(run: &Run) -> impl Iterator<Item = &Contest> {
    run.contests.iter().filter(|contest| contest.workload.name == "hello")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::Sample;
    use crate::memory::{Footprint, Memory};
    use crate::workload::WORKLOADS;

    fn samples(rates: &[f64]) -> Vec<Sample> {
        rates.iter().copied().map(Sample::even).collect()
    }

    fn hello(connections: u32, ours: &[f64], original: &[f64]) -> Contest {
        Contest {
            workload: &WORKLOADS[0],
            connections,
            ours: samples(ours),
            original: samples(original),
            yardsticks: vec![(Yardstick::StaticFile, samples(&[150.0]))],
        }
    }

    fn run(mpm: Mpm, contests: Vec<Contest>) -> Run {
        Run { mpm, place: Place::Main, memory: None, contests }
    }

    fn verdicts(run: &Run) -> Vec<bool> {
        goals(run).into_iter().map(|goal| goal.reached).collect()
    }

    #[test]
    fn each_mpm_has_its_goal() {
        // Ratios 2 and 3: the geometric mean is 2.45.
        let contests = || vec![hello(1, &[200.0], &[100.0]), hello(4, &[300.0], &[100.0])];
        assert_eq!(verdicts(&run(Mpm::Prefork, contests())), [true; 5]);
        assert_eq!(verdicts(&run(Mpm::Event, contests())), [false, true, true, true]);
        let mut own = run(Mpm::Prefork, contests());
        own.place = Place::Own;
        own.contests.iter_mut().for_each(|contest| contest.yardsticks.clear());
        assert_eq!(verdicts(&own), [true; 3]);
    }

    #[test]
    fn static_file_is_the_yardstick_at_four_connections() {
        let slow = run(Mpm::Prefork, vec![hello(4, &[140.0], &[10.0])]);
        assert_eq!(verdicts(&slow), [true, false, true, true, true]);
    }

    #[test]
    fn worse_in_every_round_is_worse_and_in_some_is_even() {
        let worse = goals(&run(Mpm::Worker, vec![hello(1, &[90.0, 95.0, 99.0], &[100.0; 3])]));
        assert_eq!(worse.iter().map(|goal| goal.reached).collect::<Vec<_>>(), [false; 3]);
        assert!(worse[0].text.ends_with("worse: hello at 1 (0.95)"), "{}", worse[0].text);
        let even = goals(&run(Mpm::Worker, vec![hello(1, &[90.0, 95.0, 101.0], &[100.0; 3])]));
        assert_eq!(even.iter().map(|goal| goal.reached).collect::<Vec<_>>(), [true; 3]);
        assert!(even[0].text.contains("even"), "{}", even[0].text);
        let far = goals(&run(Mpm::Worker, vec![hello(1, &[70.0, 80.0, 101.0], &[100.0; 3])]));
        assert_eq!(far.iter().map(|goal| goal.reached).collect::<Vec<_>>(), [false; 3]);
    }

    #[test]
    fn daemon_mode_has_goals_of_its_own() {
        let with = |connections, ours: f64, yardsticks: &[(Yardstick, f64)]| {
            let yardsticks = yardsticks.iter().map(|&(yardstick, rate)| (yardstick, samples(&[rate])));
            Contest { yardsticks: yardsticks.collect(), ..hello(connections, &[ours], &[100.0]) }
        };
        let daemon = |contests| Run { place: Place::Daemon { processes: 1 }, ..run(Mpm::Event, contests) };
        let uwsgi = Yardstick::Behind(Backend::Uwsgi);
        let yardsticks =
            [(Yardstick::OursEmbedded, 400.0), (Yardstick::OriginalEmbedded, 290.0), (uwsgi, 310.0)];
        let hello = daemon(vec![with(1, 300.0, &yardsticks), with(4, 310.0, &[(uwsgi, 300.0)])]);
        // Against the original's daemon mode, ours embedded, the original's embedded, uWSGI; then
        // the three of all.
        assert_eq!(verdicts(&hello), [true, true, true, false, true, true, true]);

        let cpu = WORKLOADS.iter().find(|workload| workload.name == "cpu").unwrap();
        let cpu = |ours| daemon(vec![Contest { workload: cpu, ..with(4, ours, &[]) }]);
        assert_eq!(verdicts(&cpu(124.0)), [false, true, true, true]);
        assert_eq!(verdicts(&cpu(125.0)), [true; 4]);
    }

    #[test]
    fn bare_design_and_static_file_are_the_yardsticks_of_daemon_mode() {
        let text = |yardstick, rates: [f64; 2]| {
            let contest = |connections, rate| Contest {
                yardsticks: vec![(yardstick, samples(&[rate]))],
                ..hello(connections, &[100.0], &[10.0])
            };
            let contests = vec![contest(4, rates[0]), contest(16, rates[1])];
            let run = Run { place: Place::Daemon { processes: 1 }, ..run(Mpm::Event, contests) };
            goals(&run).into_iter().map(|goal| (goal.text, goal.reached)).nth(1).unwrap()
        };
        let (words, reached) = text(Yardstick::FloorDaemon, [150.0, 160.0]);
        assert!(words.ends_with("1.50 at 4, 1.60 at 16 (goal: 1.6)") && reached, "{words}");
        assert!(!text(Yardstick::FloorDaemon, [150.0, 170.0]).1);
        assert!(text(Yardstick::StaticFile, [110.0, 115.0]).1);
        assert!(!text(Yardstick::StaticFile, [110.0, 120.0]).1);
    }

    #[test]
    fn no_connection_may_get_less_than_half_in_any_round() {
        let reached = |shares: [f64; 2]| {
            let ours = shares.map(|share| Sample { least_share: Some(share), ..Sample::even(100.0) });
            let contest = Contest { ours: ours.to_vec(), ..hello(16, &[], &[100.0]) };
            let run = Run { place: Place::Own, ..run(Mpm::Event, vec![contest]) };
            goals(&run)[0].reached
        };
        assert!(reached([0.9, 0.5]));
        assert!(!reached([0.9, 0.4]));
    }

    #[test]
    fn children_are_compared_by_sum_and_by_the_largest_and_servers_by_sum() {
        let reached = |scope, sum, largest| {
            let original = Footprint { processes: 2.0, sum: 1000.0, largest: 500.0 };
            let ours = Footprint { processes: 2.0, sum, largest };
            let memory = Some(Memory { scope, ours, original });
            verdicts(&Run { memory, ..run(Mpm::Worker, Vec::new()) })
        };
        assert_eq!(reached(Scope::Children, 1004.0, 500.0), [true]);
        assert_eq!(reached(Scope::Children, 1020.0, 500.0), [false]);
        assert_eq!(reached(Scope::Children, 900.0, 600.0), [false]);
        assert_eq!(reached(Scope::Server, 900.0, 600.0), [true]);
        assert_eq!(reached(Scope::Server, 1000.0, 500.0), [false]);
    }
}
