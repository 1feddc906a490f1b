//! The applications: whether they can be imported, and get what they expect.

use wsgi_core::codes::{NO_CALLABLE, SCRIPT_NOT_COMPILED, SCRIPT_RAISED};

use super::check::{Check, Topic};
use super::finding::{Finding, Severity};
use super::subject::{Application, Entry, Group, Purpose, Subject};
use super::trial::{Exception, Lacking, Report, Trial};

pub(super) static TOPIC: Topic = Topic {
    title: "Applications",
    checks: &[
        Check {
            name: "application-import",
            about: "An application, or another script of the module (WSGIImportScript, WSGIAuthUserScript, WSGIAuthGroupScript, WSGIAccessScript, \
                    WSGIDispatchScript), that cannot be imported. It is tried in a process of its own, as the user of its group, in its jail, with its \
                    limits, environment and interpreter, for as long as `startup-timeout=` permits. What its import starts is ended \
                    afterwards. Not with `--no-import`.",
            run: import,
        },
        Check {
            name: "application-callable",
            about: "A script without the WSGI callable that it should have, or with something of that name that cannot be called; a script of \
                    WSGIAuthUserScript, WSGIAuthGroupScript, WSGIAccessScript or WSGIDispatchScript without the function that Apache asks.",
            run: callable,
        },
        Check {
            name: "setenv-environ",
            about: "An application that expects a variable in `os.environ` which `SetEnv`, `PassEnv` or `--setenv` sets: those are for each \
                    request's environ.",
            run: variables,
        },
        Check {
            name: "sub-interpreter",
            about: "An application in an interpreter other than the main one, with extension modules that do not support that: modules with \
                    single-phase initialisation, or that say so (`Py_mod_multiple_interpreters`), or that refuse to be imported there.",
            run: interpreter,
        },
        Check {
            name: "authorization-not-passed",
            about: "An application that authenticates its clients by the header `Authorization`, which it does not get: WSGIPassAuthorization is off. \
                    Django REST framework, well-known packages, and source that reads the header are recognised.",
            run: authorization,
        },
    ],
};

fn import(subject: &Subject) -> Vec<Finding> {
    let find = |(application, trial): (&Application, &Trial)| {
        let name = application.entry.shown();
        let group = subject.group_of(application);
        let as_whom = as_whom(group);
        let finding = match trial {
            Trial::None => return None,
            Trial::NotStarted(reason) => {
                Finding::error(format!("{name} cannot be tried in a process like those of {}", group.shown()))
                    .because(format!("{reason}{as_whom}"))
                    .remedy(
                        "correct what that step is about; the processes of the group start in the same way",
                    )
            }
            Trial::Flood => Finding::error(format!("importing {name} prints without end"))
                .because("each process would do that, into the error log")
                .remedy("remove that from the import"),
            Trial::Late(seconds) => Finding::error(format!("importing {name} takes longer than {seconds} s"))
                .because("processes are not ready until they have imported it")
                .remedy("look at what it waits for, or raise startup-timeout (--startup-timeout)"),
            Trial::Ended(exit, lines) => Finding::error(format!("importing {name} ends the process: {exit}"))
                .because(format!("its last lines are: {}{as_whom}", lines.join(" | ")))
                .remedy(crash_remedy(exit)),
            Trial::Done(report) => {
                let exception = report.error.as_ref()?;
                let Cause::Other(remedy) = cause(exception, report, subject, application) else {
                    return None;
                };
                let code =
                    if exception.kind.ends_with("SyntaxError") { SCRIPT_NOT_COMPILED } else { SCRIPT_RAISED };
                Finding::error(format!("{name} cannot be imported"))
                    .because(format!("{}{as_whom}", exception.line()))
                    .remedy(remedy)
                    .code(code)
                    .detail(&report.output)
            }
        };
        // What another user may not do says nothing about the one who will serve.
        let is_of_user = match trial {
            Trial::NotStarted(_) => true,
            Trial::Done(report) => report.error.as_ref().is_some_and(|error| error.kind == "PermissionError"),
            _ => false,
        };
        let severity = if is_of_user && !as_whom.is_empty() { Severity::Warning } else { finding.severity };
        Some(Finding { severity, ..finding }.at(application.place.as_ref()))
    };
    subject.trials().filter_map(find).collect()
}

