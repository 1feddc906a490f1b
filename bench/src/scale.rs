//! The scaling of ours: many groups, many of which few are used, many idle connections.

use std::thread;
use std::time::{Duration, Instant};

use e2e::Mpm;

use crate::client::Client;
use crate::error::Error;
use crate::goals::Goal;
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::processes;
use crate::workload::{Answer, HELLO};

/// Numbers of groups, of one process each.
const GROUPS: [u32; 2] = [50, 500];
const QUICK_GROUPS: [u32; 2] = [5, 20];

/// Groups that are used, and those that there are.
const USED: [u32; 2] = [20, 500];
const QUICK_USED: [u32; 2] = [3, 20];

/// Clients that ask groups at the same time: where a request starts a process, nobody waits for the
/// others.
const CLIENTS: u32 = 20;

/// Connections that are kept, after one request each.
const IDLE: usize = 200;

/// The measurements.
#[derive(Debug)]
pub(crate) struct Scaling {
    pub(crate) crowds: [Crowd; 2],
    /// Groups of one process that are all used, and as many that are used among many that start
    /// processes when they are.
    pub(crate) used: [Crowd; 2],
    /// Threads of a daemon process: before there were idle connections, and with them.
    pub(crate) threads: [f64; 2],
}

/// A server with many groups. Sizes are in KB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) groups: u32,
    /// The number of groups that get requests.
    pub(crate) used: u32,
    /// Seconds from the start of Apache until each of these has answered.
    pub(crate) start: f64,
    /// Proportional set size of all processes.
    pub(crate) sum: f64,
    /// Resident set size.
    pub(crate) supervisor: f64,
    /// Proportional set size: of what it shares with others, its part.
    pub(crate) supervisor_alone: f64,
}

/// The factor by which a group may take more when there are ten times as many groups.
const LINEAR: f64 = 1.25;

/// KB.
const SUPERVISOR: f64 = 2048.0;

pub(crate) fn measure(comparison: &Comparison) -> Result<Scaling, Error> {
    let [few, many] = if comparison.quick { QUICK_GROUPS } else { GROUPS };
    let [used, all] = if comparison.quick { QUICK_USED } else { USED };
    let crowded = |count| crowd(comparison, Place::Groups { count }, count, count);
    Ok(Scaling {
        crowds: [crowded(few)?, crowded(many)?],
        used: [crowded(used)?, crowd(comparison, Place::Dormant { count: all }, all, used)?],
        threads: idle_connections(comparison)?,
    })
}

impl Scaling {
    pub(crate) fn goals(&self) -> Vec<Goal> {
        let [few, many] = self.crowds;
        let linear = |what: &str, figure: fn(&Crowd) -> f64| {
            let one = |crowd: &Crowd| figure(crowd) / f64::from(crowd.groups);
            let ratio = one(&many) / one(&few);
            let text = format!(
                "{what} linear: one of {} groups takes {ratio:.2} of what one of {} takes (goal: at most {LINEAR})",
                many.groups, few.groups
            );
            Goal { text, reached: ratio <= LINEAR }
        };
        let [alone, among] = self.used;
        let proportionate = |what: &str, figure: fn(&Crowd) -> f64| {
            let ratio = figure(&among) / figure(&alone);
            let text = format!(
                "{what} in proportion to use: {} groups of which {} are used take {ratio:.2} of what these take alone (goal: at \
                 most {LINEAR})",
                among.groups, among.used
            );
            Goal { text, reached: ratio <= LINEAR }
        };
        let [before, with] = self.threads;
        vec![
            linear("start", |crowd| crowd.start),
            linear("memory", |crowd| crowd.sum),
            proportionate("start", |crowd| crowd.start),
            proportionate("memory", |crowd| crowd.sum),
            Goal {
                text: format!(
                    "the supervisor of {} groups takes {:.0} KB (goal: less than {SUPERVISOR:.0})",
                    many.groups, many.supervisor
                ),
                reached: many.supervisor < SUPERVISOR,
            },
            Goal {
                text: format!(
                    "{IDLE} idle connections cost a daemon process no thread: {before} before, {with} with them"
                ),
                reached: with <= before,
            },
        ]
    }
}

