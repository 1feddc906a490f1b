//! The start of a new generation and of its supervisor, in the parent.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use httpd::{Level, OtherChild, Server, ServerInfo};
use os::descriptors::{self, Kind};
use os::lock::lock;
use os::process::Signal;
use os::spawn::{self, Plan};
use wsgi_core::codes::{CHANNELS_NOT_MADE, SUPERVISOR_ENDED, SUPERVISOR_NOT_STARTED};
use wsgi_core::config::Global;
use wsgi_core::wire::Schema;

use super::generation::{self, Generation, Parent};
use super::{launch, publisher};
use crate::installation::{self, InstalledFile};
use crate::settings::ServerFacts;
use crate::tracing::{self, ExporterFiles, StateFiles, Telemetry};
use crate::{Wsgi, log, readings};

/// Starts the processes of the configuration that has just been read.
pub(crate) fn start(server: &Server, info: &ServerInfo) -> Result<(), String> {
    let is_wanted = |global: &&Global| !global.daemons.is_empty() || global.opentelemetry.is_on;
    let Some(global) = server.global::<Wsgi>().filter(is_wanted) else {
        return Ok(());
    };
    if !info.is_starting() {
        return Ok(());
    }
    let installation = installation::current()?;
    let telemetry = tracing::prepare(server, info, global, &installation);
    if global.daemons.is_empty() && telemetry.is_none() {
        return Ok(());
    }
    let facts = ServerFacts::new(server, info);
    let names = global.daemons.iter().map(|group| (group.name.clone(), group.options.process_count()));
    let snapshot = publisher::capacity(global);
    // Three for each process, and as many for the next generation. Children need them, too: the
    // system counts descriptors in flight against the sender's limit.
    let slots: u64 = global.daemons.iter().map(|group| u64::from(group.options.process_count())).sum();
    descriptors::raise_limit(6 * slots + OTHER_DESCRIPTORS);
    let generation = launch::generation(
        server,
        info,
        global,
        &launch::LaunchContext { facts: &facts, installation: &installation, snapshot },
    )
    .and_then(|(mut message, logs)| {
        message.exporter = telemetry.as_ref().map(|telemetry| telemetry.plan.clone());
        let new = Generation::new(names, &message.encode(), logs, snapshot, Arc::clone(&installation))?;
        Ok(match telemetry {
            Some(Telemetry { exporter, tracer, .. }) => new.with_telemetry(exporter, tracer),
            None => new,
        })
    })
    .map_err(|error| {
        format!(
            "{CHANNELS_NOT_MADE}: the channels of the daemon processes cannot be made: {error}. They take three descriptors for each \
             process: raise the limit of open files (ulimit -n, LimitNOFILE= of the service)"
        )
    });
    // An error ends Apache, with everything else that it serves. No request needs the exporter.
    let is_vital = !info.is_restart() && !global.daemons.is_empty();
    let generation = match generation {
        Err(text) if !is_vital => {
            let rest = "There are no daemon processes, and requests to them get status 500, until a restart of the server \
                        makes them";
            log::server(server, Level::Alert, format!("{text} {rest}"));
            return Ok(());
        }
        generation => generation?,
    };
    let (generation, guard) = generation::install(generation);
    info.pool().own(guard);
    // Once: the process outlives its configurations.
    AT_END.call_once(|| info.at_process_end(server, stop_all));
    let parent = &mut *generation.parent();
    let Some(parent) = parent else { return Ok(()) };
    match start_supervisor(server, parent) {
        Err(text) if !is_vital => {
            on_start_failure(server, parent, &text);
            Ok(())
        }
        started => started.map_err(|text| format!("{SUPERVISOR_NOT_STARTED}: {text}")),
    }
}

/// Starts a supervisor if that has failed before and it is time for another try. Apache's parent
/// calls this periodically.
pub(crate) fn monitor() {
    let Some(generation) = generation::current() else { return };
    let parent = &mut *generation.parent();
    let (Some(parent), Some(server)) = (parent, httpd::main_server()) else { return };
    if parent.supervisor.is_none() && parent.supervision.is_due(Instant::now()) && !httpd::is_stopping() {
        try_start(server, parent);
    }
}

fn try_start(server: &Server, parent: &mut Parent) {
    match start_supervisor(server, parent) {
        Ok(()) => parent.publish_supervision(true),
        Err(text) => on_start_failure(server, parent, &text),
    }
}

fn on_start_failure(server: &Server, parent: &mut Parent, text: &str) {
    parent.publish_supervision(false);
    let pause = parent.supervision.not_started(Instant::now()).as_secs();
    let meanwhile = match parent.ends.is_empty() {
        // It is there for the exporter only.
        true => "nothing is exported to OpenTelemetry",
        false => "requests to daemon processes get status 503",
    };
    let text = format_args!("{text}. The next try is in {pause} s or a little later; until then {meanwhile}");
    log::server_message(server, SUPERVISOR_NOT_STARTED, text);
}

static AT_END: Once = Once::new();

/// The number of descriptors that Apache is to have for other things.
const OTHER_DESCRIPTORS: u64 = 512;

/// Starts the supervisor of a generation.
fn start_supervisor(server: &Server, parent: &mut Parent) -> Result<(), String> {
    let installation = Arc::clone(&parent.installation);
    let program = installation.supervisor()?;
    let (control, far) =
        descriptors::pair(Kind::Sequence).map_err(|error| supervisor_error(program, &error))?;
    let pid = spawn(program, parent, &far).map_err(|error| supervisor_error(program, &error))?;
    lock(&SUPERVISORS).push(pid);
    readings::process_started(pid.cast_unsigned());
    parent.control = Some(control);
    parent.supervisor = Some(pid);
    parent.supervision.started(Instant::now());
    OtherChild { pid, ended: on_supervisor_end }.watch(server);
    Ok(())
}

