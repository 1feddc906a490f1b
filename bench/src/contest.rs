//! The rounds.

use std::time::Instant;

use e2e::Mpm;

use crate::client::Client;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::{Comparison, Group};
use crate::statistics::{extremes, median};
use crate::workload::{Repeat, STATIC_FILE, WORKLOADS, Workload};
use crate::wrk;

/// The two servers.
#[derive(Debug)]
pub(crate) struct Pair {
    mpm: Mpm,
    group: Group,
    ours: Host,
    original: Host,
}

/// One workload over one number of connections.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) workload: &'static Workload,
    pub(crate) connections: u32,
    pub(crate) ours: Vec<Sample>,
    pub(crate) original: Vec<Sample>,
    /// Empty, unless it has the static file for a yardstick.
    pub(crate) static_file: Vec<Sample>,
}

/// One round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Seconds within which 99 of 100 responses came; of counted transfers, the slowest one.
    pub(crate) p99: f64,
}

/// A ratio ours/original: of the medians, and its extremes in single rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Pair {
    pub(crate) fn start(comparison: &Comparison, mpm: Mpm, group: Group) -> Result<Self, Error> {
        let start = |side| Host::start(side, comparison, mpm, group);
        Ok(Self { mpm, group, ours: start(Side::Ours)?, original: start(Side::Original)? })
    }

    /// What the servers call themselves.
    pub(crate) fn banners(&self) -> Result<[String; 2], Error> {
        Ok([self.ours.get(&STATIC_FILE)?.server, self.original.get(&STATIC_FILE)?.server])
    }

    pub(crate) fn measure(&self, comparison: &Comparison) -> Result<Vec<Contest>, Error> {
        let whole = self.group == Group::Main;
        let mut contests = Vec::new();
        for workload in WORKLOADS {
            if !comparison.includes(workload.name) || !(whole || workload.name == "hello") {
                continue;
            }
            let widths = match workload.repeat {
                Repeat::Timed(connections) => connections,
                Repeat::Counted { .. } => &[1],
            };
            for &connections in widths {
                self.announce(&format!("{}, connections: {connections}", workload.name));
                contests.push(self.contest(workload, connections, comparison)?);
            }
        }
        Ok(contests)
    }

    fn contest(
        &self,
        workload: &'static Workload,
        connections: u32,
        comparison: &Comparison,
    ) -> Result<Contest, Error> {
        let yardstick = self.group == Group::Main && workload.has_yardstick();
        let mut lanes = vec![
            Lane { host: &self.ours, workload, response_length: 0, samples: Vec::new() },
            Lane { host: &self.original, workload, response_length: 0, samples: Vec::new() },
        ];
        if yardstick {
            lanes.push(Lane {
                host: &self.ours,
                workload: &STATIC_FILE,
                response_length: 0,
                samples: Vec::new(),
            });
        }
        for lane in &mut lanes {
            lane.warm_up(connections)?;
        }
        for round in 0..comparison.rounds() as usize {
            // Each is the first in its turn: the one that follows another finds other caches.
            for turn in 0..lanes.len() {
                let lane = (round + turn) % lanes.len();
                lanes[lane].round(connections, comparison.seconds())?;
            }
        }
        let mut samples = lanes.into_iter().map(|lane| lane.samples);
        let mut next = || samples.next().unwrap_or_default();
        Ok(Contest { workload, connections, ours: next(), original: next(), static_file: next() })
    }

    fn announce(&self, what: &str) {
        eprintln!("{}, {} interpreter: {what}", self.mpm.name(), self.group.name());
    }
}

impl Contest {
    /// Requests per second, ours/original.
    pub(crate) fn rate(&self) -> Ratio {
        self.ratio(|sample| sample.rate)
    }

    /// 99th percentile of the latency, ours/original.
    pub(crate) fn p99(&self) -> Ratio {
        self.ratio(|sample| sample.p99)
    }

    fn ratio(&self, figure: impl Fn(&Sample) -> f64) -> Ratio {
        let value = median(self.ours.iter().map(&figure)) / median(self.original.iter().map(&figure));
        // Those of one round were measured right after another.
        let rounds =
            self.ours.iter().zip(&self.original).map(|(ours, original)| figure(ours) / figure(original));
        let (low, high) = extremes(rounds);
        Ratio { value, low, high }
    }
}

/// A server and what it is asked for.
struct Lane<'a> {
    host: &'a Host,
    workload: &'a Workload,
    /// Of the whole response, in bytes.
    response_length: u64,
    samples: Vec<Sample>,
}

impl Lane<'_> {
    /// Looks at one response, and lets caches fill.
    fn warm_up(&mut self, connections: u32) -> Result<(), Error> {
        self.response_length = self.host.get(self.workload)?.wire_length;
        if matches!(self.workload.repeat, Repeat::Timed(_)) {
            self.timed(connections, 1)?;
        }
        Ok(())
    }

    fn round(&mut self, connections: u32, seconds: u32) -> Result<(), Error> {
        let sample = match self.workload.repeat {
            Repeat::Timed(_) => self.timed(connections, seconds)?,
            Repeat::Counted { requests, .. } => self.counted(requests)?,
        };
        self.samples.push(sample);
        Ok(())
    }

    fn timed(&self, connections: u32, seconds: u32) -> Result<Sample, Error> {
        let counts = wrk::round(self.host.address(), self.workload, connections, seconds)?;
        if let Some(fault) = counts.fault(connections, self.response_length) {
            return Err(self.host.fault(self.workload, fault));
        }
        Ok(Sample { rate: counts.requests as f64 / counts.seconds, p99: counts.p99 })
    }

    fn counted(&self, requests: u32) -> Result<Sample, Error> {
        let failed = |error: std::io::Error| self.host.fault(self.workload, error.to_string());
        let mut client = Client::connect(self.host.address()).map_err(failed)?;
        let mut slowest: f64 = 0.0;
        let start = Instant::now();
        for _ in 0..requests {
            let request = Instant::now();
            client.exchange(self.workload).map_err(failed)?;
            slowest = slowest.max(request.elapsed().as_secs_f64());
        }
        Ok(Sample { rate: f64::from(requests) / start.elapsed().as_secs_f64(), p99: slowest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_of_the_medians_and_its_range_of_the_rounds() {
        let samples = |rates: [f64; 3]| rates.map(|rate| Sample { rate, p99: 1.0 / rate }).to_vec();
        let contest = Contest {
            workload: &WORKLOADS[0],
            connections: 4,
            ours: samples([20.0, 40.0, 30.0]),
            original: samples([10.0, 10.0, 20.0]),
            static_file: Vec::new(),
        };
        let rate = contest.rate();
        assert_eq!((rate.value, rate.low, rate.high), (3.0, 1.5, 4.0));
        assert!((contest.p99().value - 1.0 / 3.0).abs() < 1e-12);
    }
}