/// Returns a remark if the process was not that of the user who will serve.
fn as_whom(group: &Group) -> String {
    if group.account.can_be_tried() {
        return String::new();
    }
    format!(" (tried as the present user, not as {}: run the doctor as root)", group.account.user)
}

fn crash_remedy(exit: &os::process::Exit) -> &'static str {
    match exit {
        os::process::Exit::Status(_) => "remove what ends Python from the import, such as sys.exit()",
        _ => {
            "look for the extension module in these lines, and install one that was built for this Python and this machine"
        }
    }
}

/// The cause of an exception, as far as it is known.
enum Cause {
    /// A variable of requests is looked for in `os.environ`.
    Variable(String),
    /// A module that the interpreter cannot have.
    Interpreter,
    /// Something else, with what to do about it.
    Other(String),
}

fn cause(exception: &Exception, report: &Report, subject: &Subject, application: &Application) -> Cause {
    let group = subject.group_of(application);
    let text = exception.chain.join("\n");
    let key = exception.text.trim_matches(['\'', '"']);
    if exception.kind == "KeyError" && application.variables.iter().any(|(name, _)| name == key) {
        return Cause::Variable(key.to_owned());
    }
    if application.interpreter.as_deref() != Some("") && is_of_interpreter(&text) {
        return Cause::Interpreter;
    }
    let says = |part: &str| text.contains(part);
    let module = exception.module.as_deref().unwrap_or_default();
    let python = || subject.home_of(group).map(|home| home.display().to_string()).unwrap_or_default();
    Cause::Other(match exception.kind.as_str() {
        "ModuleNotFoundError" => format!(
            "install {module} for the Python of the group ({}), or name the directory that it is in with python-path= (--python-path)",
            python()
        ),
        "MemoryError" if !group.limits.is_empty() => {
            "raise memory-limit= or virtual-memory-limit= of the group".to_owned()
        }
        "PermissionError" => format!("let {} do that, or give the group another user", group.account.user),
        kind if kind.ends_with("SyntaxError") || kind == "IndentationError" => {
            "correct it, or use the version of Python that it was written for".to_owned()
        }
        "SystemExit" => "do not end Python while the application is imported".to_owned(),
        "KeyError" if report.missed.iter().any(|name| name == key) => format!(
            "give the group the variable: environment={key}=... of WSGIDaemonProcess, or the environment that Apache is started with \
             (--envvars-script)"
        ),
        _ if says("failed to map segment") => {
            "put the packages on a file system that is not mounted with noexec".to_owned()
        }
        _ if says("invalid ELF header") || says("wrong ELF class") || says("undefined symbol: _Py") || says("undefined symbol: Py") => {
            "install the packages again, with the Python of the group: this extension module was built for another one".to_owned()
        }
        _ if says("cannot open shared object file") => "install the library that is named".to_owned(),
        _ if says("DJANGO_SETTINGS_MODULE") => {
            "set DJANGO_SETTINGS_MODULE in the script, before Django is imported".to_owned()
        }
        _ => "correct it; the application is imported in the same way when the server has started".to_owned(),
    })
}

/// Returns whether an error says that a module does not support interpreters other than the main
/// one.
fn is_of_interpreter(text: &str) -> bool {
    const SAYINGS: [&str; 4] = [
        "loading in subinterpreters",
        "support subinterpreters",
        "Interpreter change detected",
        "sub-interpreter",
    ];
    SAYINGS.iter().any(|saying| text.contains(saying))
}

