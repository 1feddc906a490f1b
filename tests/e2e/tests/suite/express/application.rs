//! The types of applications.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Needs::{Daemon, Ours};
use e2e::{Interpreter, Process, Target, Test, preload, test, wait_until};

use super::server::{Express, Site, account, allow, command, refusal, refused, write};

pub(super) const TESTS: &[Test] = &[
    test!(modules_are_imported_and_replaced_when_they_change, Daemon, Ours("such messages")),
    test!(scripts_are_modules_by_their_usual_name, Daemon),
    test!(paste_configurations_are_loaded, Daemon, Ours("such messages")),
    test!(directories_are_served_without_processes, Daemon, Ours("no processes for files")),
    test!(the_mount_point_is_the_script_name_in_embedded_mode, Daemon, Ours("such messages")),
    test!(scripts_with_mistakes_are_refused, Daemon, Ours("such checks")),
    test!(the_package_has_the_module_by_its_usual_name, Daemon),
    test!(archives_of_shiv_find_their_packages, Daemon, Ours("package in such archives")),
    test!(what_keeps_an_application_from_loading_is_said, Daemon, Ours("such messages")),
    test!(a_strict_start_fails_if_the_application_cannot_be_loaded, Daemon, Ours("--strict")),
    test!(a_strict_start_leaves_no_process_of_the_application, Daemon, Ours("--strict")),
    test!(a_strict_start_loads_the_application_as_the_server_does, Daemon, Ours("--strict")),
];

/// Names itself.
const MODULE: &str = r#"
import os

def main(environ, start_response):
    body = f"name\t{__name__}\nscript_name\t{environ['SCRIPT_NAME']}\npid\t{os.getpid()}\nvalue\t1\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

def create():
    return main

def factory(settings, value):
    return main
"#;

fn site() -> Site {
    let site = Site::new();
    site.write("shop.py", MODULE);
    site
}

fn modules_are_imported_and_replaced_when_they_change() {
    let site = site();
    let server = Express::serve(
        site,
        &["--application-type", "module", "--entry-point", "shop", "--callable-object", "main"],
    );
    assert_eq!(server.value("name"), "shop");
    let first = server.value("pid");
    write(server.path("shop.py"), &MODULE.replace("value\\t1", "value\\t22"));
    server.wait_for("value", "22");
    assert_ne!(server.value("pid"), first);
}

fn scripts_are_modules_by_their_usual_name() {
    const SCRIPT: &str = r#"
import pickle, sys

class Thing:
    pass

def application(environ, start_response):
    module = sys.modules[__name__]
    same = type(pickle.loads(pickle.dumps(Thing()))) is Thing
    value = "changed" if hasattr(module, "changed") else "first"
    body = f"name\t{__name__}\nfile\t{__file__}\nsame\t{same}\nvalue\t{value}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"#;
    for mode in [&[][..], &["--embedded-mode"]] {
        let site = Site::new();
        site.write("app.wsgi", SCRIPT);
        let server = Express::serve(site, mode);
        assert_eq!(server.value("name"), "__wsgi__");
        assert_eq!(server.value("file"), server.path("app.wsgi").to_string_lossy());
        assert_eq!(server.value("same"), "True");
        if mode.is_empty() {
            write(server.path("app.wsgi"), &format!("{SCRIPT}\nchanged = 1\n"));
            server.wait_for("value", "changed");
            assert_eq!(server.value("name"), "__wsgi__");
        }
    }
}

fn paste_configurations_are_loaded() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-paste.txt");
    let python = Interpreter::current().environment(&requirements).join("bin/python");
    let site = site();
    site.write("shop.ini", "[app:main]\npaste.app_factory = shop:factory\nvalue = 1\n");
    let server = Express::serve(
        site,
        &[
            "--application-type",
            "paste",
            "--entry-point",
            "shop.ini",
            "--mount-point",
            "/shop",
            "--python",
            &python.to_string_lossy(),
        ],
    );
    let response = server.ask("GET", "/shop/x", "", "");
    assert_eq!(response.status, 200, "{}", server.log());
    assert_eq!(response.value("script_name").as_deref(), Some("/shop"));
    assert_eq!(server.ask("GET", "/", "", "").status, 404);
}

