//! Scripts whose first import fails: the next try is a new process's, and nobody else suffers.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use e2e::Needs::Daemon;
use e2e::{Interpreter, Server, Setup, Test, on_each_mpm, on_one_mpm, wait_until};

use super::{APP, finish, open_gate, serving, serving_process, start_held_request};

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(a_failed_import_is_retried_by_a_new_process, Daemon),
    on_one_mpm!(a_touch_retries_a_failed_import_at_once, Daemon),
    on_one_mpm!(a_failed_import_does_not_disturb_other_scripts, Daemon),
    on_one_mpm!(a_failed_import_at_the_start_is_retried, Daemon),
    on_one_mpm!(a_directory_of_scripts_is_no_script, Daemon),
    on_one_mpm!(django_recovers_when_its_database_is_back, Daemon),
];

/// Can be imported while there is a database, and only once in an interpreter, as Django's
/// applications.
const SHOP: &str = r#"
import os
import mod_wsgi

if getattr(mod_wsgi, "e2e_populating", False):
    raise RuntimeError("populate() isn't reentrant")
mod_wsgi.e2e_populating = True
if not os.path.exists("@ROOT@/htdocs/database"):
    raise ConnectionError("the database is down")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"#;

/// The text that only the first import logs.
const CAUSE: &str = "ConnectionError: the database is down";

fn serving_shop(setup: Setup, options: &str) -> Setup {
    serving(setup.app("/shop", "shop.wsgi", SHOP), options)
}

/// Asks until the shop is open.
fn wait_until_open(server: &Server) {
    wait_until("the shop", || (server.get("/shop").status == 200).then_some(()));
}

fn a_failed_import_is_retried_by_a_new_process(setup: Setup) {
    serving_shop(setup, "").run(|server, cases| {
        let reason = "it is tried again in the same interpreter, for ever";
        let (mark, old) = (server.mark(), serving_process(server));
        cases.ours_only("500 at once, with the cause", reason, || {
            assert_eq!(server.get("/shop").status, 500);
            server.wait_log(mark, "WSGI0109");
            for _ in 0..5 {
                let later = server.mark();
                let begin = Instant::now();
                assert_eq!(server.get("/shop").status, 500);
                // It waits no longer than two seconds for another process.
                assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
                server.wait_log(later, CAUSE);
            }
            let log = server.log_since(mark);
            assert!(!log.contains("reentrant"), "{log}");
            let (tries, starts) = (log.matches("Traceback").count(), log.matches("is started").count());
            assert!(tries <= 1 + starts, "each process tries it once: {log}");
        });
        cases.ours_only("and then it works, without a touch", reason, || {
            assert_eq!(serving_process(server), old, "nobody is to take the place of what works");
            server.write("htdocs/database", "");
            wait_until_open(server);
            assert_ne!(serving_process(server), old);
            assert!(!server.log_since(mark).contains("reentrant"));
        });
    });
}

fn a_touch_retries_a_failed_import_at_once(setup: Setup) {
    serving_shop(setup, "").run(|server, cases| {
        let reason = "it is tried again in the same interpreter, for ever";
        cases.ours_only("however long it was broken", reason, || {
            wait_until("several tries", || {
                assert_eq!(server.get("/shop").status, 500);
                (server.log_since(Default::default()).matches("gets a successor").count() >= 2).then_some(())
            });
            server.write("htdocs/database", "");
            server.write("apps/shop.wsgi", SHOP.replace("@ROOT@", &server.root().to_string_lossy()));
            let begin = Instant::now();
            let is_open = server.get("/shop").status == 200;
            // The new process may need longer than a request waits for it, which is two seconds.
            assert!(is_open || begin.elapsed() > Duration::from_millis(1900), "{:?}", begin.elapsed());
            wait_until_open(server);
        });
    });
}

