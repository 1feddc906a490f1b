//! Directives: from the definitions of `wsgi_core` to Apache's table, and from a line to the settings.

use std::sync::Arc;

use httpd::{Allowed, DirectiveSpec, Directives, Level, Line, Regex, Then};
use wsgi_core::alias::{Captures, Pattern};
use wsgi_core::config::{Global, ServerConfig};
use wsgi_core::directive::{Context, DIRECTIVES as DEFINITIONS, Scope, Target};
use wsgi_core::notice::Severity;

use crate::Wsgi;

/// Apache's table; each directive has the index of its definition.
pub(crate) static DIRECTIVES: Directives<Wsgi, { DEFINITIONS.len() }> = Directives::new(specs());

/// Applies a line.
pub(crate) fn apply(index: usize, line: &mut Line<'_, Wsgi>) -> Result<Then, String> {
    let Some(directive) = DEFINITIONS.get(index) else {
        return Err(format!("Internal error: there is no directive {index}"));
    };
    let settings = &mut line.settings;
    let scope = match &settings.directory {
        Some(_) => Scope::Directory,
        None if settings.in_virtual_host => Scope::VirtualHost,
        None => Scope::Main,
    };
    // What stands in `.htaccess` can change nothing but its own section.
    let (mut no_global, mut no_server) = (Global::default(), ServerConfig::default());
    let (global, server) = match &mut settings.shared {
        Some((global, server)) => (&mut **global, &mut **server),
        None => (&mut no_global, &mut no_server),
    };
    let directory = settings.directory.as_deref_mut();
    let mut target = Target { scope, global, server, directory, compile: &compile };
    let notice = directive.apply(&mut target, line.arguments)?;
    if let Some(notice) = notice {
        let level = match notice.severity {
            Severity::Warning => Level::Warn,
            Severity::Info => Level::Info,
        };
        line.log(level, notice.text);
    }
    Ok(if directive.is_section() { Then::Section } else { Then::Done })
}

/// Ends the section that was opened last.
pub(crate) fn end_section(line: &mut Line<'_, Wsgi>) {
    if let Some((global, _)) = &mut line.settings.shared {
        global.close_container();
    }
}

const fn specs() -> [DirectiveSpec; DEFINITIONS.len()] {
    let mut specs = [DirectiveSpec { name: c"", help: c"", allowed: Allowed::Server }; DEFINITIONS.len()];
    let mut index = 0;
    while index < DEFINITIONS.len() {
        let definition = &DEFINITIONS[index];
        specs[index] = DirectiveSpec {
            name: definition.name,
            help: definition.help,
            allowed: match definition.context {
                Context::Global | Context::Server => Allowed::Server,
                Context::Directory => Allowed::ServerAndDirectory,
                Context::Anywhere => Allowed::FileInfo,
                Context::Authorization => Allowed::AuthConfig,
            },
        };
        index += 1;
    }
    specs
}

/// Apache's regular expressions, for `WSGIScriptAliasMatch`.
#[derive(Debug)]
struct Expression(Regex);

impl Pattern for Expression {
    fn captures(&self, subject: &[u8]) -> Option<Captures> {
        self.0.captures(subject)
    }
}

fn compile(source: &[u8]) -> Option<Arc<dyn Pattern>> {
    let source = std::ffi::CString::new(source).ok()?;
    Regex::new(&source).map(|regex| Arc::new(Expression(regex)) as Arc<dyn Pattern>)
}
