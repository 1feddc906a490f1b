//! Many checks on one server: all of them are made, and all that fail are reported.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::{Mode, Server, Target, report};

/// The checks of one test on one server.
pub struct Cases<'a> {
    server: &'a Server,
    failures: Vec<String>,
}

impl<'a> Cases<'a> {
    /// Runs `test`, then reports every failed check at once, with the end of the server's log.
    pub(crate) fn run(server: &'a Server, test: impl FnOnce(&'a Server, &mut Self)) {
        let mut cases = Self { server, failures: Vec::new() };
        let outcome = catch_unwind(AssertUnwindSafe(|| test(server, &mut cases)));
        if outcome.is_err() || !cases.failures.is_empty() {
            report(format_args!("end of the error log:\n{}", server.log_tail()));
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(
            cases.failures.is_empty(),
            "{}, {} failed:\n  {}",
            server.mpm().name(),
            cases.failures.len(),
            cases.failures.join("\n  ")
        );
    }

    /// An expectation of the contract that holds for both implementations.
    pub fn check(&mut self, name: &str, assertions: impl FnOnce()) {
        if let Err(message) = attempt(assertions) {
            self.failures.push(format!("{name}: {message}"));
        }
    }

    /// An expectation that the original does not meet, for `reason`. It fails on the original if it
    /// is met after all: then the mark is wrong.
    pub fn deviates(&mut self, name: &str, reason: &str, assertions: impl FnOnce()) {
        register(name, reason);
        if !self.server.target().is_reference() {
            return self.check(name, assertions);
        }
        match attempt(assertions) {
            Ok(()) => {
                self.failures.push(format!("{name}: the original meets this, though it is said: {reason}"))
            }
            Err(_) => report(format_args!("{name}: the original differs: {reason}")),
        }
    }

    /// An expectation that the original does not meet in one of the modes, for `reason`.
    pub fn deviates_in(&mut self, mode: Mode, name: &str, reason: &str, assertions: impl FnOnce()) {
        if self.server.mode() == mode {
            self.deviates(name, reason, assertions);
        } else {
            self.check(name, assertions);
        }
    }

    /// An expectation that the original does not meet, for `reason`, and that is not tried on it,
    /// because it would harm the rest of the test or does so only sometimes.
    pub fn ours_only(&mut self, name: &str, reason: &str, assertions: impl FnOnce()) {
        register(name, reason);
        if self.server.target().is_reference() {
            report(format_args!("{name}: not tried on the original: {reason}"));
        } else {
            self.check(name, assertions);
        }
    }
}

/// Says that a part of a test does not apply here. A whole test names its [`Needs`](crate::Needs)
/// instead.
pub fn skipped(why: &str) {
    report(format_args!("skipped: {why}"));
}

fn attempt(assertions: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(assertions)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("panicked");
        // Bodies may be part of it; the whole is in the test's output.
        text.chars().take(400).collect::<String>().replace('\n', "\n    ")
    })
}

/// Collects the deviations of all tests in one file, for docs/compat.md.
fn register(name: &str, reason: &str) {
    let Some(path) = std::env::var_os("E2E_DEVIATIONS") else { return };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let written = opened.and_then(|mut file| writeln!(file, "{name}: {reason}"));
    written.unwrap_or_else(|error| panic!("E2E_DEVIATIONS: {}: {error}", path.display()));
}

impl Target {
    /// Skips a part of a test that is about something the original does not have; says so.
    #[must_use]
    pub fn lacks(&self, what: &str) -> bool {
        if self.is_reference() {
            skipped(&format!("the original has no {what}"));
        }
        self.is_reference()
    }
}
