//! The command line as data, from which the manual pages and the completions of shells are made
//! (`examples/manuals.rs`).

use crate::cli;
use crate::doctor;
use crate::options;
use crate::spec::Spec;

/// A command that users see.
#[derive(Debug)]
pub struct Command {
    /// As it is typed.
    pub name: &'static str,
    /// One sentence.
    pub help: String,
    /// True if a script follows.
    pub takes_script: bool,
    /// Its options by topic; a command with few has one topic.
    pub topics: Vec<Topic>,
    /// Anything else there is to know.
    pub lists: Vec<List>,
}

/// A list of names with their meanings.
#[derive(Debug)]
pub struct List {
    /// Its heading.
    pub title: &'static str,
    /// Names and texts.
    pub entries: Vec<(&'static str, String)>,
}

/// Options that belong together.
#[derive(Debug)]
pub struct Topic {
    /// Its heading.
    pub title: &'static str,
    /// A text about all of them; may be empty.
    pub about: String,
    /// Those that users see.
    pub options: Vec<Choice>,
}

/// One option.
#[derive(Debug)]
pub struct Choice {
    /// With its dashes.
    pub name: &'static str,
    /// The names of its arguments, one for each.
    pub arguments: &'static [&'static str],
    /// True if each occurrence adds to the ones before.
    pub repeated: bool,
    /// One sentence, with the default.
    pub help: String,
    /// Further text; may be empty.
    pub note: String,
}

/// Returns the commands that users see, in the order of their names.
#[must_use]
pub fn commands() -> Vec<Command> {
    cli::shown()
        .map(|command| Command {
            name: command.name,
            help: plain(command.help),
            takes_script: command.takes_arguments,
            topics: topics(&(command.options)()),
            lists: if command.name == doctor::COMMAND { doctor_lists() } else { Vec::new() },
        })
        .collect()
}

fn doctor_lists() -> Vec<List> {
    let list = |(title, checks): (_, Vec<(_, &str)>)| List {
        title,
        entries: checks.into_iter().map(|(name, about)| (name, plain(about))).collect(),
    };
    doctor::descriptions().map(list).collect()
}

fn topics(options: &[&'static Spec]) -> Vec<Topic> {
    let server = options::server();
    let is_server = |option: &Spec| server.iter().any(|other| other.name == option.name);
    let is_complete = options.iter().filter(|option| is_server(option)).count() == server.len();
    let sections = options::SECTIONS.iter().filter(|_| is_complete);
    let own = options.iter().copied().filter(|option| !(is_complete && is_server(option)));
    let own: Vec<_> = own.collect();
    let own = (!own.is_empty()).then(|| topic("Options", String::new(), &own));
    own.into_iter()
        .chain(sections.map(|section| topic(section.title, plain(section.about), section.options)))
        .collect()
}

fn topic(title: &'static str, about: String, options: &[&'static Spec]) -> Topic {
    let shown = options.iter().filter(|spec| !spec.hidden);
    let choice = |spec: &&'static Spec| Choice {
        name: spec.name,
        arguments: spec.arguments,
        repeated: spec.repeated,
        help: plain(&spec.full_help()),
        note: plain(spec.note),
    };
    Topic { title, about, options: shown.map(choice).collect() }
}

/// Takes the marks of Markdown out of a text, and the targets of its links.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['`', '[', '\\']) {
        out.push_str(&rest[..at]);
        let mark = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        if mark == b'[' {
            match rest.split_once("](").and_then(|(words, tail)| Some((words, tail.split_once(')')?.1))) {
                Some((words, tail)) => {
                    out.push_str(&plain(words));
                    rest = tail;
                }
                None => out.push('['),
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_option_is_in_it_once() {
        let commands = commands();
        assert!(commands.is_sorted_by_key(|command| command.name));
        let start = commands.iter().find(|command| command.name == "start-server").unwrap();
        let names = start.topics.iter().flat_map(|topic| &topic.options).map(|option| option.name);
        let visible = options::server().into_iter().filter(|spec| !spec.hidden).map(|spec| spec.name);
        assert!(names.eq(visible));
        let config = commands.iter().find(|command| command.name == "module-config").unwrap();
        assert_eq!(config.topics.len(), 1);
    }

    #[test]
    fn marks_are_taken_out() {
        assert_eq!(plain("`a` and [b `c`](d.md#e), [f]"), "a and b c, [f]");
        for option in commands().iter().flat_map(|command| &command.topics).flat_map(|topic| &topic.options) {
            assert!(!option.help.contains('`') && !option.note.contains("]("), "{}", option.name);
        }
    }
}
