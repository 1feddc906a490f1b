//! The queue of spans: bounded, between the thread that takes them and the one that sends them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use os::lock::lock;

use crate::stop::Stop;

/// The queue. It holds datagrams, which take less room than what is sent.
#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    batch: usize,
    delay: Duration,
    spans: Mutex<VecDeque<Box<[u8]>>>,
    changed: Condvar,
}

impl Queue {
    /// Creates an empty queue for so many spans, which are taken in batches: of this number, or what
    /// there is after this delay in milliseconds.
    pub(crate) fn new(most: usize, batch: usize, delay: u64) -> Self {
        let delay = Duration::from_millis(delay);
        Self { most, batch, delay, spans: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a span. Returns whether there was room.
    pub(crate) fn add(&self, span: Box<[u8]>) -> bool {
        let mut spans = lock(&self.spans);
        let has_room = spans.len() < self.most;
        if has_room {
            spans.push_back(span);
            if spans.len() == 1 || spans.len() == self.batch {
                self.changed.notify_one();
            }
        }
        has_room
    }

    /// Wakes the one that waits, to see that the program ends.
    pub(crate) fn wake(&self) {
        drop(lock(&self.spans));
        self.changed.notify_one();
    }

    /// Waits for a batch. Returns `None` once the program ends and nothing is left.
    pub(crate) fn take(&self, stop: &Stop) -> Option<Vec<Box<[u8]>>> {
        let mut spans = lock(&self.spans);
        let mut end = None;
        loop {
            let is_stopping = stop.has_begun();
            if spans.is_empty() && is_stopping {
                return None;
            }
            let now = Instant::now();
            if !spans.is_empty() {
                let end = *end.get_or_insert(now + self.delay);
                if spans.len() >= self.batch || is_stopping || end <= now {
                    let count = spans.len().min(self.batch);
                    return Some(spans.drain(..count).collect());
                }
            }
            let wait = end.map_or(Duration::from_secs(3_600), |end| end - now);
            spans = self.changed.wait_timeout(spans, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn span(number: u8) -> Box<[u8]> {
        Box::new([number])
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (queue, stop) = (Queue::new(3, 2, 3_600_000), Stop::default());
        let taken: Vec<_> = (0..5).map(|number| queue.add(span(number))).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(queue.take(&stop), Some(vec![span(0), span(1)]));
        assert!(queue.add(span(5)));
        assert_eq!(queue.take(&stop), Some(vec![span(2), span(5)]));
    }

    #[test]
    fn spans_wait_for_others_no_longer_than_the_delay() {
        let (queue, stop) = (Queue::new(10, 5, 20), Stop::default());
        queue.add(span(1));
        let begin = Instant::now();
        assert_eq!(queue.take(&stop), Some(vec![span(1)]));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn the_rest_is_taken_at_the_end() {
        let (queue, stop) = (Arc::new(Queue::new(10, 2, 3_600_000)), Arc::new(Stop::default()));
        (0..3).for_each(|number| _ = queue.add(span(number)));
        let (other, over) = (Arc::clone(&queue), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut batches = Vec::new();
            while let Some(batch) = other.take(&over) {
                batches.push(batch);
            }
            batches
        });
        stop.begin();
        queue.wake();
        assert_eq!(thread.join().unwrap(), [vec![span(0), span(1)], vec![span(2)]]);
    }
}
