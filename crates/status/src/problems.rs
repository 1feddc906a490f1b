//! The things that are wrong with a server at present.

use crate::Snapshot;
use crate::snapshot::{Group, Mode, State};

/// The condition of a group, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its processes cannot serve.
    Failing,
    /// Requests wait, since all of its threads are busy.
    Saturated,
    /// No process serves yet.
    Starting,
    /// It serves.
    Serving,
    /// It has no process, and wants none at present.
    Dormant,
    /// It belongs to others: its condition is not shown.
    Hidden,
}

impl Condition {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Saturated => "saturated",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Dormant => "dormant",
            Self::Hidden => "not shown",
        }
    }
}

/// A thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place of the group in the snapshot.
    pub group: usize,
    /// The condition of the group.
    pub condition: Condition,
    /// Its description, in one sentence.
    pub text: String,
    /// The same without the numbers, so that it changes only if something else is wrong.
    pub gist: &'static str,
}

/// Returns what is wrong, in the order of the groups.
#[must_use]
pub fn of(snapshot: &Snapshot) -> Vec<Problem> {
    let of_group = |(index, group): (usize, &Group)| {
        let (condition, what) = diagnose(group);
        what.map(|What { text, gist }| Problem { group: index, condition, text, gist })
    };
    snapshot.groups.iter().enumerate().filter_map(of_group).collect()
}

/// Returns the condition of a group.
#[must_use]
pub fn condition(group: &Group) -> Condition {
    diagnose(group).0
}

/// The description of a problem, and the same without numbers.
struct What {
    text: String,
    gist: &'static str,
}

impl From<&'static str> for What {
    fn from(gist: &'static str) -> Self {
        Self { text: gist.to_owned(), gist }
    }
}

fn diagnose(group: &Group) -> (Condition, Option<What>) {
    if group.is_partial {
        return (Condition::Hidden, None);
    }
    let count = |state: State| group.processes.iter().filter(|process| process.state == state).count();
    let serving = count(State::Serving);
    let failing = count(State::Failing);
    if failing > 0 {
        let what = if serving > 0 {
            What {
                text: format!(
                    "{failing} of its processes fail to start; the events and the error log say why"
                ),
                gist: "some of its processes fail to start",
            }
        } else {
            "its processes fail to start, and none serves; the events and the error log say why".into()
        };
        return (Condition::Failing, Some(what));
    }
    if count(State::Cut) > 0 {
        let text = "its processes take no connections any more; restart the server";
        return (Condition::Failing, Some(text.into()));
    }
    let mut of_serving = group.processes.iter().filter(|process| process.state == State::Serving);
    if serving > 0 && of_serving.all(|process| process.lacks_import) {
        let text = "a script that the configuration names could not be imported; the events and the error log say why";
        return (Condition::Failing, Some(text.into()));
    }
    if group.queued > 0 && serving > 0 && group.busy() >= u64::from(group.threads) * serving as u64 {
        let (waits, threads) = (group.queued, group.busy());
        let text = format!(
            "all {threads} threads are busy, and {waits} {}",
            plural(waits, "request waits", "requests wait")
        );
        let gist = "all threads are busy, and requests wait";
        return (Condition::Saturated, Some(What { text, gist }));
    }
    let condition = match (serving > 0, group.mode) {
        (true, _) => Condition::Serving,
        (false, Mode::Daemon) if count(State::Starting) > 0 => Condition::Starting,
        (false, _) => Condition::Dormant,
    };
    (condition, None)
}

/// Returns the form of a word for a number of things.
pub(crate) fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Process;

    fn group(states: &[State]) -> Group {
        let process = |&state: &State| Process { state, ..Process::default() };
        Group { threads: 2, processes: states.iter().map(process).collect(), ..Group::default() }
    }

    #[test]
    fn conditions_follow_from_processes() {
        use State::{Cut, Dormant, Failing, Serving, Starting};
        for (states, expected) in [
            (&[Serving, Starting][..], Condition::Serving),
            (&[Starting, Dormant], Condition::Starting),
            (&[Serving, Failing], Condition::Failing),
            (&[Failing], Condition::Failing),
            (&[Cut], Condition::Failing),
            (&[Dormant, Dormant], Condition::Dormant),
            (&[], Condition::Dormant),
        ] {
            assert_eq!(condition(&group(states)), expected, "{states:?}");
        }
        let mut lacking = group(&[Serving, Serving]);
        lacking.processes[0].lacks_import = true;
        assert_eq!(condition(&lacking), Condition::Serving);
        lacking.processes[1].lacks_import = true;
        assert_eq!(condition(&lacking), Condition::Failing);
        assert_eq!(condition(&Group { is_partial: true, ..group(&[Failing]) }), Condition::Hidden);
    }

    #[test]
    fn a_group_without_a_free_thread_is_a_problem_if_requests_wait() {
        let mut busy = group(&[State::Serving, State::Dormant]);
        busy.processes[0].busy = 2;
        assert_eq!(condition(&busy), Condition::Serving);
        busy.queued = 1;
        let snapshot = Snapshot { groups: vec![group(&[State::Serving]), busy], ..Snapshot::default() };
        let problems = of(&snapshot);
        assert_eq!(problems.len(), 1);
        assert_eq!(
            (problems[0].group, &*problems[0].text),
            (1, "all 2 threads are busy, and 1 request waits")
        );
    }
}
