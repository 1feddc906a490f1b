//! Scripts that change while the process has them loaded, and scripts that it cannot load.
//!
//! A request whose script has changed is held back, and a successor is asked for. If there is one,
//! the request goes there; if not, it runs here, with the loaded version. Later requests run then,
//! too, while further successors are asked for now and then.
//!
//! Scripts of access control are the exception: once a successor has failed, what was loaded before
//! must not decide who is let in, since the change may be a revocation. Their requests are refused
//! until a successor has loaded the change.
//!
//! The same is done for a script whose import has failed, as often as [`FailedImports`] permits: a
//! second import in this process could fail because of leftovers of the first.
//!
//! A successor imports all scripts that this process has loaded, so that it serves no less. But a
//! script that never loads must not keep the process from being replaced for other reasons, such as
//! another changed script or `maximum-requests`: after some attempts, successors for other reasons
//! go ahead without it. Its requests then have the first import's error there, and the further
//! attempts of [`FailedImports`].
//!
//! A script that the configuration names and that could not be imported at the start is tried again
//! without a request: a balancer sends none to a server that is not ready for want of it.

#![expect(clippy::disallowed_types, reason = "lists are changed under it, without Python")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use os::lock::lock;
use wsgi_core::lifecycle::{FailedImports, MAX_FAILED_SUCCESSORS, Reason, Retry, retry_pause};
use wsgi_core::wire::control::Script;

use super::connection::Connection;
use crate::mode::{ChangedScript, FailedScript, LoadedVersion};

/// The longest wait of a request for a successor.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(2);
/// The interval of warnings that a process serves the old version of a script.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The scripts of the process, and their changes.
#[derive(Default)]
pub(super) struct Reload {
    scripts: Mutex<Vec<Script>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The time when a successor was asked for, until there is an answer.
    asked: Option<Instant>,
    /// The changed scripts for which one was asked for.
    paths: Vec<Box<[u8]>>,
    /// Requests that wait for the answer.
    held: Vec<HeldRequest>,
    /// Requests that may run.
    released: VecDeque<HeldRequest>,
    /// Changes without a successor: requests for these scripts run.
    rejected: Vec<RejectedChange>,
    /// The number of failed successors for reasons other than a script.
    failures: u32,
    /// The scripts that could not be imported.
    failed: FailedImports,
    lacking: Lacking,
}

/// The scripts that the configuration names and that are not imported.
#[derive(Default)]
struct Lacking {
    scripts: Vec<Script>,
    failures: u32,
    /// The time of the next try; `None` while a successor is made for their sake.
    next: Option<u64>,
}

impl Lacking {
    const fn is_underway(&self) -> bool {
        !self.scripts.is_empty() && self.next.is_none()
    }

    /// Notes a failure of all, after which there is a pause.
    fn record_failure(&mut self, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now.saturating_add(retry_pause(self.failures)));
    }
}

/// A request that has been read and not run.
pub(super) struct HeldRequest {
    pub(super) connection: Arc<Connection>,
    pub(super) message: Vec<u8>,
}

/// A change that no process serves.
struct RejectedChange {
    path: Box<[u8]>,
    mtime: Option<i64>,
    /// The fault of the script, if the supervisor has named it.
    reason: Option<String>,
    warned: Option<Instant>,
    /// The number of successors that could not load it.
    failures: u32,
    /// The time from which a request may ask for another one; `None` while one is asked for.
    again: Option<u64>,
}

impl State {
    /// Notes that a changed script needs a successor. Returns whether it has to be asked for.
    fn ask_for(&mut self, path: &[u8]) -> bool {
        if !self.paths.iter().any(|known| **known == *path) {
            self.paths.push(path.into());
        }
        let is_first = self.asked.is_none();
        self.asked.get_or_insert_with(Instant::now);
        is_first
    }

    /// Returns whether a successor has to import a script that this process has loaded.
    fn is_required(&self, path: &[u8], reason: Reason) -> bool {
        let is_given_up = |change: &RejectedChange| *change.path == *path && change.is_given_up();
        let is_wanted = self.paths.iter().any(|wanted| **wanted == *path);
        is_wanted
            || !(self.rejected.iter().any(is_given_up)
                || (reason != Reason::ScriptReload && self.failures >= MAX_FAILED_SUCCESSORS))
    }
}

impl RejectedChange {
    const fn new(path: Box<[u8]>, mtime: Option<i64>) -> Self {
        Self { path, mtime, reason: None, warned: None, failures: 0, again: None }
    }

    const fn is_given_up(&self) -> bool {
        self.failures >= MAX_FAILED_SUCCESSORS
    }

    fn warning(&mut self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        if self.warned.is_some_and(|last| last.elapsed() < BETWEEN_WARNINGS) {
            return None;
        }
        self.warned = Some(Instant::now());
        let path = String::from_utf8_lossy(&self.path);
        Some(format!(
            "The script '{path}' has changed, but what was loaded before the change serves on: {reason}. A new process \
             tries again every now and then, and after a further change of the file."
        ))
    }
}

/// A decision, and whether a successor has to be asked for because of it.
pub(super) type Decided<T> = (T, bool);

