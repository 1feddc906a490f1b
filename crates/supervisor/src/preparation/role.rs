//! In the new process: from root to the group's user, and to Python.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use os::descriptors::inherited;
use os::spawn::{Failure, Limit, Step};
use wsgi_core::fault::Weight;
use wsgi_core::python_home::{self, Files};
use wsgi_core::wire::launch::{Group, LaunchPlan};

use super::Message;
use crate::identity;
use crate::program::{self, CONTROL, FIRST_HOST, LaunchContext, Obstacle};

/// More than any configuration of a group.
const LONGEST: u64 = 1 << 28;

/// The files of this system.
const FILES: Files<'_> =
    Files { read: &os::file::read_small, resolve: &Path::canonicalize, names: &os::file::names };

/// Becomes Python; returns if that fails, which has been said then.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) {
    let mut numbers = arguments.map(|argument| argument.to_str().and_then(|text| text.parse().ok()));
    let mut next = || inherited(numbers.next().flatten().unwrap_or(-1));
    let (Ok(pipe), file) = (next(), next()) else { return };
    let mut supervisor = SupervisorPipe(pipe.into());
    let Obstacle { mut level, mut text, is_of_identity } = match file.and_then(configuration) {
        Ok((group, control, hosts)) => prepare(&group, &control, hosts, &mut supervisor),
        Err(error) => program::no_process(&format!("its configuration is not there ({error})")),
    };
    if is_of_identity {
        supervisor.send(&Message::Log(level, text));
        Obstacle { level, text, .. } = program::not_configured();
    }
    supervisor.send(&Message::Failure(level, text));
}

/// The parts of a process of a group: its configuration, its control socket, the hosts.
type Parts = (Group, OwnedFd, Vec<(Box<[u8]>, OwnedFd)>);

fn configuration(file: OwnedFd) -> io::Result<Parts> {
    let plan = LaunchPlan::decode(&os::message::read(file, LONGEST)?);
    let LaunchPlan { groups, hosts, .. } = plan.map_err(|_| io::ErrorKind::InvalidData)?;
    let group = groups.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
    let hosts = (FIRST_HOST..).zip(hosts).map(|(number, name)| Ok((name, inherited(number)?)));
    Ok((group, inherited(CONTROL)?, hosts.collect::<io::Result<_>>()?))
}

/// Returns why that failed.
fn prepare(
    group: &Group,
    control: &OwnedFd,
    hosts: Vec<(Box<[u8]>, OwnedFd)>,
    supervisor: &mut SupervisorPipe,
) -> Obstacle {
    supervisor.send(&Message::Obstacle(program::unknown_user(group)));
    let identity = match identity::look_up(group.account.as_ref(), group.daemon.options.chroot.as_deref()) {
        Ok(identity) => identity,
        Err(error) => return program::no_jail(group, &error),
    };
    if let Some(denied) = &identity.denied {
        supervisor.send(&Message::Log(crate::log::Level::Warning, denied.clone()));
    }
    for fault in python_faults(group) {
        supervisor.send(&Message::Log(crate::log::Level::Warning, fault));
    }
    let context = LaunchContext {
        hosts,
        environment: os::spawn::own_environment(),
        no_core: getrlimit(Resource::RLIMIT_CORE).ok().map(|(_, hard)| Limit {
            resource: os::spawn::Resource::Core,
            soft: 0,
            hard,
        }),
    };
    let plan = match program::plan(group, &identity, &context, control.as_fd()) {
        Ok(plan) => plan,
        Err(obstacle) => return obstacle,
    };
    let late = Failure { step: Step::Time, error: io::ErrorKind::TimedOut.into() };
    supervisor.send(&Message::Obstacle(program::obstacle(group, &identity, &late).text));
    let failure = plan.exec(&mut |failure| {
        let Obstacle { level, text, .. } = program::obstacle(group, &identity, &failure);
        supervisor.send(&Message::Log(level, text));
    });
    program::obstacle(group, &identity, &failure)
}

/// Returns warnings about the Python that the process is going to be, which says less about them
/// itself. (That of a jail is seen from inside only.)
fn python_faults(group: &Group) -> Vec<String> {
    let program = group.programs.first().filter(|_| group.daemon.options.chroot.is_none());
    let faults = program.map(|program| python_home::faults(Path::new(OsStr::from_bytes(program)), FILES));
    let faults = faults.into_iter().flatten().filter(|fault| fault.weight == Weight::Fatal);
    faults
        .map(|fault| {
            format!("the Python of the process group '{}': {fault}", group.daemon.name.escape_ascii())
        })
        .collect()
}

/// The pipe to the supervisor.
struct SupervisorPipe(File);

impl SupervisorPipe {
    fn send(&mut self, message: &Message) {
        // If the supervisor has ended, this process ends as well.
        let _ = self.0.write_all(&message.encode());
    }
}