fn supervisor_error(program: &InstalledFile, error: &io::Error) -> String {
    format!(
        "the supervisor of the daemon processes, {}, cannot be started: {error}. Let root run it, and raise the limits of \
         processes (pids.max) and open files (ulimit -n)",
        program.path().display()
    )
}

fn spawn(program: &InstalledFile, parent: &Parent, control: &OwnedFd) -> io::Result<i32> {
    let board_reader;
    let mut kept: Vec<(RawFd, _)> = Vec::new();
    let mut number = 3;
    let mut keep = |descriptor| {
        kept.push((number, descriptor));
        number += 1;
        number - 1
    };
    let (control, message, board) =
        (keep(control.as_fd()), keep(parent.message.as_fd()), keep(parent.board.as_fd()));
    let mut list = Vec::new();
    let mut count = |number: RawFd| list.extend_from_slice(&number.to_le_bytes());
    count(i32::try_from(parent.logs.len()).unwrap_or(0));
    for log in &parent.logs {
        count(keep(log.as_fd()));
    }
    for (channel, page) in &parent.ends {
        count(keep(channel.as_fd()));
        count(keep(page.as_fd()));
    }
    if let Some(snapshot) = &parent.snapshot {
        count(keep(snapshot.as_fd()));
    }
    if let Some(ExporterFiles { spans, counts, headers, state }) = &parent.exporter {
        let program = parent.installation.exporter().map_err(io::Error::other)?;
        let mut files = vec![program.as_fd(), spans.as_fd(), counts.as_fd()];
        files.extend(headers.as_ref().map(AsFd::as_fd));
        if let Some(StateFiles { layout, ledger, tallies }) = state {
            board_reader = descriptors::reopen_for_reading(&parent.board)?;
            files.extend([layout.as_fd(), ledger.as_fd(), board_reader.as_fd(), tallies.as_fd()]);
        }
        files.into_iter().for_each(|file| count(keep(file)));
    }
    if let Some(tallies) = &parent.tallies {
        count(keep(tallies.as_fd()));
    }
    for host in parent.installation.hosts() {
        count(keep(host.as_fd()));
    }
    let list = os::message::file(c"mod_wsgi descriptors", &list)?;
    let list = keep(list.as_fd());
    let plan = Plan {
        programs: vec![CString::new(program.path().as_os_str().as_bytes())?],
        executable: Some(program.as_fd()),
        arguments: std::iter::once(Schema::own().to_string())
            .chain([control, message, board, list].map(|number| number.to_string()))
            .map(CString::new)
            .collect::<Result<_, _>>()?,
        environment: spawn::own_environment(),
        kept,
        is_session: true,
        ..Plan::default()
    };
    match plan.spawn() {
        Ok(started) => Ok(started.child.pid()),
        Err(failure) => Err(io::Error::other(failure.to_string())),
    }
}

/// Replaces a supervisor that has ended, if it was that of the current generation.
fn on_supervisor_end(pid: i32, status: i32) {
    lock(&SUPERVISORS).retain(|known| *known != pid);
    readings::process_ended(pid.cast_unsigned());
    let Some(generation) = generation::current() else { return };
    let parent = &mut *generation.parent();
    let Some(parent) = parent.as_mut().filter(|parent| parent.supervisor == Some(pid)) else { return };
    parent.supervisor = None;
    if httpd::is_stopping() {
        return;
    }
    let Some(server) = httpd::main_server() else { return };
    let pause = parent.supervision.ended(Instant::now());
    let then = match pause {
        None => "another one is started".to_owned(),
        Some(pause) => {
            format!("it is one of several in a row, another one is started in {} s", pause.as_secs())
        }
    };
    let text = format_args!(
        "The supervisor of the daemon processes (pid {pid}) has ended unexpectedly (status or signal {status}): {then}"
    );
    log::server_message(server, SUPERVISOR_ENDED, text);
    match pause {
        None => try_start(server, parent),
        Some(_) => parent.publish_supervision(false),
    }
}

/// The supervisors that run, of all generations.
static SUPERVISORS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Ends all daemon processes when the server ends, within as much time as Apache gives its own.
fn stop_all() {
    let supervisors = std::mem::take(&mut *lock(&SUPERVISORS));
    let mut children: Vec<_> =
        supervisors.into_iter().filter_map(|pid| os::process::Child::open(pid).ok()).collect();
    for (signal, patience) in [(Signal::SIGTERM, STOP_TIMEOUT), (Signal::SIGQUIT, KILL_TIMEOUT)] {
        // With `httpd -X` this is the serving process, no longer root: the supervisors end when
        // they notice its end. (A supervisor that has ended by itself needs no signal.)
        children.retain(|child| {
            !matches!(child.signal(signal), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
        });
        let end = Instant::now() + patience;
        loop {
            children.retain(|child| child.try_wait().is_ok_and(|ended| ended.is_none()));
            if children.is_empty() {
                return;
            }
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for child in &children {
        let _ = child.signal(Signal::SIGKILL);
        let _ = child.wait();
    }
}

/// The time in which supervisors may let their processes finish.
const STOP_TIMEOUT: Duration = Duration::from_millis(3_500);
/// The time in which they have to kill the others.
const KILL_TIMEOUT: Duration = Duration::from_millis(1_000);
