//! Tests of process groups: who may name them, what they load, and when the Apache children start
//! Python.

use super::*;

#[test]
fn groups_that_are_fixed_preload() {
    for (line, preloads) in [
        ("WSGIScriptAlias / /w process-group=%{GLOBAL} application-group=%{GLOBAL}", true),
        ("WSGIScriptAlias / /w process-group=%{GLOBAL} application-group=a", true),
        ("WSGIScriptAliasMatch / /w process-group=%{GLOBAL} application-group=a", true),
        ("WSGIScriptAliasMatch / /w$1 process-group=%{GLOBAL} application-group=a", false),
        ("WSGIScriptAlias / /w process-group=%{GLOBAL} application-group=%{SERVER}", false),
        ("WSGIScriptAlias / /w process-group=%{GLOBAL} application-group=x%{", false),
        ("WSGIScriptAlias / /w process-group=%{ENV:X} application-group=a", false),
        ("WSGIScriptAlias / /w application-group=%{GLOBAL}", false),
        ("WSGIScriptAlias / /w process-group=daemon", false),
        ("WSGIScriptAlias / /w/ process-group=%{GLOBAL} application-group=a", false),
    ] {
        let mut server = Server::default();
        let diagnostic = server.diagnostic(Scope::Main, line);
        assert_eq!(diagnostic.map(|diagnostic| diagnostic.is_some()), Ok(line.ends_with("x%{")), "{line}");
        assert_eq!(server.global.imports_of(b"").count(), usize::from(preloads), "{line}");
        assert_eq!(server.main.aliases.len(), 1);
    }
}

#[test]
fn scripts_of_a_main_interpreter_are_known_as_far_as_they_are_fixed() {
    let mut server = Server::default();
    server.line("WSGIDaemonProcess one preload=fork");
    server.line("WSGIDaemonProcess two");
    server.line("WSGIScriptAlias /a /a process-group=one application-group=%{GLOBAL}");
    server.line("WSGIScriptAlias /b /b");
    server.line("WSGIScriptAlias /c /c process-group=two");
    server.line("WSGIScriptAlias /d /d application-group=other");
    server.line("WSGIScriptAliasMatch /e(.*) /e$1");
    server.line("WSGIScriptAliasMatch /f(.*) /f");
    let scripts = |server: &Server| -> Vec<String> {
        let found = server.main.main_scripts_of(b"one");
        found.map(|script| String::from_utf8_lossy(script).into_owned()).collect()
    };
    assert_eq!(scripts(&server), ["/a"], "others are in embedded mode");
    server.line("WSGIProcessGroup one");
    assert_eq!(scripts(&server), ["/a"], "others have interpreters of their own");
    server.line("WSGIApplicationGroup %{GLOBAL}");
    assert_eq!(scripts(&server), ["/a", "/b", "/f"]);
    server.line("WSGIProcessGroup %{ENV:GROUP}");
    assert_eq!(scripts(&server), ["/a"]);
}

#[test]
fn imports_name_both_groups() {
    let mut server = Server::default();
    server.line_in(
        Scope::VirtualHost,
        "WSGIImportScript /a process-group=%{GLOBAL} application-group=%{GLOBAL}",
    );
    server.warned(
        "WSGIImportScript /b application-group=%{SERVER} process-group=%{GLOBAL}",
        "=%{SERVER} is not",
    );
    let imports: Vec<_> =
        server.global.imports_of(b"").map(|import| (&*import.script, &*import.application_group)).collect();
    assert_eq!(imports, [(&b"/a"[..], &b""[..]), (b"/b", b"%{SERVER}")]);
    for (line, gist) in [
        ("WSGIImportScript", "Location of import script"),
        ("WSGIImportScript \"\"", "Location of import script"),
        ("WSGIImportScript /a process-group=%{GLOBAL}", "application group required"),
        ("WSGIImportScript /a application-group=x", "process group required"),
        ("WSGIImportScript /a process-group=g application-group=x", "not yet configured"),
        ("WSGIImportScript /a process-group=%{SERVER} application-group=x", "not yet configured"),
        ("WSGIImportScript /a process-group= application-group=x", "process group"),
        ("WSGIImportScript /a callable-object=x", "Invalid option"),
    ] {
        let text = server.error(line);
        assert!(text.contains(gist), "{line}: {text}");
    }
}

