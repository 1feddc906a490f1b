//! The readings of the configuration that processes still work by.
//!
//! Children and supervisors keep the places in shared memory that they were started with. Such a
//! place can be given to others when the last process has ended that knows it.

use std::sync::Mutex;

use os::lock::lock;
use wsgi_core::ledger::Reading;

struct Readings {
    /// The number of the last one.
    current: u64,
    /// The processes that run, with the readings that they were started for.
    processes: Vec<(u32, u64)>,
}

// The parent's; it is kept over restarts, as the processes are.
static READINGS: Mutex<Readings> = Mutex::new(Readings { current: 0, processes: Vec::new() });

/// Begins a reading, in the parent.
pub(crate) fn begin() {
    lock(&READINGS).current += 1;
}

/// Notes that a process has been started for the last reading, in the parent.
pub(crate) fn process_started(process: u32) {
    let readings = &mut *lock(&READINGS);
    readings.processes.push((process, readings.current));
}

/// Notes that a process has ended, in the parent.
pub(crate) fn process_ended(process: u32) {
    lock(&READINGS).processes.retain(|(known, _)| *known != process);
}

/// Returns the last reading.
pub(crate) fn current() -> Reading {
    let readings = lock(&READINGS);
    let oldest = readings.processes.iter().map(|(_, reading)| *reading).min();
    Reading { number: readings.current, oldest: oldest.unwrap_or(readings.current) }
}
