//! The number of processes and threads that fit a container.

use super::cgroup::Limits;
use crate::sizing::Sizing;

/// Threads of a process, as without limits.
pub(super) const THREADS: u32 = 5;

/// The memory that a process of an application usually takes, with its share of Apache's.
const PROCESS: u64 = 192 << 20;

/// More processes than any container needs, however many processors it may use.
const MOST: u32 = 64;

/// Processes and threads that are there whatever the size: the first process, Apache's parent and the supervisor.
const FIXED: u64 = 8;

/// Threads of a daemon process beside those of requests.
const OWN_THREADS: u64 = 4;

/// The numbers that were given, or chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) processes: u32,
    pub(crate) threads: u32,
}

impl Sizes {
    /// Chooses what is not given. A process of Python uses one processor: there are as many as
    /// processors, as long as they have memory. Where the number of tasks is limited, there are
    /// fewer processes, then fewer threads.
    pub(crate) fn choose(limits: &Limits, processes: Option<u32>, threads: Option<u32>) -> Self {
        let by_processors = limits.processors.map_or(1, |limit| at_most(limit.div_ceil(1000)));
        let by_memory = limits.memory.map_or(MOST, |limit| at_most(limit / PROCESS));
        let mut sizes = Self {
            processes: processes.unwrap_or(by_processors.min(by_memory).max(1)),
            threads: threads.unwrap_or(THREADS),
        };
        let Some(most) = limits.tasks else { return sizes };
        while sizes.tasks() > most {
            if processes.is_none() && sizes.processes > 1 {
                sizes.processes -= 1;
            } else if threads.is_none() && sizes.threads > 1 {
                sizes.threads -= 1;
            } else {
                break;
            }
        }
        sizes
    }

    /// Returns the number of processes and threads of a server of this size at most, with a successor
    /// for each of its processes.
    pub(crate) fn tasks(self) -> u64 {
        let daemons = u64::from(self.processes) * (u64::from(self.threads) + OWN_THREADS);
        let (front, _) = Sizing::default().capacities(self.processes.saturating_mul(self.threads));
        // A listener and the first thread for each ten or more.
        let front = u64::from(front) + 2 * u64::from(front.div_ceil(10));
        FIXED + front + 2 * daemons
    }
}

fn at_most(number: u64) -> u32 {
    u32::try_from(number).map_or(MOST, |number| number.min(MOST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choose(processors: Option<u64>, megabytes: Option<u64>, tasks: Option<u64>) -> (u32, u32) {
        let memory = megabytes.map(|megabytes| megabytes << 20);
        let sizes = Sizes::choose(&Limits { processors, memory, tasks }, None, None);
        (sizes.processes, sizes.threads)
    }

    #[test]
    fn a_process_for_each_processor_that_has_memory() {
        for (processors, megabytes, expected) in [
            (None, None, 1),
            (Some(250), None, 1),
            (Some(1000), None, 1),
            (Some(1001), None, 2),
            (Some(2000), Some(512), 2),
            (Some(2000), Some(256), 1),
            (Some(2000), Some(64), 1),
            (Some(8000), Some(1024), 5),
            // Without a limit of processors, those of the machine may be used by others, too.
            (None, Some(65536), 1),
            (Some(1_000_000), None, 64),
        ] {
            assert_eq!(choose(processors, megabytes, None), (expected, 5), "{processors:?} {megabytes:?}");
        }
    }

    #[test]
    fn few_tasks_make_a_small_server() {
        let (many, few) = (choose(Some(4000), None, Some(4096)), choose(Some(4000), None, Some(120)));
        assert_eq!(many, (4, 5));
        assert!(few.0 < 4 && few.1 == 5, "{few:?}");
        assert_eq!(choose(None, None, Some(1)), (1, 1));
    }

    #[test]
    fn what_is_given_stays() {
        let limits = Limits { processors: Some(4000), memory: Some(1), tasks: Some(1) };
        let given = |processes, threads| Sizes::choose(&limits, processes, threads);
        assert_eq!(given(Some(7), Some(9)), Sizes { processes: 7, threads: 9 });
        assert_eq!(given(Some(7), None), Sizes { processes: 7, threads: 1 });
        assert_eq!(given(None, Some(9)), Sizes { processes: 1, threads: 9 });
    }

    proptest! {
        #[test]
        fn a_server_fits_its_limits_and_grows_with_them(
            processors in 1..100_000_u64, memory in 0..(1_u64 << 40), tasks in 0..10_000_u64, more in 0..1000_u64,
        ) {
            let limits = Limits { processors: Some(processors), memory: Some(memory), tasks: Some(tasks) };
            let sizes = Sizes::choose(&limits, None, None);
            let smallest = Sizes { processes: 1, threads: 1 };
            prop_assert!(sizes.processes >= 1 && (1..=THREADS).contains(&sizes.threads));
            prop_assert!(sizes.tasks() <= tasks || sizes == smallest);
            prop_assert!(u64::from(sizes.processes) * PROCESS <= memory || sizes.processes == 1);
            prop_assert!(u64::from(sizes.processes) <= processors.div_ceil(1000));
            let larger = Limits {
                processors: Some(processors + more), memory: Some(memory + (more << 20)), tasks: Some(tasks + more),
            };
            let grown = Sizes::choose(&larger, None, None);
            prop_assert!(grown.processes >= sizes.processes);
            prop_assert!(grown.threads >= sizes.threads || grown.processes > sizes.processes);
        }
    }
}
