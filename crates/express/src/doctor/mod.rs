//! `mod_wsgi-express doctor`: looks for what is wrong with a server before it serves, and says what
//! to do.
//!
//! A [`Subject`](subject::Subject) holds the facts, wherever they come from ([`express`]: a command
//! line as for `start-server`). Each [`Check`](checks::Check) is a function on it. Rules that the
//! server itself applies when it starts are in `core`, and used by both.

mod application;
mod checks;
mod express;
#[allow(dead_code, reason = "a reader of configurations has lines")]
mod finding;
mod limits;
mod paths;
mod python;
mod reference;
mod report;
#[allow(dead_code, reason = "some facts are gathered before a check looks at them")]
mod subject;
mod system;
mod trial;
mod unit;

pub(crate) use reference::descriptions;
pub use reference::reference;

use finding::Severity;

use crate::failure::Failure;
use crate::options;
use crate::parse::Parsed;
use crate::server::say;
use crate::spec::{Spec, section};

/// The name of the command.
pub(crate) const COMMAND: &str = "doctor";

section! {
    DOCTOR {
        title: "The doctor",
        about: "All options of start-server may be given, too: it is that server which is looked at.",
        example: "mod_wsgi-express doctor app.wsgi --processes 4",
    }

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
    let mut subject = express::subject(&parsed)?;
    subject.may_import = !parsed.has(&NO_IMPORT);
    let outcome = checks::run(subject);
    say(&if parsed.has(&JSON) { report::json(&outcome) } else { report::text(&outcome) })?;
    Ok(u8::from(outcome.count(Severity::Error) > 0))
}