fn callable(subject: &Subject) -> Vec<Finding> {
    let find = |(application, trial): (&Application, &Trial)| {
        let Lacking { callable, is, candidates } = trial.report()?.lacks.as_ref()?;
        let name = application.entry.shown();
        if application.purpose != Purpose::Requests {
            let what = match is {
                Some(kind) => format!("{callable} in {name} is of type {kind}, and cannot be called"),
                None => format!("{name} has no function {callable}"),
            };
            return Some(
                Finding::error(what)
                    .at(application.place.as_ref())
                    .because("Apache asks it about requests, and each of them is refused")
                    .remedy("define it, or take the script from the configuration"),
            );
        }
        let what = match is {
            Some(kind) => format!("'{callable}' in {name} is of type {kind}, and cannot be called"),
            None => format!("{name} has no '{callable}'"),
        };
        let remedy = match candidates.first() {
            Some(candidate) => format!(
                "name the one that is there, such as with WSGICallableObject {candidate} (--callable-object {candidate}), or \
                 rename it"
            ),
            None => format!(
                "define a WSGI application of that name, such as `{callable} = get_wsgi_application()`"
            ),
        };
        let why = match candidates.as_slice() {
            [] => "nothing in it looks like a WSGI application".to_owned(),
            names => format!("what looks like a WSGI application is {}", names.join(", ")),
        };
        Some(
            Finding::error(what).at(application.place.as_ref()).because(why).remedy(remedy).code(NO_CALLABLE),
        )
    };
    subject.trials().filter_map(find).collect()
}

fn variables(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (application, trial) in subject.trials() {
        let report = trial.report();
        let fatal =
            report.and_then(|report| match cause(report.error.as_ref()?, report, subject, application) {
                Cause::Variable(name) => Some(name),
                _ => None,
            });
        let wanted = match report {
            Some(report) => report.missed.clone(),
            None => read_in_script(application),
        };
        for (name, place) in &application.variables {
            let is_fatal = fatal.as_ref() == Some(name);
            if !is_fatal && !wanted.contains(name) {
                continue;
            }
            let what = format!("{} looks for {name} in os.environ", application.entry.shown());
            let finding = if is_fatal { Finding::error(what) } else { Finding::warning(what) };
            findings.push(
                finding
                    .at(place.as_ref().or(application.place.as_ref()))
                    .because(if is_fatal {
                        "it is not there, so the import fails: what is set here is for the environ of each request"
                    } else {
                        "it is not there: what is set here is for the environ of each request"
                    })
                    .remedy(format!(
                        "set it with environment={name}=... of WSGIDaemonProcess, in the environment that Apache is started with \
                         (--envvars-script), or read it from environ in the application"
                    )),
            );
        }
    }
    findings
}

/// Returns the variables that the source of a script seems to read from `os.environ`.
fn read_in_script(application: &Application) -> Vec<String> {
    let Entry::Script(file) = &application.entry else { return Vec::new() };
    let text = os::file::read_small(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\'', "\"");
    // The environ of a request is called so, too.
    let is_in = |line: &str, name: &str| {
        let item = format!("os.environ[\"{name}\"]");
        let mut behind = line.split(&item).skip(1).map(str::trim_start);
        // What is assigned to is not read.
        let is_item = behind.any(|rest| !rest.starts_with('=') || rest.starts_with("=="));
        let calls = [format!("os.environ.get(\"{name}\""), format!("os.getenv(\"{name}\"")];
        is_item || calls.iter().any(|call| line.contains(call))
    };
    let is_read = |name: &str| {
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.any(|line| is_in(line, name))
    };
    application.variables.iter().map(|(name, _)| name).filter(|name| is_read(name)).cloned().collect()
}

fn interpreter(subject: &Subject) -> Vec<Finding> {
    let find = |(application, trial): (&Application, &Trial)| {
        let is_main = application.interpreter.as_deref() == Some("");
        let report = trial.report().filter(|_| !is_main)?;
        let Report { error, .. } = report;
        let name = application.entry.shown();
        let refusal = error
            .as_ref()
            .filter(|error| matches!(cause(error, report, subject, application), Cause::Interpreter));
        let finding = match refusal {
            Some(exception) => {
                Finding::error(format!("{name} has a module that cannot be imported in a sub-interpreter"))
                    .because(exception.line())
                    .detail(&report.output)
            }
            None => unsupported(&name, report)?,
        };
        Some(finding.at(application.place.as_ref()).remedy(
            "run it in the main interpreter: WSGIApplicationGroup %{GLOBAL} (--application-group), with a process group of its own",
        ))
    };
    subject.trials().filter_map(find).collect()
}