impl Reload {
    /// Creates the record of a process that was forked from another one, and has what that has
    /// loaded.
    pub(super) fn forked_from(template: &Self) -> Self {
        Self { scripts: Mutex::new(lock(&template.scripts).clone()), state: Mutex::default() }
    }

    /// Returns whether the process has loaded a script. It is not loaded again here, whatever has
    /// become of its file.
    pub(super) fn has_script(&self, path: &[u8], application_group: &[u8]) -> bool {
        let is_same =
            |script: &Script| *script.path == *path && *script.application_group == *application_group;
        lock(&self.scripts).iter().any(is_same)
    }

    /// Returns whether any script has been loaded.
    pub(super) fn has_scripts(&self) -> bool {
        !lock(&self.scripts).is_empty()
    }

    /// Decides about a request whose script has changed; `mtime` is the file's present one.
    /// `is_serving` is called under the lock, so that [`Self::take_all`] finds requests that are
    /// held back while the process begins to end.
    pub(super) fn decide_changed(
        &self,
        path: &[u8],
        mtime: Option<i64>,
        now: u64,
        is_serving: impl Fn() -> bool,
    ) -> Decided<ChangedScript> {
        let mut state = lock(&self.state);
        let is_serving = is_serving();
        let may_ask = is_serving && state.asked.is_none() && !state.failed.is_underway();
        if let Some(change) = state.rejected.iter_mut().find(|change| *change.path == *path) {
            if change.mtime == mtime {
                let loaded = LoadedVersion { warning: change.warning(), failure: change.reason.clone() };
                // Whatever it lacked may be there now: the rest of a deploy, or a database. No
                // request waits for that.
                let asks = may_ask && change.again.is_some_and(|time| time <= now);
                if asks {
                    change.again = None;
                    state.ask_for(path);
                }
                return (ChangedScript::Keep(loaded), asks);
            }
            // The file has changed once more.
            state.rejected.retain(|change| *change.path != *path);
        }
        if !is_serving {
            return (ChangedScript::Hold, false);
        }
        if state.asked.is_none() && state.failed.is_underway() {
            // A successor is made for a script that cannot be imported here, and takes long. This
            // change has its turn after that.
            return (ChangedScript::Keep(LoadedVersion::default()), false);
        }
        (ChangedScript::Hold, state.ask_for(path))
    }

    /// Notes that the import of a script has failed.
    pub(super) fn add_failed(&self, path: &[u8], application_group: &[u8], mtime: Option<i64>, now: u64) {
        lock(&self.state).failed.add(path, application_group, mtime, now);
    }

    /// Notes that a script that the configuration names could not be imported at the start.
    pub(super) fn add_lacking(&self, path: &[u8], application_group: &[u8], now: u64) {
        let (path, application_group) = (path.into(), application_group.into());
        let lacking = &mut lock(&self.state).lacking;
        lacking.scripts.push(Script { path, application_group, callables: Vec::new() });
        lacking.failures = 0;
        lacking.record_failure(now);
    }

    /// Returns whether a script is lacking that the configuration names.
    pub(super) fn lacks_import(&self) -> bool {
        !lock(&self.state).lacking.scripts.is_empty()
    }

    /// Returns the time of the next try to have a successor import what is lacking.
    pub(super) fn next_retry(&self) -> Option<u64> {
        lock(&self.state).lacking.next
    }

    /// Returns whether a successor has to be asked for now that imports what is lacking.
    pub(super) fn begin_retry(&self, now: u64) -> bool {
        let state = &mut *lock(&self.state);
        let Some(_) = state.lacking.next.take_if(|next| *next <= now) else { return false };
        if state.asked.is_some() || state.failed.is_underway() {
            // Another one is made, which has its own purpose.
            state.lacking.next = Some(now.saturating_add(retry_pause(1)));
            return false;
        }
        state.asked = Some(Instant::now());
        true
    }

    /// Decides about a request for a script whose import has failed in this process. The request
    /// can be held back if it `may_wait`; `mtime` is the file's present one.
    pub(super) fn decide_failed(
        &self,
        script: (&[u8], &[u8]),
        mtime: Option<i64>,
        now: u64,
        may_wait: bool,
        is_serving: impl Fn() -> bool,
    ) -> Decided<FailedScript> {
        let mut state = lock(&self.state);
        if !is_serving() {
            // Its connection leads to the successor.
            return (if may_wait { FailedScript::Hold } else { FailedScript::Reject(None) }, false);
        }
        let is_asked = state.asked.is_some();
        match state.failed.request_retry(script, mtime, now, is_asked) {
            Retry::Later(wait) => (FailedScript::Reject(wait), false),
            Retry::Now | Retry::Underway if !may_wait => (FailedScript::Reject(None), false),
            Retry::Underway => (FailedScript::Hold, false),
            Retry::Now => {
                state.asked = Some(Instant::now());
                (FailedScript::Hold, true)
            }
        }
    }

