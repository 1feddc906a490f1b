//! Directives that say which code answers which URL, and where it runs.

use std::sync::Arc;

use super::arguments::{Options, non_empty};
use super::daemon::usable;
use super::{Context, Directive, Effect, Scope, Support, Target, hook_script};
use crate::alias::{Location, ScriptAlias};
use crate::config::{GracefulTermination, HandlerScript, ImportScript, NamedScript};
use crate::groups::Forms;
use crate::route::RouteOptions;
use crate::words::{Words, display};

pub(super) const SCRIPT_ALIAS: Directive = Directive {
    name: c"WSGIScriptAlias",
    context: Context::Server,
    in_container: false,
    arguments: "*url-path* *file* [*option*=*value* ...]",
    default: "",
    help: c"Map location to target WSGI script file.",
    doc: "\
Maps a URL path, and all below it, to a WSGI script file or to a directory of such files.

A slash of the URL path matches a run of slashes. The match must end at a path component: `/app` maps `/app` and `/app/x`, but \
not `/apple`. Aliases are tried in file order, those of a virtual host before those of the main server, and the first one \
that matches wins: list longer paths first. The rest of the URL is appended to *file*, which should be absolute.

| Option | Meaning |
|---|---|
| `process-group=` | overrides `WSGIProcessGroup` |
| `application-group=` | overrides `WSGIApplicationGroup` |
| `callable-object=` | overrides `WSGICallableObject`; taken literally |
| `pass-authorization=` | overrides `WSGIPassAuthorization` |

If both groups are given and neither depends on the request, the script is loaded when the process starts (those of a directory with their first request). The process group \
must then be defined above this line.",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| script_alias(target, line, false)),
};

pub(super) const SCRIPT_ALIAS_MATCH: Directive = Directive {
    name: c"WSGIScriptAliasMatch",
    context: Context::Server,
    in_container: false,
    arguments: "*regex* *file* [*option*=*value* ...]",
    default: "",
    help: c"Map location pattern to target WSGI script file.",
    doc: "\
Like `WSGIScriptAlias`, but with a regular expression. The expression may match anywhere in the path unless it is anchored with \
`^`. *file* replaces the path up to the end of the match; `$0` to `$9` in it stand for what the groups matched.",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| script_alias(target, line, true)),
};

pub(super) const HANDLER_SCRIPT: Directive = Directive {
    name: c"WSGIHandlerScript",
    context: Context::Directory,
    in_container: false,
    arguments: "*name* *file* [*option*=*value* ...]",
    default: "",
    help: c"Location of WSGI handler script file.",
    doc: "\
Makes *name* a handler that `SetHandler`, `AddHandler` and `Action` can select. Its requests go to the function \
`handle_request(environ, start_response)` of *file*. `SCRIPT_FILENAME` is the file that the URL maps to; it need not exist.

Options: `process-group=`, `application-group=` and `pass-authorization=`, as for `WSGIScriptAlias`; and those that make an \
application of the handler, for the URLs that no file answers to:

| Option | Meaning |
|---|---|
| `callable-object=` | the function to call instead of `handle_request`; taken literally |
| `url-path=` | `SCRIPT_NAME` is this path, and `PATH_INFO` the rest of the URL, as of an application that is mounted there |
| `module-name=` | the name of the script's module in `sys.modules`, instead of one that is computed from its path; not in `.htaccess` |",
    support: Support::Supported,
    effect: Effect::Raw(handler_script),
};

pub(super) const IMPORT_SCRIPT: Directive = Directive {
    name: c"WSGIImportScript",
    context: Context::Server,
    in_container: false,
    arguments: "*file* process-group=*name* application-group=*name*",
    default: "",
    help: c"Location of WSGI import script.",
    doc: "\
Loads a script when a process starts, before it serves requests. Both options are mandatory; `process-group=%{GLOBAL}` means \
the Apache children, `application-group=%{GLOBAL}` the main interpreter. Any other process group must be defined above this line. \
Scripts are loaded in file order. If a script fails, the error is logged and the process carries on.",
    support: Support::Supported,
    effect: Effect::Raw(import_script),
};

