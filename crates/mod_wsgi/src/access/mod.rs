//! Scripts of the server's hooks: who may have what, and where a request goes. One file for each
//! question.
//!
//! Whatever fails, the answer is no: the request is refused.

pub(crate) mod client;
pub(crate) mod dispatch;
pub(crate) mod groups;
pub(crate) mod user;

use bridge::{Answer, Bytes, Cgi, Question, QuestionRoute, RequestFacts, Tag, Topic, flag};
use httpd::Request;
use wsgi_core::codes::{HOOK_OVERDUE, HOOK_TIMEOUT, PROCESS_GROUP_RESTRICTED};
use wsgi_core::config::{DirectoryConfig, Effective, Global, HookScript};
use wsgi_core::{groups as names, path_info};

use crate::expansion::Expansion;
use crate::request_facts::{FactsSource, Groups};
use crate::{Wsgi, checks, daemon, embedded, log, route};

/// Returns the script of a directive where the request is, if it is set there.
fn script<'r>(
    request: &'r Request,
    setting: impl FnOnce(&'r DirectoryConfig) -> Option<&'r HookScript>,
) -> Option<&'r HookScript> {
    request.directory::<Wsgi>().and_then(setting)
}

/// Asks a script that controls access to `request`; the arguments follow the environ.
fn ask_guard(request: &Request, script: &HookScript, topic: Topic, arguments: [Bytes<'_>; 2]) -> Answer {
    let (Some(server), Some(directory)) = (request.server().settings::<Wsgi>(), request.directory::<Wsgi>())
    else {
        return Answer::Failed;
    };
    let settings = Effective::new(server, directory);
    let uri = request.uri().unwrap_or_default();
    let (script_name, path_info) = path_info::split(uri, request.path_info().unwrap_or_default());
    let mut buffer = Vec::new();
    let application_group = application_group(request, script, &script_name, &mut buffer);
    let source = FactsSource::for_guard(request, &settings, &script.script, &script_name, &path_info);
    let mut facts = source.facts(Groups { process_group: &script.process_group, application_group });
    if request.connection().is_tls() {
        facts.flags |= flag::TLS;
    }
    ask(request, script, topic, facts, arguments, QuestionRoute::ABSENT)
}

/// Returns the application group of a script.
fn application_group<'b>(
    request: &Request,
    script: &'b HookScript,
    script_name: &[u8],
    buffer: &'b mut Vec<u8>,
) -> &'b [u8] {
    expand(request, &script.application_group, script_name, buffer)
}

/// Expands the name of a script's group.
fn expand<'b>(request: &Request, name: &'b [u8], script_name: &[u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
    let global = request.server().global::<Wsgi>();
    let is_case_sensitive = global.is_none_or(Global::case_sensitive);
    let expansion = Expansion { request, script_name, is_case_sensitive };
    names::script_group(Some(name), &expansion, buffer)
}

/// Asks a script, and logs if it does not answer in time.
fn ask(
    request: &Request,
    script: &HookScript,
    topic: Topic,
    facts: RequestFacts<'_>,
    arguments: [Bytes<'_>; 2],
    route: QuestionRoute<'_>,
) -> Answer {
    let question = Question {
        tag: Tag::of::<Question<'_>>(),
        facts,
        topic: topic as u32,
        time_limit: u32::try_from(script.time_limit.as_millis()).unwrap_or(u32::MAX),
        arguments,
        route,
    };
    let mut buffer = Vec::new();
    let answer = match expand(
        request,
        &script.process_group,
        question.facts.variable(Cgi::ScriptName).or_empty(),
        &mut buffer,
    ) {
        b"" => embedded::ask(request, &question),
        process_group => ask_process(request, script, process_group, question),
    };
    let (file, seconds) = (String::from_utf8_lossy(&script.script), script.time_limit.as_secs_f64());
    match answer {
        Answer::TimedOut => {
            let text = format_args!(
                "the script '{file}' has not answered within {seconds} s, and the request is refused. Look for what it \
                 waits for; timeout= of {} gives it more time",
                directive(topic)
            );
            log::message(request, HOOK_TIMEOUT, text);
        }
        Answer::Overdue => {
            let text = format_args!(
                "the script '{file}' is not asked, and the request is refused: too many calls of it have not returned \
                 within {seconds} s. Look for what it waits for"
            );
            log::message(request, HOOK_OVERDUE, text);
        }
        _ => {}
    }
    answer
}

/// Asks a script through a process of a group.
fn ask_process<'a>(
    request: &Request,
    script: &HookScript,
    process_group: &'a [u8],
    mut question: Question<'a>,
) -> Answer {
    let shown = String::from_utf8_lossy(process_group);
    if !route::settings(request).is_some_and(|settings| settings.permits_process_group(process_group)) {
        let text = format_args!(
            "WSGIRestrictProcess does not list the process group '{shown}' of the script '{}': add it",
            String::from_utf8_lossy(&script.script)
        );
        log::message(request, PROCESS_GROUP_RESTRICTED, text);
        return Answer::Failed;
    }
    let Ok(target) = daemon::target(request, process_group) else { return Answer::Failed };
    if let Some(owner) = target.script_owner()
        && let Err(refusal) = checks::check_owner(&script.script, owner)
    {
        if let Some((code, reason)) = refusal.reason {
            log::message(request, code, reason);
        }
        return Answer::Failed;
    }
    question.facts.process_group = Bytes::new(process_group);
    daemon::ask(&target, request, question)
}

const fn directive(topic: Topic) -> &'static str {
    match topic {
        Topic::Access => "WSGIAccessScript",
        Topic::Password | Topic::RealmHash => "WSGIAuthUserScript",
        Topic::Groups => "WSGIAuthGroupScript",
        Topic::Route => "WSGIDispatchScript",
    }
}
