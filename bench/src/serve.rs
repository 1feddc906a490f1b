//! A server of the benchmark: the harness's Apache with the benchmark's applications.

use std::fs;
use std::io;

use e2e::{Mpm, Setup};

use crate::backend::Backend;
use crate::error::Error;
use crate::options::Service;
use crate::packages;
use crate::place::Place;
use crate::sizes::{DAEMON_THREADS, PREFORK_CHILDREN, THREADED_CHILDREN, THREADS};
use crate::workload::{FILE_SIZE, WORKLOADS};

macro_rules! application {
    ($name:literal) => {
        ($name, include_str!(concat!("../apps/", $name, ".wsgi")))
    };
}

const APPLICATIONS: &[(&str, &str)] = &[
    application!("hello"),
    application!("json"),
    application!("flask"),
    application!("django"),
    application!("sleep"),
    application!("large"),
    application!("form"),
    application!("cpu"),
    application!("stream"),
    application!("file"),
    application!("upload"),
];

/// For the servers behind Apache, which know no aliases.
const DISPATCHER: &str = include_str!("../apps/others.py");

/// The directory section is Debian's: without it, Apache looks for .htaccess files on every
/// request.
const CONFIGURATION: &str = "\
LogLevel warn
Timeout 60
KeepAliveTimeout 30
MaxKeepAliveRequests 0
<Directory />
    AllowOverride None
    Options FollowSymLinks
</Directory>
SetEnv BENCH_FILE \"@ROOT@/large-file\"
<Location /file>
    WSGIEnableSendfile On
    EnableSendfile On
</Location>
";

/// `hello` behind a password, which a script checks.
const PASSWORD: &str = "\
WSGIScriptAlias /closed @ROOT@/apps/hello.wsgi
<Location /closed>
    AuthType Basic
    AuthName closed
    AuthBasicProvider wsgi
    WSGIAuthUserScript @ROOT@/apps/password.py
    Require valid-user
</Location>
";

/// Serves until standard input ends.
pub(crate) fn serve(service: &Service) -> Result<(), Error> {
    let server = setup(service).start();
    if service.place.has_applications() {
        let path = server.path("large-file");
        write_file(&path).map_err(|source| Error::File { path, source })?;
    }
    let _backend = match service.place {
        Place::Behind(backend) => Some(backend.start(&service.others, server.root())?),
        _ => None,
    };
    println!("{} {} {}", server.port(), server.pid(), server.root().display());
    // Whether it ends or fails: nobody is there any more who wants the server.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    Ok(())
}

fn setup(service: &Service) -> Setup {
    let mut setup = Setup::new(service.mpm).file("htdocs/hello.txt", "Hello World!\n");
    let path = packages::directory(&service.others);
    // The same in every mode. (The other servers have the packages already.)
    let path = path.map(|path| format!("__import__(\"site\").addsitedir({path:?})\n")).unwrap_or_default();
    for (name, script) in APPLICATIONS {
        let uses_packages =
            WORKLOADS.iter().any(|workload| workload.name == *name && workload.package.is_some());
        let path = if uses_packages { path.as_str() } else { "" };
        setup = setup.file(&format!("apps/{name}.wsgi"), format!("{path}{script}").as_str());
    }
    setup = floor(setup, service);
    sizes(applications(setup, service.place), service).conf(CONFIGURATION)
}

/// The handlers in C (`bench/floor`), where they are built.
fn floor(setup: Setup, service: &Service) -> Setup {
    let Ok(module) = service.floor.canonicalize() else { return setup };
    let module = module.display();
    setup.conf(&format!(
        "LoadModule floor_module {module}\nFloorSocket @ROOT@/run/floor\n\
         <Location /floor>\nSetHandler floor\n</Location>\n\
         <Location /floor-daemon>\nSetHandler floor-daemon\n</Location>"
    ))
}

/// The applications where they are to run.
fn applications(mut setup: Setup, place: Place) -> Setup {
    if place.has_applications() {
        for (name, _) in APPLICATIONS {
            setup = setup.conf(&format!("WSGIScriptAlias /{name} @ROOT@/apps/{name}.wsgi"));
        }
    }
    match place {
        Place::Main => setup
            .modules(&["authn_core", "auth_basic", "authz_user"])
            .file("apps/password.py", include_str!("../apps/password.py"))
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .conf(PASSWORD),
        Place::Own => setup,
        Place::Daemon { processes } => setup.conf(&format!(
            "WSGIDaemonProcess bench processes={processes} threads={DAEMON_THREADS} display-name=%{{GROUP}}\n\
             WSGIProcessGroup bench\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIRestrictEmbedded On\nWSGISocketPrefix @ROOT@/run/wsgi"
        )),
        Place::Groups { count } => groups(setup, count, ""),
        Place::Dormant { count } => groups(setup, count, "processes=0-2"),
        Place::Behind(backend) => behind(setup, backend),
    }
}

fn groups(setup: Setup, count: u32, options: &str) -> Setup {
    (0..count).fold(setup.conf("WSGIRestrictEmbedded On"), |setup, number| {
        setup.conf(&format!(
            "WSGIDaemonProcess group-{number} threads={DAEMON_THREADS} {options}\n\
             WSGIScriptAlias /group-{number} @ROOT@/apps/hello.wsgi \
             process-group=group-{number} application-group=%{{GLOBAL}}"
        ))
    })
}

fn behind(setup: Setup, backend: Backend) -> Setup {
    let setup = setup.file("apps/others.py", DISPATCHER).modules(&["proxy", backend.module()]);
    setup.conf(&backend.configuration())
}

/// The processes and threads of Apache.
fn sizes(mut setup: Setup, service: &Service) -> Setup {
    let threaded = service.mpm != Mpm::Prefork;
    let children = service.children.unwrap_or(if threaded { THREADED_CHILDREN } else { PREFORK_CHILDREN });
    setup = setup.children(children);
    if threaded {
        setup.conf(&format!(
            "ThreadLimit {THREADS}\nThreadsPerChild {THREADS}\nMaxRequestWorkers {workers}\n\
             MinSpareThreads 1\nMaxSpareThreads {workers}\nAsyncRequestWorkerFactor 10",
            workers = children * THREADS,
        ))
    } else {
        setup.conf(&format!("ServerLimit {children}\nMaxRequestWorkers {children}"))
    }
}

fn write_file(path: &std::path::Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    io::copy(&mut io::Read::take(io::repeat(b'x'), FILE_SIZE), &mut file)?;
    Ok(())
}
