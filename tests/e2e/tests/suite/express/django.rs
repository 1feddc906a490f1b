//! Projects of Django, served by `manage.py runmodwsgi`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::Needs::{Daemon, NoSanitizer};
use e2e::{Interpreter, Target, Test, free_port, test};

use super::server::{Express, Site, account, write};

pub(super) const TESTS: &[Test] = &[
    test!(
        a_project_is_served_and_replaced_when_it_changes,
        Daemon,
        NoSanitizer("a command starts Apache without its library")
    ),
    test!(
        the_oldest_supported_django_under_the_former_name,
        Daemon,
        NoSanitizer("a command starts Apache without its library")
    ),
    test!(
        projects_are_only_set_up_if_that_is_asked_for,
        Daemon,
        NoSanitizer("a command starts Apache without its library")
    ),
];

/// A project that `startproject` has made.
struct Project {
    site: Site,
    environment: PathBuf,
}

impl Project {
    /// Makes one, with a line more in its settings.
    fn new(requirements: &str, application: &str, setting: &str) -> Self {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
        let project =
            Self { site: Site::new(), environment: Interpreter::current().environment(&requirements) };
        let mut django = project.python();
        succeed(django.args(["-m", "django", "startproject", "shop", "."]));
        let add = |name: &str, text: &str| {
            let file = project.site.path(name);
            let before = std::fs::read_to_string(&file).unwrap_or_default();
            write(file, &format!("{before}\n{text}\n"));
        };
        add("shop/urls.py", include_str!("../../../apps/frameworks/django_project.py"));
        add("shop/texts.py", "TEXT = 'one'");
        let settings = format!(
            "INSTALLED_APPS.append('{application}')\nSTATIC_ROOT = BASE_DIR / 'collected'\n\
             ALLOWED_HOSTS = ['localhost']\n{setting}"
        );
        add("shop/settings.py", &settings);
        add("shop/production.py", "from shop.settings import *\nDEBUG = False");
        project
    }

    /// The environment's Python, which finds the package that belongs to the module.
    fn python(&self) -> Command {
        let module = Target::current().module();
        let places = ["python-packages", "site-packages"];
        let packages = module.ancestors().find_map(|directory| {
            let found =
                |place| directory.join(place).join("mod_wsgi").exists().then(|| directory.join(place));
            places.into_iter().find_map(found)
        });
        let mut command = Command::new(self.environment.join("bin/python"));
        command.current_dir(self.site.path("")).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
        command.env("PYTHONPATH", packages.unwrap_or_else(|| panic!("{}: no package", module.display())));
        command
    }

    fn manage(&self, arguments: &[&str]) -> Command {
        let mut command = self.python();
        command.arg("manage.py").args(arguments);
        command
    }

    fn serve(self, options: &[&str]) -> Express {
        let mut command = self.manage(&["runmodwsgi"]);
        if Target::current().is_reference() {
            command.args(account());
        }
        Express::run(self.site, command, options)
    }

