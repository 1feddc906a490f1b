//! The supervisor: starts the daemon processes of one generation of the configuration, watches and
//! replaces them.
//!
//! Apache's parent process starts it as `supervisor <schema> <control> <generation> <board>
//! <descriptors>`, all but the first numbers of descriptors, see [`inheritance`]. It is one thread
//! that waits for events ([`watch`]); what follows from an event is decided in [`slot`], without
//! side effects, and carried out in [`slot_runner`]. That thread makes no call that can block: what
//! may take long is done in a process of its own, which runs this program as `supervisor prepare`,
//! see [`preparation`]; and another thread carries lines to the logs ([`relay`]).

#![forbid(unsafe_code)]

mod context;
mod ends;
mod exporter;
mod identity;
mod inheritance;
mod jail;
mod log;
mod log_line;
mod page;
mod pool;
mod pool_runner;
mod preparation;
mod process;
mod program;
mod record;
mod relay;
mod slot;
mod slot_runner;
mod template;
mod template_runner;
mod token;
mod watch;

use std::process::ExitCode;

use log::Level;
use wsgi_core::codes::SUPERVISOR_FAILED;

fn main() -> ExitCode {
    // One that is started by descriptor would be called by its number. (What fails here is only
    // seen in `ps`.)
    let _ = os::process::set_name(c"supervisor");
    if std::env::args_os().nth(1).is_some_and(|argument| argument == preparation::ROLE) {
        preparation::role::run(std::env::args_os().skip(2));
        return ExitCode::FAILURE;
    }
    let inheritance = match inheritance::Inheritance::take(std::env::args_os().skip(1)) {
        Ok(inheritance) => inheritance,
        Err(error) => {
            let text = format_args!(
                "{SUPERVISOR_FAILED}: the supervisor cannot start: {error}. It is started by mod_wsgi.so of the same build, \
                 not by hand. After an update, stop and start the server"
            );
            log::write(Level::Critical, text);
            return ExitCode::FAILURE;
        }
    };
    let code = match watch::Supervisor::new(inheritance).and_then(watch::Supervisor::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::write(
                Level::Critical,
                format_args!("{SUPERVISOR_FAILED}: the supervisor gives up: {error}"),
            );
            ExitCode::FAILURE
        }
    };
    log::finish();
    code
}
