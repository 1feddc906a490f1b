//! The memory of the servers.

use std::thread;
use std::time::Duration;

use e2e::Mpm;

use crate::client::Client;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::processes;
use crate::statistics::median;
use crate::workload::WORKLOADS;

/// Connections that are open at the same time, so that with prefork every child gets the same
/// requests.
const CONNECTIONS: usize = 16;

/// The applications that each connection asks for, and how often.
const REQUESTS: &[(&str, usize)] = &[("hello", 500), ("json", 100), ("form", 100), ("large", 10)];

/// Pairs of fresh servers. How a heap grows is partly chance: it depends on which thread takes
/// which request.
const PAIRS: usize = 3;

/// Daemon processes of the one group, where it is about daemon mode.
const DAEMON_PROCESSES: u32 = 10;

/// Both servers, after the same requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) scope: Scope,
    pub(crate) ours: Footprint,
    pub(crate) original: Footprint,
}

/// A choice of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Apache's children.
    Children,
    /// All: Apache's parent and children, the daemon processes, and what watches them.
    Server,
}

/// The proportional set size of some processes, in KB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Footprint {
    pub(crate) processes: f64,
    pub(crate) sum: f64,
    pub(crate) largest: f64,
}

/// Starts pairs of servers, gives them the same requests, and looks at their processes. All figures
/// are medians.
pub(crate) fn compare(comparison: &Comparison, mpm: Mpm, place: Place) -> Result<Memory, Error> {
    let (place, scope) = match place {
        Place::Daemon { .. } => (Place::Daemon { processes: DAEMON_PROCESSES }, Scope::Server),
        _ => (place, Scope::Children),
    };
    let mut ours = Vec::new();
    let mut original = Vec::new();
    for _ in 0..PAIRS {
        let start = |side| Host::start(side, comparison, mpm, place);
        let pair = [start(Side::Ours)?, start(Side::Original)?];
        pair.iter().try_for_each(load)?;
        // Threads that have just become idle give back what they hold.
        thread::sleep(Duration::from_secs(1));
        ours.push(footprint(&pair[0], scope)?);
        original.push(footprint(&pair[1], scope)?);
    }
    Ok(Memory { scope, ours: middle(&ours), original: middle(&original) })
}

fn middle(footprints: &[Footprint]) -> Footprint {
    let figure = |figure: fn(&Footprint) -> f64| median(footprints.iter().map(figure));
    Footprint {
        processes: figure(|footprint| footprint.processes),
        sum: figure(|footprint| footprint.sum),
        largest: figure(|footprint| footprint.largest),
    }
}

fn load(host: &Host) -> Result<(), Error> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| requests(host))).collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn requests(host: &Host) -> Result<(), Error> {
    let mut client = None;
    for (name, count) in REQUESTS {
        let wanted = WORKLOADS.iter().filter(|workload| workload.name == *name);
        for workload in wanted.flat_map(|workload| std::iter::repeat_n(workload, *count)) {
            let failed = |error: std::io::Error| host.fault(workload.url, error.to_string());
            let client = match &mut client {
                Some(client) => client,
                None => client.insert(Client::connect(host.address()).map_err(failed)?),
            };
            client.exchange(workload).map_err(failed)?;
        }
    }
    Ok(())
}

fn footprint(host: &Host, scope: Scope) -> Result<Footprint, Error> {
    let processes = match scope {
        Scope::Children => processes::children(host.pid())?,
        Scope::Server => processes::family(host.pid())?,
    };
    let mut footprint = Footprint { processes: 0.0, sum: 0.0, largest: 0.0 };
    for process in processes {
        let size = processes::proportional_set_size(process)?;
        footprint.processes += 1.0;
        footprint.sum += size;
        footprint.largest = footprint.largest.max(size);
    }
    Ok(footprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_names_a_workload() {
        for (name, _) in REQUESTS {
            assert!(WORKLOADS.iter().any(|workload| workload.name == *name), "{name}");
        }
    }
}
