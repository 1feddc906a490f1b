//! Ours and the original mod_wsgi, side by side: requests per second, transfers, latency, memory.
//!
//! Both servers run at the same time, on the same Apache with the same configuration but for the module, and rounds
//! alternate between them, so that whatever else the machine does happens to both. [`serve`] is a server, [`host`]
//! starts two of them, [`contest`] makes the rounds, [`report`] says what came of them. What the figures mean is in
//! `bench/RESULTS.md`.

#![forbid(unsafe_code)]

mod awake;
mod client;
mod contest;
mod error;
mod goals;
mod host;
mod machine;
mod memory;
mod options;
mod report;
mod results;
mod serve;
mod statistics;
mod table;
mod workload;
mod wrk;

use std::process::ExitCode;

use clap::Parser as _;

use crate::awake::Awake;
use crate::contest::Pair;
use crate::error::Error;
use crate::machine::Machine;
use crate::options::{Command, Comparison, Group, Options};
use crate::report::Run;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Command::Serve(service)) => serve::serve(*service),
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

fn compare(comparison: &Comparison) -> Result<(), Error> {
    let mut sections = Vec::new();
    let mut banners = [String::new(), String::new()];
    let _awake = Awake::keep()?;
    for &mpm in &comparison.mpm {
        for group in [Group::Main, Group::Own] {
            // What a sub-interpreter costs shows in the smallest answer.
            if group == Group::Own && !comparison.includes("hello") {
                continue;
            }
            let memory = if group == Group::Main && comparison.includes("memory") {
                eprintln!("{}: memory", mpm.name());
                Some(memory::compare(comparison, mpm)?)
            } else {
                None
            };
            let pair = Pair::start(comparison, mpm, group)?;
            banners = pair.banners()?;
            let contests = pair.measure(comparison)?;
            let section = report::section(&Run { mpm, group, memory, contests }, comparison);
            println!("{section}");
            sections.push(section);
        }
    }
    let conditions = report::conditions(&Machine::inspect(banners), comparison);
    println!("{conditions}");
    if comparison.write_results {
        results::write(&conditions, &sections)?;
    }
    Ok(())
}