fn directories_are_served_without_processes() {
    let server = Express::serve(site(), &["--application-type", "static", "--entry-point", "."]);
    let module = server.ask("GET", "/shop.py", "", "");
    assert_eq!((module.status, module.text().as_str()), (200, MODULE));
    assert_eq!(server.ask("GET", "/missing", "", "").status, 404);
    assert_eq!(server.supervised(), []);
}

fn the_mount_point_is_the_script_name_in_embedded_mode() {
    let server = Express::serve(
        site(),
        &[
            "--application-type",
            "module",
            "--entry-point",
            "shop:create()",
            "--embedded-mode",
            "--mount-point",
            "/shop/",
        ],
    );
    let response = server.ask("GET", "/shop/x", "", "");
    assert_eq!(response.value("script_name").as_deref(), Some("/shop"), "{}", server.log());
    assert_eq!(server.ask("GET", "/shop", "", "").status, 301);
}

fn scripts_with_mistakes_are_refused() {
    let site = Site::new();
    site.write("handler.py", "def application(:\n");
    site.write("app.wsgi", "import os\n\napplication = = 1\n");
    let said = refusal(&site, &["--add-handler", ".cgi", "handler.py"]);
    for part in
        ["app.wsgi is not valid for Python 3", ": line 3: invalid syntax", "the script of --add-handler"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// The Python package that belongs to the module.
fn package() -> PathBuf {
    let own = Target::current().module();
    let places = ["python-packages/mod_wsgi", "site-packages/mod_wsgi"];
    let packages = own.ancestors().flat_map(|directory| places.map(|place| directory.join(place)));
    packages.into_iter().find(|package| package.exists()).unwrap_or_else(|| panic!("{}", own.display()))
}

/// Software looks for it there, as by `mod_wsgi/server/mod_wsgi-py*.so`.
fn the_package_has_the_module_by_its_usual_name() {
    let directory = package().join("server");
    let files =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files = files.flatten().filter(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with("mod_wsgi-py3") && name.ends_with(".so")
    });
    let found = files.next().unwrap_or_else(|| panic!("none in {}", directory.display())).path();
    assert_eq!(found.canonicalize().ok(), Target::current().module().canonicalize().ok());
}

/// A module in the archive, and what serves it, are only found where the archive was unpacked.
fn archives_of_shiv_find_their_packages() {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-shiv.txt");
    let environment = Interpreter::current().environment(&requirements);
    let site = Site::new();
    let packed = site.path("packed");
    std::fs::create_dir(&packed).unwrap_or_else(|error| panic!("{}: {error}", packed.display()));
    write(packed.join("shop.py"), MODULE);
    let copied = Command::new("cp").arg("-rL").arg(package()).arg(&packed).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let archive = site.path("shop.pyz");
    let made = Command::new(environment.join("bin/python"))
        .args(["-m", "shiv.cli", "--entry-point", "mod_wsgi.express.cli:main", "--site-packages"])
        .args([&packed, Path::new("--output-file"), &archive])
        .current_dir(site.path(""))
        .output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "{made:?}");

    let program = command(&[]).get_program().to_owned();
    let directory = Path::new(&program).parent().unwrap_or(Path::new("/")).to_owned();
    let mut served = Command::new(environment.join("bin/python"));
    served.arg(&archive).args(["start-server", "shop", "--application-type", "module"]).args(account());
    served.args(["--callable-object", "main"]).env("SHIV_ROOT", site.path("unpacked"));
    let path = std::env::var("PATH").unwrap_or_default();
    served.env("PATH", format!("{}:{path}", directory.display()));
    preload(&mut served);
    let server = Express::run(site, served, &[]);
    assert_eq!(server.value("name"), "shop");
}

