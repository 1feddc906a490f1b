//! `server_metrics()`: Apache's scoreboard.

use bridge::Server;
use bridge::scoreboard::{self, Worker};
use python::{Object, Python, Result};

use super::report::Report;
use crate::time::seconds;

/// Returns the state of the server's processes and threads, or Python's `None` if this process must
/// not see it.
pub(crate) fn of_server(py: Python<'_>, server: &Server) -> Result<Object> {
    let message = py.detach(|| server.scoreboard());
    // A malformed one counts as none: it is the server's, and made for this host.
    let Some((summary, processes)) = message.as_deref().and_then(|message| scoreboard::decode(message).ok())
    else {
        return Ok(py.none());
    };
    let report = Report::new(py)?;
    report.integer("server_limit", summary.server_limit.into())?;
    report.integer("thread_limit", summary.thread_limit.into())?;
    report.integer("running_generation", summary.generation.into())?;
    report.float("restart_time", seconds(summary.restart_time))?;
    report.float("current_time", seconds(summary.current_time))?;
    let running = summary.current_time.saturating_sub(summary.restart_time) / 1_000_000;
    report.integer("running_time", u64::try_from(running).unwrap_or(0))?;
    let processes: Vec<_> = (0..).zip(processes).collect();
    report.list("processes", &processes, |(number, process)| {
        let report = Report::new(py)?;
        report.integer("process_num", *number)?;
        report.integer("pid", process.pid.into())?;
        report.integer("generation", process.generation.into())?;
        report.set("quiescing", &py.bool(process.is_quiescing))?;
        report.list("workers", &process.workers, |worker| of_worker(py, worker))?;
        Ok(report.items)
    })?;
    Ok(report.items)
}

fn of_worker(py: Python<'_>, worker: &Worker<'_>) -> Result<Object> {
    let report = Report::new(py)?;
    report.integer("thread_num", worker.thread_num.into())?;
    report.integer("generation", worker.generation.into())?;
    report.set("status", &py.latin1(&[worker.status])?)?;
    report.integer("access_count", worker.access_count)?;
    report.integer("bytes_served", worker.bytes_served)?;
    report.float("start_time", seconds(worker.start_time))?;
    report.float("stop_time", seconds(worker.stop_time))?;
    report.float("last_used", seconds(worker.last_used))?;
    report.set("client", &py.latin1(worker.client)?)?;
    report.set("request", &py.latin1(worker.request)?)?;
    report.set("vhost", &py.latin1(worker.vhost)?)?;
    Ok(report.items)
}
