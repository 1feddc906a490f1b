//! `WSGIDispatchScript`: where a request goes.

use std::borrow::Cow;

use bridge::{Answer, Bytes, Cgi, ChosenRoute, QuestionRoute, RequestFacts, Topic};
use httpd::Status;
use wsgi_core::config::{Callable, HookScript};
use wsgi_core::{groups, headers};

use super::ask;
use crate::expansion::Expansion;
use crate::request_facts::{FactsSource, Groups};

/// Asks the script where the request goes. Returns the names that it has chosen, expanded; none if
/// it cannot be loaded.
///
/// # Errors
/// The status to respond with. The reason is logged.
pub(crate) fn choose(
    expansion: &Expansion<'_>,
    script: &HookScript,
    source: &FactsSource<'_>,
    route: QuestionRoute<'_>,
) -> Result<ChosenRoute, Status> {
    let Expansion { request, script_name, .. } = *expansion;
    let mut buffer = Vec::new();
    let application_group = super::application_group(request, script, script_name, &mut buffer);
    let facts = || {
        let mut facts = source.facts(Groups { process_group: &script.process_group, application_group });
        facts.script = Bytes::new(&script.script);
        facts.script_mtime = 0;
        facts
    };
    match ask(request, script, Topic::Route, facts(), [Bytes::ABSENT; 2], route) {
        Answer::Route(chosen) => {
            Ok(expand(&chosen, &ChosenExpansion { configured: expansion, facts: &facts() }))
        }
        Answer::NotLoaded => Ok(ChosenRoute::default()),
        _ => Err(Status::Http(500)),
    }
}

fn expand(chosen: &ChosenRoute, expansion: &ChosenExpansion<'_>) -> ChosenRoute {
    let mut buffer = Vec::new();
    let mut expanded = |name: &Option<Vec<u8>>, expand: Expand| {
        name.as_deref().map(|name| expand(name, expansion, &mut buffer).to_vec())
    };
    ChosenRoute {
        process_group: expanded(&chosen.process_group, |name, expansion, buffer| {
            groups::process_group(Some(name), expansion, buffer)
        }),
        application_group: expanded(&chosen.application_group, |name, expansion, buffer| {
            groups::application_group(Some(name), expansion, buffer)
        }),
        callable_object: expanded(&chosen.callable_object, |name, expansion, buffer| {
            groups::callable(Callable::Expand(name), expansion, buffer)
        }),
    }
}

/// Expands a name, into the buffer if need be.
type Expand = for<'a> fn(&'a [u8], &ChosenExpansion<'_>, &'a mut Vec<u8>) -> &'a [u8];

/// The variables for the names that a script has chosen: those of configured names, and the CGI
/// variables.
struct ChosenExpansion<'a> {
    configured: &'a Expansion<'a>,
    facts: &'a RequestFacts<'a>,
}

impl groups::RequestVariables for ChosenExpansion<'_> {
    fn server_name(&self) -> &[u8] {
        self.configured.server_name()
    }

    fn host(&self) -> Option<&[u8]> {
        self.configured.host()
    }

    fn port(&self) -> u16 {
        self.configured.port()
    }

    fn script_name(&self) -> Cow<'_, [u8]> {
        self.configured.script_name()
    }

    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let is_wanted = |key: &[u8]| key.eq_ignore_ascii_case(name);
        let cgi = Cgi::ALL.iter().find(|variable| is_wanted(variable.key().as_bytes()));
        let mut key = Vec::new();
        let found = cgi.and_then(|variable| self.facts.variable(*variable).get()).or_else(|| {
            let field = self.facts.headers.as_slice().iter().find(|field| {
                headers::environ_key(field.name.or_empty(), &mut key);
                is_wanted(&key)
            });
            field.map(|field| field.value.or_empty())
        });
        found.map(Cow::Borrowed).or_else(|| self.configured.variable(name))
    }
}
