//! Real applications: Flask, Django, Bottle, Falcon, Pyramid, numpy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Needs::Ours;
use e2e::{Interpreter, Server, Setup, Test, curl, on_each_mpm, on_one_mpm, wait_until};
use serde_json::Value;

pub(crate) const TESTS: &[Test] = &[
    on_each_mpm!(flask_is_served),
    on_each_mpm!(django_is_served),
    on_each_mpm!(bottle_falcon_and_pyramid_are_served),
    on_each_mpm!(numpy_works_in_the_main_interpreter),
    on_one_mpm!(logging_of_frameworks_has_levels_and_fields, Ours("records with fields")),
];

/// A virtual environment with the frameworks.
pub(crate) fn environment() -> PathBuf {
    Interpreter::current().environment(&Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements.txt"))
}

/// In the main interpreter, which is what extension modules want.
fn serving(setup: Setup, url: &str, name: &str, app: &str) -> Setup {
    let spooled = "<If \"%{QUERY_STRING} == 'spooled'\">\nWSGISpoolRequestBody 10M\n</If>";
    setup
        .python_home(Some(&environment()))
        .app(url, name, app)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf(&format!("<IfDirective WSGISpoolRequestBody>\n{spooled}\n</IfDirective>"))
}

/// A browser of sorts: curl with a cookie jar.
struct Browser<'a> {
    server: &'a Server,
    jar: String,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Self {
        let jar = server.path(&format!("cookies-{:?}", std::thread::current().id()));
        Self { server, jar: jar.display().to_string() }
    }

    /// Follows redirects and returns the last page.
    fn open(&self, target: &str, arguments: &[&str]) -> String {
        let url = format!("http://localhost:{}{target}", self.server.port());
        let resolve = format!("localhost:{}:127.0.0.1", self.server.port());
        let common =
            ["--location", "--resolve", &resolve, "--cookie", &self.jar, "--cookie-jar", &self.jar, &url];
        let output = curl(common.into_iter().chain(arguments.iter().copied()));
        assert!(output.status.success(), "curl {target}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn flask_is_served(setup: Setup) {
    serving(setup, "/flask", "flask.wsgi", include_str!("../../apps/frameworks/flask_app.wsgi")).run(
        |server, cases| {
            let browser = Browser::new(server);
            let form = format!("http://localhost:{}/flask/form", server.port());
            cases.check("a page", || {
                assert_eq!(browser.open("/flask/", &[]), format!("hello stranger at {form}"));
            });
            cases.check("a form, a redirect, a session", || {
                let page = browser.open("/flask/form", &["--data-urlencode", "name=J\u{f6}rg & co"]);
                assert_eq!(page, format!("hello J\u{f6}rg & co at {form}"));
            });
            cases.check("an upload and a download", || {
                server.write("upload", "0123456789".repeat(100_000));
                let file = format!("file=@{}", server.path("upload").display());
                for target in ["/flask/upload", "/flask/upload?spooled"] {
                    assert_eq!(browser.open(target, &["--form", &file]), "9876543210".repeat(100_000));
                }
            });
            cases.check("a stream", || {
                let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
                assert_eq!(server.get("/flask/stream").expect(200), expected);
            });
            cases.check("JSON", || {
                let text = server.get("/flask/json/caf%C3%A9?q=%26").expect(200);
                assert_eq!(text.trim(), "{\"name\":\"caf\\u00e9\",\"query\":\"&\"}");
            });
            cases.check("a view that fails", || {
                let mark = server.mark();
                assert_eq!(server.get("/flask/fails").status, 500);
                server.wait_log(mark, "flask view");
            });
            cases.check("not found", || assert_eq!(server.get("/flask/nothing").status, 404));
        },
    );
}

fn django_is_served(setup: Setup) {
    let script = include_str!("../../apps/frameworks/django_app.wsgi");
    let setup = serving(setup, "/django", "django.wsgi", script)
        .file("django/media/keep", "")
        .conf("Alias /django/static @ROOT@/django/static");
    setup.run(|server, cases| {
        prepare_django(server);
        let browser = Browser::new(server);
        cases.check("the admin: log in and out of a session", || {
            let page = browser.open("/django/admin/", &[]);
            let token = hidden_token(&page);
            let data = format!("csrfmiddlewaretoken={token}&username=admin&password=a+long+password");
            let page = browser.open("/django/admin/login/?next=/django/admin/auth/user/", &["--data", &data]);
            assert!(page.contains("Select user to change") && page.contains("admin@example.com"), "{page}");
        });
        cases.check("the admin: add to the database", || {
            let token = hidden_token(&browser.open("/django/admin/auth/group/add/", &[]));
            let data = format!("csrfmiddlewaretoken={token}&name=Editors&_save=Save");
            let page = browser.open("/django/admin/auth/group/add/", &["--data", &data]);
            assert!(page.contains("was added successfully"), "{page}");
        });
        cases.check("a form with CSRF protection", || {
            let page = browser.open("/django/form", &[]);
            let token = page.strip_prefix("token=").unwrap_or_default();
            let data = format!("csrfmiddlewaretoken={token}&text=hello");
            assert_eq!(browser.open("/django/form", &["--data", &data]), "posted hello");
        });
        cases.check("a form without the token", || {
            assert_eq!(server.request("POST", "/django/form").body("text=x").send().status, 403);
        });
        cases.check("static files", || {
            let response = server.get("/django/static/admin/css/base.css");
            assert!(response.expect(200).contains("DJANGO"));
        });
        cases.check("a file up and down", || {
            let page = browser.open("/django/form", &[]);
            let token = format!("csrfmiddlewaretoken={}", page.strip_prefix("token=").unwrap_or_default());
            // Large enough to go through a temporary file.
            let content = "0123456789abcdef".repeat(200_000);
            server.write("upload", &content);
            let file = format!("file=@{}", server.path("upload").display());
            for target in ["/django/upload", "/django/upload?spooled"] {
                let page = browser.open(target, &["--form", &token, "--form", &file]);
                let name = page.strip_prefix("name=").unwrap_or_else(|| panic!("{page}"));
                let response = server.get(&format!("/django/download/{name}"));
                assert_eq!(response.status, 200);
                assert_eq!(response.header("Content-Length"), Some("3200000"));
                assert!(response.body == content.as_bytes(), "the file differs");
            }
        });
    });
}

/// Makes database, administrator and static files, and gives them to the serving user.
fn prepare_django(server: &Server) {
    let mut python = Command::new(environment().join("bin/python"));
    let output = python.arg(server.path("apps/django.wsgi")).output();
    let output = output.unwrap_or_else(|error| panic!("the environment's python: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if nix::unistd::geteuid().is_root() {
        let given = Command::new("chown").args(["-R", "www-data:"]).arg(server.path("django")).status();
        assert!(given.is_ok_and(|status| status.success()), "chown to www-data failed");
    }
    assert!(fs::exists(server.path("django/static/admin")).unwrap_or(false));
}

fn hidden_token(page: &str) -> String {
    let after = page.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1);
    let token = after.and_then(|text| text.split('"').next());
    token.unwrap_or_else(|| panic!("no token in {page}")).to_owned()
}

fn bottle_falcon_and_pyramid_are_served(setup: Setup) {
    serving(setup, "/", "small.wsgi", include_str!("../../apps/frameworks/small.wsgi")).run(
        |server, cases| {
            for name in ["bottle", "falcon", "pyramid"] {
                cases.check(name, || {
                    let response = server.get(&format!("/{name}/hello/caf%C3%A9"));
                    assert_eq!(response.expect(200), format!("{name} caf\u{e9}"));
                    let form = server
                        .request("POST", &format!("/{name}/form"))
                        .header("Content-Type", "application/x-www-form-urlencoded")
                        .body("name=A+%26+B");
                    assert_eq!(form.send().expect(200), format!("{name} A & B"));
                    assert_eq!(server.get(&format!("/{name}/nothing")).status, 404);
                });
            }
        },
    );
}

fn numpy_works_in_the_main_interpreter(setup: Setup) {
    let app = "import numpy\n\n\ndef application(environ, start_response):\n    \
               size = int(environ['QUERY_STRING'])\n    matrix = numpy.arange(size * size, dtype=float).reshape(size, size)\n    \
               start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
               return [str(int((matrix @ numpy.eye(size)).sum())).encode()]\n";
    serving(setup, "/", "numpy.wsgi", app).run(|server, cases| {
        cases.check("from several threads", || {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for size in [2_u64, 50, 100] {
                            let count = size * size;
                            let sum = count * (count - 1) / 2;
                            assert_eq!(server.get(&format!("/?{size}")).expect(200), sum.to_string());
                        }
                    });
                }
            });
        });
    });
}