fn crowd(comparison: &Comparison, place: Place, groups: u32, used: u32) -> Result<Crowd, Error> {
    eprintln!("{}", place.title());
    let start = Instant::now();
    let host = Host::start(Side::Ours, comparison, Mpm::Event, place)?;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                scope.spawn({
                    let host = &host;
                    move || ask(host, first, used)
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let start = start.elapsed().as_secs_f64();
    settle();
    let mut sum = 0.0;
    for process in processes::family(host.pid())? {
        sum += processes::proportional_set_size(process)?;
    }
    let process = supervisor(&host)?;
    let supervisor = processes::resident_set_size(process)?;
    let supervisor_alone = processes::proportional_set_size(process)?;
    Ok(Crowd { groups, used, start, sum, supervisor, supervisor_alone })
}

/// Sends a request to each [`CLIENTS`]th of the groups that are used, from `first`.
fn ask(host: &Host, first: u32, used: u32) -> Result<(), Error> {
    let mut client = connect(host, HELLO.url)?;
    for group in (first..used).step_by(CLIENTS as usize) {
        get(host, &mut client, &format!("/group-{group}"), &HELLO.answer)?;
    }
    Ok(())
}

fn idle_connections(comparison: &Comparison) -> Result<[f64; 2], Error> {
    eprintln!("{IDLE} idle connections");
    let host = Host::start(Side::Ours, comparison, Mpm::Event, Place::Daemon { processes: 1 })?;
    host.get(&HELLO)?;
    let mut daemons = processes::children(supervisor(&host)?)?.into_iter();
    let daemon = daemons.next().ok_or_else(|| host.lacks("a daemon process"))?;
    let before = processes::threads(daemon)?;
    let mut clients = Vec::new();
    for _ in 0..IDLE {
        let mut client = connect(&host, HELLO.url)?;
        get(&host, &mut client, HELLO.url, &HELLO.answer)?;
        clients.push(client);
    }
    settle();
    let with = processes::threads(daemon)?;
    // All of them are still there, or nothing was shown.
    for client in &mut clients {
        get(&host, client, HELLO.url, &HELLO.answer)?;
    }
    Ok([before, with])
}

/// Threads that have just become idle give back what they hold.
fn settle() {
    thread::sleep(Duration::from_secs(1));
}

fn supervisor(host: &Host) -> Result<u32, Error> {
    for child in processes::children(host.pid())? {
        if processes::name(child)? == "supervisor" {
            return Ok(child);
        }
    }
    Err(host.lacks("a supervisor"))
}

fn connect(host: &Host, url: &str) -> Result<Client, Error> {
    Client::connect(host.address()).map_err(|error| host.fault(url, error.to_string()))
}

fn get(host: &Host, client: &mut Client, url: &str, answer: &Answer) -> Result<(), Error> {
    client.get(url, answer).map(drop).map_err(|error| host.fault(url, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_is_at_most_a_quarter_more_for_each() {
        let crowd = |(groups, used), start, sum| Crowd {
            groups,
            used,
            start,
            sum,
            supervisor: 2000.0,
            supervisor_alone: 900.0,
        };
        let verdicts = |start, sum, threads| {
            let crowds = [crowd((50, 50), 1.0, 100.0), crowd((500, 500), start, sum)];
            let used = [crowd((20, 20), 1.0, 100.0), crowd((500, 20), start / 10.0, sum / 10.0)];
            let scaling = Scaling { crowds, used, threads };
            scaling.goals().into_iter().map(|goal| goal.reached).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(12.0, 1200.0, [18.0, 18.0]), [true; 6]);
        assert_eq!(verdicts(13.0, 1300.0, [18.0, 19.0]), [false, false, false, false, true, false]);
    }
}
