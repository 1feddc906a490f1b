//! Checks of a whole configuration.

mod access;
mod load;
mod modules;
mod overrides;
mod ports;
mod proxies;
mod reading;
mod source;
#[cfg(test)]
mod tests;
mod urls;

pub(super) use reading::reading;

use crate::doctor::apache::Configuration;
use crate::doctor::check::Topic;
use crate::doctor::finding::Finding;
use crate::doctor::subject::Subject;

pub(crate) static TOPIC: Topic = Topic {
    title: "The configuration of Apache",
    checks: &[
        reading::CHECK,
        reading::REVIEW,
        modules::SEVERAL,
        modules::FOREIGN,
        access::CHECK,
        overrides::REFUSED,
        overrides::EXEC_CGI,
        urls::SHADOWED,
        urls::UNSERVED,
        urls::SLASHES,
        source::CHECK,
        proxies::CHECK,
        ports::CHECK,
        load::PREFORK,
        load::TIMES,
    ],
};

/// Makes a check of the configuration of a subject, if it has one.
fn on(subject: &Subject, check: impl Fn(&Configuration) -> Vec<Finding>) -> Vec<Finding> {
    subject.apache.as_ref().map(check).unwrap_or_default()
}