#[test]
fn daemon_groups_are_loaded_into() {
    let mut server = Server::default();
    server.line("WSGIDaemonProcess g");
    server.line("WSGIScriptAlias / /w process-group=g application-group=a");
    server.line("WSGIImportScript /i process-group=g application-group=%{GLOBAL}");
    server.line("WSGIScriptAlias /x /x process-group=G");
    let scripts: Vec<_> = server.global.imports_of(b"g").map(|import| &*import.script).collect();
    assert_eq!(scripts, [b"/w", b"/i"]);
    assert_eq!(server.global.imports_of(b"").count(), 0);
    server.line("WSGIDaemonProcess worker");
    let near = server.error("WSGIImportScript /i process-group=workers application-group=a");
    assert!(near.contains("'workers' not yet configured (did you mean 'worker'?)"), "{near}");
    let late = server.error("WSGIImportScript /i process-group=G application-group=a");
    assert!(late.contains("'G' not yet configured"), "{late}");
}

#[test]
fn groups_of_a_host_are_loaded_into_from_its_name_only() {
    let import = "WSGIImportScript /i process-group=g application-group=a";
    let alias = "WSGIScriptAlias / /w process-group=g application-group=a";
    let from = |own: &'static str, host: Option<ServerId>, name: &'static str| {
        let mut server = Server::default();
        server.line_in(Scope::VirtualHost, "WSGIDaemonProcess g");
        server.names = [(Some(ServerId(1)), own), (host, name)]
            .into_iter()
            .filter(|(_, name)| !name.is_empty())
            .collect();
        let scope = if host.is_some() { Scope::VirtualHost } else { Scope::Main };
        let results = [import, alias].map(|line| server.diagnostic_at(scope, host, line).map(drop));
        assert_eq!(results[0], results[1]);
        results[0].clone()
    };
    let other = Some(ServerId(2));
    assert_eq!(from("a", Some(ServerId(1)), "a"), Ok(()));
    assert_eq!(from("", Some(ServerId(1)), ""), Ok(()));
    assert_eq!(from("a", other, "a"), Ok(()));
    assert!(from("a", other, "b").unwrap_err().contains("not accessible"));
    assert!(from("a", None, "b").unwrap_err().contains("not accessible"));
    assert!(from("a", other, "").unwrap_err().contains("not matchable"));
    assert!(from("", other, "a").unwrap_err().contains("not matchable"));
}

#[test]
fn any_process_group_may_be_named() {
    let mut server = Server::default();
    for name in ["%{GLOBAL}", "%{ENV:GROUP}", "%{SERVER}", "daemon", "%{OTHER}"] {
        let line = format!("WSGIProcessGroup {name}");
        if name == "%{OTHER}" {
            server.warned(&line, "%{OTHER} is not expanded")
        } else {
            server.line(&line)
        }
        assert_eq!(server.main.defaults.process_group.as_deref(), Some(name.as_bytes()));
    }
    server.line("WSGIHandlerScript h /h process-group=later");
    server.line("WSGIScriptAlias / /w process-group=later");
}

