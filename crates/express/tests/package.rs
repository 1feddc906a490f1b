//! The Python names that other software imports, in a Python outside of any server.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// An installation of the program and its package, without the module.
struct Installation(tempfile::TempDir);

impl Installation {
    fn new() -> Self {
        let prefix = tempfile::tempdir().unwrap();
        let library = prefix.path().join("lib/mod_wsgi");
        fs::create_dir_all(&library).unwrap();
        fs::create_dir(prefix.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_mod_wsgi-express"), prefix.path().join("bin/mod_wsgi-express")).unwrap();
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python");
        let copied = Command::new("cp").arg("-r").arg(packages).arg(library.join("python-packages")).status();
        assert!(copied.unwrap().success());
        Self(prefix)
    }

    fn python(&self, script: &str) -> Output {
        let mut python = Command::new("/usr/bin/python3");
        python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "error");
        python.env("PYTHONPATH", self.0.path().join("lib/mod_wsgi/python-packages")).env_remove("PYTHON");
        python.args(["-c", script]).current_dir(self.0.path()).output().unwrap()
    }

    /// Runs a script that has to succeed; its output.
    fn run(&self, script: &str) -> String {
        let output = self.python(script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn options_are_those_of_the_program() {
    let said = Installation::new().run(
        r#"
import optparse
from mod_wsgi.express.options import command_line, option_list
parser = optparse.OptionParser(option_list=option_list)
options, rest = parser.parse_args(
    ["app.wsgi", "--port", "0x1f", "--url-alias", "/a", "/b", "--url-alias", "/c", "/d", "--ssl-port", "3",
     "--setup-only", "--request-timeout", "5m", "--switch-interval", "0.5"])
assert rest == ["app.wsgi"]
assert options.url_aliases == [("/a", "/b"), ("/c", "/d")] and options.port == 31 and options.https_port == 3
assert options.host is None and options.access_log is False
print(len(option_list), *command_line(vars(options)))
"#,
    );
    let expected = "--port 31 --https-port 3 --url-alias /a /b --url-alias /c /d --switch-interval 0.5";
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words[0].parse::<u32>().unwrap() >= 152, "{said}");
    for option in expected.split(" --").map(|option| option.trim_start_matches("--")) {
        assert!(said.contains(&format!("--{option}")), "{option}: {said}");
    }
    assert!(said.contains(" --setup-only") && said.contains(" --request-timeout 5m"), "{said}");
}

#[test]
fn the_program_is_started_with_the_python_that_asks() {
    let installation = Installation::new();
    let help = installation.run("from mod_wsgi.express import cli; cli.start('--help')");
    assert!(help.starts_with("Usage: mod_wsgi-express start-server script [options]\n"), "{help}");
    let script = "import sys; from mod_wsgi.express import cli; sys.argv = ['x', 'module-config', '--help']; cli.main()";
    assert!(installation.run(script).starts_with("Usage: mod_wsgi-express module-config"));
    let output =
        installation.python("import sys; sys.argv = ['x']; from mod_wsgi.express import cli; cli.main()");
    assert_eq!(output.status.code(), Some(2));
    // It is said what is wrong with the arguments.
    let output = installation.python("from mod_wsgi.express import cli; cli.start('--xyz')");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such option: --xyz"), "{output:?}");
}

#[test]
fn servers_that_cannot_work_are_exceptions() {
    let said = Installation::new().run(
        r#"
from mod_wsgi.express.server import ConfigurationError, setup_server
for options in {"port": 0}, {"port": "abc"}, {"application_type": "asgi"}:
    try:
        setup_server("start-server", ["app.wsgi"], options)
    except ConfigurationError as error:
        print(error)
"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("option --port: 0 is not in the range"), "{said}");
    assert_eq!(lines[1], "option --port: invalid integer value: 'abc'");
    assert!(lines[2].contains("'asgi' is not one of script, module, paste, static"), "{said}");
}

#[test]
fn handlers_find_their_urls() {
    Installation::new().run(
        r#"
import sys
from mod_wsgi.express.runtime import ApplicationHandler, ResourceHandler

open("app.wsgi", "w").write('''
def main(environ, start_response):
    return [environ["SCRIPT_NAME"], environ["PATH_INFO"], __name__, __file__]
application = main
''')

def ask(mount_point, **environ):
    handler = ApplicationHandler("app.wsgi", callable_object="main", mount_point=mount_point)
    assert not handler.reload_required("app.wsgi")
    return handler(environ, None)

assert ask("/", SCRIPT_NAME="/a", PATH_INFO="/b") == ["", "/a/b", "__wsgi__", "app.wsgi"]
assert ask("/app", SCRIPT_NAME="/app/x", PATH_INFO="/b")[:2] == ["/app", "/x/b"]
assert ask("/app/", SCRIPT_NAME="/app", PATH_INFO="/b")[:2] == ["/app", "/b"]
assert ask("/app", SCRIPT_NAME="/app", PATH_INFO="")[:2] == ["/app", ""]
assert ask("/app", **{"mod_wsgi.script_name": "/app", "mod_wsgi.path_info": "/b", "mod_wsgi.mount_point": "/outer",
                      "SCRIPT_NAME": "/outer", "PATH_INFO": "/b"})[:2] == ["/outer", "/b"]
assert sys.modules["__wsgi__"].__file__ == "app.wsgi"

import io, os
os.mkdir("records")
open("answer.wsgi", "w").write("""
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"answer"]
""")
handler = ApplicationHandler("answer.wsgi", enable_recorder=True, recorder_directory="records")
environ = {"SCRIPT_NAME": "", "PATH_INFO": "/", "wsgi.input": io.BytesIO(b"body")}
assert b"".join(handler(environ, lambda *head: None)) == b"answer"
assert any(name.endswith(".icontent") for name in os.listdir("records")), os.listdir("records")

handler = ResourceHandler({".x": "app.wsgi"})
assert handler.resource_extension("/d/f.x") == ".x"
assert not handler.reload_required("/d/f.x")
environ = {"SCRIPT_FILENAME": "/d/f.x", "SCRIPT_NAME": "/f.x", "PATH_INFO": ""}
assert handler(environ, None)[2] == "__wsgi_resource_x__"
os.utime("app.wsgi", (0, 0))
assert handler.reload_required("/d/f.x")
"#,
    );
}

#[test]
fn former_scripts_wrap_applications() {
    Installation::new().run(
        r#"
import io, os, sys
from mod_wsgi.express.runtime import ApplicationHandler, PostMortemDebugger, RequestRecorder

open("app.wsgi", "w").write('''
def application(environ, start_response):
    start_response("200 OK", [("X", "y")])(b"one ")
    yield environ["wsgi.input"].read()
    raise KeyError("later")
''')
written = []
def start_response(status, headers):
    return written.append

os.mkdir("records")
handler = ApplicationHandler("app.wsgi", enable_debugger=True, enable_recorder=True, recorder_directory="records")
assert isinstance(handler.application, RequestRecorder)
sys.stdin = io.StringIO("p environ['PATH_INFO']\nc\n")
sys.stdout = output = io.StringIO()
response = handler({"wsgi.input": io.BytesIO(b"two"), "PATH_INFO": "/p"}, start_response)
assert written == [] and next(response) == b"two" and written == [b"one "], written
try:
    next(response)
except KeyError:
    pass
response.close()
assert "KeyError" in output.getvalue() and "'/p'" in output.getvalue(), output.getvalue()
files = {name.rpartition(".")[2]: open(f"records/{name}").read() for name in os.listdir("records")}
assert len(files) == 7 and files["icontent"] == "two" and files["ocontent"] == "one two", files
assert "KeyError" in files["orexcept"] and not files["oaexcept"] and "('X', 'y')" in files["oheaders"], files

def application(environ, start_response):
    raise ValueError
sys.stdin = io.StringIO("")
try:
    PostMortemDebugger(application, False)({}, None)
except ValueError as error:
    assert error.__traceback__.tb_frame.f_code.co_name == "<module>"
else:
    raise AssertionError
"#,
    );
}

#[test]
fn the_former_package_has_the_former_names() {
    Installation::new().run(
        r#"
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import mod_wsgi.server
assert [each.category for each in caught] == [FutureWarning], caught
from mod_wsgi.express import cli, options, runtime, server
assert mod_wsgi.server.start is cli.start
assert mod_wsgi.server.ApplicationHandler is runtime.ApplicationHandler
assert mod_wsgi.server.ResourceHandler is runtime.ResourceHandler
assert mod_wsgi.server.PostMortemDebugger is runtime.PostMortemDebugger
assert mod_wsgi.server.RequestRecorder is runtime.RequestRecorder
assert mod_wsgi.server.option_list is options.option_list
assert mod_wsgi.server.setup_server is server.setup_server
assert mod_wsgi.server.ConfigurationError is server.ConfigurationError
try:
    mod_wsgi.server.other
except AttributeError as error:
    assert "mod_wsgi.server" in str(error)
from mod_wsgi.diagnostics import environ, hello
from mod_wsgi.server.environ import application
assert application is environ.application
assert hello.application({}, lambda *head: None) == [b"Hello World!"]
"#,
    );
}

#[test]
fn a_package_without_its_program_says_so() {
    let installation = Installation::new();
    fs::remove_file(installation.0.path().join("bin/mod_wsgi-express")).unwrap();
    let output = installation.python("from mod_wsgi.express import cli; cli.start()");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("is not where it belongs") && errors.contains("make install"), "{errors}");
}
