//! `mod_wsgi-express doctor`: looks for what is wrong with a server before it serves, and says what
//! to do.
//!
//! A [`Subject`] holds the facts, wherever they come from ([`express`]: a command
//! line as for `start-server`; [`apache`]: a configuration of Apache). Each [`Check`](check::Check) is a function on it. Rules that the
//! server itself applies when it starts are in `core`, and used by both.

mod apache;
mod application;
mod check;
mod checks;
mod express;
mod finding;
mod leftovers;
mod limits;
mod paths;
mod python;
mod reference;
mod report;
mod subject;
mod system;
mod trial;
mod unit;

use std::path::Path;

pub(crate) use reference::descriptions;
pub use reference::reference;

use finding::Severity;
use subject::Subject;

use crate::apache::Apache;
use crate::failure::Failure;
use crate::general;
use crate::options;
use crate::parse::Parsed;
use crate::spec::{Spec, section};
use crate::terminal::say;

/// The name of the command.
pub(crate) const COMMAND: &str = "doctor";

section! {
    DOCTOR {
        title: "The doctor",
        about: "All options of start-server may be given, too: it is that server which is looked at.",
        example: "mod_wsgi-express doctor app.wsgi --processes 4",
    }

    CONFIG = Spec::text("--config", &["FILE"],
        "Looks at the server of this configuration of Apache, such as /etc/apache2/apache2.conf, in place of a command line.")
        .note("All files that it includes are read. Apache itself is asked about it, with the environment of the file envvars beside it; run the \
               doctor as the user who starts the server.");
    JSON = Spec::flag("--json",
        "Prints the findings as one JSON object.");
    UNIT = Spec::text("--unit", &["UNIT"],
        "Unit of systemd that starts the server, by name or file: its sandbox and limits count.");
    NO_IMPORT = Spec::flag("--no-import",
        "Imports no application: nothing of it is run.")
        .note("Otherwise each one is imported, in a process of its own, as the user that would serve it.");
}

/// The options of `doctor`.
pub(crate) fn options() -> Vec<&'static Spec> {
    DOCTOR.options.iter().copied().chain(options::server()).collect()
}

/// Examines a server and prints what was found; 1 if there are errors.
///
/// # Errors
/// The command line makes no sense.
pub(crate) fn run(parsed: &Parsed) -> Result<u8, Failure> {
    let mut parsed = parsed.clone();
    // A command line may be put behind the word as it is.
    if parsed.positional.first().is_some_and(|word| word == "start-server") {
        parsed.positional.remove(0);
    }
    leftovers::adopt();
    let mut subject = match parsed.text(&CONFIG) {
        Some(file) => configured(&parsed, file)?,
        None => express::subject(&parsed)?,
    };
    subject.may_import = !parsed.has(&NO_IMPORT);
    let outcome = checks::run(subject);
    leftovers::end();
    say(&if parsed.has(&JSON) { report::json(&outcome) } else { report::text(&outcome) })?;
    Ok(u8::from(outcome.count(Severity::Error) > 0))
}

/// Returns the facts of a configuration of Apache.
fn configured(parsed: &Parsed, file: &str) -> Result<Subject, Failure> {
    if let Some(word) = parsed.positional.first() {
        return Err(Failure::usage(format!("'{word}' and --config name two servers; leave one of them out")));
    }
    let file = std::path::absolute(file)
        .map_err(|error| Failure::file("read", Path::new(file), &error, "check --config"))?;
    let file = if file.is_dir() { file.join("httpd.conf") } else { file };
    let path = |spec| parsed.text(spec).map(Path::new);
    let apache = Apache::find(path(&general::HTTPD_EXECUTABLE), path(&general::MODULES_DIRECTORY)).ok();
    let mut subject = apache::subject(apache::Configuration::read(&file, apache.as_ref()));
    let unit = express::unit(parsed, &mut subject.findings);
    subject.server.unit = unit.or(subject.server.unit);
    Ok(subject)
}
