//! Times and sizes: requests without an end, and more processes, threads or descriptors than there
//! is room for.

use std::fs;
use std::time::Duration;

use wsgi_core::codes::NO_PROCESS;
use wsgi_core::front::{Behind, Front};

use super::check::{Check, Topic};
use super::finding::{Finding, Place};
use super::subject::{Group, Subject};
use crate::container;

pub(super) static TOPIC: Topic = Topic {
    title: "Limits",
    checks: &[
        Check {
            name: "request-timeout",
            about: "A group of daemon processes without `request-timeout=`: a request that hangs takes its thread for ever.",
            run: request_timeout,
        },
        Check {
            name: "memory",
            about: "More processes than there is memory for, by the size of the application after its import and the memory of the machine, the \
                    container or the service; a `memory-recycle=` that a process exceeds as soon as it has imported the application.",
            run: memory,
        },
        Check {
            name: "workers",
            about: "More threads in daemon processes than Apache admits requests (`MaxRequestWorkers`): some of them never have anything to do. \
                    The server logs this, too, when it starts.",
            run: workers,
        },
        Check {
            name: "descriptors",
            about: "A limit of open files that is too low for Apache's connections, logs and daemon processes.",
            run: descriptors,
        },
        Check {
            name: "tasks",
            about: "A limit of processes and threads (`TasksMax=` of the service, `pids.max` of the container) that is too low for the groups.",
            run: tasks,
        },
    ],
};

fn request_timeout(subject: &Subject) -> Vec<Finding> {
    let is_open = |(number, group): &(usize, &Group)| {
        !group.is_embedded() && group.threads > 0 && group.request_timeout == 0 && subject.serves(*number)
    };
    let finding = |(_, group): (usize, &Group)| {
        Finding::warning(format!("{} has no request-timeout", group.shown()))
            .at(group.place.as_ref())
            .because(format!(
                "a request that hangs takes one of its {} threads for ever, and when none is left, all requests wait",
                group.processes * group.threads
            ))
            .remedy("set request-timeout= of WSGIDaemonProcess (--request-timeout), such as to 60")
    };
    subject.groups.iter().enumerate().filter(is_open).map(finding).collect()
}

/// A process before it has imported an application.
const EMPTY: u64 = 8 << 20;

/// Returns the size of each process of a group, as far as its applications were imported.
fn size(subject: &Subject, number: usize) -> Option<u64> {
    let of_group = subject.trials().filter(|(application, _)| application.group == number);
    let sizes: Vec<u64> = of_group.filter_map(|(_, trial)| trial.report()?.memory).collect();
    (!sizes.is_empty()).then(|| EMPTY + sizes.iter().map(|size| size.saturating_sub(EMPTY)).sum::<u64>())
}

fn memory(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut total = 0_u64;
    let mut parts = Vec::new();
    let mut place = None;
    let mut largest = 0;
    for (number, group) in subject.groups.iter().enumerate() {
        let Some(size) = size(subject, number) else { continue };
        let sum = size.saturating_mul(group.processes.into());
        total = total.saturating_add(sum);
        parts.push(format!("{} x {} in {}", group.processes, shown(size), group.shown()));
        if sum > largest {
            largest = sum;
            place = group.place.clone();
        }
        if group.memory_recycle > 0 && size > group.memory_recycle {
            findings.push(
                Finding::error(format!(
                    "memory-recycle={} is less than the {} that {} has after its imports",
                    group.memory_recycle,
                    shown(size),
                    group.shown()
                ))
                .at(group.place.as_ref())
                .because("its processes are replaced again and again")
                .remedy("raise it, to twice that size or more"),
            );
        }
    }
    let Some((room, whose)) = room(subject) else { return findings };
    if total > room {
        findings.push(
            Finding::warning(format!("the processes need {} when they have imported their applications, and {whose} has {}", shown(total), shown(room)))
                .at(place.as_ref())
                .because(format!("{}; requests need more", parts.join(", ")))
                .remedy(
                    "use fewer processes and more threads (processes=, threads=; --processes), share memory with preload=fork, or give it more memory",
                ),
        );
    }
    findings
}

