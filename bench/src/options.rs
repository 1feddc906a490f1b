//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use e2e::Mpm;

use crate::place::{self, Place};
use crate::workload::WORKLOADS;

/// Compares speed and memory with the original mod_wsgi.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) comparison: Comparison,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs one server until standard input ends; prints its address, process id and directory
    Serve(Service),
}

/// The directory in which `bench/run` has the handlers in C built.
const FLOOR: &str = "build/floor/mod_floor.so";

/// The servers and workloads to compare, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Comparison {
    /// Prefix at which ours is installed
    #[arg(long, value_name = "DIR", default_value = "build/bench-install")]
    pub(crate) ours: PathBuf,
    /// Apache module of the original, as `scripts/reference` prints it
    #[arg(long, value_name = "FILE", default_value = "build/reference/mod_wsgi.so")]
    pub(crate) original: PathBuf,
    /// Virtual environment with the servers that Apache passes requests on to, and the frameworks,
    /// as `bench/others` makes it
    #[arg(long, value_name = "DIR", default_value = "build/others")]
    pub(crate) others: PathBuf,
    /// Module with the handlers in C, as `bench/floor/build` makes it
    #[arg(long, value_name = "FILE", default_value = FLOOR)]
    pub(crate) floor: PathBuf,
    /// Only these MPMs
    #[arg(long, value_delimiter = ',', value_parser = parse_mpm, default_value = "prefork,event")]
    pub(crate) mpm: Vec<Mpm>,
    /// Only these modes
    #[arg(long, value_enum, value_delimiter = ',', default_value = "embedded,daemon")]
    mode: Vec<Mode>,
    /// Only these workloads, or `memory`
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',', value_parser = workload_names())]
    pub(crate) only: Vec<String>,
    /// Only these numbers of connections
    #[arg(long, value_name = "N", value_delimiter = ',')]
    connections: Vec<u32>,
    /// Without the other servers behind Apache
    #[arg(long)]
    pub(crate) no_others: bool,
    /// Rounds of each measurement
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of a timed round
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Few and short rounds, for trying out
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub(crate) quick: bool,
    /// Compare the original with itself: how far from 1 the ratios are by chance
    #[arg(long)]
    pub(crate) noise: bool,
    /// Instead, measure how ours scales: many groups, many idle connections
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "only", "mpm", "mode", "noise"])]
    pub(crate) scale: bool,
    /// Instead, measure requests during restarts under load
    #[arg(long, conflicts_with_all = ["scale", "seconds", "only", "mode", "noise"])]
    pub(crate) restarts: bool,
    /// Rewrite the results in bench/RESULTS.md: all of them (measuring scaling and restarts as well), or
    /// with `--scale` or `--restarts` that section
    #[arg(long, conflicts_with_all = ["quick", "only", "mpm", "mode", "noise", "connections", "no_others"])]
    pub(crate) write_results: bool,
}

impl Comparison {
    pub(crate) const fn rounds(&self) -> u32 {
        if self.quick { 2 } else { self.rounds }
    }

    pub(crate) const fn seconds(&self) -> u32 {
        if self.quick { 1 } else { self.seconds }
    }

    /// Returns the places where a wanted workload is measured.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        let wanted =
            |place: &Place| self.only.is_empty() || self.only.iter().any(|name| place.measures(name));
        let places = self.mode.iter().flat_map(|mode| match mode {
            Mode::Embedded => place::EMBEDDED,
            Mode::Daemon => place::DAEMON,
        });
        places.copied().filter(wanted)
    }

    /// Returns whether a timed workload is wanted over so many connections.
    pub(crate) fn includes_connections(&self, connections: u32) -> bool {
        self.connections.is_empty() || self.connections.contains(&connections)
    }

    /// Returns whether a workload (or `memory`) is wanted.
    pub(crate) fn includes(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == workload)
    }
}

/// A server to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Service {
    /// MPM of the server
    #[arg(long, value_parser = parse_mpm)]
    pub(crate) mpm: Mpm,
    /// Place of the applications: main, own, daemon-PROCESSES, groups-COUNT, uwsgi, gunicorn, granian or uvicorn
    #[arg(long, default_value = "main")]
    pub(crate) place: Place,
    /// Virtual environment with the other servers and the frameworks
    #[arg(long, default_value = "build/others")]
    pub(crate) others: PathBuf,
    /// Module with the handlers in C
    #[arg(long, default_value = FLOOR)]
    pub(crate) floor: PathBuf,
    /// Number of Apache children, if not the benchmark's own
    #[arg(long)]
    pub(crate) children: Option<u32>,
}

/// The processes that run Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// In the Apache children
    Embedded,
    /// In daemon processes
    Daemon,
}

fn parse_mpm(name: &str) -> Result<Mpm, String> {
    let all = [Mpm::Prefork, Mpm::Worker, Mpm::Event];
    let known = || all.map(Mpm::name).join(", ");
    all.into_iter().find(|mpm| mpm.name() == name).ok_or_else(|| format!("the MPMs are {}", known()))
}

fn workload_names() -> clap::builder::PossibleValuesParser {
    WORKLOADS.iter().map(|workload| workload.name).chain(["memory"]).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn results_are_of_whole_runs_only() {
        assert!(Options::try_parse_from(["bench", "--write-results"]).is_ok());
        for part in [["--only", "hello"], ["--mpm", "event"], ["--mode", "daemon"]] {
            assert!(
                Options::try_parse_from(["bench", "--write-results", part[0], part[1]]).is_err(),
                "{part:?}"
            );
        }
        assert!(Options::try_parse_from(["bench", "--write-results", "--quick"]).is_err());
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(Options::try_parse_from(["bench", "--only", "helo"]).is_err());
        assert!(Options::try_parse_from(["bench", "--mpm", "perchild"]).is_err());
        assert!(Options::try_parse_from(["bench", "--mode", "both"]).is_err());
    }

    #[test]
    fn places_are_those_that_have_something_to_measure() {
        let places = |arguments: &[&str]| {
            let options = Options::try_parse_from([&["bench"], arguments].concat()).unwrap();
            options.comparison.places().map(|place| place.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places(&[]), ["main", "own", "daemon-1", "daemon-2"]);
        assert_eq!(places(&["--mode", "daemon"]), ["daemon-1", "daemon-2"]);
        assert_eq!(places(&["--only", "json"]), ["main", "daemon-1", "daemon-2"]);
        assert_eq!(places(&["--only", "memory"]), ["main", "daemon-1"]);
    }
}
