//! Messages of other threads.

use os::lock::lock;
use wsgi_core::lifecycle::Trigger;
use wsgi_core::wire::control::Report;

use super::EventLoop;
use crate::daemon::state::Message;

impl EventLoop {
    /// Handles the messages of other threads.
    pub(super) fn on_wake(&mut self) {
        let daemon = self.daemon;
        let _ = daemon.wake.read();
        let messages = std::mem::take(&mut *lock(&daemon.inbox));
        for message in messages {
            match message {
                Message::Ready => {
                    self.is_ready = true;
                    self.timers.begin_serving(daemon.now());
                    daemon.activity.record_free_locks(daemon.now());
                    self.watch_memory();
                    self.report(&Report::Ready(!daemon.reload.lacks_import()));
                    if let Some(trigger) = self.early.take() {
                        self.trigger(trigger);
                    }
                }
                Message::Imported => _ = self.report(&Report::Ready(true)),
                Message::ScriptChanged => self.trigger(Trigger::ScriptReload),
                // Every step asks the timers.
                Message::TimersDue => {}
                Message::WorkerFree => self.take_another(),
                Message::ThreadLost => self.trigger(Trigger::Graceful),
                Message::Report(report) => _ = self.report(&report),
                // Whoever has waited for it may have given up.
                Message::Flush(handled) => _ = handled.try_send(()),
                Message::WorkersFailed => self.trigger(Trigger::Terminate),
            }
        }
    }
}
