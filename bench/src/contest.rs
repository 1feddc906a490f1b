//! The rounds.

use std::time::{Duration, Instant};

use e2e::Mpm;

use crate::client::{self, Client};
use crate::error::Error;
use crate::host::{Host, Side};
use crate::load::{self, Exchange, Mix};
use crate::options::Comparison;
use crate::packages;
use crate::place::Place;
use crate::sizes::WIDEST;
use crate::statistics::{extremes, median};
use crate::workload::{Repeat, SLEEP, STATIC_FILE, WORKLOADS, Workload};
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
    /// Seconds within which half of the responses came.
    pub(crate) p50: f64,
    /// Seconds within which 99 of 100 responses came; of counted transfers, the slowest one.
    pub(crate) p99: f64,
    /// As `p99`, of 999 of 1,000.
    pub(crate) p999: f64,
    /// Seconds on a processor per request, of all processes of the server.
    pub(crate) processor: f64,
    /// See [`load::Outcome::least_share`].
    pub(crate) least_share: Option<f64>,
    /// See [`load::Outcome::closed`].
    pub(crate) closed: usize,
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
        let start = |side| Host::start_wide(side, comparison, mpm, place);
        let useful = |yardstick: &&Yardstick| {
            let mut workloads = WORKLOADS.iter().filter(|workload| comparison.includes(workload.name));
            workloads.any(|workload| yardstick.measures(workload)) && yardstick.is_there(comparison)
        };
        let yardsticks = Yardstick::of(place).iter().filter(useful);
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
            let lacks = |package| packages::version(&comparison.others, package).is_none();
            if workload.package.is_some_and(lacks) {
                self.announce(&format!("{} is left out: `bench/others` installs it", workload.name));
                continue;
            }
            let widths = match workload.repeat {
                Repeat::Timed(connections) | Repeat::Mixed(connections) => connections,
                Repeat::Counted { .. } => &[1],
            };
            for &connections in widths.iter().filter(|&&width| comparison.includes_connections(width)) {
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
        let lane = |host, workload| Lane { host, workload, mix: None, samples: Vec::new() };
        let yardsticks = || self.yardsticks.iter().filter(|(yardstick, _)| yardstick.measures(workload));
        let mut lanes = vec![lane(&self.ours, workload), lane(&self.original, workload)];
        lanes.extend(
            yardsticks().map(|(yardstick, host)| {
                lane(host.as_ref().unwrap_or(&self.ours), yardstick.request(workload))
            }),
        );
        for lane in &mut lanes {
            lane.warm_up()?;
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

    /// 99.9th percentile of the latency, ours/original.
    pub(crate) fn p999(&self) -> Ratio {
        self.ratio(|sample| sample.p999)
    }

    /// Of all rounds of ours, if there were enough connections to compare.
    pub(crate) fn least_share(&self) -> Option<f64> {
        least_share(&self.ours)
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

    /// Processor time per request, ours/yardstick: of the medians.
    pub(crate) fn processor_against(&self, yardstick: Yardstick) -> Option<f64> {
        let time = |samples: &[Sample]| median(samples.iter().map(|sample| sample.processor));
        Some(time(&self.ours) / time(self.samples(yardstick)?))
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

/// Returns the least of all rounds, if there were enough connections to compare.
pub(crate) fn least_share(samples: &[Sample]) -> Option<f64> {
    samples.iter().filter_map(|sample| sample.least_share).min_by(f64::total_cmp)
}

/// A server and what it is asked for.
struct Lane<'a> {
    host: &'a Host,
    workload: &'a Workload,
    /// The requests of timed rounds, once their responses have been looked at.
    mix: Option<Mix>,
    samples: Vec<Sample>,
}

impl Lane<'_> {
    /// Looks at the responses, and lets caches fill: those of all of Apache's children, since the
    /// rounds may be served by any of them.
    fn warm_up(&mut self) -> Result<(), Error> {
        let tenth = match self.workload.repeat {
            Repeat::Counted { .. } => return self.host.get(self.workload).map(drop),
            Repeat::Timed(_) => None,
            Repeat::Mixed(_) => Some(self.exchange(&SLEEP)?),
        };
        let mix = Mix { main: self.exchange(self.workload)?, tenth };
        self.timed(&mix, WIDEST, Duration::from_secs(1))?;
        self.mix = Some(mix);
        Ok(())
    }

    fn exchange(&self, workload: &Workload) -> Result<Exchange, Error> {
        let response_length = self.host.get(workload)?.wire_length as usize;
        Ok(Exchange { request: client::request(self.host.address(), workload), response_length })
    }

    fn round(&mut self, connections: u32, seconds: u32) -> Result<(), Error> {
        let sample = match (&self.mix, &self.workload.repeat) {
            (Some(mix), _) => self.timed(mix, connections, Duration::from_secs(seconds.into()))?,
            (None, Repeat::Counted { requests, .. }) => self.counted(*requests)?,
            (None, _) => return Ok(()),
        };
        self.samples.push(sample);
        Ok(())
    }

    fn timed(&self, mix: &Mix, connections: u32, length: Duration) -> Result<Sample, Error> {
        let before = self.host.processor_time();
        let outcome = load::round(self.host.address(), mix, connections, length);
        let outcome = outcome.map_err(|error| self.host.fault(self.workload.url, error.to_string()))?;
        let processor = self.host.processor_time().saturating_sub(before).as_secs_f64();
        Ok(Sample {
            rate: outcome.rate(),
            p50: outcome.percentile(0.5),
            p99: outcome.percentile(0.99),
            p999: outcome.percentile(0.999),
            processor: processor / outcome.responses as f64,
            least_share: outcome.least_share,
            closed: outcome.closed,
        })
    }

    fn counted(&self, requests: u32) -> Result<Sample, Error> {
        let failed = |error: std::io::Error| self.host.fault(self.workload.url, error.to_string());
        let mut client = Client::connect(self.host.address()).map_err(failed)?;
        let before = self.host.processor_time();
        let mut times = Vec::new();
        let start = Instant::now();
        for _ in 0..requests {
            let request = Instant::now();
            client.exchange(self.workload).map_err(failed)?;
            times.push(request.elapsed().as_secs_f64());
        }
        let rate = f64::from(requests) / start.elapsed().as_secs_f64();
        let processor = self.host.processor_time().saturating_sub(before).as_secs_f64();
        let slowest = extremes(times.iter().copied()).1;
        Ok(Sample {
            rate,
            p50: median(times),
            p99: slowest,
            p999: slowest,
            processor: processor / f64::from(requests),
            least_share: None,
            closed: 0,
        })
    }
}

#[cfg(test)]
impl Sample {
    /// A round in which every response took the same time.
    pub(crate) fn even(rate: f64) -> Self {
        let time = 1.0 / rate;
        Self { rate, p50: time, p99: time, p999: time, processor: time, least_share: None, closed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_of_the_medians_and_its_range_of_the_rounds() {
        let samples = |rates: [f64; 3]| rates.map(Sample::even).to_vec();
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
        assert!((contest.processor_against(Yardstick::StaticFile).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(contest.least_share(), None);
    }
}
