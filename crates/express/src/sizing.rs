//! The number of processes and threads of Apache itself.

use crate::apache::Mpm;
use crate::failure::Failure;
use crate::general;
use crate::parse::Parsed;
use crate::spec::Spec;

/// The numbers that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Sizing {
    max_clients: Option<u32>,
    initial: Option<f64>,
    minimum_spare: Option<f64>,
    maximum_spare: Option<f64>,
}

impl Sizing {
    /// # Errors
    /// A value is out of range.
    pub(crate) fn new(parsed: &Parsed) -> Result<Self, Failure> {
        Ok(Self {
            max_clients: parsed
                .integer(&general::MAX_CLIENTS)
                .and_then(|clients| u32::try_from(clients).ok()),
            initial: fraction(parsed, &general::INITIAL_WORKERS)?,
            minimum_spare: fraction(parsed, &general::MINIMUM_SPARE_WORKERS)?,
            maximum_spare: fraction(parsed, &general::MAXIMUM_SPARE_WORKERS)?,
        })
    }

    /// Directives and their values, in front of daemon processes with room for `capacity` requests.
    pub(crate) fn front(&self, mpm: Mpm, capacity: u32) -> Vec<(&'static str, u32)> {
        let clients = self.clients(capacity);
        let (initial, maximum) = if mpm == Mpm::Prefork { (0.05, 0.1) } else { (0.2, 0.6) };
        let initial = self.initial.unwrap_or(initial);
        let minimum = self.minimum_spare.unwrap_or(initial);
        let maximum = self.maximum_spare.unwrap_or(maximum);
        if mpm == Mpm::Prefork {
            return vec![
                ("ServerLimit", clients),
                ("StartServers", part(initial, clients).max(1)),
                ("MaxRequestWorkers", clients),
                ("MinSpareServers", part(minimum, clients).max(1)),
                ("MaxSpareServers", part(maximum, clients).max(1)),
                ("MaxKeepAliveRequests", 500),
            ];
        }
        let (threads, servers) = threaded(clients);
        vec![
            ("ThreadLimit", threads),
            ("ThreadsPerChild", threads),
            // Twice as many places as processes: a graceful restart needs some for the new before
            // the old are gone.
            ("ServerLimit", 2 * servers),
            ("StartServers", part(initial, servers).max(1)),
            ("MaxRequestWorkers", servers * threads),
            ("MinSpareThreads", (part(minimum, servers) * threads).max(threads)),
            ("MaxSpareThreads", (part(maximum, servers) * threads).max(threads)),
            ("MaxKeepAliveRequests", if mpm == Mpm::Event { 0 } else { 500 }),
        ]
    }

    /// The most clients at a time, with a threaded processing model and with prefork.
    pub(crate) fn capacities(&self, capacity: u32) -> (u32, u32) {
        let clients = self.clients(capacity);
        let (threads, servers) = threaded(clients);
        (threads * servers, clients)
    }

    fn clients(&self, capacity: u32) -> u32 {
        match self.max_clients {
            Some(clients) => clients.max(capacity),
            None => 10 + (capacity + capacity / 2).max(10),
        }
    }
}

/// Returns the sizes for embedded mode, where Apache's processes run the application.
pub(crate) fn embedded(mpm: Mpm, processes: u32, threads: u32) -> Vec<(&'static str, u32)> {
    let capacity = processes * threads;
    match mpm {
        Mpm::Prefork => vec![
            ("ServerLimit", capacity),
            ("StartServers", capacity),
            ("MaxRequestWorkers", capacity),
            ("MinSpareServers", capacity),
            ("MaxSpareServers", capacity),
            ("MaxKeepAliveRequests", 100),
        ],
        Mpm::Worker | Mpm::Event => vec![
            ("ThreadLimit", threads),
            ("ThreadsPerChild", threads),
            // Places for a graceful restart, as above.
            ("ServerLimit", 2 * processes),
            ("StartServers", processes),
            ("MaxRequestWorkers", capacity),
            ("MinSpareThreads", capacity),
            ("MaxSpareThreads", capacity),
            ("MaxKeepAliveRequests", if mpm == Mpm::Event { 0 } else { 100 }),
        ],
    }
}

