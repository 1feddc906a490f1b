//! What the children hold in memory.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::error::Error;
use crate::host::Host;
use crate::workload::WORKLOADS;

/// Connections that are open at the same time, so that with prefork every child gets the same requests.
const CONNECTIONS: usize = 16;

/// What each connection asks for, and how often.
const REQUESTS: &[(&str, usize)] = &[("hello", 500), ("json", 100), ("form", 100), ("large", 10)];

/// Both servers' children, after the same requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) ours: Footprint,
    pub(crate) original: Footprint,
}

/// The proportional set size (shared pages are divided among those who share them) of the children, in KB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) children: u64,
    pub(crate) sum: u64,
    pub(crate) largest: u64,
}

pub(crate) fn compare(ours: &Host, original: &Host) -> Result<Memory, Error> {
    load(ours)?;
    load(original)?;
    // Threads that have just become idle give back what they hold.
    thread::sleep(Duration::from_secs(1));
    Ok(Memory { ours: footprint(ours)?, original: footprint(original)? })
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
    let mut footprint = Footprint::default();
    for child in host.children()? {
        let path = PathBuf::from(format!("/proc/{child}/smaps_rollup"));
        let text = fs::read_to_string(&path);
        let text = text.map_err(|source| Error::File { path: path.clone(), source })?;
        let pss = proportional_set_size(&text)
            .ok_or_else(|| Error::File { path, source: std::io::Error::other("no line `Pss:`") })?;
        footprint.children += 1;
        footprint.sum += pss;
        footprint.largest = footprint.largest.max(pss);
    }
    Ok(footprint)
}

fn proportional_set_size(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_whole_proportional_set_size() {
        let text = "00400000-7ffd [rollup]\nRss:   9000 kB\nPss:       4321 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(proportional_set_size(text), Some(4321));
        assert_eq!(proportional_set_size("Rss: 1 kB\nPss_Dirty: 1 kB\n"), None);
    }

    #[test]
    fn every_request_names_a_workload() {
        for (name, _) in REQUESTS {
            assert!(WORKLOADS.iter().any(|workload| workload.name == *name), "{name}");
        }
    }
}