fn a_failed_import_does_not_disturb_other_scripts(setup: Setup) {
    serving_shop(setup.app("/second", "second.wsgi", APP), "graceful-timeout=20").run(|server, cases| {
        let reason = "it is tried again in the same interpreter, for ever";
        let mark = server.mark();
        let old = serving_process(server);
        assert_eq!(server.get("/second/run?early").expect(200), "ran");
        cases.ours_only("the tries are spaced out, and replace nothing", reason, || {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(8) {
                assert_eq!(server.get("/shop").status, 500);
                assert_eq!(serving_process(server), old);
                thread::sleep(Duration::from_millis(20));
            }
            let log = server.log_since(mark);
            let tries = log.matches("gets a successor").count();
            assert!((2..=4).contains(&tries), "{tries} in eight seconds");
            assert_eq!(server.get("/second/ran").expect(200), "early", "it is the same process");
        });
        cases.ours_only("a change of another script takes effect meanwhile", reason, || {
            let two = APP.replace(
                "def run(",
                "def two(environ, start_response):\n    return answer(start_response, '2')\n\n\ndef run(",
            );
            server.write("apps/second.wsgi", two);
            wait_until("the change", || (server.get("/second/two").text() == "2").then_some(()));
            assert_eq!(server.get("/shop").status, 500);
        });
        cases.ours_only("slow requests end where they began", reason, || {
            let old = serving_process(server);
            let slow = start_held_request(server, "slow");
            server.write("htdocs/database", "");
            wait_until_open(server);
            open_gate(server, "slow");
            assert_eq!(finish(slow).expect(200), old.0.to_string());
            assert_eq!(server.get("/second/run").expect(200), "ran");
        });
    });
}

fn a_failed_import_at_the_start_is_retried(setup: Setup) {
    let import = "WSGIImportScript @ROOT@/apps/shop.wsgi process-group=e2e application-group=%{GLOBAL}";
    serving_shop(setup, "processes=2").conf(import).run(|server, cases| {
        let reason = "it is tried again in the same interpreter, for ever";
        cases.ours_only("by new processes", reason, || {
            wait_until("both have tried", || {
                (server.log_since(Default::default()).matches("WSGI0110").count() >= 2).then_some(())
            });
            server.write("htdocs/database", "");
            wait_until_open(server);
            let log = server.log_since(Default::default());
            assert!(!log.contains("reentrant"), "{log}");
        });
    });
}

fn a_directory_of_scripts_is_no_script(setup: Setup) {
    let aliases = "WSGIScriptAlias /scripts/ @ROOT@/apps/ process-group=e2e application-group=%{GLOBAL}\n\
                   WSGIScriptAlias /bare @ROOT@/apps process-group=e2e application-group=%{GLOBAL}";
    let setup = setup.group("").file("htdocs/gates/keep", "").file("apps/app.wsgi", APP);
    setup.conf(aliases).run(|server, cases| {
        for path in ["/scripts/app.wsgi/pid", "/bare/app.wsgi/pid"] {
            assert!(server.get(path).expect(200).parse::<u32>().is_ok());
        }
        let reason = "each process tries to import the directory, and logs that it cannot";
        cases.ours_only("and the start imports none", reason, || {
            let log = server.log_since(Default::default());
            assert!(!log.contains("WSGI0106") && !log.contains("WSGI1006"), "{log}");
        });
    });
}

fn django_recovers_when_its_database_is_back(setup: Setup) {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements.txt");
    let home = Interpreter::current().environment(&requirements);
    let apps = "import os\nfrom django.apps import AppConfig\nfrom django.db.utils import OperationalError\n\n\n\
                class Shop(AppConfig):\n    name = 'shop'\n\n    def ready(self):\n        \
                if not os.path.exists('@ROOT@/htdocs/database'):\n            \
                raise OperationalError('could not connect to server')\n";
    let script = "import sys\nsys.path.insert(0, '@ROOT@/django')\nfrom django.conf import settings\n\
                  settings.configure(SECRET_KEY='x', ROOT_URLCONF='shop.urls', INSTALLED_APPS=['shop.apps.Shop'],\n    \
                  ALLOWED_HOSTS=['*'])\nfrom django.core.wsgi import get_wsgi_application\n\
                  application = get_wsgi_application()\n";
    let urls = "from django.http import HttpResponse\nfrom django.urls import path\n\
                urlpatterns = [path('', lambda request: HttpResponse('welcome'))]\n";
    setup
        .python_home(Some(&home))
        .file("django/shop/__init__.py", "")
        .file("django/shop/apps.py", apps)
        .file("django/shop/urls.py", urls)
        .app("/", "django.wsgi", script)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .run(|server, cases| {
            let reason = "populate() isn't reentrant";
            cases.ours_only("it recovers by itself", reason, || {
                for _ in 0..4 {
                    assert_eq!(server.get("/").status, 500);
                    thread::sleep(Duration::from_millis(500));
                }
                server.write("htdocs/database", "");
                wait_until("the page", || (server.get("/").text() == "welcome").then_some(()));
                let log = server.log_since(Default::default());
                assert!(log.contains("could not connect to server"), "{log}");
                assert!(!log.contains("reentrant") && !log.contains("already configured"), "{log}");
            });
        });
}