/// Flask with what it does about logging by itself.
const LOGGING_FLASK: &str = "
from flask import Flask

application = app = Flask('shop')

@app.route('/')
def index():
    app.logger.warning('flask has a %s', 'warning')
    app.logger.info('flask drops this')
    return 'flask'

@app.route('/fail')
def fail():
    raise LookupError('a view')
";

/// Django with what it does about logging by itself.
const LOGGING_DJANGO: &str = "
import logging
import django
from django.conf import settings
settings.configure(ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, SECRET_KEY='x', DEBUG=False)
django.setup()
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
import sys, types

def index(request):
    logging.getLogger('shop.views').warning('django has a warning', extra={'request': request, 'user_id': 7})
    return HttpResponse('django')

def fail(request):
    raise LookupError('a view')

urls = types.ModuleType('urls_of_shop')
urls.urlpatterns = [path('', index), path('fail', fail)]
sys.modules['urls_of_shop'] = urls
settings.ROOT_URLCONF = 'urls_of_shop'
application = get_wsgi_application()
";

fn logging_of_frameworks_has_levels_and_fields(setup: Setup) {
    let setup =
        setup.app("/flask", "flask.wsgi", LOGGING_FLASK).app("/django", "django.wsgi", LOGGING_DJANGO);
    let conf = "WSGILogFormat json\n<Location /flask>\nWSGIApplicationGroup flask\n</Location>\n\
                <Location /django>\nWSGIApplicationGroup django\n</Location>";
    setup.python_home(Some(&environment())).conf(conf).run(|server, cases| {
        let line_of = |target: &str, status: u16, text: &str| {
            let mark = server.mark();
            assert_eq!(server.get(target).status, status, "{target}");
            wait_until(text, || {
                let log = server.log_since(mark);
                let line = log.lines().find(|line| line.contains(text) && line.ends_with('}'))?;
                Some(serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            })
        };
        cases.check("a warning of Flask", || {
            let line = line_of("/flask/", 200, "flask has a");
            assert_eq!((&line["level"], &line["logger"]), (&"warn".into(), &"shop".into()), "{line}");
            assert_eq!((&line["message"], &line["path"]), (&"flask has a warning".into(), &"/flask/".into()));
        });
        cases.check("an exception in Flask", || {
            let line = line_of("/flask/fail", 500, "LookupError");
            assert_eq!(
                (&line["level"], &line["exception"]),
                (&"error".into(), &"LookupError".into()),
                "{line}"
            );
            assert_eq!(line["message"], "Exception on /fail [GET]", "{line}");
            assert!(
                line["traceback"].as_str().is_some_and(|text| text.ends_with("LookupError: a view")),
                "{line}"
            );
        });
        cases.check("a warning in Django", || {
            let line = line_of("/django/", 200, "django has a warning");
            assert_eq!((&line["level"], &line["logger"]), (&"warn".into(), &"shop.views".into()), "{line}");
            assert_eq!(line["extra"]["user_id"], 7, "{line}");
            assert_eq!(line["application_group"], "django", "{line}");
        });
    });
}