/// Returns the memory that there is, and whose it is.
fn room(subject: &Subject) -> Option<(u64, &'static str)> {
    let of_service = subject.server.unit.as_ref().and_then(|unit| unit.limit("MemoryMax"));
    let of_service = of_service.map(|(bytes, _)| (bytes, "the service (MemoryMax)"));
    let of_container = container::memory().map(|bytes| (bytes, "the control group"));
    let of_machine = machine_memory().map(|bytes| (bytes, "the machine"));
    [of_service, of_container, of_machine].into_iter().flatten().min_by_key(|(bytes, _)| *bytes)
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

fn shown(bytes: u64) -> String {
    if bytes >= 10 << 30 { format!("{} GB", bytes >> 30) } else { format!("{} MB", bytes >> 20) }
}

fn workers(subject: &Subject) -> Vec<Finding> {
    let Some((workers, place)) = &subject.server.workers else { return Vec::new() };
    let front = Front { workers: u64::from(*workers), timeout: Duration::ZERO };
    let finding = |group: &Group| {
        let behind = Behind {
            name: group.name.as_ref()?.as_bytes(),
            threads: u64::from(group.processes) * u64::from(group.threads),
            request_timeout: Duration::ZERO,
            socket_timeout: Duration::ZERO,
        };
        Some(Finding::from(front.idle_threads(behind)?).at(group.place.as_ref().or(place.as_ref())))
    };
    subject.groups.iter().filter_map(finding).collect()
}

/// The descriptors of an Apache child that are there in any case.
const BASIC: u64 = 40;

fn descriptors(subject: &Subject) -> Vec<Finding> {
    let server = &subject.server;
    let (Some((limit, place)), Some(threads)) = (files_limit(subject), server.threads_per_child) else {
        return Vec::new();
    };
    // A connection to a client and one to a process for each thread, a channel for each process.
    let processes: u64 = daemons(subject).map(|group| u64::from(group.processes)).sum();
    let needed = BASIC + 2 * u64::from(threads) + processes + u64::from(server.log_files);
    if needed <= limit {
        return Vec::new();
    }
    vec![
        Finding::error(format!("an Apache process needs about {needed} open files, and may have {limit}"))
            .at(place)
            .because(format!(
                "{threads} threads with two connections each, {processes} daemon processes, {} log files: requests fail with \"Too many open files\"",
                server.log_files
            ))
            .remedy("raise the limit: LimitNOFILE= of the service, `ulimit -n` of the shell, APACHE_ULIMIT_MAX_FILES of Debian's apache2ctl"),
    ]
}

fn files_limit(subject: &Subject) -> Option<(u64, Option<&Place>)> {
    match subject.server.unit.as_ref().and_then(|unit| unit.limit("LimitNOFILE")) {
        Some((limit, place)) => Some((limit, Some(place))),
        None => subject.server.files_limit.map(|limit| (limit, None)),
    }
}

fn daemons(subject: &Subject) -> impl Iterator<Item = &Group> {
    subject.groups.iter().filter(|group| !group.is_embedded())
}

fn tasks(subject: &Subject) -> Vec<Finding> {
    // The main thread, that of events, the monitor.
    let of_group = |group: &Group| u64::from(group.processes) * (u64::from(group.threads) + 3);
    let workers = subject.server.workers.as_ref().map_or(0, |(workers, _)| u64::from(*workers));
    let needed = daemons(subject).map(of_group).sum::<u64>() + workers;
    let of_service = subject.server.unit.as_ref().and_then(|unit| unit.limit("TasksMax"));
    let of_container = container::tasks().map(|tasks| (tasks, None));
    let limits = of_service.map(|(tasks, place)| (tasks, Some(place))).into_iter().chain(of_container);
    let Some((limit, place)) = limits.min_by_key(|(tasks, _)| *tasks).filter(|(tasks, _)| *tasks < needed)
    else {
        return Vec::new();
    };
    vec![
        Finding::error(format!("the server needs {needed} processes and threads, and may have {limit}"))
            .at(place)
            .because(format!("threads cannot be started: processes end with {NO_PROCESS}"))
            .remedy("raise TasksMax= of the service or pids.max of the container, or use fewer processes or threads"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_no_request_reaches_are_told_of() {
        let mut subject = Subject::sample("/srv/app.wsgi");
        subject.server.workers = Some((29, None));
        let found = workers(&subject);
        assert!(found.len() == 1 && found[0].what.contains("30 threads, and Apache admits 29"), "{found:?}");
        subject.server.workers = Some((30, None));
        assert_eq!(workers(&subject).len(), 0);
    }

    #[test]
    fn sizes_of_applications_in_one_process_add_up() {
        use crate::doctor::trial::Report;
        let report = |memory| Report { memory: Some(memory), ..Report::default() };
        let one = Subject::sample("/a").with_reports(vec![report(20 << 20)]);
        assert_eq!(size(&one, 0), Some(20 << 20));
        let mut two = Subject::sample("/a");
        two.applications.extend(Subject::sample("/b").applications);
        assert_eq!(size(&two.with_reports(vec![report(20 << 20), report(30 << 20)]), 0), Some(42 << 20));
        assert_eq!(size(&Subject::sample("/a"), 0), None);
    }
}
