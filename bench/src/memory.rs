//! What the children hold in memory.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use e2e::Mpm;

use crate::client::Client;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::{Comparison, Group};
use crate::statistics::median;
use crate::workload::WORKLOADS;

/// Connections that are open at the same time, so that with prefork every child gets the same requests.
const CONNECTIONS: usize = 16;

/// What each connection asks for, and how often.
const REQUESTS: &[(&str, usize)] = &[("hello", 500), ("json", 100), ("form", 100), ("large", 10)];

/// Pairs of fresh servers. How a heap grows is partly chance: it depends on which thread takes which request.
const PAIRS: usize = 3;

/// Both servers' children, after the same requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) ours: Footprint,
    pub(crate) original: Footprint,
}

/// The proportional set size (shared pages are divided among those who share them) of the children, in KB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Footprint {
    pub(crate) children: f64,
    pub(crate) sum: f64,
    pub(crate) largest: f64,
}

/// Starts pairs of servers, gives them the same requests, and looks at the children. All figures are medians.
pub(crate) fn compare(comparison: &Comparison, mpm: Mpm) -> Result<Memory, Error> {
    let mut ours = Vec::new();
    let mut original = Vec::new();
    for _ in 0..PAIRS {
        let start = |side| Host::start(side, comparison, mpm, Group::Main);
        let pair = [start(Side::Ours)?, start(Side::Original)?];
        pair.iter().try_for_each(load)?;
        // Threads that have just become idle give back what they hold.
        thread::sleep(Duration::from_secs(1));
        ours.push(footprint(&pair[0])?);
        original.push(footprint(&pair[1])?);
    }
    Ok(Memory { ours: middle(&ours), original: middle(&original) })
}

fn middle(footprints: &[Footprint]) -> Footprint {
    let figure = |figure: fn(&Footprint) -> f64| median(footprints.iter().map(figure));
    Footprint {
        children: figure(|footprint| footprint.children),
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
            let failed = |error: std::io::Error| host.fault(workload, error.to_string());
            let client = match &mut client {
                Some(client) => client,
                None => client.insert(Client::connect(host.address()).map_err(failed)?),
            };
            client.exchange(workload).map_err(failed)?;
        }
    }
    Ok(())
}

fn footprint(host: &Host) -> Result<Footprint, Error> {
    let mut footprint = Footprint { children: 0.0, sum: 0.0, largest: 0.0 };
    for child in host.children()? {
        let path = PathBuf::from(format!("/proc/{child}/smaps_rollup"));
        let text = fs::read_to_string(&path);
        let text = text.map_err(|source| Error::File { path: path.clone(), source })?;
        let pss = proportional_set_size(&text)
            .ok_or_else(|| Error::File { path, source: std::io::Error::other("no line `Pss:`") })?;
        footprint.children += 1.0;
        footprint.sum += pss;
        footprint.largest = footprint.largest.max(pss);
    }
    Ok(footprint)
}

/// In KB.
fn proportional_set_size(smaps_rollup: &str) -> Option<f64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_whole_proportional_set_size() {
        let text = "00400000-7ffd [rollup]\nRss:   9000 kB\nPss:       4321 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(proportional_set_size(text), Some(4321.0));
        assert_eq!(proportional_set_size("Rss: 1 kB\nPss_Dirty: 1 kB\n"), None);
    }

    #[test]
    fn every_request_names_a_workload() {
        for (name, _) in REQUESTS {
            assert!(WORKLOADS.iter().any(|workload| workload.name == *name), "{name}");
        }
    }
}
