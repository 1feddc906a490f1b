//! The orders of the supervisor, and the reports to it.

use std::io::{ErrorKind, Write};

use bridge::Level;
use os::descriptors::{Wait, next_length, receive_with};
use wsgi_core::wire::control::{Order, Report};

use super::EventLoop;
use crate::daemon::log;

impl EventLoop {
    /// Follows an order of the supervisor, or notices that it is gone.
    pub(super) fn on_order(&mut self) {
        let Some(control) = &self.endpoints.control else { return };
        let order = next_length(control, Wait::Never).and_then(|length| {
            let mut message = vec![0; length];
            receive_with(control, &mut message, Wait::Never).map(|_| message)
        });
        match order.as_deref() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok([]) | Err(_) => {
                self.endpoints.control = None;
                self.daemon.info("the supervisor is gone, the process finishes its requests and ends");
                self.drain(self.daemon.limits.graceful_timeout);
            }
            Ok(message) => match Order::decode(message) {
                Ok(Order::Serve) => self.listen(),
                Ok(Order::NoSuccessor(reason)) => self.on_keep(&String::from_utf8_lossy(&reason)),
                Ok(Order::Drain(grace)) => self.drain(grace.into()),
                Ok(Order::Share(processes)) => self.share_queue(processes),
                Ok(Order::Start { .. } | Order::Fork) | Err(_) => {}
            },
        }
    }

    /// Serves on: there is no successor.
    fn on_keep(&mut self, reason: &str) {
        self.timers.continue_serving(self.daemon.now());
        self.release_held(Some(reason));
        log::line(
            Level::Warning,
            &format!(
                "Process group '{}': no process can take over ({reason}): this one serves on.",
                self.daemon.name
            ),
        );
    }

    /// Sends a report. Returns whether the supervisor is there to get it.
    pub(super) fn report(&self, report: &Report) -> bool {
        (&self.endpoints.reports).write_all(&report.encode()).is_ok()
    }
}