    /// Notes that a script has been loaded. Returns whether it was the last one that was lacking.
    pub(super) fn add_script(&self, path: &[u8], application_group: &[u8]) -> bool {
        self.with_script(path, application_group, |_| ());
        let lacking = &mut lock(&self.state).lacking;
        let count = lacking.scripts.len();
        lacking
            .scripts
            .retain(|script| *script.path != *path || *script.application_group != *application_group);
        if lacking.scripts.is_empty() {
            lacking.next = None;
        }
        count > 0 && lacking.scripts.is_empty()
    }

    /// Notes that a script has this callable.
    pub(super) fn add_callable(&self, path: &[u8], application_group: &[u8], callable: &[u8]) {
        self.with_script(path, application_group, |script| {
            if !script.callables.iter().any(|known| **known == *callable) {
                script.callables.push(callable.into());
            }
        });
    }

    fn with_script(&self, path: &[u8], application_group: &[u8], work: impl FnOnce(&mut Script)) {
        let mut scripts = lock(&self.scripts);
        let is_same =
            |script: &Script| *script.path == *path && *script.application_group == *application_group;
        let at = scripts.iter().position(is_same).unwrap_or_else(|| {
            let (path, application_group) = (path.into(), application_group.into());
            scripts.push(Script { path, application_group, callables: Vec::new() });
            scripts.len() - 1
        });
        work(&mut scripts[at]);
    }

    /// Returns the scripts that a successor for this reason has to import: those that have been
    /// loaded, and those that failed here if they are its only purpose. Returns also those that it
    /// does without, after too many failures.
    pub(super) fn scripts(&self, reason: Reason) -> (Vec<Script>, Vec<Script>) {
        let scripts = lock(&self.scripts).clone();
        let mut state = lock(&self.state);
        let (mut scripts, left_out): (Vec<_>, _) =
            scripts.into_iter().partition(|script| state.is_required(&script.path, reason));
        // A script that never loads must not keep others from being replaced.
        if reason == Reason::ScriptReload && state.paths.is_empty() {
            scripts.extend(state.failed.take_wanted());
            if state.lacking.is_underway() {
                scripts.extend(state.lacking.scripts.iter().cloned());
            }
        }
        (scripts, left_out)
    }

    /// Holds a request back. Returns it if the answer has come meanwhile.
    pub(super) fn hold(&self, held: HeldRequest) -> Option<HeldRequest> {
        let mut state = lock(&self.state);
        if state.asked.is_none() {
            return Some(held);
        }
        state.held.push(held);
        None
    }

    /// Returns the deadline after which held requests run anyway, also those that are about to be
    /// held.
    pub(super) fn deadline(&self) -> Option<Instant> {
        lock(&self.state).asked.map(|asked| asked + LONGEST_HOLD)
    }

    /// Takes out the requests that no worker has, whether they are held back or may run: a
    /// successor takes over, or the process ends.
    pub(super) fn take_all(&self) -> Vec<HeldRequest> {
        let mut state = lock(&self.state);
        state.asked = None;
        state.paths.clear();
        let held = std::mem::take(&mut state.held);
        held.into_iter().chain(std::mem::take(&mut state.released)).collect()
    }

    /// Notes that there is no successor, for this reason, or that it takes too long: requests for
    /// the changed scripts run. Returns whether some were held back.
    pub(super) fn no_successor(
        &self,
        reason: Option<&str>,
        now: u64,
        mtime: impl Fn(&[u8]) -> Option<i64>,
    ) -> bool {
        let mut state = lock(&self.state);
        state.asked = None;
        let is_for_lacking = state.lacking.is_underway();
        let is_other = if reason.is_some() {
            if is_for_lacking {
                state.lacking.record_failure(now);
            }
            state.failed.record_failed_successor(now)
        } else {
            state.failed.is_underway()
        };
        let is_other = is_other || is_for_lacking;
        let paths = std::mem::take(&mut state.paths);
        let is_unrelated = paths.is_empty() && !is_other;
        // Scripts that changed while a successor was started for another script are not to blame.
        for path in paths.into_iter().filter(|_| !is_other) {
            let mtime = mtime(&path);
            let known = state.rejected.iter_mut().find(|change| change.path == path);
            match known {
                Some(change) if change.mtime == mtime => {}
                Some(change) => *change = RejectedChange::new(path, mtime),
                None => state.rejected.push(RejectedChange::new(path, mtime)),
            }
        }
        if let Some(reason) = reason {
            if is_unrelated {
                state.failures = state.failures.saturating_add(1);
            }
            // Each script that the successor had to import may be the reason.
            for change in
                state.rejected.iter_mut().filter(|change| change.again.is_none() || !change.is_given_up())
            {
                if !is_other {
                    change.failures = change.failures.saturating_add(1);
                    change.reason = Some(reason.to_owned());
                }
                change.again = Some(now.saturating_add(retry_pause(change.failures)));
            }
        }
        let held = std::mem::take(&mut state.held);
        let is_any = !held.is_empty();
        state.released.extend(held);
        is_any
    }

    /// Takes the next request that may run. Returns also whether there are more.
    pub(super) fn take_released(&self) -> (Option<HeldRequest>, bool) {
        let mut state = lock(&self.state);
        let held = state.released.pop_front();
        (held, !state.released.is_empty())
    }
}
