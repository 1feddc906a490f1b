//! The dicts that applications get.

use std::time::{Duration, Instant, SystemTime};

use os::usage;
use python::{Object, Python, Result};
use wsgi_core::metrics::{Phase, ThreadUsage, Totals, rate};

use super::record::{self, RECORDED};
use crate::process;
use crate::time::since_epoch;

/// Returns `request_metrics()`: the metrics since the last call, or Python's `None` if they are not
/// recorded, or are reported to a collector.
pub(crate) fn of_requests(py: Python<'_>) -> Result<Object> {
    let Some(process) = process::process().filter(|process| process.settings.telemetry.is_none()) else {
        return Ok(py.none());
    };
    let Some(taken) = record::take(process) else { return Ok(py.none()) };
    let (maximum, sample, cpu) = (process.settings.threads, &taken.sample, taken.cpu);
    let period = taken.period();
    let report = Report::new(py)?;
    report.integer("pid", std::process::id().into())?;
    report.float("start_time", since_epoch(taken.since.1))?;
    report.float("stop_time", since_epoch(taken.until.1))?;
    report.float("sample_period", period.as_secs_f64())?;
    report.integer("request_count", sample.completed)?;
    report.float("request_throughput", sample.throughput(period))?;
    report.float("capacity_utilization", sample.utilization(period))?;
    for (name, time) in [("cpu_user", cpu.user), ("cpu_system", cpu.system), ("cpu", cpu.total())] {
        let rate = rate(time.as_secs_f64(), period);
        report.float(&format!("{name}_utilization"), rate)?;
        report.float(&format!("{name}_time"), rate)?;
    }
    report.memory(&taken.used)?;
    report.integer("request_threads_maximum", maximum.into())?;
    report.integer("request_threads_started", taken.threads_started.into())?;
    report.integer("request_threads_active", sample.active() as u64)?;
    report.totals(&sample.totals, !process.settings.process_group.is_empty())?;
    report.slots(sample.threads())?;
    Ok(report.items)
}

/// Returns `process_metrics()`: the metrics since the start, or Python's `None` if they are not
/// recorded, or are reported to a collector.
pub(crate) fn of_process(py: Python<'_>) -> Result<Object> {
    let Some(process) = process::process().filter(|process| process.settings.telemetry.is_none()) else {
        return Ok(py.none());
    };
    let now = Instant::now();
    let seen = RECORDED.with(|recorded| {
        let recorded = recorded.as_mut()?;
        recorded.drain(now);
        let mut busy = recorded.busy;
        let mut threads = Vec::with_capacity(recorded.threads.len());
        for (record, _) in &recorded.threads {
            busy = busy.saturating_add(record.clock.read(now).busy);
            threads.push((record.id, record.clock.requests()));
        }
        Some((recorded.threads_started(process), busy, threads))
    });
    let Some((started, busy, mut threads)) = seen else { return Ok(py.none()) };
    threads.sort_unstable();

    let used = usage::process();
    let report = Report::new(py)?;
    report.integer("pid", std::process::id().into())?;
    report.float("request_busy_time", busy.as_secs_f64())?;
    report.integer("request_count", process.requests.ended())?;
    report.memory(&used)?;
    report.float("cpu_user_time", used.cpu.user.as_secs_f64())?;
    report.float("cpu_system_time", used.cpu.system.as_secs_f64())?;
    report.float("cpu_time", used.cpu.total().as_secs_f64())?;
    report.float("restart_time", since_epoch(process.started().1))?;
    report.float("current_time", since_epoch(SystemTime::now()))?;
    report.integer("running_time", now.saturating_duration_since(process.started().0).as_secs())?;
    report.integer("request_threads", started.into())?;
    report.integer("active_requests", process.requests.active())?;
    report.list("threads", &threads, |(id, requests)| {
        let thread = Report::new(py)?;
        thread.integer("thread_id", (*id).into())?;
        thread.integer("request_count", *requests)?;
        Ok(thread.items)
    })?;
    Ok(report.items)
}

/// A dict that is being filled.
pub(super) struct Report<'py> {
    py: Python<'py>,
    pub(super) items: Object,
}

impl<'py> Report<'py> {
    pub(super) fn new(py: Python<'py>) -> Result<Self> {
        Ok(Self { py, items: py.dict()? })
    }

    fn memory(&self, used: &usage::Process) -> Result<()> {
        self.integer("memory_max_rss", used.peak_resident)?;
        self.integer("memory_rss", used.resident)
    }

    fn totals(&self, totals: &Totals, is_daemon: bool) -> Result<()> {
        for (class, count) in (1..).zip(totals.statuses) {
            self.integer(&format!("status_{class}xx"), count)?;
        }
        for (name, traffic) in [("input", totals.input), ("output", totals.output)] {
            let operations = if name == "input" { "reads" } else { "writes" };
            self.integer(&format!("{name}_bytes"), traffic.bytes)?;
            self.integer(&format!("{name}_{operations}"), traffic.operations)?;
        }
        self.integer("gil_wait_count", totals.gil_waits)?;
        for phase in Phase::ALL {
            let (key, times) = (phase.key(), totals.times(phase));
            if phase.is_of_daemons() && !is_daemon {
                self.set(key, &self.py.none())?;
            } else {
                self.float(key, times.mean())?;
            }
            let (least, most) = times.range().unzip();
            self.microseconds(&format!("{key}_min_us"), least)?;
            self.microseconds(&format!("{key}_max_us"), most)?;
            self.list(&format!("{key}_buckets"), times.buckets(), |count| self.number(*count))?;
        }
        Ok(())
    }

    fn slots(&self, slots: &[ThreadUsage]) -> Result<()> {
        for name in ["completed", "buckets"] {
            self.list(&format!("request_threads_{name}"), slots, |slot| self.number(slot.completed))?;
        }
        self.seconds("busy_time", slots, |slot| slot.busy)?;
        self.seconds("cpu_time", slots, |slot| slot.cpu)?;
        self.seconds("current_elapsed", slots, |slot| slot.elapsed)?;
        self.seconds("max_duration", slots, |slot| slot.longest)
    }

    fn seconds(
        &self,
        name: &str,
        slots: &[ThreadUsage],
        time: impl Fn(&ThreadUsage) -> Duration,
    ) -> Result<()> {
        let key = format!("request_threads_{name}");
        self.list(&key, slots, |slot| self.py.float(time(slot).as_secs_f64()))
    }

    fn microseconds(&self, key: &str, time: Option<Duration>) -> Result<()> {
        match time {
            Some(time) => self.integer(key, u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            None => self.set(key, &self.py.none()),
        }
    }

    pub(super) fn list<T>(
        &self,
        key: &str,
        items: &[T],
        object: impl Fn(&T) -> Result<Object>,
    ) -> Result<()> {
        let list = self.py.list()?;
        for item in items {
            list.list_append(&object(item)?)?;
        }
        self.set(key, &list)
    }

    pub(super) fn integer(&self, key: &str, value: u64) -> Result<()> {
        self.set(key, &self.number(value)?)
    }

    pub(super) fn float(&self, key: &str, value: f64) -> Result<()> {
        self.set(key, &self.py.float(value)?)
    }

    pub(super) fn set(&self, key: &str, value: &Object) -> Result<()> {
        self.items.dict_set(&self.py.name(key)?, value)
    }

    fn number(&self, value: u64) -> Result<Object> {
        self.py.int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
