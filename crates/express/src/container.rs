//! A server in a container: what `--container` assumes, and the size that its limits suggest.

mod cgroup;
pub(crate) mod option;
mod sizes;

use std::path::Path;

use cgroup::Limits;
use option::CONTAINER;
use sizes::Sizes;

use crate::general;
use crate::health;
use crate::logs;
use crate::parse::Parsed;

/// The port that a user other than root may listen on everywhere.
const PORT: &str = "8080";

/// The path of health checks.
const HEALTH_PATH: &str = "/-";

/// The seconds that Kubernetes and most balancers take to send requests elsewhere.
const DRAIN_DELAY: &str = "5";

/// Returns the memory that the control group of this process permits, in bytes.
pub(crate) fn memory() -> Option<u64> {
    Limits::read(Path::new("/")).memory
}

/// Returns how many processes and threads the control group of this process permits.
pub(crate) fn tasks() -> Option<u64> {
    Limits::read(Path::new("/")).tasks
}

/// The size of a server in a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Container {
    limits: Limits,
    sizes: Sizes,
}

impl Container {
    /// Returns what `--container` makes of a command line, which it completes; `None` without it.
    pub(crate) fn complete(parsed: &mut Parsed) -> Option<Self> {
        parsed.has(&CONTAINER).then(|| Self::complete_within(parsed, Limits::read(Path::new("/"))))
    }

    fn complete_within(parsed: &mut Parsed, limits: Limits) -> Self {
        parsed.assume(&general::PORT, &[PORT]);
        parsed.assume(&logs::LOG_TO_TERMINAL, &[]);
        parsed.assume(&health::HEALTH_PATH, &[HEALTH_PATH]);
        parsed.assume(&health::GRACEFUL_STOP, &[]);
        parsed.assume(&health::DRAIN_DELAY, &[DRAIN_DELAY]);
        let given = |spec| parsed.integer(spec).and_then(|number| u32::try_from(number).ok());
        let sizes = Sizes::choose(&limits, given(&general::PROCESSES), given(&general::THREADS));
        // Applications see whether the number was given (wsgi.multiprocess).
        if sizes.processes > 1 {
            parsed.assume(&general::PROCESSES, &[&sizes.processes.to_string()]);
        }
        parsed.assume(&general::THREADS, &[&sizes.threads.to_string()]);
        Self { limits, sizes }
    }

    /// Returns the line of the banner: the limits, and the size.
    pub(crate) fn banner(&self) -> (&'static str, String) {
        let Limits { processors, memory, tasks } = &self.limits;
        let limits = [
            processors.map(|thousandths| count(&thousandth(thousandths), "processor", "processors")),
            memory.map(size),
            tasks.map(|tasks| count(&tasks.to_string(), "task", "tasks")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        let limits = if limits.is_empty() { "none".to_owned() } else { limits.join(", ") };
        let processes = count(&self.sizes.processes.to_string(), "process", "processes");
        let threads = count(&self.sizes.threads.to_string(), "thread", "threads");
        ("Container Limits", format!("{limits}: {processes} of {threads}"))
    }

    /// Returns a warning if the server may not get all of its processes and threads.
    pub(crate) fn shortage(&self) -> Option<String> {
        let (needed, limit) = (self.sizes.tasks(), self.limits.tasks?);
        (limit < needed).then(|| {
            format!(
                "the container may have {limit} processes and threads (pids.max), and the server may need {needed}: raise \
                 that limit, or choose fewer with --processes and --threads"
            )
        })
    }
}

/// Returns a number of thousandths as a decimal.
fn thousandth(thousandths: u64) -> String {
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    format!("{whole}.{rest:03}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        megabytes if megabytes > 0 && megabytes % 1024 == 0 => format!("{} GB", megabytes / 1024),
        megabytes => format!("{megabytes} MB"),
    }
}

fn count(number: &str, one: &str, many: &str) -> String {
    format!("{number} {}", if number == "1" { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn within(arguments: &[&str], limits: Limits) -> (Parsed, Container) {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut parsed = parse(&options::server(), arguments).unwrap();
        let container = Container::complete_within(&mut parsed, limits);
        (parsed, container)
    }

    const TWO: Limits = Limits { processors: Some(2000), memory: Some(512 << 20), tasks: None };

    #[test]
    fn defaults_are_those_of_containers() {
        let (parsed, container) = within(&["--container"], TWO);
        assert_eq!(parsed.integer(&general::PORT), Some(8080));
        assert!(parsed.has(&logs::LOG_TO_TERMINAL) && parsed.has(&health::GRACEFUL_STOP));
        assert_eq!(
            (parsed.text(&health::HEALTH_PATH), parsed.integer(&health::DRAIN_DELAY)),
            (Some("/-"), Some(5))
        );
        assert_eq!(
            (parsed.integer(&general::PROCESSES), parsed.integer(&general::THREADS)),
            (Some(2), Some(5))
        );
        assert_eq!(
            container.banner(),
            ("Container Limits", "2 processors, 512 MB: 2 processes of 5 threads".to_owned())
        );
        assert_eq!(container.shortage(), None);
    }

    #[test]
    fn each_default_gives_way_to_its_option() {
        let (parsed, container) =
            within(&["--port", "80", "--processes", "4", "--threads", "1", "--container"], TWO);
        assert_eq!(parsed.integer(&general::PORT), Some(80));
        assert_eq!(container.banner().1, "2 processors, 512 MB: 4 processes of 1 thread");
        assert_eq!(parsed.all(&general::PROCESSES), [["4"]]);
    }

    #[test]
    fn one_process_is_not_given() {
        let (parsed, container) = within(&[], Limits::default());
        assert!(!parsed.has(&general::PROCESSES));
        assert_eq!(container.banner().1, "none: 1 process of 5 threads");
    }

    #[test]
    fn limits_read_well() {
        let limits = |processors, memory, tasks| Limits {
            processors: Some(processors),
            memory: Some(memory),
            tasks: Some(tasks),
        };
        for (limits, expected) in [
            (limits(500, 2 << 30, 1000), "0.5 processors, 2 GB, 1000 tasks: 1 process of 5 threads"),
            (limits(1000, 1_000_000_000, 1), "1 processor, 953 MB, 1 task: 1 process of 1 thread"),
            (limits(1250, 1 << 19, 500), "1.25 processors, 0 MB, 500 tasks: 1 process of 5 threads"),
        ] {
            assert_eq!(within(&[], limits).1.banner().1, expected);
        }
    }

    #[test]
    fn too_few_tasks_are_told_of() {
        let (_, container) = within(&[], Limits { tasks: Some(10), ..Limits::default() });
        assert!(
            container.shortage().is_some_and(|text| text.contains("pids.max") && text.contains("--threads"))
        );
    }
}
