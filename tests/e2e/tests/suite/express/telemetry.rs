//! Telemetry: what reaches a collector, and the collector that runs beside the application.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use e2e::Needs::{Daemon, Ours};
use e2e::{Connection, Interpreter, Test, test, wait_until};

use super::server::{Express, Site, free_port, refusal};

pub(super) const TESTS: &[Test] = &[
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
    test!(mistakes_of_telemetry_are_named, Daemon, Ours("such checks and messages")),
];

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
    assert!(get("/api/state").text().contains("total_received"));
    let line = format!("Telemetry UI       : http://127.0.0.1:{port}/\n");
    assert!(server.read("output").contains(&line), "{}", server.read("output"));
}

fn mistakes_of_telemetry_are_named() {
    let output = |options: &[&str]| refusal(&Site::new(), options);
    let missing = output(&["--enable-telemetry"]);
    assert!(missing.contains("pip install mod_wsgi-telemetry"), "{missing}");
    let flags = output(&["--telemetry-service", "unix:/s", "--telemetry-options", "Nonsense"]);
    assert!(flags.contains("(from --telemetry-options)") && flags.contains("CaptureUserAgent"), "{flags}");
}