    /// Runs the command without a server; its output and its errors.
    fn set_up(&self, options: &[&str]) -> (Option<i32>, String, String) {
        let port = free_port().to_string();
        let mut command = self.manage(&["runmodwsgi", "--port", &port, "--server-root", "root"]);
        let output = command.args(options).output();
        let output = output.unwrap_or_else(|error| panic!("manage.py: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn value(server: &Express, name: &str) -> String {
    let response = server.ask("GET", "/where/", "", "");
    assert_eq!(response.status, 200, "{}\n{}", response.text(), server.log());
    response.value(name).unwrap_or_else(|| panic!("no {name} in {}", response.text()))
}

fn a_project_is_served_and_replaced_when_it_changes() {
    let project = Project::new("requirements.txt", "mod_wsgi.express", "");
    succeed(&mut project.manage(&["collectstatic", "--noinput"]));
    let server = project.serve(&["--reload-on-changes", "--url-alias", "/more", "shop", "--threads", "3"]);
    let directory = server.directory.path().canonicalize().unwrap_or_default();
    for (name, expected) in [
        ("settings", "shop.settings"),
        ("debug", "True"),
        ("directory", &*directory.to_string_lossy()),
        ("express", "true"),
        ("script_name", ""),
        ("text", "one"),
    ] {
        assert_eq!(value(&server, name), expected, "{name}");
    }
    assert!(value(&server, "django").starts_with("5.2"));
    let output = server.read("output");
    assert!(output.starts_with("Successfully ran command.\n"), "{output}");
    assert!(output.contains("\nRequest Capacity   : 3 (1 process * 3 threads)\n"), "{output}");

    // What is written to the settings' STATIC_ROOT is served by Apache, and the user's own alias, too.
    let style = server.ask("GET", "/static/admin/css/base.css", "", "");
    assert_eq!((style.status, style.header("Content-Type")), (200, Some("text/css")));
    assert_eq!(server.ask("GET", "/static/missing.css", "", "").status, 404);
    assert!(server.ask("GET", "/more/texts.py", "", "").text().contains("'one'"));
    let page = server.ask("GET", "/admin/login/", "", "");
    assert!(page.text().contains("/static/admin/css/base.css"), "{}", page.text());
    let missing = server.ask("GET", "/missing/", "", "");
    assert!(missing.status == 404 && missing.text().contains("DEBUG = True"), "{}", missing.text());

    // The original misses changes in the first second.
    if Target::current().is_reference() {
        return;
    }
    write(server.path("shop/texts.py"), "TEXT = 'another'\n");
    e2e::wait_until("the changed text", || (value(&server, "text") == "another").then_some(()));
}

fn the_oldest_supported_django_under_the_former_name() {
    // Here the application is embedded. Its directory is a text, and (the original would not find the
    // project) not the one to import from.
    let directory = if Target::current().is_reference() { "BASE_DIR" } else { "BASE_DIR / 'shop'" };
    let setting = format!("BASE_DIR = str({directory})");
    let project = Project::new("requirements-django-4.2.txt", "mod_wsgi.server", &setting);
    let mut options = vec!["--settings", "shop.production", "--embedded-mode", "--mount-point", "/at"];
    options.extend(["--trust-proxy", "127.0.0.1", "--trust-proxy-header", "X-Script-Name"]);
    // This needs mod_rewrite, which sets variables that Django takes for the place of the project.
    options.extend(["--proxy-mount-point", "/other", "http://127.0.0.1:9/"]);
    let server = project.serve(&options);
    let response = server.ask("GET", "/at/where/", "", "");
    let value =
        |name| response.value(name).unwrap_or_else(|| panic!("{}\n{}", response.text(), server.log()));
    assert!(value("django").starts_with("4.2"));
    assert_eq!(value("settings"), "shop.production");
    assert_eq!(value("debug"), "False");
    assert_eq!(value("script_name"), "/at");
    let behind_proxy = server.ask("GET", "/at/where/", "X-Script-Name: /front/at\r\n", "");
    assert_eq!(behind_proxy.value("script_name").as_deref(), Some("/front/at"), "{}", behind_proxy.text());
    let missing = server.ask("GET", "/at/missing/", "", "");
    assert!(missing.status == 404 && !missing.text().contains("DEBUG"), "{}", missing.text());
}

fn projects_are_only_set_up_if_that_is_asked_for() {
    let project = Project::new("requirements.txt", "mod_wsgi.express", "");
    let (status, output, errors) = project.set_up(&["--setup-only"]);
    assert_eq!(status, Some(0), "{output}{errors}");
    assert!(output.contains("\nControl Script     : "), "{output}");
    let configuration = || std::fs::read_to_string(project.site.path("root/httpd.conf")).unwrap_or_default();
    assert!(configuration().contains("/collected"), "{}", configuration());

    // WhiteNoise serves the files itself.
    let settings = project.site.path("shop/settings.py");
    let before = std::fs::read_to_string(&settings).unwrap_or_default();
    write(
        settings,
        &format!("{before}\nMIDDLEWARE.append('whitenoise.middleware.WhiteNoiseMiddleware')\ndel BASE_DIR\n"),
    );
    let (status, output, errors) = project.set_up(&["--setup-only"]);
    assert_eq!(status, Some(0), "{output}{errors}");
    assert!(!configuration().contains("/collected"), "{}", configuration());

    // Mistakes are errors of the command.
    let (status, output, errors) = project.set_up(&["--ssl-certificate", "x"]);
    assert_eq!((status, output.as_str()), (Some(1), "Successfully ran command.\n"));
    assert!(errors.contains("CommandError: ") && errors.contains("--https-port"), "{errors}");

    if Target::current().is_reference() {
        return;
    }
    let settings = project.site.path("shop/settings.py");
    let before = std::fs::read_to_string(&settings).unwrap_or_default();
    for value in ["5", "None", "'application'", "'shop.wsgi.'"] {
        write(settings.clone(), &format!("{before}\nWSGI_APPLICATION = {value}\n"));
        let (status, _, errors) = project.set_up(&["--setup-only"]);
        let said = format!("CommandError: the setting WSGI_APPLICATION, {value}, does not name");
        assert!(status == Some(1) && errors.contains(&said), "{errors}");
    }
    // The trial takes the directories of the project.
    write(settings, &before);
    write(project.site.path("shop/wsgi.py"), "import shop.missing\n");
    let (status, output, errors) = project.set_up(&["--strict"]);
    assert_eq!(status, Some(1), "{output}{errors}");
    assert!(
        errors.contains("No module named 'shop.missing'") && errors.contains("shop.wsgi cannot"),
        "{errors}"
    );
}
