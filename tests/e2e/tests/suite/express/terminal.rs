//! Somebody at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::PATIENCE;
use nix::sys::termios::{LocalFlags, tcgetattr};

/// A terminal: what is shown, and keys to press.
pub(super) struct Terminal {
    keys: File,
    shown: Arc<Mutex<String>>,
    /// The length of what has been expected already.
    seen: usize,
}

impl Terminal {
    pub(super) fn new(master: OwnedFd) -> Self {
        let mut screen = File::from(master);
        let keys = screen.try_clone().unwrap_or_else(|error| panic!("{error}"));
        let shown = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&shown);
        // It ends when no process has the terminal any more.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                text.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Self { keys, shown, seen: 0 }
    }

    /// Presses keys.
    pub(super) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{}", self.shown()));
    }

    /// Waits until a text is shown, after all that was waited for before.
    pub(super) fn expect(&mut self, text: &str) {
        let begin = self.seen;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if let Some(place) = shown[begin..].find(text) {
                self.seen = begin + place + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "{text} is not on the terminal: {shown}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Presses the keys of a command for the debugger, at its prompt, and waits for its answer.
    pub(super) fn command(&mut self, command: &str, answer: &str) {
        self.expect("(Pdb) ");
        self.press(&format!("{command}\n"));
        self.expect(answer);
    }

    /// Returns whether keys are shown, as a shell expects it.
    pub(super) fn echoes(&self) -> bool {
        tcgetattr(&self.keys).is_ok_and(|settings| settings.local_flags.contains(LocalFlags::ECHO))
    }

    /// All that was shown.
    pub(super) fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
