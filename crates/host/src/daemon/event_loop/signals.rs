//! Signals.

use nix::sys::signal::Signal;
use wsgi_core::lifecycle::Trigger;

use super::EventLoop;

impl EventLoop {
    /// Handles the signals that have come.
    pub(super) fn on_signals(&mut self) {
        let mut numbers = [0; 64];
        while let Ok(count @ 1..) = nix::unistd::read(&self.endpoints.signals, &mut numbers) {
            for number in &numbers[..count] {
                if let Ok(signal) = Signal::try_from(i32::from(*number)) {
                    self.on_signal(signal);
                }
            }
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        if self.is_service {
            return;
        }
        match signal {
            Signal::SIGTERM | Signal::SIGINT => self.trigger(Trigger::Terminate),
            Signal::SIGUSR1 => self.trigger(Trigger::Graceful),
            Signal::SIGXCPU => self.trigger(Trigger::CpuTimeLimit),
            // Bursts are dropped.
            _ => {
                if let Some(sender) = &self.endpoints.signal_sender {
                    let _ = sender.try_send(signal);
                }
            }
        }
    }
}
