//! The [`Mode`] of daemon processes: see [`super::reload`].

use python::Python;

use super::state::{Daemon, Message, Phase};
use super::worker::{Worker, current_worker};
use crate::mode::{ChangedScript, FailedScript, Mode};
use crate::script_file::modified;

impl Mode for Daemon {
    fn has_successors(&self) -> bool {
        true
    }

    fn script_loaded(&self, path: &[u8], application_group: &[u8]) {
        if self.activity.record_script_loaded() && self.limits.startup_timeout > 0 {
            self.info("a script is loaded, the startup timeout is off");
        }
        if self.reload.add_script(path, application_group) {
            self.notify(Message::Imported);
        }
    }

    fn callable_found(&self, path: &[u8], application_group: &[u8], callable: &[u8]) {
        self.reload.add_callable(path, application_group, callable);
    }

    fn script_changed(&self, py: Python<'_>, path: &[u8]) -> ChangedScript {
        py.detach(|| {
            let (decision, asks) =
                self.reload.decide_changed(path, modified(path), self.now(), || self.is_serving());
            self.ask_if(asks);
            decision
        })
    }

    fn import_failed(&self, py: Python<'_>, path: &[u8], application_group: &[u8], mtime: Option<i64>) {
        py.detach(|| self.reload.add_failed(path, application_group, mtime, self.now()));
    }

    fn failed_script_wanted(&self, py: Python<'_>, path: &[u8], application_group: &[u8]) -> FailedScript {
        let may_wait = current_worker().is_some_and(Worker::may_wait);
        py.detach(|| {
            let script = (path, application_group);
            let is_serving = || self.is_serving();
            let (decision, asks) =
                self.reload.decide_failed(script, modified(path), self.now(), may_wait, is_serving);
            self.ask_if(asks);
            decision
        })
    }

    fn thread_lost(&self) -> &'static str {
        self.notify(Message::ThreadLost);
        "the process is replaced, and ends within graceful-timeout"
    }
}

impl Daemon {
    fn is_serving(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// Has the event thread ask for a successor.
    fn ask_if(&self, asks: bool) {
        if asks {
            self.notify(Message::ScriptChanged);
        }
    }
}
