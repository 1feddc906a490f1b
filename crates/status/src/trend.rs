//! The course of a server's counts over the last minutes.

use crate::Snapshot;
use crate::snapshot::{Group, Sample};

/// The time, in seconds, over which the present rate is taken at least.
const RECENT: f64 = 10.0;

/// The longest time, in seconds, between two samples that belong together.
const LONGEST_GAP: f64 = 900.0;

/// The time, in seconds, by which a sample may be later than the moment of the look, since it was
/// taken meanwhile.
const MEANWHILE: f64 = 1.0;

/// The counts between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    /// The later moment.
    pub time: f64,
    /// Requests that have ended, per second.
    pub rate: f64,
    /// Those of them with a status of 500 and more.
    pub error_rate: f64,
    /// The mean of their durations; `None` if none has ended.
    pub mean: Option<f64>,
    /// Requests that were under way at the later moment.
    pub active: f64,
    /// Requests that were waiting then.
    pub queued: f64,
}

/// The course of counts, and the present.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// Its points, the oldest first.
    pub points: Vec<Point>,
    /// The counts of the last seconds; `None` if nothing earlier is known.
    pub recent: Option<Point>,
}

impl Trend {
    /// Returns the course of a group's counts until `now`.
    #[must_use]
    pub fn of_group(group: &Group, now: f64) -> Self {
        Self::of(&samples(group, now))
    }

    /// Returns the course of the counts of all groups.
    #[must_use]
    pub fn of_all(snapshot: &Snapshot) -> Self {
        let all: Vec<_> = snapshot.groups.iter().map(|group| samples(group, snapshot.time)).collect();
        let longest = all.iter().max_by_key(|samples| samples.len()).map(Vec::as_slice).unwrap_or_default();
        let mut sums: Vec<_> =
            longest.iter().map(|sample| Counts { time: sample.time, ..Counts::default() }).collect();
        for samples in &all {
            let mut next = 0;
            for sum in &mut sums {
                while samples.get(next).is_some_and(|sample| sample.time <= sum.time) {
                    next += 1;
                }
                sum.add(next.checked_sub(1).map(|last| &samples[last]), samples.get(next));
            }
        }
        Self::of(&sums)
    }

    fn of(counts: &[Counts]) -> Self {
        let points = counts.windows(2).filter_map(|pair| pair[0].until(&pair[1])).collect();
        let recent = counts.last().and_then(|now| {
            let before = counts.iter().rev().find(|counts| counts.time <= now.time - RECENT);
            before.or(counts.first()).and_then(|before| before.until(now))
        });
        Self { points, recent }
    }
}

/// Counts at a moment, which lie between those of two samples of some groups.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    time: f64,
    ended: f64,
    errors: f64,
    duration: f64,
    active: f64,
    queued: f64,
}

impl Counts {
    /// Adds the counts of a group at the same moment, from the samples before and after it.
    fn add(&mut self, before: Option<&Self>, after: Option<&Self>) {
        let Some(before) = before.or(after) else { return };
        let after = after.unwrap_or(before);
        let length = after.time - before.time;
        let share = if length > 0.0 { ((self.time - before.time) / length).clamp(0.0, 1.0) } else { 0.0 };
        let between = |from: f64, to: f64| from + (to - from) * share;
        self.ended += between(before.ended, after.ended);
        self.errors += between(before.errors, after.errors);
        self.duration += between(before.duration, after.duration);
        self.active += before.active;
        self.queued += before.queued;
    }

    fn until(&self, later: &Self) -> Option<Point> {
        let seconds = later.time - self.time;
        let ended = (later.ended - self.ended).max(0.0);
        (seconds > 0.0).then(|| Point {
            time: later.time,
            rate: ended / seconds,
            error_rate: (later.errors - self.errors).max(0.0) / seconds,
            mean: (ended > 0.0).then(|| (later.duration - self.duration).max(0.0) / ended),
            active: later.active,
            queued: later.queued,
        })
    }
}

impl From<&Sample> for Counts {
    fn from(sample: &Sample) -> Self {
        Self {
            time: sample.time,
            ended: sample.ended as f64,
            errors: sample.errors as f64,
            duration: sample.duration,
            active: sample.active as f64,
            queued: sample.queued as f64,
        }
    }
}

