//! Times and numbers of processes that do not fit together.

use std::time::Duration;

use wsgi_core::front::{Behind, Front};

use super::on;
use crate::apache::Mpm;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::line::place;
use crate::doctor::check::Check;
use crate::doctor::finding::Finding;
use crate::doctor::subject::{Purpose, Subject};

pub(super) const PREFORK: Check = Check {
    name: "embedded-prefork",
    about: "Applications in Apache's own processes with the prefork model and many of them: each has a copy of the application, and is started and \
            ended with the load.",
    run: prefork,
};

pub(super) const TIMES: Check = Check {
    name: "timeouts",
    about: "Times that contradict each other: a `request-timeout=` that never comes, since Apache gives the request up before (`socket-timeout=`, \
            else `Timeout`); a `KeepAliveTimeout` for which idle clients hold all processes of the prefork model. The server \
            logs the former, too, when it starts.",
    run: |subject| on(subject, times),
};

/// As many processes as an application should have at most, each with a copy of it.
const MANY: u32 = 64;

fn prefork(subject: &Subject) -> Vec<Finding> {
    let Some(configuration) = subject.apache.as_ref().filter(|apache| apache.mpm() == Some(Mpm::Prefork))
    else {
        return Vec::new();
    };
    let embedded = subject
        .groups
        .iter()
        .enumerate()
        .find(|(number, group)| group.is_embedded() && subject.serves(*number));
    let Some((number, group)) = embedded.filter(|(_, group)| group.processes > MANY) else {
        return Vec::new();
    };
    let line = configuration.workers().and_then(|(_, line)| line);
    let application =
        subject.applications_of(number).find(|application| application.purpose == Purpose::Requests);
    let application = application.and_then(|application| application.place.as_ref());
    let whence = if line.is_some() { "" } else { ", the default of MaxRequestWorkers" };
    vec![
        Finding::warning(format!("up to {} processes may each have a copy of the application{whence}", group.processes))
            .at(line.map(crate::doctor::apache::line::Line::place).as_ref().or(application))
            .because("with the prefork model, each of Apache's processes serves one request at a time and loads Python and the application for it")
            .remedy(
                "run the application in daemon mode (WSGIDaemonProcess and WSGIProcessGroup), use the event model, or lower MaxRequestWorkers to what \
                 memory admits",
            ),
    ]
}

fn times(configuration: &Configuration) -> Vec<Finding> {
    let model = &configuration.model;
    let mut findings = Vec::new();
    // A group may serve any of the hosts.
    let of_main = model.number("Timeout").map_or(60, |(seconds, _)| seconds);
    let longest = model.all("Timeout").filter_map(|line| line.number(0)).chain([of_main]).max();
    let front = Front { workers: u64::MAX, timeout: Duration::from_secs(longest.unwrap_or(of_main)) };
    for daemon in &model.global.daemons {
        let limits = &daemon.options.limits;
        let behind = Behind {
            name: &daemon.name,
            threads: 0,
            request_timeout: Duration::from_millis(limits.request_timeout),
            socket_timeout: Duration::from_millis(limits.socket_timeout),
        };
        let fault = front.late_timeout(behind);
        findings.extend(fault.map(|fault| Finding::from(fault).at(Some(&place(&daemon.position)))));
    }
    if let Some((seconds, line)) = model.number("KeepAliveTimeout").filter(|(seconds, _)| *seconds > 30)
        && configuration.mpm() == Some(Mpm::Prefork)
        && !model
            .value(model.main(), "KeepAlive")
            .is_some_and(|line| line.text(0).is_some_and(|word| word.eq_ignore_ascii_case("off")))
    {
        findings.push(
            Finding::warning(format!("each idle client holds a process for {seconds} s"))
                .at(Some(&line.place()))
                .because("with the prefork model, a process waits for the next request of its connection and does nothing else")
                .remedy("set KeepAliveTimeout to 5 or less, or use the event model"),
        );
    }
    findings
}
