//! Three servers behind a balancer, each a network namespace (`make test-fleet`): under load, each
//! is restarted in turn, and one is killed. The examples of `examples/fleet` are used as they stand.
//!
//! It runs as root in namespaces of its own (`scripts/test-fleet`), so that nothing is left behind.

mod client;
mod network;

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Interpreter, Process, Target, signal, wait_until};
use nix::sys::signal::Signal;

use client::{Load, Request};
use network::Host;

/// The clients at a time.
const CLIENTS: usize = 8;

/// Notes each request by its id before it answers.
const APP: &str = r#"
import os, time

def application(environ, start_response):
    name = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else environ["PATH_INFO"][1:].encode()
    with open(os.path.join(os.path.dirname(__file__), "served"), "ab", 0) as served:
        served.write(name + b"\n")
    time.sleep(0.02)
    start_response("200 OK", [("Content-Length", str(len(name)))])
    return [name]
"#;

fn main() -> ExitCode {
    check_page();
    if std::env::var_os("E2E_FLEET").is_none() {
        println!("The fleet is tested by `make test-fleet`.");
        return ExitCode::SUCCESS;
    }
    network::make_bridge();
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    allow(directory.path(), 0o755);
    let hosts = ["one", "two", "three"];
    let hosts: Vec<_> = hosts.iter().zip(11..).map(|(name, number)| Host::new(name, number)).collect();
    let servers: Vec<_> = hosts.iter().map(|host| FleetServer::start(host, directory.path())).collect();
    for (name, start) in [("HAProxy", haproxy as fn(&Path) -> Child), ("Apache", apache)] {
        let mut balancer = start(directory.path());
        try_fleet(name, &servers, directory.path());
        signal(Process(balancer.id()), Signal::SIGTERM);
        balancer.wait().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    servers.iter().for_each(|server| server.host.kill());
    ExitCode::SUCCESS
}

/// Panics if the examples are not those of the page.
fn check_page() {
    let page = include_str!("../../../../docs/fleet.md");
    for name in ["haproxy.cfg", "apache.conf"] {
        let example =
            fs::read_to_string(examples().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(example.trim_end()), "docs/fleet.md has another {name}");
    }
}

/// A server of the fleet.
struct FleetServer<'h> {
    host: &'h Host,
    directory: PathBuf,
}

impl<'h> FleetServer<'h> {
    fn start(host: &'h Host, parent: &Path) -> Self {
        let directory = parent.join(host.name);
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        allow(&directory, 0o777);
        write(&directory.join("app.wsgi"), APP);
        let server = Self { host, directory };
        let root = server.root();
        let set_up = server
            .run(&express())
            .args(["setup-server", "app.wsgi", "--host", &host.address, "--port", "8000"])
            .args(["--server-root", &root.to_string_lossy(), "--processes", "2", "--max-clients", "40"])
            .args(["--health-path", "/-", "--health-client", network::BALANCER])
            .args(["--graceful-stop", "--drain-delay", "3", "--graceful-timeout", "20"])
            .arg("--python")
            .arg(&Interpreter::current().executable)
            .current_dir(&server.directory)
            .output();
        let set_up = set_up.unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
        assert!(set_up.status.success(), "{}", String::from_utf8_lossy(&set_up.stderr));
        // As a service manager restarts.
        let restart = format!(
            "#!/bin/sh\nset -eu\npid=$(cat '{0}/httpd.pid')\n'{0}/apachectl' stop\nwhile kill -0 \"$pid\" 2>/dev/null; do sleep 0.1; done\n\
             exec '{0}/apachectl' start\n",
            root.display()
        );
        write(&server.directory.join("restart"), &restart);
        allow(&server.directory.join("restart"), 0o755);
        server.start_apache();
        server
    }