fn what_keeps_an_application_from_loading_is_said() {
    for (arguments, said) in [
        (["module", "sohp"], "there is no module sohp"),
        (["module", "shop"], "has no application; name its WSGI callable with --callable-object"),
        (["paste", "shop.py"], "needs the package PasteDeploy"),
    ] {
        let [kind, entry] = arguments;
        let server = Express::serve(site(), &["--application-type", kind, "--entry-point", entry]);
        assert_eq!(server.get().status, 500, "{entry}");
        wait_until(said, || server.log().contains(said).then_some(()));
    }
}

/// A thread that goes on is no reason to wait.
const THREAD: &str =
    "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nimport missing\n";

fn a_strict_start_fails_if_the_application_cannot_be_loaded() {
    for (script, options, said) in [
        (THREAD, &[][..], "No module named 'missing'"),
        ("import missing\n", &["--embedded-mode"], "No module named 'missing'"),
        ("app = 1\n", &[], "has no application; name its WSGI callable with --callable-object"),
        ("application = 1\n", &[], "cannot be called"),
        ("import os\nos._exit(0)\n", &[], "Python ended meanwhile: "),
        ("import sys\nsys.exit(0)\n", &[], "SystemExit"),
        ("import time\ntime.sleep(1000)\n", &["--startup-timeout", "1"], "longer than 1 s"),
        (
            "import time\ntime.sleep(1000)\n",
            &["--startup-timeout", "1", "--embedded-mode"],
            "longer than 1 s",
        ),
        (MODULE, &["--application-type", "module", "--entry-point", "sohp"], "there is no module sohp"),
        (MODULE, &["--application-type", "module", "--entry-point", "shop:other"], "has no other"),
    ] {
        let site = site();
        site.write("app.wsgi", script);
        let output = refused(&site, &[&["--strict"], options].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(said) && text.contains("without --strict"), "{said} in {text}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(printed, "", "there is no banner of a server that does not start");
    }
}

fn a_strict_start_leaves_no_process_of_the_application() {
    let site = site();
    let script = "import subprocess, sys, time\n\
                  child = subprocess.Popen(['sleep', '100'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n\
                  print('child', child.pid, file=sys.stderr, flush=True)\n\
                  time.sleep(1000)\n";
    site.write("app.wsgi", script);
    let output = refused(&site, &["--strict", "--startup-timeout", "5"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let child = text.lines().find_map(|line| line.strip_prefix("child ")?.parse().ok());
    let child = Process(child.unwrap_or_else(|| panic!("{text}")));
    wait_until("the end of the child", || (!child.is_alive()).then_some(()));
}

/// Needs what it gets in the server, and adds a line about it to a file.
const PARTICULAR: &str = r#"
import logging, os
import apache, imported, mod_wsgi, shop

mod_wsgi.subscribe_events(lambda name, **event: None)
logging.getLogger("shop").addHandler(mod_wsgi.LogHandler())
with open("loads", "a") as file:
    print(os.getuid(), os.getcwd(), os.environ["SHOP"], os.environ["MOD_WSGI_EXPRESS"],
          repr(mod_wsgi.process_group), __name__, __file__, os.environ["LC_ALL"], file=file)

application = shop.main
"#;

fn a_strict_start_loads_the_application_as_the_server_does() {
    let site = Site::new();
    site.write("app.wsgi", PARTICULAR);
    site.write("envvars", "export SHOP=open\n");
    site.write("loads", "");
    allow(site.path("loads"), 0o666);
    let added = site.path("added");
    std::fs::create_dir(&added).unwrap_or_else(|error| panic!("{}: {error}", added.display()));
    write(added.join("shop.py"), MODULE);
    let options = ["--strict", "--envvars-script", "envvars", "--python-path", "added"];
    let server = Express::serve(site, &options);
    assert_eq!(server.value("name"), "shop");
    let loads = server.read("loads");
    let lines: Vec<&str> = loads.lines().collect();
    assert!(matches!(lines[..], [tried, served] if tried == served), "{loads}");
}