/// Returns the counts of a group at the moments of its history and now.
fn samples(group: &Group, now: f64) -> Vec<Counts> {
    // If the clock was set, what lies before tells no rate, and has no place in a chart.
    let mut later = now + MEANWHILE;
    let is_past = |sample: &&Sample| sample.time < now + MEANWHILE;
    let belongs = |sample: &&Sample| {
        let gap = later - sample.time;
        later = sample.time;
        gap > 0.0 && gap <= LONGEST_GAP
    };
    let history = group.history.iter().rev().filter(is_past).take_while(belongs);
    let mut samples: Vec<Counts> = history.map(Counts::from).collect();
    samples.reverse();
    // Of less than a second, a rate would only jump.
    if samples.last().is_none_or(|last| now - last.time >= 1.0) {
        samples.push(Counts {
            time: now,
            ended: group.ended() as f64,
            errors: group.errors() as f64,
            duration: group.http.iter().map(|ended| ended.duration.sum).sum(),
            active: group.under_way() as f64,
            queued: group.queued as f64,
        });
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;
    use crate::snapshot::Ended;

    fn sample(time: f64, ended: u64) -> Sample {
        Sample { time, ended, errors: ended / 10, duration: ended as f64 * 0.5, active: 2, queued: 1 }
    }

    fn group(history: Vec<Sample>, ended: u64) -> Group {
        let duration = Histogram { buckets: vec![ended], sum: ended as f64 * 0.5 };
        let http = vec![Ended { status_class: 2, duration, ..Ended::default() }];
        Group { history, http, ..Group::default() }
    }

    #[test]
    fn rates_are_those_between_samples() {
        let trend =
            Trend::of_group(&group(vec![sample(100.0, 0), sample(105.0, 50), sample(110.0, 50)], 80), 120.0);
        let rates: Vec<_> = trend.points.iter().map(|point| (point.time, point.rate, point.mean)).collect();
        assert_eq!(rates, [(105.0, 10.0, Some(0.5)), (110.0, 0.0, None), (120.0, 3.0, Some(0.5))]);
        assert_eq!(trend.recent.map(|recent| recent.rate), Some(3.0));
        assert_eq!(Trend::of_group(&group(Vec::new(), 80), 120.0), Trend::default());
    }

    #[test]
    fn the_present_is_of_some_seconds() {
        let trend = Trend::of_group(&group(vec![sample(100.0, 0), sample(118.0, 36)], 40), 120.0);
        assert_eq!(trend.recent.map(|recent| recent.rate), Some(2.0));
    }

    #[test]
    fn groups_add_up_whenever_they_were_looked_at() {
        let regular =
            group((0..=10).map(|index| sample(100.0 + f64::from(index), 10 * index as u64)).collect(), 100);
        let later = group(vec![sample(105.0, 1_000), sample(110.0, 1_050)], 1_050);
        let all = Trend::of_all(&Snapshot {
            time: 110.5,
            groups: vec![regular, later, Group::default()],
            ..Snapshot::default()
        });
        let rates: Vec<_> = all.points.iter().map(|point| point.rate.round()).collect();
        assert_eq!(rates, [10.0, 10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 20.0, 20.0]);
        assert_eq!(all.points.last().map(|point| point.active), Some(4.0));
    }

    #[test]
    fn a_clock_that_was_set_ends_what_was_before() {
        let course = |times: &[f64], now| {
            let history = times.iter().enumerate().map(|(index, time)| sample(*time, 10 * index as u64));
            let trend = Trend::of_group(&group(history.collect(), 10 * times.len() as u64), now);
            trend.points.iter().map(|point| (point.time, point.rate)).collect::<Vec<_>>()
        };
        assert_eq!(course(&[1_000.0, 1_010.0, 500.0, 510.0], 520.0), [(510.0, 1.0), (520.0, 1.0)], "back");
        assert_eq!(course(&[1_000.0, 1_010.0], 500.0), [], "back, and none was taken since");
        assert_eq!(course(&[490.0, 500.0, 1_000.0], 510.0), [(500.0, 1.0), (510.0, 2.0)], "the same");
        assert_eq!(course(&[100.0, 110.0, 90_000.0, 90_010.0], 90_020.0), [(90_010.0, 1.0), (90_020.0, 1.0)]);
        assert_eq!(course(&[100.0, 110.0], 90_000.0), [], "ahead");
        assert_eq!(course(&[100.0, 110.0], 109.9), [(110.0, 1.0)], "taken meanwhile");
    }
}