    fn start_apache(&self) {
        let started = self.run(&self.root().join("apachectl")).arg("start").status();
        assert!(started.is_ok_and(|status| status.success()), "{}", self.log());
        wait_until("the server", || self.is_ready().then_some(()));
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// A command on the host.
    fn run(&self, program: &Path) -> Command {
        self.host.run(program)
    }

    fn is_ready(&self) -> bool {
        let mut command = self.run(&express());
        command.args(["health", "--server-root", &self.root().to_string_lossy()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.root().join("httpd.pid")).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root().join("error_log")).unwrap_or_default()
    }
}

/// Puts the fleet under load, restarts each server in turn, then kills one.
fn try_fleet(name: &str, servers: &[FleetServer<'_>], directory: &Path) {
    let before: Vec<_> = servers.iter().map(FleetServer::pid).collect();
    let load = Load::start(CLIENTS, name);
    load.wait_for_some();
    let begin = Instant::now();
    let restart = Command::new(examples().join("rolling-restart"))
        .args(servers.iter().map(|server| server.host.name))
        .env("RUN", on(directory))
        .env("EXPRESS", express())
        .env("ROOT", "root")
        .env("RESTART", "./restart")
        .env("NOTICE", "4")
        .output();
    let restart = restart.unwrap_or_else(|error| panic!("rolling-restart: {error}"));
    let said = String::from_utf8_lossy(&restart.stdout);
    assert!(restart.status.success(), "{said}\n{}", String::from_utf8_lossy(&restart.stderr));
    let restarts = begin.elapsed();
    for (server, before) in servers.iter().zip(&before) {
        assert_ne!(server.pid(), *before, "{}", server.host.name);
    }
    load.wait_for_some();
    let victim = &servers[1];
    let kill_begin = Instant::now();
    victim.host.kill();
    // Its processes end, and its connections are reset, some milliseconds after the signals.
    let kill = kill_begin..=Instant::now() + Duration::from_secs(1);
    thread::sleep(Duration::from_secs(5));
    load.wait_for_some();
    let requests = load.stop();
    // Ended by a signal, it has left its pid file.
    let _ = fs::remove_file(victim.root().join("httpd.pid"));
    victim.start_apache();
    let text = judge(&requests, servers, &kill);
    println!("{name}: {text}; the restarts took {} s", restarts.as_secs());
}

/// Panics if a request was lost that need not be, or came to an application twice.
fn judge(requests: &[Request], servers: &[FleetServer<'_>], kill: &RangeInclusive<Instant>) -> String {
    let mut served = BTreeMap::<String, usize>::new();
    for server in servers {
        for line in fs::read_to_string(server.directory.join("served")).unwrap_or_default().lines() {
            *served.entry(line.to_owned()).or_default() += 1;
        }
    }
    // Those that only look whether the balancer serves have one name.
    served.remove(client::PROBE);
    let twice: Vec<_> = served.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "requests that came to an application twice: {twice:?}");
    let missing =
        requests.iter().filter(|request| request.failure.is_none() && !served.contains_key(&request.id));
    assert_eq!(missing.count(), 0, "requests that were answered by nobody");
    let failed: Vec<_> = requests.iter().filter(|request| request.failure.is_some()).collect();
    let in_flight = |request: &&&Request| request.begin <= *kill.end() && request.end >= *kill.start();
    let unexplained: Vec<_> = failed.iter().filter(|request| !in_flight(request)).collect();
    assert!(
        unexplained.is_empty(),
        "{} requests were lost, a server was killed in {kill:?}: {unexplained:?}",
        unexplained.len()
    );
    assert!(failed.len() <= CLIENTS, "{failed:?}");
    let posts = requests.iter().filter(|request| request.is_post).count();
    format!(
        "{} requests ({posts} POST), {} lost, in flight when a server was killed",
        requests.len(),
        failed.len()
    )
}

/// A command that runs another one on a server, in the server's directory, as ssh does.
fn on(directory: &Path) -> PathBuf {
    let file = directory.join("on");
    let script = "#!/bin/sh\nset -eu\ncd \"$(dirname \"$0\")/$1\"\nexec ip netns exec \"$@\"\n";
    write(&file, script);
    allow(&file, 0o755);
    file
}

/// HAProxy with the example.
fn haproxy(_: &Path) -> Child {
    let child = Command::new("haproxy").arg("-db").arg("-f").arg(examples().join("haproxy.cfg")).spawn();
    listening(child.unwrap_or_else(|error| panic!("haproxy: {error}")))
}

/// An Apache with the example.
fn apache(directory: &Path) -> Child {
    let modules = [
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "proxy_balancer",
        "proxy_hcheck",
        "lbmethod_bybusyness",
        "slotmem_shm",
    ];
    let loads: String = modules
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let directory = directory.display();
    let text = format!(
        "{loads}ServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/balancer.pid\nServerName balancer\nListen 8080\n\
         User www-data\nGroup www-data\nErrorLog {directory}/balancer_log\nKeepAliveTimeout 30\nInclude {}\n",
        examples().join("apache.conf").display()
    );
    let file = format!("{directory}/balancer.conf");
    write(Path::new(&file), &text);
    let child = Command::new("apache2").args(["-DFOREGROUND", "-f", &file]).stdin(Stdio::null()).spawn();
    listening(child.unwrap_or_else(|error| panic!("apache2: {error}")))
}

/// Waits until the balancer sends requests on.
fn listening(mut child: Child) -> Child {
    wait_until("the balancer", || {
        assert!(child.try_wait().is_ok_and(|status| status.is_none()), "the balancer has ended");
        client::is_served().then_some(())
    });
    child
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleet")
}

/// The program mod_wsgi-express.
fn express() -> PathBuf {
    let module = Target::current().module();
    let programs = module.ancestors().map(|directory| directory.join("bin/mod_wsgi-express"));
    programs.into_iter().find(|program| program.is_file()).unwrap_or_else(|| panic!("{}", module.display()))
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn allow(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let allowed = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    allowed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
