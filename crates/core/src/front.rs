//! The server in front of daemon processes, whose own limits may make those of a group useless.

use std::time::Duration;

use crate::config::Global;
use crate::diagnostic::Diagnostic;
use crate::fault::{Fault, Weight};
use crate::words::display;

/// Limits of the server.
#[derive(Debug, Clone, Copy)]
pub struct Front {
    /// The most requests at a time (`MaxRequestWorkers`).
    pub workers: u64,
    /// The longest `Timeout` of all its virtual hosts; zero: none.
    pub timeout: Duration,
}

/// The part of a group of daemon processes that these limits are about.
#[derive(Debug, Clone, Copy)]
pub struct Behind<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The threads of all its processes.
    pub threads: u64,
    /// `request-timeout=`; zero: none.
    pub request_timeout: Duration,
    /// `socket-timeout=`; zero: `Timeout`.
    pub socket_timeout: Duration,
}

impl Front {
    /// Returns the fault of a group that has more threads than there are requests.
    #[must_use]
    pub fn idle_threads(&self, group: Behind<'_>) -> Option<Fault> {
        let Self { workers, .. } = self;
        (group.threads > *workers).then(|| Fault {
            weight: Weight::Doubtful,
            what: format!(
                "the process group '{}' has {} threads, and Apache admits {workers} requests at a time",
                display(group.name),
                group.threads
            ),
            why: "the others never have anything to do, and idle connections of clients take places, too".to_owned(),
            remedy: "raise MaxRequestWorkers (--max-clients) above the threads of all groups, or use fewer processes or threads"
                .to_owned(),
        })
    }

    /// Returns the fault of a `request-timeout=` that never comes, since Apache gives the request up
    /// before.
    #[must_use]
    pub fn late_timeout(&self, group: Behind<'_>) -> Option<Fault> {
        let (wait, of) = match group.socket_timeout {
            Duration::ZERO => (self.timeout, "Timeout"),
            own => (own, "socket-timeout="),
        };
        (!wait.is_zero() && wait < group.request_timeout).then(|| Fault {
            weight: Weight::Doubtful,
            what: format!(
                "the request-timeout of the process group '{}' ({} s) comes too late",
                display(group.name),
                group.request_timeout.as_secs()
            ),
            why: format!(
                "Apache waits {} s for data of a process ({of}), and then answers 504, while the request goes on",
                wait.as_secs()
            ),
            remedy: "let request-timeout= be the shorter one: lower it, or raise socket-timeout=".to_owned(),
        })
    }
}

impl Global {
    /// Returns the faults of all groups behind `front`.
    #[must_use]
    pub fn review_front(&self, front: &Front) -> Vec<Diagnostic> {
        let of_group = |group: &crate::daemon::DaemonGroup| {
            let options = &group.options;
            let behind = Behind {
                name: &group.name,
                threads: u64::from(options.process_count()) * u64::from(options.threads),
                request_timeout: Duration::from_millis(options.limits.request_timeout),
                socket_timeout: Duration::from_millis(options.limits.socket_timeout),
            };
            let faults = front.idle_threads(behind).into_iter().chain(front.late_timeout(behind));
            let faults = faults.filter_map(|fault| Diagnostic::of_fault(&fault));
            faults.map(|fault| fault.at(&group.position)).collect::<Vec<_>>()
        };
        self.daemons.iter().flat_map(of_group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Behind<'_> = Behind {
        name: b"shop",
        threads: 30,
        request_timeout: Duration::from_secs(60),
        socket_timeout: Duration::ZERO,
    };

    #[test]
    fn threads_that_no_request_reaches_are_told_of() {
        let front = |workers| Front { workers, timeout: Duration::ZERO };
        assert_eq!(front(30).idle_threads(GROUP), None);
        let fault = front(29).idle_threads(GROUP).unwrap();
        assert!(fault.what.contains("'shop' has 30 threads, and Apache admits 29 requests"), "{fault}");
    }

    #[test]
    fn a_timeout_behind_another_one_is_told_of() {
        let front = |seconds| Front { workers: 30, timeout: Duration::from_secs(seconds) };
        assert_eq!(front(60).late_timeout(GROUP), None);
        assert_eq!(front(0).late_timeout(GROUP), None);
        assert!(
            front(59).late_timeout(GROUP).unwrap().why.contains("waits 59 s for data of a process (Timeout)")
        );
        let own = |seconds| Behind { socket_timeout: Duration::from_secs(seconds), ..GROUP };
        assert_eq!(front(5).late_timeout(own(90)), None);
        assert!(front(90).late_timeout(own(5)).unwrap().why.contains("(socket-timeout=)"));
        assert_eq!(front(5).late_timeout(Behind { request_timeout: Duration::ZERO, ..GROUP }), None);
    }
}
