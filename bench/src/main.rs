//! Ours and the original mod_wsgi, side by side: requests per second, transfers, latency, memory.
//!
//! Both servers run at the same time, on the same Apache with the same configuration but for the
//! module, and rounds alternate between them, so that whatever else the machine does happens to
//! both. [`serve`] is a server, [`host`] starts two of them, [`contest`] makes the rounds,
//! [`report`] says what came of them. What the figures mean is in `bench/RESULTS.md`.

#![forbid(unsafe_code)]

mod backend;
mod client;
mod contest;
mod error;
mod goals;
mod host;
mod load;
mod machine;
mod memory;
mod options;
mod packages;
mod place;
mod processes;
mod report;
mod restarts;
mod results;
mod run;
mod scale;
mod serve;
mod sizes;
mod statistics;
mod table;
mod workload;
mod yardstick;

use std::process::ExitCode;

use clap::Parser as _;

use crate::contest::Arena;
use crate::error::Error;
use crate::machine::Machine;
use crate::options::{Command, Comparison, Options};
use crate::results::Part;
use crate::run::Run;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Command::Serve(service)) => serve::serve(service),
        None if options.comparison.scale => scale(&options.comparison),
        None if options.comparison.restarts => restarts(&options.comparison, options.comparison.rounds()),
        None if options.comparison.write_results => complete(&options.comparison),
        None => compare(&options.comparison),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures all that the results consist of.
fn complete(comparison: &Comparison) -> Result<(), Error> {
    compare(comparison)?;
    scale(comparison)?;
    // One round has ten disturbances of each kind, and takes five minutes.
    restarts(comparison, 1)
}

fn compare(comparison: &Comparison) -> Result<(), Error> {
    let mut sections = Vec::new();
    let mut banners = [String::new(), String::new()];
    for &mpm in &comparison.mpm {
        for place in comparison.places() {
            let memory = if comparison.includes("memory") && place.measures("memory") {
                eprintln!("{}, {}: memory", mpm.name(), place.title());
                Some(memory::compare(comparison, mpm, place)?)
            } else {
                None
            };
            let arena = Arena::start(comparison, mpm, place)?;
            banners = arena.banners()?;
            let contests = arena.measure(comparison)?;
            let section = report::section(&Run { mpm, place, memory, contests }, comparison);
            println!("{section}");
            sections.push(section);
        }
    }
    let conditions = report::conditions(&Machine::inspect(), &banners, comparison);
    println!("{conditions}");
    if comparison.write_results {
        sections.insert(0, conditions);
        results::write(Part::Comparison, &sections.join("\n"))?;
    }
    Ok(())
}

fn restarts(comparison: &Comparison, rounds: u32) -> Result<(), Error> {
    let text = report::restarts(&restarts::measure(comparison, rounds)?);
    let conditions = report::brief_conditions(&Machine::inspect());
    let text = format!("{conditions}- rounds: {rounds}\n\n{text}");
    println!("{text}");
    if comparison.write_results {
        results::write(Part::Restarts, &text)?;
    }
    Ok(())
}

fn scale(comparison: &Comparison) -> Result<(), Error> {
    let text = report::scaling(&scale::measure(comparison)?);
    let text = format!("{}\n{text}", report::brief_conditions(&Machine::inspect()));
    println!("{text}");
    if comparison.write_results {
        results::write(Part::Scaling, &text)?;
    }
    Ok(())
}
