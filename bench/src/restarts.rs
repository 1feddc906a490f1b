//! Requests during restarts under load: restarts of the server (`graceful`), and those that a
//! touched script causes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use e2e::{Mpm, Process, signal};
use nix::sys::signal::Signal;

use crate::client::Client;
use crate::error::Error;
use crate::goals::{EVEN, Goal};
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::statistics::{extremes, median, percentile};
use crate::workload::{HELLO, STATIC_FILE, Workload};

/// The places, which differ in who has to start again.
const PLACES: [Place; 2] = [Place::Main, Place::Daemon { processes: 1 }];
/// Clients of the application, and as many of the static file.
const CLIENTS: usize = 4;
/// The pause of a client between two requests: without restarts, the machine is not to be busy.
const PAUSE: Duration = Duration::from_millis(2);
/// The time between two events. Apache looks at its children once a second.
const INTERVAL: Duration = Duration::from_millis(1_100);
const EVENTS: usize = 10;
const QUICK_EVENTS: usize = 4;
/// The additional time that a request may take because of a touch, in seconds.
const TOUCH: f64 = 0.150;

/// A disturbance of a server under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// The script's file is touched.
    Touches,
    /// The server is restarted gracefully.
    Gracefuls,
    /// Both, in turn.
    Both,
}

/// The measurements of one place.
#[derive(Debug)]
pub(crate) struct Restarts {
    pub(crate) mpm: Mpm,
    pub(crate) place: Place,
    pub(crate) trials: Vec<Trial>,
}

/// One disturbance of one server, in all rounds.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) disturbance: Disturbance,
    pub(crate) side: Side,
    pub(crate) application: Requests,
    /// A file that the same Apache serves at the same time.
    pub(crate) static_file: Requests,
}

/// Requests, each over a connection of its own.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// The seconds that each took.
    pub(crate) seconds: Vec<f64>,
    /// The number of requests without an answer, or with a wrong one.
    pub(crate) lost: usize,
}

pub(crate) fn measure(comparison: &Comparison, rounds: u32) -> Result<Vec<Restarts>, Error> {
    let mut all = Vec::new();
    for &mpm in &comparison.mpm {
        for place in PLACES {
            eprintln!("{}, {}", mpm.name(), place.title());
            let hosts = [
                (Side::Ours, Host::start(Side::Ours, comparison, mpm, place)?),
                (Side::Original, Host::start(Side::Original, comparison, mpm, place)?),
            ];
            let mut trials = Vec::new();
            for disturbance in [Disturbance::Touches, Disturbance::Gracefuls, Disturbance::Both] {
                let trial = |side| Trial {
                    disturbance,
                    side,
                    application: Requests::default(),
                    static_file: Requests::default(),
                };
                let mut both = [trial(Side::Ours), trial(Side::Original)];
                for _ in 0..rounds {
                    for ((_, host), trial) in hosts.iter().zip(&mut both) {
                        host.get(&HELLO)?;
                        trial.round(host, comparison)?;
                    }
                }
                trials.extend(both);
            }
            all.push(Restarts { mpm, place, trials });
        }
    }
    Ok(all)
}

impl Restarts {
    pub(crate) fn goals(&self) -> Vec<Goal> {
        self.trials.iter().filter(|trial| trial.side == Side::Ours).flat_map(Trial::goals).collect()
    }
}

impl Trial {
    fn round(&mut self, host: &Host, comparison: &Comparison) -> Result<(), Error> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients = |workload| {
                let stop = &stop;
                [(); CLIENTS].map(|()| scope.spawn(move || Requests::until(stop, host, workload)))
            };
            let clients = [clients(&HELLO), clients(&STATIC_FILE)];
            let disturbed = self.disturbance.happen(host, comparison);
            stop.store(true, Ordering::Relaxed);
            let [application, static_file] = clients;
            self.application.add(application);
            self.static_file.add(static_file);
            disturbed
        })
    }

    fn goals(&self) -> Vec<Goal> {
        let what = self.disturbance.name();
        let lost = self.application.lost;
        let none_lost =
            Goal { text: format!("{what}: {lost} requests lost (goal: none)"), reached: lost == 0 };
        let (worst, beside) = (self.application.worst(), self.static_file.worst() * (1.0 + EVEN));
        let after_touch = self.application.median() + TOUCH;
        let (limit, of) = match self.disturbance {
            Disturbance::Touches => (after_touch, "the median and 150 ms"),
            Disturbance::Gracefuls => (beside, "the slowest of the static file and a tenth"),
            Disturbance::Both => (
                beside.max(after_touch),
                "the slowest of the static file and a tenth, or the median and 150 ms",
            ),
        };
        let text = format!("{what}: the slowest took {worst:.3} s (goal: at most {limit:.3} s, {of})");
        vec![none_lost, Goal { text, reached: worst <= limit }]
    }
}

impl Requests {
    /// One after the other.
    fn until(stop: &AtomicBool, host: &Host, workload: &Workload) -> Self {
        let mut requests = Self::default();
        while !stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            match Client::connect(host.address()).and_then(|mut client| client.exchange(workload)) {
                Ok(_) => requests.seconds.push(begin.elapsed().as_secs_f64()),
                Err(_) => requests.lost += 1,
            }
            thread::sleep(PAUSE);
        }
        requests
    }

    fn add(&mut self, clients: [ScopedJoinHandle<'_, Self>; CLIENTS]) {
        for client in clients {
            let requests = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.seconds.extend(requests.seconds);
            self.lost += requests.lost;
        }
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.seconds.iter().copied())
    }

    pub(crate) fn p99(&self) -> f64 {
        percentile(self.seconds.iter().copied(), 0.99)
    }

    pub(crate) fn worst(&self) -> f64 {
        extremes(self.seconds.iter().copied()).1
    }
}

impl Disturbance {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Touches => "touches",
            Self::Gracefuls => "graceful",
            Self::Both => "both in turn",
        }
    }

    fn happen(self, host: &Host, comparison: &Comparison) -> Result<(), Error> {
        let events = if comparison.quick { QUICK_EVENTS } else { EVENTS };
        thread::sleep(INTERVAL);
        for event in 0..events {
            if self == Self::Touches || (self == Self::Both && event % 2 == 1) {
                host.touch(HELLO.name)?;
            } else {
                signal(Process(host.pid()), Signal::SIGUSR1);
            }
            thread::sleep(INTERVAL);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disturbance_has_its_limit() {
        let requests = |worst, lost| Requests { seconds: vec![0.001, 0.001, 0.002, worst], lost };
        let reached = |disturbance, worst, beside, lost| {
            let (application, static_file) = (requests(worst, lost), requests(beside, 0));
            let trial = Trial { disturbance, side: Side::Ours, application, static_file };
            trial.goals().into_iter().map(|goal| goal.reached).collect::<Vec<_>>()
        };
        assert_eq!(reached(Disturbance::Touches, 0.150, 0.003, 0), [true, true]);
        assert_eq!(reached(Disturbance::Touches, 0.160, 0.9, 1), [false, false]);
        assert_eq!(reached(Disturbance::Gracefuls, 0.9, 1.0, 0), [true, true]);
        assert_eq!(reached(Disturbance::Gracefuls, 0.1, 0.05, 0), [true, false]);
        assert_eq!(reached(Disturbance::Both, 0.1, 0.05, 0), [true, true]);
    }
}