/// Returns the finding of modules that are imported in a sub-interpreter, and should not be.
fn unsupported(name: &str, report: &Report) -> Option<Finding> {
    let names: Vec<&str> = report.extensions.iter().map(|(name, _)| name.as_str()).collect();
    let Some((first, others)) = names.split_first() else {
        // Some packages only warn.
        let warning = report.output.lines().find(|line| is_of_interpreter(line))?;
        return Some(
            Finding::warning(format!(
                "{name} runs in a sub-interpreter, which a module of its does not support"
            ))
            .because(warning.trim())
            .detail(&report.output),
        );
    };
    let others = match others.len() {
        0 => String::new(),
        count => format!(" and {count} others ({})", others[..count.min(5)].join(", ")),
    };
    Some(
        Finding::warning(format!(
            "{name} runs in a sub-interpreter, and its extension module {first}{others} does not support that"
        ))
        .because(
            "such modules share their state between interpreters, or use that of the wrong one: they can deadlock or crash",
        ),
    )
}

fn authorization(subject: &Subject) -> Vec<Finding> {
    let find = |(application, trial): (&Application, &Trial)| {
        let reason = trial.report().filter(|_| !application.has_authorization)?.authorization.as_ref()?;
        Some(
            Finding::warning(format!("{} does not get the header Authorization", application.entry.shown()))
                .at(application.place.as_ref())
                .because(format!("WSGIPassAuthorization is off, and it seems to want the header: {reason}"))
                .remedy("set WSGIPassAuthorization On where the application is mounted"),
        )
    };
    subject.trials().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_wants_the_header_authorization_has_to_get_it() {
        let with = |has_authorization| {
            let mut subject = Subject::sample("/srv/app.wsgi");
            subject.applications[0].has_authorization = has_authorization;
            let reason = Some("the package knox is loaded".to_owned());
            authorization(&subject.with_reports(vec![Report { authorization: reason, ..Report::default() }]))
        };
        assert_eq!(with(true).len(), 0);
        let found = with(false);
        assert!(found.len() == 1 && found[0].why.ends_with("the package knox is loaded"), "{found:?}");
    }

    #[test]
    fn what_another_user_may_not_do_is_no_error() {
        let with = |kind: &str, uid: u32| {
            let error = Exception { kind: kind.to_owned(), ..Exception::default() };
            let mut subject = Subject::sample("/srv/app.wsgi");
            subject.groups[0].account = crate::account::Account::of_ids(uid, uid, None);
            let reports = vec![Report { error: Some(error), ..Report::default() }];
            import(&subject.with_reports(reports)).remove(0)
        };
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(with("PermissionError", own).severity, Severity::Error);
        if own == 0 {
            eprintln!("skipped: root can try everything");
            return;
        }
        let finding = with("PermissionError", 4_242_424);
        assert!(finding.severity == Severity::Warning && finding.why.contains("run the doctor as root"));
        assert_eq!(with("ValueError", 4_242_424).severity, Severity::Error);
    }

    #[test]
    fn what_to_do_depends_on_the_error() {
        let remedy = |kind: &str, text: &str| {
            let error = Exception {
                kind: kind.to_owned(),
                text: text.to_owned(),
                chain: vec![format!("{kind}: {text}")],
                ..Exception::default()
            };
            let reports = vec![Report { error: Some(error), ..Report::default() }];
            import(&Subject::sample("/srv/app.wsgi").with_reports(reports)).remove(0).remedy
        };
        for (kind, text, part) in [
            ("ImportError", "/x.so: failed to map segment from shared object", "noexec"),
            ("ImportError", "/x.so: undefined symbol: _PyLong_AsByteArrayO", "with the Python of the group"),
            ("ImportError", "libpq.so.5: cannot open shared object file", "install the library"),
            ("SyntaxError", "invalid syntax", "the version of Python"),
            ("ImproperlyConfigured", "you must define DJANGO_SETTINGS_MODULE", "before Django is imported"),
        ] {
            assert!(remedy(kind, text).contains(part), "{text}: {}", remedy(kind, text));
        }
    }
}
