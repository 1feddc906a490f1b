//! The history of a group: its counts at regular times, of which the last ones are kept.

use super::{GroupRow, Ledger, Read};

/// The number of samples that are kept: ten minutes of them, one every ten seconds.
const SAMPLES: usize = 60;

/// The words of a sample.
const SAMPLE: usize = 6;

pub(super) const WORDS: usize = SAMPLES * SAMPLE;

/// The counts of a group at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistorySample {
    /// The time, in microseconds since the epoch.
    pub time: u64,
    /// Requests that have ended.
    pub ended: u64,
    /// Those of them with a status of 500 and more.
    pub errors: u64,
    /// The sum of their durations, in microseconds.
    pub duration: u64,
    /// Requests that were under way.
    pub active: u64,
    /// Requests that were waiting.
    pub queued: u64,
}

impl GroupRow {
    /// Appends a sample, in place of the oldest. One process does so.
    pub fn append(self, ledger: Ledger<'_>, sample: &HistorySample) {
        let (count, first) = self.history();
        let number = ledger.load(count);
        let place = first + slot(number) * SAMPLE;
        let HistorySample { time, ended, errors, duration, active, queued } = *sample;
        // 0 while it is not complete.
        ledger.store(place, 0);
        for (index, word) in (1..).zip([ended, errors, duration, active, queued]) {
            ledger.store(place + index, word);
        }
        ledger.store(place, time);
        ledger.store(count, number + 1);
    }

    /// Returns the samples, the oldest first. If the clock was set back, those that lie in the time
    /// which comes again are left out as it does.
    #[must_use]
    pub fn samples(self, read: Read<'_>) -> Vec<HistorySample> {
        let (count, first) = self.history();
        let end = read(count);
        let samples = (end.saturating_sub(SAMPLES as u64)..end).map(|number| {
            let word = |index| read(first + slot(number) * SAMPLE + index);
            HistorySample {
                time: word(0),
                ended: word(1),
                errors: word(2),
                duration: word(3),
                active: word(4),
                queued: word(5),
            }
        });
        // (The oldest may have been replaced by the newest meanwhile.)
        let mut samples: Vec<_> = samples.filter(|sample| sample.time != 0).collect();
        let mut next = u64::MAX;
        samples.reverse();
        samples.retain(|sample| {
            let is_before = sample.time < next;
            next = next.min(sample.time);
            is_before
        });
        samples.reverse();
        samples
    }
}

const fn slot(number: u64) -> usize {
    (number % SAMPLES as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::ledger::group;

    #[test]
    fn the_last_samples_are_kept() {
        let words: Vec<_> = (0..group::HEAD + group::body(1)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = (Ledger::new(&words), GroupRow { head: 0, body: group::HEAD });
        let read = |index: usize| ledger.load(index);
        assert!(row.samples(&read).is_empty());
        for number in 1..=3 {
            row.append(
                ledger,
                &HistorySample { time: number, ended: 10 * number, ..HistorySample::default() },
            );
        }
        let times =
            |samples: Vec<HistorySample>| samples.iter().map(|sample| sample.time).collect::<Vec<_>>();
        assert_eq!(times(row.samples(&read)), [1, 2, 3]);
        for number in 4..=70 {
            row.append(
                ledger,
                &HistorySample { time: number, ended: 10 * number, ..HistorySample::default() },
            );
        }
        let samples = row.samples(&read);
        assert_eq!((samples[0].time, samples[59].ended, samples.len()), (11, 700, 60));
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_what_came_after() {
        let words: Vec<_> = (0..group::HEAD + group::body(1)).map(|_| AtomicU64::new(0)).collect();
        let (ledger, row) = (Ledger::new(&words), GroupRow { head: 0, body: group::HEAD });
        for (number, time) in (1..).zip([10, 20, 30, 40, 15, 25, 25]) {
            row.append(ledger, &HistorySample { time, ended: number, ..HistorySample::default() });
        }
        let samples = row.samples(&|index| ledger.load(index));
        let seen: Vec<_> = samples.iter().map(|sample| (sample.time, sample.ended)).collect();
        assert_eq!(seen, [(10, 1), (15, 5), (25, 7)]);
    }
}