#[test]
fn groups_without_requests_are_reported() {
    let mut server = Server::default();
    for line in [
        "WSGIProcessGroup shop",
        "WSGIScriptAlias /s /w process-group=shpo",
        "WSGIScriptAlias /t /w process-group=tasks",
        "WSGIHandlerScript h /h process-group=nobody",
        "WSGIProcessGroup %{GLOBAL}",
        "WSGIDaemonProcess shop",
        "WSGIDaemonProcess idle",
        "WSGIDaemonProcess lazy threads=0",
        "WSGIDaemonProcess worker threads=1",
        "WSGIImportScript /i process-group=worker application-group=%{GLOBAL}",
        "WSGIDaemonProcess tasks threads=0",
        "WSGIImportScript /i process-group=tasks application-group=%{GLOBAL}",
    ] {
        server.line(line);
    }
    let texts: Vec<_> = server.review().into_iter().map(|diagnostic| diagnostic.to_string()).collect();
    for (text, gist) in texts.iter().zip([
        "WSGI0151: There is no process group 'shpo', and requests that are sent to it get a 500: did you mean 'shop'? (line 7 of /conf)",
        "WSGI0151: The process group 'tasks' has threads=0",
        "WSGI0151: There is no process group 'nobody', and requests that are sent to it get a 500: define it",
        "No line sends requests to the process group 'idle'",
        "'lazy' has threads=0 and nothing to run",
    ]) {
        assert!(text.contains(gist), "{text}");
    }
    assert_eq!(texts.len(), 5, "{texts:?}");
    server.line("WSGIProcessGroup %{ENV:GROUP}");
    assert_eq!(server.review().len(), 4, "any group may be used");

    let mut server = Server::default();
    server.line("WSGIProcessGroup shop");
    let texts: Vec<_> = server.review().into_iter().map(|diagnostic| diagnostic.to_string()).collect();
    assert!(texts[0].starts_with("WSGI0150: There is no process group 'shop', "), "{texts:?}");
}