pub(super) const DISPATCH_SCRIPT: Directive = Directive {
    name: c"WSGIDispatchScript",
    context: Context::Directory,
    in_container: false,
    arguments: "*file* [*option*=*value* ...]",
    default: "",
    help: c"Location of WSGI dispatch script.",
    doc: "\
Names a script whose functions choose where a request goes: `process_group(environ)`, `application_group(environ)` and \
`callable_object(environ)`, each of which may be missing. The script runs in the Apache children, unless it has `process-group=`.

| Result | Effect |
|---|---|
| `None` | what is configured holds |
| text or bytes | this name holds, expanded like a configured one |
| anything else, or an exception | 500, and a line in the error log |

If the script cannot be loaded, what is configured holds. In `%{ENV:NAME}`, variables that come from the client (`HTTP_...`) are \
found, too. The options are those of [`WSGIAuthUserScript`](#wsgiauthuserscript).",
    support: Support::Supported,
    effect: Effect::Raw(|target, line| {
        let script = hook_script::parse(target, line, "dispatch script")?;
        target.global.names_group_by_request = true;
        target.settings().dispatch_script = Some(script);
        Ok(())
    }),
};

pub(super) const CALLABLE_OBJECT: Directive = Directive {
    name: c"WSGICallableObject",
    context: Context::Anywhere,
    in_container: false,
    arguments: "*name*",
    default: "application",
    help: c"Name of entry point in WSGI script file.",
    doc: "\
The name of the WSGI callable in the script. `%{ENV:NAME}` takes the name from a variable of the request (notes, `SetEnv` and \
the like) or of the server process; if there is no such variable, the name is `application`.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        target.warn_if_unexpanded(&format!("{} ", CALLABLE_OBJECT.text()), word, Forms::Callable);
        target.settings().callable_object = Some(word.into());
        Ok(())
    }),
};

pub(super) const APPLICATION_GROUP: Directive = Directive {
    name: c"WSGIApplicationGroup",
    context: Context::Directory,
    in_container: false,
    arguments: "*name*",
    default: "%{RESOURCE}",
    help: c"Application interpreter group.",
    doc: "\
The Python interpreter, inside the process, that runs the application. Interpreters of different names share no modules.

| Name | Interpreter |
|---|---|
| `%{GLOBAL}` | the main interpreter, which every extension module supports |
| `%{SERVER}` | one for each virtual host: its `ServerName`, and its port unless that is 80 or 443 |
| `%{HOST}` | the same, with the host that the request names |
| `%{RESOURCE}` | `%{SERVER}`, `\\|` and `SCRIPT_NAME`: one for each mount point |
| `%{ENV:NAME}` | the value of a variable of the request or of the server process |
| any other | the interpreter of that name |",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        target.warn_if_unexpanded(&format!("{} ", APPLICATION_GROUP.text()), word, Forms::Request);
        target.settings().application_group = Some(word.into());
        Ok(())
    }),
};

pub(super) const PROCESS_GROUP: Directive = Directive {
    name: c"WSGIProcessGroup",
    context: Context::Directory,
    in_container: false,
    arguments: "*name*",
    default: "%{GLOBAL}",
    help: c"Process group.",
    doc: "\
The processes that run the application.

| Name | Processes |
|---|---|
| `%{GLOBAL}` | the Apache children: embedded mode |
| `%{SERVER}`, `%{HOST}`, `%{RESOURCE}` | the group of that name, as for `WSGIApplicationGroup` |
| `%{ENV:NAME}` | the value of a variable of the request or of the server process |
| any other | the group of that name, which `WSGIDaemonProcess` defines |

The group is looked up when a request arrives. If the group does not exist, the request gets a 500.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        process_group(target, word);
        Ok(())
    }),
};

pub(super) const RESTRICT_EMBEDDED: Directive = Directive {
    name: c"WSGIRestrictEmbedded",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable use of embedded mode.",
    doc: "\
With `On`, the Apache children run no WSGI applications (such requests get a 500), and do not start Python unless \
`WSGIImportScript` with `process-group=%{GLOBAL}` needs it there.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| {
        target.global.restrict_embedded = Some(value);
        target.global.embedded_demanded |= !value;
    }),
};

pub(super) const GRACEFUL_TERMINATION: Directive = Directive {
    name: c"WSGIGracefulTermination",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off|Init",
    default: "Off",
    help: c"Enable/Disable a graceful stop on SIGTERM.",
    doc: "\
With `On`, the first `SIGTERM` that Apache's parent process gets is a graceful stop, as its `SIGWINCH` is: no new connections are \
taken, running requests may end, for as long as Apache's `GracefulShutdownTimeout` says. The second one stops the server at once. \
With `Init`, that is so where Apache is process 1, as in a container, which is stopped by this signal, or where it was started \
by a process 1 that is not the machine's, such as `tini`.

Without `GracefulShutdownTimeout`, a request that hangs keeps the server until the second signal. With it, Apache still waits up to ten \
seconds for children that do not end (worker and event), and a process group has its `shutdown-timeout`.

`apachectl stop` sends the same signal.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        target.global.graceful_termination = match word.to_ascii_lowercase().as_slice() {
            b"on" => GracefulTermination::On,
            b"off" => GracefulTermination::Off,
            b"init" => GracefulTermination::Init,
            _ => return Err(format!("{} must be one of: On | Off | Init", GRACEFUL_TERMINATION.text())),
        };
        Ok(())
    }),
};

