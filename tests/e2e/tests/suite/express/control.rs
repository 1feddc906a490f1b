//! The script `apachectl` of a server that was only set up.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::Needs::{Daemon, NoSanitizer};
use e2e::{Connection, Target, Test, free_port, test, wait_until};

use super::server::{Site, command, own_options};

pub(super) const TESTS: &[Test] = &[test!(
    a_server_is_controlled_by_its_script,
    Daemon,
    NoSanitizer("a command starts Apache without its library")
)];

/// A server root, and the end of what was started from it.
struct Server {
    site: Site,
    port: u16,
}

impl Server {
    fn set_up(options: &[&str]) -> Self {
        let server = Self { site: Site::new(), port: free_port() };
        let output = command(&[])
            .args(["setup-server", "app.wsgi", "--host", "127.0.0.1", "--port", &server.port.to_string()])
            .args(["--server-root", "root"])
            .args(own_options())
            .args(options)
            .current_dir(server.site.path(""))
            .output()
            .unwrap_or_else(|error| panic!("mod_wsgi-express: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.site.path("root/apachectl"));
        command.args(arguments).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs the script; its status and all that it says.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        // The server keeps the files that it was started with: pipes would stay open.
        let said: [PathBuf; 2] = ["said", "complained"].map(|name| self.site.path(name));
        let file = |path: &PathBuf| std::fs::File::create(path).unwrap_or_else(|error| panic!("{error}"));
        let mut command = self.control(arguments);
        command.env("BROWSER", "echo opened %s").stdout(file(&said[0])).stderr(file(&said[1]));
        let status = command.status().unwrap_or_else(|error| panic!("apachectl: {error}"));
        let text = said.map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat();
        (status.code(), text)
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let (status, text) = self.run(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {text}");
        text
    }

    /// The process that the application runs in; `None` if nobody serves.
    fn pid(&self) -> Option<String> {
        let address = ([127, 0, 0, 1], self.port).into();
        TcpStream::connect(address).ok()?;
        let mut connection = Connection::open(address);
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.response("GET").ok().and_then(|response| response.value("pid"))
    }

    fn wait_for_another(&self, before: Option<&str>) -> String {
        wait_until("another process", || self.pid().filter(|pid| Some(pid.as_str()) != before))
    }

    fn wait_for_the_end(&self) {
        let file = self.site.path("root/httpd.pid");
        wait_until("the end of the server", || (self.pid().is_none() && !file.exists()).then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.control(&["stop"]).output();
        self.wait_for_the_end();
    }
}

fn a_server_is_controlled_by_its_script() {
    let server = Server::set_up(&["--server-status"]);
    assert!(server.succeed(&["configtest"]).contains("Syntax OK"));
    assert!(server.succeed(&["stop"]).contains("not running"));
    server.succeed(&["start"]);
    let first = server.wait_for_another(None);
    assert!(server.succeed(&["start"]).contains("already running"));

    let url = format!("opened http://127.0.0.1:{}/server-status", server.port);
    assert!(server.succeed(&["status"]).contains(&url));
    if !Target::current().is_reference() {
        let mut command = server.control(&["status"]);
        command.env_remove("BROWSER").env_remove("DISPLAY").env("PATH", "/nonexistent");
        let output = command.output().unwrap_or_else(|error| panic!("apachectl: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains("/server-status with another program"),
            "{errors}"
        );
    }

    server.succeed(&["graceful"]);
    let second = server.wait_for_another(Some(&first));
    server.succeed(&["restart"]);
    server.wait_for_another(Some(&second));
    assert!(server.succeed(&["-S"]).contains("VirtualHost configuration"));
    server.succeed(&["graceful-stop"]);
    server.wait_for_the_end();
    server.succeed(&["start"]);
    server.wait_for_another(None);
    server.succeed(&["stop"]);
    server.wait_for_the_end();
}
