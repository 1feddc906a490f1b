//! The trial of an application: it is loaded once before the server starts.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, geteuid};
use os::process::{Child, Exit, Signal};
use os::spawn::Plan;

use crate::application::Loader;
use crate::bounded::output;
use crate::ending;
use crate::failure::Failure;
use crate::general;
use crate::inputs::Inputs;
use crate::quote::display;

/// Has the module of the package load the application. The first argument is the directory of the
/// package.
const PROGRAM: &str = "import sys; sys.path[:] = [sys.argv[1], *(entry for entry in sys.path if entry)]; \
                       from mod_wsgi.express import trial; trial.run(*sys.argv[1:])";

/// The status of a trial that has succeeded: not one that applications exit with.
const LOADED: u8 = 17;
/// The status of a trial that has printed why it failed.
const FAILED: u8 = 1;

/// The interval of looks at whether the trial has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The time that a process has to end that has been told to.
const TO_END: Duration = Duration::from_secs(2);

/// Loads the application as the account that serves, with the environment that the control script
/// sets. What it prints goes to standard error.
///
/// # Errors
/// It cannot be loaded, or not in time.
pub(crate) fn load(inputs: &Inputs<'_>, control: &Path) -> Result<(), Failure> {
    let settings = inputs.settings;
    let Some(loader) = settings.application.loader(&settings.callable_object) else { return Ok(()) };
    let entry = loader.entry.clone();
    let python = &inputs.python.program;
    let cannot = |reason: String| {
        Failure::machine(format!(
            "cannot try whether {entry} can be loaded ({}): {reason}; leave that option out",
            general::STRICT.name
        ))
    };
    let output = std::io::stderr();
    let plan = Plan {
        programs: vec![c_string(display(python))],
        arguments: arguments(inputs, loader).into_iter().map(c_string).collect(),
        environment: environment(settings.environment.control(control), control).map_err(cannot)?,
        output: Some(output.as_fd()),
        // With a group of its own, it can be ended together with what the application starts.
        is_session: true,
        is_bound: true,
        account: geteuid().is_root().then(|| inputs.account.identity()),
        directory: Some(c_string(display(&settings.working_directory))),
        ..Plan::default()
    };
    let _ = ending::watch();
    let started = plan
        .spawn()
        .map_err(|failure| cannot(format!("{} of {}: {}", failure.step, python.display(), failure.error)))?;
    let seconds = settings.startup_timeout;
    let limit = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let reason = match wait(&started.child, limit, &|| false).map_err(|error| cannot(error.to_string()))? {
        Some(Exit::Status(LOADED)) => return Ok(()),
        Some(Exit::Status(FAILED)) => "the lines above say why".to_owned(),
        Some(exit) => format!("Python ended meanwhile: {exit}"),
        None => format!("that takes longer than {seconds} s ({})", general::STARTUP_TIMEOUT.name),
    };
    Err(Failure::machine(format!(
        "{entry} cannot be loaded: {reason}; correct it, or start the server nevertheless, without {}",
        general::STRICT.name
    )))
}

/// Returns the arguments of Python.
fn arguments(inputs: &Inputs<'_>, loader: Loader) -> Vec<String> {
    let settings = inputs.settings;
    let home = settings.daemon.as_ref().map(|_| display(&settings.working_directory));
    let process_group = settings.daemon.as_ref().map(|daemon| daemon.name.clone());
    // A name that depends on the request is not known.
    let application_group = Some(&settings.application_group).filter(|group| !group.contains("%{"));
    let warnings = settings.python_warnings.iter().flat_map(|filter| ["-W".to_owned(), filter.clone()]);
    let mut arguments: Vec<String> = warnings.collect();
    arguments.extend([
        "-c".to_owned(),
        PROGRAM.to_owned(),
        display(&inputs.installation.packages()),
        home.unwrap_or_default(),
        inputs.python_path().join(":"),
        display(&settings.python_eggs()),
        process_group.unwrap_or_default(),
        application_group.cloned().unwrap_or_default(),
        settings.processes.to_string(),
        settings.threads.to_string(),
        loader.function.to_owned(),
        loader.entry,
    ]);
    arguments.extend(loader.callable_object);
    arguments
}

/// Returns the environment that the control script gives Apache, as `NAME=value`.
pub(crate) fn environment(mut command: Command, control: &Path) -> Result<Vec<CString>, String> {
    let output = output(command.arg("environment"));
    let output = output.map_err(|error| format!("{}: {error}", control.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(format!("{} environment: {}: {said}", control.display(), output.status));
    }
    let variables = output.stdout.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
    // There is no other zero byte in one.
    Ok(variables.filter_map(|variable| CString::new(variable).ok()).collect())
}

/// Waits for the end of a process, which is ended after a time, or when `is_enough`. Returns `None`
/// if it had to be ended.
pub(crate) fn wait(
    child: &Child,
    limit: Option<Duration>,
    is_enough: &dyn Fn() -> bool,
) -> std::io::Result<Option<Exit>> {
    let start = Instant::now();
    let mut killed = None;
    loop {
        if let Some(exit) = child.try_wait()? {
            ending::wait_if_begun();
            return Ok(killed.is_none().then_some(exit));
        }
        if killed.is_none() && (limit.is_some_and(|limit| start.elapsed() >= limit) || is_enough()) {
            killed = Some(Instant::now());
            nix::sys::signal::killpg(Pid::from_raw(child.pid()), Signal::SIGKILL)?;
        }
        // A file system may hold a process, whatever the signal.
        if killed.is_some_and(|killed| killed.elapsed() >= TO_END) {
            return Ok(None);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// The text up to its first zero byte, if it has one, behind which no program would read on.
pub(crate) fn c_string(text: impl Into<OsString>) -> CString {
    let mut bytes = text.into().into_vec();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}