const ALIAS_OPTIONS: Options = Options {
    of: "script alias",
    process_group: true,
    callable_object: true,
    pass_authorization: true,
    url_path: false,
    forms: Forms::Request,
};

const HANDLER_OPTIONS: Options = Options {
    of: "handler script",
    process_group: true,
    callable_object: true,
    pass_authorization: true,
    url_path: true,
    forms: Forms::Request,
};

const IMPORT_OPTIONS: Options = Options {
    of: "import script",
    process_group: true,
    callable_object: false,
    pass_authorization: false,
    url_path: false,
    forms: Forms::Global,
};

fn script_alias(target: &mut Target<'_>, line: &[u8], is_match: bool) -> Result<(), String> {
    let mut words = Words::new(line);
    let (Some(location), Some(file)) = (non_empty(&mut words), non_empty(&mut words)) else {
        let directive = if is_match { SCRIPT_ALIAS_MATCH } else { SCRIPT_ALIAS };
        let help = directive.help.to_string_lossy();
        return Err(format!("{} requires at least two arguments, {help}", directive.text()));
    };
    let options = ALIAS_OPTIONS.parse(&mut words, target)?;
    target.record_named_group(options.process_group.as_deref().unwrap_or_default());
    preload(target, &file, &options, is_match)?;
    target.global.mounts.mount(target.servers.host(), options.process_group.as_deref());
    let location = if is_match {
        let pattern = target
            .compile
            .compile(&location)
            .ok_or_else(|| format!("Regular expression could not be compiled: '{}'", display(&location)))?;
        Location::Match(pattern)
    } else {
        Location::Prefix(location.into())
    };
    target.server.aliases.push(Arc::new(ScriptAlias {
        location,
        target: file.into(),
        options,
        position: target.position.clone(),
    }));
    Ok(())
}

/// Queues the script for the start of its processes if the line says where it will run.
fn preload(
    target: &mut Target<'_>,
    file: &[u8],
    options: &RouteOptions,
    is_match: bool,
) -> Result<(), String> {
    let (Some(process_group), Some(application_group)) = (&options.process_group, &options.application_group)
    else {
        return Ok(());
    };
    let depends = |name: &[u8]| name.windows(2).any(|pair| pair == b"%{");
    if depends(process_group) || depends(application_group) || (is_match && file.contains(&b'$')) {
        return Ok(());
    }
    usable(target, process_group)?;
    // Below a directory, requests say which script it is.
    if file.ends_with(b"/") {
        return Ok(());
    }
    target.global.imports.push(ImportScript {
        script: file.into(),
        process_group: process_group.clone(),
        application_group: application_group.clone(),
        is_mounted: true,
    });
    Ok(())
}

fn handler_script(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let mut words = Words::new(line);
    let name = non_empty(&mut words).ok_or("Name for handler script not supplied")?;
    let script = non_empty(&mut words).ok_or("Location of handler script not supplied")?;
    let mut options = HANDLER_OPTIONS.parse(&mut words, target)?;
    target.record_named_group(options.process_group.as_deref().unwrap_or_default());
    options.callable_object.get_or_insert_with(|| b"handle_request"[..].into());
    target.global.mounts.mount(target.servers.host(), options.process_group.as_deref());
    if let Some(module) = &options.module_name {
        let named = NamedScript { script: script.as_ref().into(), module: module.clone() };
        target.global.named_scripts.push(named);
    }
    let handler = HandlerScript { name: name.into(), script: script.into(), options };
    let handlers = &mut target.settings().handlers;
    handlers.retain(|other| other.name != handler.name);
    handlers.push(Arc::new(handler));
    Ok(())
}

fn import_script(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let mut words = Words::new(line);
    let script = non_empty(&mut words).ok_or("Location of import script not supplied")?;
    let options = IMPORT_OPTIONS.parse(&mut words, target)?;
    let missing = |what: &str, key: &str| format!("Name of WSGI {what} required: add {key}=");
    let application_group =
        options.application_group.ok_or_else(|| missing("application group", "application-group"))?;
    let process_group = options.process_group.ok_or_else(|| missing("process group", "process-group"))?;
    usable(target, &process_group)?;
    target.global.embedded_demanded |= process_group.is_empty();
    target.global.imports.push(ImportScript {
        script: script.into(),
        process_group,
        application_group,
        is_mounted: false,
    });
    Ok(())
}

fn process_group(target: &mut Target<'_>, word: &[u8]) {
    target.warn_if_unexpanded(&format!("{} ", PROCESS_GROUP.text()), word, Forms::Request);
    target.record_named_group(word);
    let mounts = &mut target.global.mounts;
    match target.scope {
        Scope::Directory => mounts.section_group(word),
        Scope::Main | Scope::VirtualHost => mounts.server_group(target.servers.host(), word),
    }
    target.settings().process_group = Some(word.into());
}
