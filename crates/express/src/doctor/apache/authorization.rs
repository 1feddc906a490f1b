//! Access to files, as far as `Require` grants or denies it to everybody.

use wsgi_core::diagnostic::Position;

use super::line::Line;
use super::section::Section;

/// The access to a file by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody gets it.
    Denied {
        /// The line that says so.
        position: Position,
        /// It is a directive of Apache 2.2 (`Deny from all`).
        is_old: bool,
        /// It is meant for all directories that nothing else is said of.
        is_default: bool,
    },
    /// Everybody does, or somebody: those of an address, or with a password.
    Open,
}

/// Returns what `sections`, in the order in which they are merged, say.
pub(crate) fn access(sections: &[&Section]) -> Access {
    let mut access = Access::Open;
    let mut old = Access::Open;
    // Whom the words of Apache 2.2 let in then is asked nothing else.
    let satisfy = sections.iter().flat_map(|section| &section.lines).rfind(|line| line.is("Satisfy"));
    if satisfy.and_then(|line| line.text(0)).is_some_and(|word| word.eq_ignore_ascii_case("any")) {
        return Access::Open;
    }
    for section in sections {
        let denied = |position: &Position, is_old| Access::Denied {
            position: position.clone(),
            is_old,
            is_default: section.is_root(),
        };
        let rules: Vec<&Line> = section.lines.iter().filter(|line| is_rule(line)).collect();
        if let Some(first) = rules.first() {
            let own = any(rules.iter().copied());
            // Without AuthMerging, the inner section has the word.
            access = match (merging(section), own, &access) {
                (Merging::Or, Verdict::Denied, outer) => outer.clone(),
                (Merging::And, _, outer @ Access::Denied { .. }) => outer.clone(),
                (_, Verdict::Denied, _) => denied(&first.position, false),
                _ => Access::Open,
            };
        }
        if let Some(position) = old_denial(section) {
            old = position.map_or(Access::Open, |position| denied(position, true));
        }
    }
    if access == Access::Open { old } else { access }
}

/// Returns the line of Apache 2.2 in a section that lets others in, where the section has no word of
/// Apache 2.4 about that.
pub(crate) fn old_permission(section: &Section) -> Option<&Line> {
    let is_permission =
        |line: &&Line| line.is("Allow") && line.text(1).is_some_and(|who| who.eq_ignore_ascii_case("all"));
    if section.lines.iter().any(is_rule) { None } else { section.lines.iter().find(is_permission) }
}

enum Merging {
    Off,
    And,
    Or,
}

fn merging(section: &Section) -> Merging {
    let value = section.lines.iter().rfind(|line| line.is("AuthMerging")).and_then(|line| line.text(0));
    match value.map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("and") => Merging::And,
        Some("or") => Merging::Or,
        _ => Merging::Off,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Granted,
    Denied,
    /// It depends on the request.
    Open,
}

fn is_rule(line: &Line) -> bool {
    ["Require", "<RequireAny", "<RequireAll", "<RequireNone", "<Limit", "<LimitExcept"]
        .iter()
        .any(|name| line.is(name))
}

fn any<'l>(lines: impl Iterator<Item = &'l Line>) -> Verdict {
    let mut verdict = Verdict::Denied;
    for line in lines.filter(|line| is_rule(line)) {
        match of(line) {
            Verdict::Granted => return Verdict::Granted,
            Verdict::Open => verdict = Verdict::Open,
            Verdict::Denied => {}
        }
    }
    verdict
}

fn all<'l>(lines: impl Iterator<Item = &'l Line>) -> Verdict {
    let mut verdict = Verdict::Granted;
    for line in lines.filter(|line| is_rule(line)) {
        match of(line) {
            Verdict::Denied => return Verdict::Denied,
            Verdict::Open => verdict = Verdict::Open,
            Verdict::Granted => {}
        }
    }
    verdict
}

fn of(line: &Line) -> Verdict {
    match line.name.to_ascii_lowercase().as_str() {
        "<requireany" => any(line.children.iter()),
        "<requireall" => all(line.children.iter()),
        "require" => {
            let word = |number| line.text(number).unwrap_or_default().to_ascii_lowercase();
            match (word(0).as_str(), word(1).as_str()) {
                ("all", "granted") => Verdict::Granted,
                ("all", "denied") => Verdict::Denied,
                _ => Verdict::Open,
            }
        }
        _ => Verdict::Open,
    }
}

/// Returns the line of Apache 2.2 that denies all (`Some(None)`: they let somebody in); `None`: there
/// is none of these.
fn old_denial(section: &Section) -> Option<Option<&Position>> {
    let find = |name: &str| section.lines.iter().rfind(|line| line.is(name));
    let from_all = |line: &Line| line.text(1).is_some_and(|who| who.eq_ignore_ascii_case("all"));
    let (order, allow, deny) = (find("Order"), find("Allow"), find("Deny"));
    if section.lines.iter().any(|line| line.is("Satisfy")) {
        return Some(None);
    }
    let is_allow_first = order
        .and_then(|line| line.text(0))
        .is_some_and(|word| word.to_ascii_lowercase().starts_with("allow"));
    match (order, allow, deny) {
        (None, None, None) => None,
        (_, _, Some(deny)) if from_all(deny) && (is_allow_first || allow.is_none()) => {
            Some(Some(&deny.position))
        }
        (Some(order), None, _) if is_allow_first => Some(Some(&order.position)),
        _ => Some(None),
    }
}
