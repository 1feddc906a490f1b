//! Notes of other threads.

use os::lock::lock;
use wsgi_core::lifecycle::Trigger;
use wsgi_core::wire::control::Report;

use super::EventLoop;
use crate::daemon::state::Note;

impl EventLoop {
    /// Does what other threads have left notes about.
    pub(super) fn on_wake(&mut self) {
        let daemon = self.daemon;
        let _ = daemon.wake.read();
        let notes = std::mem::take(&mut *lock(&daemon.inbox));
        for note in notes {
            match note {
                Note::Ready => {
                    self.is_ready = true;
                    daemon.pulse.locks_were_free(daemon.now());
                    self.report(&Report::Ready);
                }
                Note::Changed => self.trigger(Trigger::ScriptReload),
                // That is done in every step.
                Note::Decide => {}
                Note::Free => self.take_another(),
                Note::Broken => self.trigger(Trigger::Terminate),
            }
        }
    }
}
