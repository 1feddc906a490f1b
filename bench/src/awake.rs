//! Keeps the processors awake while something is measured.
//!
//! With one connection, client and server wait for each other most of the time, and what is measured is how long an
//! idle processor takes to wake up: on a virtual machine longer than the request itself. So each processor gets
//! something to do that gives way to everything else (the scheduling policy "idle").

use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use crate::error::Error;

/// Processors are awake as long as this lives.
#[derive(Debug)]
pub(crate) struct Awake(Vec<Child>);

impl Awake {
    pub(crate) fn keep() -> Result<Self, Error> {
        let mut processes = Self(Vec::new());
        for processor in 0..available_parallelism().map_or(1, std::num::NonZero::get) {
            let process = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "chrt", "--idle", "0"])
                .args(["taskset", "--cpu-list", &processor.to_string()])
                .args(["sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .map_err(|error| Error::Program {
                    name: "setpriv",
                    reason: format!("{error} (of the package util-linux, as chrt and taskset)"),
                })?;
            processes.0.push(process);
        }
        Ok(processes)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // There is nothing else to do about one that is gone.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
