//! Questions that the system may not answer, such as those to a network file system whose server is
//! gone.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::thread::without_signals;

/// The questions that may be without an answer at a time: each keeps a thread.
const MOST: usize = 4;

/// Questions of one kind.
#[derive(Debug, Default)]
pub struct Questions {
    unanswered: AtomicUsize,
}

impl Questions {
    /// Makes questions of which none has been asked.
    #[must_use]
    pub const fn new() -> Self {
        Self { unanswered: AtomicUsize::new(0) }
    }

    /// Returns the answer to a question, which is asked on a thread of its own.
    ///
    /// # Errors
    /// There is no answer within `limit`, or no thread.
    pub fn ask<T: Send + 'static>(
        &'static self,
        limit: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let deadline = Instant::now() + limit;
        while !self.begin() {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let answer = question();
            self.unanswered.fetch_sub(1, Ordering::AcqRel);
            // Nobody waits any longer, perhaps.
            let _ = sender.send(answer);
        };
        if let Err(error) = without_signals("mod_wsgi asks", work) {
            self.unanswered.fetch_sub(1, Ordering::AcqRel);
            return Err(error);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left).map_err(|_| io::ErrorKind::TimedOut.into())
    }

    fn begin(&self) -> bool {
        let more = |count| (count < MOST).then_some(count + 1);
        self.unanswered.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn questions_without_an_answer_are_few() {
        static QUESTIONS: Questions = Questions::new();
        assert_eq!(QUESTIONS.ask(LONG, || 7).ok(), Some(7));
        let asked = |limit| {
            let (answer, answered) = mpsc::channel::<u8>();
            let result = QUESTIONS.ask(limit, move || answered.recv());
            assert_eq!(result.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
            answer
        };
        let held: Vec<_> = (0..MOST).map(|_| asked(Duration::from_millis(10))).collect();
        // It is not even asked.
        assert!(asked(Duration::from_millis(10)).send(1).is_err());
        held.into_iter().for_each(|answer| answer.send(1).unwrap());
        assert_eq!(QUESTIONS.ask(LONG, || 8).ok(), Some(8));
    }
}
