//! Scripts whose import has failed: what a failed import leaves behind in its interpreter makes the
//! next one fail for reasons of its own, so a new process makes it. These are spaced out.

use crate::wire::control::Script;

/// The pause after the first failure, in milliseconds; each further one doubles it.
const SHORTEST: u64 = 1_000;
/// The longest pause.
const LONGEST: u64 = 60_000;

/// The number of successors in a row that may fail because of a script before others go ahead
/// without it.
pub const MAX_FAILED_SUCCESSORS: u32 = 3;

/// The scripts that could not be imported in a process. Times are those of the process, in
/// milliseconds.
#[derive(Debug, Clone, Default)]
pub struct FailedImports(Vec<Failed>);

#[derive(Debug, Clone)]
struct Failed {
    script: Script,
    /// The modification time of the file that failed.
    modified: Option<i64>,
    failures: u32,
    attempt: Attempt,
}

/// The next try to import a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// A request may ask for it from this time on.
    From(u64),
    /// A request has asked for it.
    Wanted,
    /// A successor is made for its sake.
    Running,
}

/// The prospect of a request whose script could not be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// There is no try before this many milliseconds have passed; `None` if nobody knows how long
    /// the present one takes.
    Later(Option<u64>),
    /// A successor is to be asked for now.
    Now,
    /// One has been asked for.
    Underway,
}

impl FailedImports {
    /// Notes the failure of a first import.
    pub fn add(&mut self, path: &[u8], application_group: &[u8], modified: Option<i64>, now: u64) {
        self.0.retain(|failed| !failed.is(path, application_group));
        self.0.push(Failed {
            script: Script {
                path: path.into(),
                application_group: application_group.into(),
                callables: Vec::new(),
            },
            modified,
            failures: 1,
            attempt: Attempt::From(now.saturating_add(SHORTEST)),
        });
    }

    /// Handles a request for such a script, whose file has this modification time now. `is_asked`
    /// says whether the supervisor has been asked for a successor, for whatever reason, and may
    /// answer in time.
    pub fn request_retry(
        &mut self,
        (path, application_group): (&[u8], &[u8]),
        modified: Option<i64>,
        now: u64,
        is_asked: bool,
    ) -> Retry {
        let Some(failed) = self.0.iter_mut().find(|failed| failed.is(path, application_group)) else {
            return Retry::Later(None);
        };
        match failed.attempt {
            // A file that was modified counts as mended, and so does what it needs.
            Attempt::From(_) if failed.modified != modified => {
                (failed.modified, failed.failures) = (modified, 0);
                failed.attempt = Attempt::From(now);
            }
            Attempt::From(time) if now < time => return Retry::Later(Some(time - now)),
            Attempt::Running if !is_asked => return Retry::Later(None),
            _ => {}
        }
        if is_asked {
            return Retry::Underway;
        }
        failed.attempt = Attempt::Wanted;
        Retry::Now
    }

    /// Takes those that the successor which is about to be asked for has to import for requests'
    /// sake.
    pub fn take_wanted(&mut self) -> Vec<Script> {
        let wanted = self.0.iter_mut().filter(|failed| failed.attempt == Attempt::Wanted);
        let taken = wanted.map(|failed| {
            failed.attempt = Attempt::Running;
            failed.script.clone()
        });
        taken.collect()
    }

    /// Returns whether a successor is made for their sake.
    #[must_use]
    pub fn is_underway(&self) -> bool {
        self.0.iter().any(|failed| failed.attempt == Attempt::Running)
    }

    /// Records that there is no successor. Returns whether it would have been for their sake: then
    /// they have failed once more.
    pub fn record_failed_successor(&mut self, now: u64) -> bool {
        let was_underway = self.is_underway();
        for failed in &mut self.0 {
            match failed.attempt {
                Attempt::Running => {
                    failed.failures = failed.failures.saturating_add(1);
                    failed.attempt = Attempt::From(now.saturating_add(retry_pause(failed.failures)));
                }
                Attempt::Wanted => failed.attempt = Attempt::From(now),
                Attempt::From(_) => {}
            }
        }
        was_underway
    }
}

impl Failed {
    fn is(&self, path: &[u8], application_group: &[u8]) -> bool {
        *self.script.path == *path && *self.script.application_group == *application_group
    }
}

/// Returns the pause before the next try after so many failures in a row, in milliseconds.
#[must_use]
pub fn retry_pause(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (SHORTEST << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: (&[u8], &[u8]) = (b"/shop.wsgi", b"");
    const OTHER: (&[u8], &[u8]) = (b"/other.wsgi", b"group");

    fn shop() -> Script {
        Script { path: SHOP.0.into(), application_group: SHOP.1.into(), callables: Vec::new() }
    }

    fn failed() -> FailedImports {
        let mut failed = FailedImports::default();
        failed.add(SHOP.0, SHOP.1, Some(7), 100);
        failed.add(OTHER.0, OTHER.1, Some(7), 100);
        failed
    }

    #[test]
    fn retries_are_spaced_out_up_to_a_bound() {
        let mut failed = failed();
        let mut now = 100;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Retry::Later(Some(wait)) = failed.request_retry(SHOP, Some(7), now, false) else {
                panic!("it has just failed")
            };
            pauses.push(wait / 1_000);
            assert_eq!(failed.request_retry(SHOP, Some(7), now + wait - 1, false), Retry::Later(Some(1)));
            now += wait;
            assert_eq!(failed.request_retry(SHOP, Some(7), now, false), Retry::Now);
            assert_eq!(failed.request_retry(SHOP, Some(7), now, true), Retry::Underway);
            assert_eq!(failed.take_wanted(), [shop()]);
            assert_eq!(failed.request_retry(SHOP, Some(7), now, true), Retry::Underway);
            assert_eq!(failed.request_retry(SHOP, Some(7), now, false), Retry::Later(None), "it takes long");
            assert!(failed.is_underway() && failed.record_failed_successor(now) && !failed.is_underway());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(retry_pause(u32::MAX), LONGEST);
    }

    #[test]
    fn a_touch_allows_a_retry() {
        let mut failed = failed();
        assert_eq!(failed.request_retry(SHOP, Some(8), 101, false), Retry::Now);
        assert_eq!(failed.take_wanted().len(), 1);
        assert_eq!(failed.request_retry(SHOP, Some(9), 102, true), Retry::Underway);
        assert!(failed.record_failed_successor(150));
        assert_eq!(failed.request_retry(SHOP, Some(9), 151, false), Retry::Now, "touched meanwhile");
        assert_eq!(failed.take_wanted().len(), 1);
        assert!(failed.record_failed_successor(200));
        assert_eq!(
            failed.request_retry(SHOP, Some(9), 200, false),
            Retry::Later(Some(1_000)),
            "from the start"
        );
        assert_eq!(failed.request_retry(OTHER, Some(7), 101, false), Retry::Later(Some(999)), "has its own");
    }

    #[test]
    fn an_untried_import_has_not_failed() {
        let mut failed = failed();
        assert_eq!(failed.request_retry(SHOP, Some(7), 1_100, false), Retry::Now);
        assert!(!failed.record_failed_successor(1_200), "for another reason");
        assert_eq!(failed.request_retry(SHOP, Some(7), 1_200, false), Retry::Now);
        assert_eq!(
            failed.request_retry(OTHER, Some(7), 1_200, true),
            Retry::Underway,
            "perhaps its successor"
        );
        assert_eq!(failed.take_wanted(), [shop()], "others could spoil it");
        assert_eq!(failed.request_retry((b"/unknown", b""), None, 0, false), Retry::Later(None));
    }
}