/// Threads in each process, and processes.
fn threaded(clients: u32) -> (u32, u32) {
    let threads = if clients <= 20 { 10 } else { clients / (clients / 20 + 1) };
    (threads, clients.div_ceil(threads))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is rounded down on purpose, and in the range of `whole`"
)]
fn part(fraction: f64, whole: u32) -> u32 {
    (fraction * f64::from(whole)) as u32
}

fn fraction(parsed: &Parsed, spec: &Spec) -> Result<Option<f64>, Failure> {
    let Some(value) = parsed.float(spec) else { return Ok(None) };
    if (0.0..=1.0).contains(&value) {
        return Ok(Some(value));
    }
    Err(Failure::usage(format!("option {}: the value needs to be within the range 0 to 1", spec.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn sizing(arguments: &[&str]) -> Result<Sizing, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        parse(&options::server(), arguments).and_then(|parsed| Sizing::new(&parsed))
    }

    fn value(directives: &[(&'static str, u32)], name: &str) -> u32 {
        directives.iter().find(|directive| directive.0 == name).unwrap_or_else(|| panic!("{name}")).1
    }

    #[test]
    fn the_front_end_as_the_contract_has_it() {
        // Capacity; clients, threads per process and processes of worker and event.
        for (capacity, clients, threads, servers) in
            [(5, 20, 10, 2), (40, 70, 17, 5), (15, 32, 16, 2), (1, 20, 10, 2)]
        {
            let plain = Sizing::default();
            assert_eq!(plain.capacities(capacity), (threads * servers, clients), "{capacity}");
            let event = plain.front(Mpm::Event, capacity);
            assert_eq!(value(&event, "ThreadsPerChild"), threads, "{capacity}");
            assert_eq!(value(&event, "MaxRequestWorkers"), threads * servers, "{capacity}");
            assert_eq!(value(&event, "MinSpareThreads"), threads, "{capacity}");
            assert_eq!(
                value(&plain.front(Mpm::Prefork, capacity), "MaxRequestWorkers"),
                clients,
                "{capacity}"
            );
        }
        let plain = Sizing::default();
        let worker = plain.front(Mpm::Worker, 40);
        assert_eq!((value(&worker, "StartServers"), value(&worker, "MaxSpareThreads")), (1, 3 * 17));
        let prefork = plain.front(Mpm::Prefork, 40);
        assert_eq!((value(&prefork, "StartServers"), value(&prefork, "MaxSpareServers")), (3, 7));
    }

    #[test]
    fn given_sizes_win() {
        let few = sizing(&["--max-clients", "3"]).unwrap();
        assert_eq!(few.capacities(5), (10, 5));
        let many =
            sizing(&["--max-clients", "100", "--initial-workers", "0.5", "--maximum-spare-workers", "1"])
                .unwrap();
        let event = many.front(Mpm::Event, 5);
        assert_eq!(value(&event, "ThreadsPerChild"), 16);
        assert_eq!((value(&event, "StartServers"), value(&event, "MinSpareThreads")), (3, 48));
        assert_eq!(value(&event, "MaxSpareThreads"), 112);
        for arguments in
            [["--initial-workers", "1.5"], ["--maximum-spare-workers", "nan"], ["--max-clients", "0"]]
        {
            assert!(sizing(&arguments).unwrap_err().to_string().contains(arguments[0]), "{arguments:?}");
        }
    }

    #[test]
    fn embedded_capacity_is_the_requested_one() {
        let event = embedded(Mpm::Event, 3, 4);
        for (name, expected) in [
            ("ThreadsPerChild", 4),
            ("StartServers", 3),
            ("MaxRequestWorkers", 12),
            ("MaxKeepAliveRequests", 0),
        ] {
            assert_eq!(value(&event, name), expected, "{name}");
        }
        let prefork = embedded(Mpm::Prefork, 3, 4);
        for (name, expected) in [
            ("ServerLimit", 12),
            ("StartServers", 12),
            ("MaxRequestWorkers", 12),
            ("MaxKeepAliveRequests", 100),
        ] {
            assert_eq!(value(&prefork, name), expected, "{name}");
        }
    }
}
