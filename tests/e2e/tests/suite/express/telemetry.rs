//! Telemetry: what reaches a collector, and the collector that runs beside the application.

use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Interpreter, OtlpCollector, Test, free_port, test, wait_until};

use super::server::{Express, Site, refusal};

pub(super) const TESTS: &[Test] = &[
    test!(a_collector_that_is_named_gets_reports, Daemon),
    test!(
        packages_beside_ours_share_its_name,
        Daemon,
        Ours("search for packages of its name in --python-path")
    ),
    test!(
        the_collector_and_its_page_run_beside_the_application,
        Daemon,
        Ours("Python of its own to install it in")
    ),
    test!(spans_are_exported, Daemon, Ours("OpenTelemetry")),
    test!(mistakes_of_telemetry_are_named, Daemon, Ours("such checks and messages")),
];

/// Returns a field of a datagram as it is sent: its number, its type, and its value.
fn number(field: u16, value: f64) -> Vec<u8> {
    [&field.to_le_bytes()[..], &[2], &value.to_le_bytes()].concat()
}

fn has(datagram: &[u8], part: &[u8]) -> bool {
    datagram.windows(part.len()).any(|window| window == part)
}

fn a_collector_that_is_named_gets_reports() {
    let site = Site::new();
    let socket = site.path("collector.sock");
    let collector = UnixDatagram::bind(&socket).unwrap_or_else(|error| panic!("collector.sock: {error}"));
    fs::set_permissions(&socket, Permissions::from_mode(0o777))
        .and_then(|()| collector.set_read_timeout(Some(Duration::from_millis(100))))
        .unwrap_or_else(|error| panic!("collector.sock: {error}"));
    site.write(
        "app.wsgi",
        "import time\n\ndef application(environ, start_response):\n    time.sleep(1.2)\n    start_response('200 OK', [])\n    return []\n",
    );
    let target = format!("unix:{}", socket.display());
    let options = [
        "--telemetry-service",
        &target,
        "--telemetry-interval",
        "0.5",
        "--slow-requests",
        "0.25",
        "--telemetry-options",
        "+CaptureUserAgent",
    ];
    let server = Express::serve(site, &options);
    assert_eq!(server.ask("GET", "/slow", "User-Agent: shopper\r\n", "").status, 200);
    let (mut sample, mut slow) = (false, false);
    wait_until("a sample and a slow request", || {
        let mut datagram = [0; 8192];
        match collector.recv(&mut datagram) {
            Ok(length) => {
                let datagram = &datagram[..length];
                assert_eq!(datagram[..4], *b"WSGI");
                let interval_and_threshold = [number(11, 0.5), number(12, 0.25)];
                sample |= datagram[5] == 2 && interval_and_threshold.iter().all(|part| has(datagram, part));
                slow |= datagram[5] == 4 && has(datagram, b"/slow") && has(datagram, b"shopper");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
        }
        (sample && slow).then_some(())
    });
}

fn packages_beside_ours_share_its_name() {
    let site = Site::new();
    let package = "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n";
    for (directory, module) in [("one", "first"), ("other", "second")] {
        let place = site.path(directory).join("mod_wsgi");
        fs::create_dir_all(&place).unwrap_or_else(|error| panic!("{directory}: {error}"));
        site.write(&format!("{directory}/mod_wsgi/__init__.py"), package);
        site.write(&format!("{directory}/mod_wsgi/{module}.py"), "");
    }
    site.write(
        "app.wsgi",
        r#"
def application(environ, start_response):
    import mod_wsgi.first, mod_wsgi.second, mod_wsgi.express.reloader
    body = b"group\t" + mod_wsgi.process_group.encode() + b"\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#,
    );
    let server = Express::serve(site, &["--python-path", "one", "--python-path", "other"]);
    assert_eq!(server.value("group"), format!("127.0.0.1:{}", server.port));
}

fn the_collector_and_its_page_run_beside_the_application() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-telemetry.txt");
    let python = Interpreter::current().environment(&requirements).join("bin/python");
    let port = free_port();
    let ui = port.to_string();
    let options = ["--enable-telemetry", "--telemetry-ui-port", &ui, "--python", &python.to_string_lossy()];
    let server = Express::serve(Site::new(), &options);
    let page = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let get = |target: &str| {
        let mut connection = Connection::open(page);
        connection.send(
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        connection.response("GET").unwrap_or_else(|error| panic!("{target}: {error}\n{}", server.log()))
    };
    wait_until("the page of the collector", || TcpStream::connect(page).ok());
    let html = get("/");
    assert!(html.status == 200 && html.text().contains("<html"), "{}", html.text());
    let group = format!("\"127.0.0.1:{}\"", server.port);
    wait_until("the process group in the state", || {
        server.get();
        get("/api/state").text().contains(&group).then_some(())
    });
    let line = format!("Telemetry UI       : http://127.0.0.1:{port}/\n");
    assert!(server.read("output").contains(&line), "{}", server.read("output"));
}

fn spans_are_exported() {
    let collector = OtlpCollector::start();
    let options = format!("endpoint={} signals=traces service-name=\"the shop\"", collector.endpoint());
    let server = Express::serve(Site::new(), &["--opentelemetry", &options]);
    server.get();
    let span = collector.wait_span("a span", |_| true);
    assert_eq!(span["resource"]["service.name"], "the shop");
    assert_eq!(span["attributes"]["mod_wsgi.process_group"], format!("127.0.0.1:{}", server.port));
}

fn mistakes_of_telemetry_are_named() {
    let output = |options: &[&str]| refusal(&Site::new(), options);
    let missing = output(&["--enable-telemetry"]);
    assert!(missing.contains("pip install mod_wsgi-telemetry"), "{missing}");
    let flags = output(&["--telemetry-service", "unix:/s", "--telemetry-options", "Nonsense"]);
    let export = output(&["--opentelemetry", "endpoint=nowhere"]);
    assert!(export.contains("(from --opentelemetry)") && export.contains("begins with http://"), "{export}");
    let lines = output(&["--opentelemetry", "On \\"]);
    assert!(lines.contains("option --opentelemetry: 'On \\' is neither On nor"), "{lines}");
    assert!(flags.contains("(from --telemetry-options)") && flags.contains("CaptureUserAgent"), "{flags}");
}