#[test]
fn groups_of_other_hosts_are_reported() {
    let (this, other) = (Some(ServerId(1)), Some(ServerId(2)));
    let review = |names: &[(Option<ServerId>, &'static str)], owner, line: &str| {
        let mut server = Server { names: names.to_vec(), ..Server::default() };
        server.diagnostic_at(Scope::VirtualHost, owner, "WSGIDaemonProcess shop").unwrap();
        server.diagnostic_at(Scope::VirtualHost, this, line).unwrap();
        server.review().into_iter().map(|diagnostic| diagnostic.to_string()).collect::<Vec<_>>()
    };
    let names = [(this, "a"), (other, "b")];
    for line in ["WSGIProcessGroup shop", "WSGIScriptAlias / /w process-group=shop"] {
        let texts = review(&names, other, line);
        assert_eq!(texts.len(), 1, "{texts:?}");
        for gist in ["WSGI0152: ", "'shop' belongs", "move its WSGIDaemonProcess (line 7 of /conf)"] {
            assert!(texts[0].contains(gist), "{texts:?}");
        }
        assert_eq!(review(&names, this, line), [""; 0], "its own");
        assert_eq!(review(&[(this, "a"), (other, "a")], other, line), [""; 0], "a namesake's");
        assert_eq!(review(&names, None, line), [""; 0], "the main server's");
    }
    let texts = review(&[(this, "a")], other, "WSGIProcessGroup shop");
    assert!(texts.len() == 1 && texts[0].contains("has no ServerName"), "{texts:?}");
}

#[test]
fn aliases_that_others_take_are_reported() {
    let review = |lines: &[&str]| {
        let mut server = Server::default();
        for line in lines {
            let scope = if line.starts_with(' ') { Scope::VirtualHost } else { Scope::Main };
            server.line_in(scope, line.trim_start());
        }
        server.review().into_iter().map(|diagnostic| diagnostic.to_string()).collect::<Vec<_>>()
    };
    let taken = review(&["WSGIScriptAlias / /a", "WSGIScriptAlias /sub /b"]);
    assert!(taken.len() == 1 && taken[0].contains("the alias of /sub"), "{taken:?}");
    let taken = review(&[" WSGIScriptAlias /x/ /a", " WSGIScriptAlias /x/y /b"]);
    assert!(taken.len() == 1 && taken[0].contains("the alias of /x/y"), "{taken:?}");
    for sound in [
        &["WSGIScriptAlias /sub /b", "WSGIScriptAlias / /a"][..],
        &["WSGIScriptAlias /sub /b", "WSGIScriptAlias /subs /a"],
        &["WSGIScriptAliasMatch ^/ /b", "WSGIScriptAlias /subs /a"],
        &["WSGIScriptAlias /sub /b", " WSGIScriptAlias / /a"],
    ] {
        assert_eq!(review(sound), [""; 0], "{sound:?}");
    }
}

#[test]
fn process_groups_can_be_restricted() {
    let permits = |lines: &[&str], name: &str| {
        let mut server = Server::default();
        lines.iter().for_each(|line| server.line(line));
        Effective::new(&server.main, &server.directory).permits_process_group(name.as_bytes())
    };
    assert!(permits(&[], "") && permits(&[], "x"));
    let list = ["WSGIRestrictProcess %{GLOBAL} One \"t w o\""];
    for name in ["", "one", "ONE", "t w o"] {
        assert!(permits(&list, name), "{name}");
    }
    assert!(!permits(&list, "two"));
    assert!(!permits(&["WSGIRestrictProcess one", "WSGIRestrictProcess two"], "one"), "replaced");
    assert!(!permits(&["WSGIRestrictProcess"], "") && !permits(&["WSGIRestrictProcess"], "one"));
    let mut server = Server::default();
    server.line("WSGIRestrictProcess outer");
    server.line_in(Scope::Directory, "WSGIRestrictProcess inner");
    let settings = Effective::new(&server.main, &server.directory);
    assert!(settings.permits_process_group(b"inner") && !settings.permits_process_group(b"outer"));
}

#[test]
fn python_starts_when_it_is_needed() {
    let start = |lines: &[&str]| {
        let mut server = Server::default();
        lines.iter().for_each(|line| match line.strip_prefix("directory: ") {
            Some(line) => server.line_in(Scope::Directory, line),
            None => server.line(line),
        });
        server.global.python_start()
    };
    let import = "WSGIImportScript /a process-group=%{GLOBAL} application-group=%{GLOBAL}";
    let preload = "WSGIScriptAlias / /w process-group=%{GLOBAL} application-group=%{GLOBAL}";
    assert_eq!(start(&["WSGIScriptAlias / /w"]), PythonStart::AtChildStart);
    assert_eq!(start(&["WSGIScriptAlias / /w process-group=daemon"]), PythonStart::AtFirstRequest);
    assert_eq!(start(&["WSGIHandlerScript h /w"]), PythonStart::AtChildStart);
    assert_eq!(start(&["WSGIRestrictEmbedded Off"]), PythonStart::AtChildStart);
    assert_eq!(start(&["WSGIRestrictEmbedded On"]), PythonStart::Never);
    assert_eq!(start(&["WSGIRestrictEmbedded On", preload]), PythonStart::Never);
    assert_eq!(start(&["WSGIRestrictEmbedded On", import]), PythonStart::AtChildStart);
    assert_eq!(start(&[import, "WSGIRestrictEmbedded On"]), PythonStart::AtChildStart);
    let (daemon, alias) = ("WSGIDaemonProcess g", "WSGIScriptAlias / /w");
    assert_eq!(start(&[daemon, "WSGIProcessGroup g", alias]), PythonStart::AtFirstRequest);
    assert_eq!(start(&[daemon, alias, "WSGIProcessGroup g"]), PythonStart::AtFirstRequest);
    assert_eq!(start(&[daemon, alias, "directory: WSGIProcessGroup g"]), PythonStart::AtFirstRequest);
    assert_eq!(start(&[daemon, alias]), PythonStart::AtChildStart);
    assert_eq!(start(&[daemon, "WSGIScriptAlias / /w process-group=%{ENV:X}"]), PythonStart::AtFirstRequest);
    assert_eq!(start(&["WSGIScriptAlias / /w process-group=%{ENV:X}"]), PythonStart::AtChildStart);
    let load = "WSGIImportScript /a process-group=g application-group=a";
    assert_eq!(start(&[daemon, load]), PythonStart::AtFirstRequest);
    assert_eq!(start(&[daemon, "directory: WSGIHandlerScript h /h"]), PythonStart::AtChildStart);
    assert_eq!(
        start(&[daemon, "directory: WSGIHandlerScript h /h process-group=g"]),
        PythonStart::AtFirstRequest
    );
}
