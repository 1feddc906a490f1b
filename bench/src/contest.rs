//! The rounds.

use std::time::Instant;

use e2e::Mpm;

use crate::client::Client;
use crate::error::Error;
use crate::host::{Host, Side};
use crate::options::Comparison;
use crate::place::Place;
use crate::statistics::{extremes, median};
use crate::workload::{Repeat, STATIC_FILE, WORKLOADS, Workload};
use crate::wrk;
use crate::yardstick::Yardstick;

/// The two servers, and those that are their yardsticks.
#[derive(Debug)]
pub(crate) struct Arena {
    mpm: Mpm,
    place: Place,
    ours: Host,
    original: Host,
    /// Without a host, it is served by the Apache of ours.
    yardsticks: Vec<(Yardstick, Option<Host>)>,
}

/// One workload over one number of connections.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) workload: &'static Workload,
    pub(crate) connections: u32,
    pub(crate) ours: Vec<Sample>,
    pub(crate) original: Vec<Sample>,
    /// The yardsticks that apply to the workload.
    pub(crate) yardsticks: Vec<(Yardstick, Vec<Sample>)>,
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

impl Arena {
    pub(crate) fn start(comparison: &Comparison, mpm: Mpm, place: Place) -> Result<Self, Error> {
        let start = |side| Host::start(side, comparison, mpm, place);
        let useful = |yardstick: &&Yardstick| {
            let mut workloads = WORKLOADS.iter().filter(|workload| comparison.includes(workload.name));
            workloads.any(|workload| yardstick.measures(workload)) && yardstick.is_there(comparison)
        };
        let yardsticks = place.yardsticks().iter().filter(useful);
        let yardsticks = yardsticks.map(|&yardstick| Ok((yardstick, yardstick.start(comparison, mpm)?)));
        let yardsticks = yardsticks.collect::<Result<_, _>>()?;
        Ok(Self { mpm, place, ours: start(Side::Ours)?, original: start(Side::Original)?, yardsticks })
    }

    /// Returns the names that the servers give themselves.
    pub(crate) fn banners(&self) -> Result<[String; 2], Error> {
        Ok([self.ours.get(&STATIC_FILE)?.server, self.original.get(&STATIC_FILE)?.server])
    }

    pub(crate) fn measure(&self, comparison: &Comparison) -> Result<Vec<Contest>, Error> {
        let mut contests = Vec::new();
        for workload in WORKLOADS {
            if !comparison.includes(workload.name) || !self.place.measures(workload.name) {
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
        let lane = |host, workload| Lane { host, workload, response_length: 0, samples: Vec::new() };
        let yardsticks = || self.yardsticks.iter().filter(|(yardstick, _)| yardstick.measures(workload));
        let mut lanes = vec![lane(&self.ours, workload), lane(&self.original, workload)];
        lanes.extend(yardsticks().map(|(_, host)| match host {
            Some(host) => lane(host, workload),
            None => lane(&self.ours, &STATIC_FILE),
        }));
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
        let (ours, original) = (next(), next());
        let yardsticks = yardsticks().map(|(yardstick, _)| (*yardstick, next())).collect();
        Ok(Contest { workload, connections, ours, original, yardsticks })
    }

    fn announce(&self, what: &str) {
        eprintln!("{}, {}: {what}", self.mpm.name(), self.place.title());
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

    /// The rounds of a yardstick.
    pub(crate) fn samples(&self, yardstick: Yardstick) -> Option<&[Sample]> {
        self.yardsticks.iter().find(|(other, _)| *other == yardstick).map(|(_, samples)| samples.as_slice())
    }

    /// Requests per second, ours/yardstick: of the medians.
    pub(crate) fn against(&self, yardstick: Yardstick) -> Option<f64> {
        let rate = |samples: &[Sample]| median(samples.iter().map(|sample| sample.rate));
        Some(rate(&self.ours) / rate(self.samples(yardstick)?))
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
            return Err(self.host.fault(self.workload.url, fault));
        }
        Ok(Sample { rate: counts.requests as f64 / counts.seconds, p99: counts.p99 })
    }

    fn counted(&self, requests: u32) -> Result<Sample, Error> {
        let failed = |error: std::io::Error| self.host.fault(self.workload.url, error.to_string());
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
            yardsticks: vec![(Yardstick::StaticFile, samples([60.0, 60.0, 60.0]))],
        };
        let rate = contest.rate();
        assert_eq!((rate.value, rate.low, rate.high), (3.0, 1.5, 4.0));
        assert!((contest.p99().value - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(contest.against(Yardstick::StaticFile), Some(0.5));
        assert_eq!(contest.against(Yardstick::OursEmbedded), None);
    }
}
