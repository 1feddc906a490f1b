//! Every Python on this machine that ours has a host for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use e2e::Needs::{OnlyMpms, Ours};
use e2e::{Interpreter, LogMark, Mpm, Setup, Test, on_each_mpm, on_one_mpm, skipped};

use crate::interpreters::own_gil_cases;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(
        every_python_serves,
        Ours("hosts for several versions"),
        OnlyMpms(&[Mpm::Prefork, Mpm::Event])
    ),
    on_one_mpm!(one_of_several_pythons_in_a_prefix_serves, Ours("hosts for several versions")),
];

const STATE: &str = include_str!("../../apps/interpreter.wsgi");
const BODY: &str = include_str!("../../apps/body.wsgi");
const INPUT: &str = include_str!("../../apps/input.wsgi");
const START_RESPONSE: &str = include_str!("../../apps/start_response.wsgi");
const FAILURES: &str = include_str!("../../apps/failures.wsgi");

fn serving(python: &Interpreter, setup: Setup) -> Setup {
    setup
        .python_home(Some(&python.home()))
        .file("apps/state.wsgi", STATE)
        // One of CPython's own, made for tests of this.
        .file("apps/refuses.wsgi", "import _testsinglephase\n")
        .app("/body", "body.wsgi", BODY)
        .app("/input", "input.wsgi", INPUT)
        .app("/start_response", "start_response.wsgi", START_RESPONSE)
        .app("/failures", "failures.wsgi", FAILURES)
        .conf(
            "WSGIScriptAlias /main @ROOT@/apps/state.wsgi application-group=%{GLOBAL}\n\
             WSGIScriptAlias /one @ROOT@/apps/state.wsgi application-group=one\n\
             WSGIScriptAlias /two @ROOT@/apps/state.wsgi application-group=two\n\
             WSGIScriptAlias /refuses @ROOT@/apps/refuses.wsgi application-group=one\n\
             <WSGIInterpreterOptions application-group=one>\nWSGIPerInterpreterGIL On\n\
             WSGISwitchInterval 0.011\n</WSGIInterpreterOptions>",
        )
}

fn every_python_serves(setup: Setup) {
    let found = Interpreter::with_hosts();
    assert!(!found.is_empty(), "no host for any Python of this machine: `make host PYTHON=...` builds one");
    let mut failed = Vec::new();
    for python in found {
        let name = python.executable.display().to_string();
        e2e::report(format_args!("=== {name}"));
        if catch_unwind(AssertUnwindSafe(|| check_python(&python, setup.clone()))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

fn check_python(python: &Interpreter, setup: Setup) {
    let version = format!("{}.{}", python.version.0, python.version.1);
    let mut server = serving(python, setup).start();
    server.cases(|server, cases| {
        for url in ["/main", "/one", "/two"] {
            cases.check(&format!("{version} {url}"), || {
                let response = server.get(&format!("{url}/state"));
                assert_eq!(response.value("version").as_deref(), Some(version.as_str()));
                assert_eq!(response.value("prefix").as_deref(), python.home().to_str());
                let response = server.get(&format!("{url}/group"));
                let group = url.trim_start_matches('/').replace("main", "");
                for name in ["environ", "module", "shared"] {
                    assert_eq!(response.value(name).as_deref(), Some(group.as_str()), "{name}");
                }
            });
        }
        if python.version >= (3, 12) && !python.extension_suffix.contains("t-") {
            own_gil_cases(server, cases);
            cases.check(&format!("{version} an extension module that refuses sub-interpreters"), || {
                let mark = server.mark();
                assert_eq!(server.get("/refuses").status, 500);
                let log = server.wait_log(mark, "ImportError");
                assert!(log.contains("_testsinglephase"), "{log}");
                assert!(log.contains("WSGIApplicationGroup %{GLOBAL}"), "{log}");
            });
        } else {
            skipped(&format!("a GIL per interpreter needs 3.12, and this is {version}"));
        }
        cases.check(&format!("{version} bodies"), || {
            assert_eq!(server.get("/body/generator").expect(200), "ab");
            assert_eq!(server.get("/body/large").body.len(), 8 << 20);
            let response = server.request("POST", "/input/echo").body("some body").send();
            assert_eq!(response.expect(200), "some body");
        });
        cases.check(&format!("{version} checks"), || {
            let table = server.get("/start_response/table");
            assert_eq!(table.value("headers-tuple").as_deref(), Some("TypeError"));
            assert_eq!(table.value("status-newline").as_deref(), Some("ValueError"));
            assert_eq!(table.value("value-latin").as_deref(), Some("accepted"));
        });
        cases.check(&format!("{version} failures"), || {
            let mark = server.mark();
            assert_eq!(server.get("/failures/chained").status, 500);
            let log = server.wait_log(mark, "ValueError: the outer one");
            assert!(log.contains("in chained"), "{log}");
        });
        cases.check(&format!("{version} after a graceful restart"), || {
            server.graceful();
            assert_eq!(server.get("/one/state").value("version").as_deref(), Some(version.as_str()));
        });
    });
    assert!(server.stop().success());
    let log = server.log_since(LogMark::default());
    for text in ["exit signal", "Exception ignored", "Fatal Python error"] {
        assert!(!log.contains(text), "{text} in {log}");
    }
}

fn one_of_several_pythons_in_a_prefix_serves(setup: Setup) {
    let found = Interpreter::with_hosts();
    let Some(several) = found.get(..2) else {
        skipped("there is a host for only one Python");
        return;
    };
    let prefix = Interpreter::common_prefix(several);
    let versions = several.iter().map(|python| format!("{}.{}", python.version.0, python.version.1));
    let versions: Vec<String> = versions.collect();
    let named = |index: usize| prefix.join(format!("bin/python{}", versions[index]));
    for (home, expected) in [(prefix.clone(), 0), (named(0), 0), (named(1), 1)] {
        let server = setup.clone().python_home(Some(&home)).app("/", "state.wsgi", STATE).start();
        let response = server.get("/state");
        assert_eq!(response.value("version").as_ref(), Some(&versions[expected]), "{}", home.display());
        assert_eq!(response.value("prefix").as_deref(), prefix.to_str(), "{}", home.display());
    }
}
