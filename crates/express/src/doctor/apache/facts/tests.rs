//! What configurations say, as facts.

use super::*;
use crate::doctor::finding::Place;

fn of(lines: &str) -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("httpd.conf");
    std::fs::write(&file, lines).unwrap();
    subject(Configuration::read(&file, None))
}

fn line(place: Option<&Place>) -> u32 {
    match place {
        Some(Place::Line { line, .. }) => *line,
        _ => 0,
    }
}

#[test]
fn groups_and_applications_have_their_lines() {
    let subject = of("Listen 80\nListen [::1]:8080\nWSGIPythonHome /venv\nSetEnv A 1\nPassEnv B\n\
        LoadModule mpm_prefork_module m.so\nMaxRequestWorkers 30\n\
        WSGIDaemonProcess shop user=nobody processes=2 threads=3 home=/srv python-home=/other python-path=/a:/b \\\n\
        request-timeout=60 memory-limit=1G locale=C.UTF-8 environment=X=1\n\
        <VirtualHost *:80>\nServerName https://h:443\nWSGIScriptAlias / /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
        </VirtualHost>\n\
        <VirtualHost *:81>\nWSGIScriptAlias /sub /srv/b.wsgi\nWSGIPassAuthorization On\n</VirtualHost>\n");
    let [shop, embedded] = &subject.groups[..] else { panic!("{:?}", subject.groups) };
    assert_eq!(
        (shop.processes, shop.threads, shop.request_timeout, line(shop.place.as_ref())),
        (2, 3, 60, 9)
    );
    assert_eq!((shop.account.user.as_str(), shop.home.as_deref()), ("nobody", Some(Path::new("/srv"))));
    assert_eq!(shop.python.home.as_deref(), Some(Path::new("/other")));
    assert_eq!(shop.python_path, ["/a", "/b"].map(PathBuf::from));
    assert_eq!((shop.limits.len(), shop.locale.as_deref()), (1, Some("C.UTF-8")));
    assert_eq!(shop.environment, [("X".to_owned(), "1".to_owned())]);
    assert!(embedded.is_embedded());
    assert_eq!((embedded.processes, embedded.threads), (30, 1));
    assert_eq!(
        (embedded.python.home.as_deref(), line(embedded.python.place.as_ref())),
        (Some(Path::new("/venv")), 3)
    );
    let [first, second] = &subject.applications[..] else { panic!("{:?}", subject.applications) };
    assert_eq!((first.group, first.interpreter.as_deref(), line(first.place.as_ref())), (0, Some(""), 12));
    assert_eq!((first.callable.as_str(), first.has_authorization), ("application", false));
    assert_eq!((second.group, second.interpreter.as_deref(), second.has_authorization), (1, None, true));
    let server = &subject.server;
    assert_eq!(server.listen.iter().map(|listen| listen.port).collect::<Vec<_>>(), [80, 8080]);
    assert_eq!(server.listen[1].address.as_deref(), Some("::1"));
    assert_eq!(
        server.workers.as_ref().map(|(workers, place)| (*workers, line(place.as_ref()))),
        Some((30, 7))
    );
    assert_eq!(first.variables.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn scripts_that_no_url_leads_to_are_found() {
    let subject = of(
        "WSGIDaemonProcess shop startup-timeout=7\nWSGIScriptAlias / /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
        WSGIImportScript /srv/a.wsgi process-group=shop application-group=%{GLOBAL}\n\
        WSGIImportScript /srv/b.wsgi process-group=shop application-group=other\n\
        <Location /closed>\n<Limit GET>\n</Limit>\nWSGIAuthUserScript /srv/c.wsgi\nWSGIAuthGroupScript /srv/c.wsgi application-group=%{SERVER}\n\
        WSGIAccessScript /srv/c.wsgi process-group=shop\n</Location>\nWSGIDispatchScript /srv/d.wsgi process-group=none\n",
    );
    let found: Vec<_> = subject
        .applications
        .iter()
        .map(|script| {
            let name = script.entry.file().unwrap().file_name().unwrap().to_str().unwrap();
            let group = subject.group_of(script).name.as_deref().unwrap_or_default();
            (name, line(script.place.as_ref()), group, script.interpreter.as_deref(), script.startup_timeout)
        })
        .collect();
    let expected = [
        ("a.wsgi", 2, "shop", Some(""), 7),
        ("b.wsgi", 4, "shop", Some("other"), 7),
        ("c.wsgi", 10, "shop", Some(""), 7),
        ("c.wsgi", 8, "", Some(""), 0),
        ("c.wsgi", 9, "", None, 0),
    ];
    assert_eq!(found, expected);
    assert!(subject.serves(0) && !subject.serves(1));
}

#[test]
fn variables_are_those_of_the_host() {
    let host =
        |name: &str, lines: &str| format!("<VirtualHost *:80>\nServerName {name}\n{lines}</VirtualHost>\n");
    let shop = "WSGIScriptAlias / /srv/a.wsgi\nSetEnv B 2\n<Location />\nSetEnv C 3\n</Location>\n";
    let subject =
        of(&format!("SetEnv A 1\nSetEnv B 1\n{}{}", host("php", "SetEnv D 4\n"), host("shop", shop)));
    let [application] = &subject.applications[..] else { panic!("{:?}", subject.applications) };
    let found: Vec<_> =
        application.variables.iter().map(|(name, place)| (name.as_str(), line(place.as_ref()))).collect();
    assert_eq!(found, [("B", 10), ("C", 12), ("A", 1)]);
}

#[test]
fn a_log_of_errors_is_open_once() {
    let host = "<VirtualHost *:80>\nErrorLog e.log\nCustomLog a.log common\n</VirtualHost>\n";
    assert_eq!(of(&format!("ErrorLog e.log\n{host}{host}")).server.log_files, 3);
}

#[test]
fn sections_decide_about_applications() {
    let alias = "WSGIDaemonProcess shop\nWSGIScriptAlias / /srv/a.wsgi\n";
    let group = |lines: &str| of(&format!("{alias}{lines}")).applications[0].group;
    assert_eq!(group("WSGIProcessGroup shop\n"), 0);
    assert_eq!(group("<Directory /srv>\nWSGIProcessGroup shop\n</Directory>\n"), 0);
    assert_eq!(group("<Location />\nWSGIProcessGroup shop\n</Location>\n"), 0);
    assert_eq!(group("<Directory /other>\nWSGIProcessGroup shop\n</Directory>\n"), 1);
    let has = |lines: &str| of(&format!("{alias}{lines}")).applications[0].has_authorization;
    assert!(!has("") && !has("<Location />\nAuthType None\n</Location>\n"));
    assert!(has("<Location />\nAuthType Basic\nRequire valid-user\n</Location>\n"), "Apache asks");
    assert!(has("<Directory /srv>\nWSGIPassAuthorization On\n</Directory>\n"));
    assert!(of(&format!("{alias}WSGIProcessGroup %{{ENV:X}}\n")).applications.is_empty(), "nobody knows");
}
