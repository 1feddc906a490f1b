//! The settings of an interpreter: `<WSGIInterpreterOptions>` sections over the server-level
//! directives (§10.9), and the order of `sys.path`.

use crate::codes::{
    FREE_THREADING_NOT_BUILT, OWN_GIL_TOO_NEW, OWN_GIL_WITHOUT_GIL, SWITCH_INTERVAL_OF_GROUP_WITHOUT_GIL,
    SWITCH_INTERVAL_OF_SERVER_WITHOUT_GIL, SWITCH_INTERVAL_SHARED, SWITCH_INTERVAL_WITHOUT_GIL,
};
use crate::diagnostic::Diagnostic;
use crate::python_home::Version;
use crate::script::InterpreterName;

/// One `<WSGIInterpreterOptions>` section, or (without selectors) the server-level directives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// Process group it applies to (empty: the Apache children); unset: any.
    pub process_group: Option<Box<[u8]>>,
    /// Application group it applies to (empty: the main interpreter); unset: any.
    pub application_group: Option<Box<[u8]>>,
    /// `WSGIPythonPath`.
    pub python_path: Option<Box<[u8]>>,
    /// `WSGISwitchInterval`, in seconds.
    pub switch_interval: Option<f64>,
    /// `switch-interval=` of a process group, which goes before `WSGISwitchInterval` of the server.
    pub group_switch_interval: Option<f64>,
    /// `WSGIPerInterpreterGIL`.
    pub per_interpreter_gil: Option<bool>,
    /// `WSGIFreeThreading`.
    pub free_threading: Option<bool>,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Option<bool>,
}

impl Block {
    fn matches(&self, place: &InterpreterName<'_>) -> bool {
        let selects =
            |selector: &Option<Box<[u8]>>, name: &[u8]| selector.as_deref().is_none_or(|s| s == name);
        selects(&self.process_group, place.process_group)
            && selects(&self.application_group, place.application_group)
    }

    fn specificity(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }
}

/// The settings of one interpreter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings<'a> {
    /// Values of `WSGIPythonPath`, in the order in which they are added; each goes before the
    /// earlier ones.
    pub python_path: Vec<&'a [u8]>,
    /// For `sys.setswitchinterval`, in seconds.
    pub switch_interval: Option<f64>,
    /// The interpreter gets a GIL of its own.
    pub own_gil: bool,
    /// `sys.stdin` may not be used.
    pub restrict_stdin: bool,
    /// `sys.stdout` may not be used.
    pub restrict_stdout: bool,
    /// `signal.signal` registers nothing.
    pub restrict_signal: bool,
    /// Settings that could not be applied as configured.
    pub diagnostics: Vec<Diagnostic>,
}

/// Returns the settings of the interpreter at `place`, with a Python of this version. `blocks` are
/// the server-level directives, then the sections in file order.
#[must_use]
pub fn settings<'a>(
    blocks: impl Iterator<Item = &'a Block> + Clone,
    place: &InterpreterName<'_>,
    version: Version,
) -> Settings<'a> {
    let free = is_free_threaded(blocks.clone(), place.process_group, version);
    let mut matching: Vec<_> = blocks.filter(|block| block.matches(place)).collect();
    // Stable: file order within a level. Whoever sets something last wins.
    matching.sort_by_key(|block| block.specificity());
    let flag = |of: fn(&Block) -> Option<bool>| matching.iter().rev().find_map(|block| of(block));
    let is_main = place.application_group.is_empty();
    let wants_own_gil = flag(|block| block.per_interpreter_gil).unwrap_or(false) && !is_main;
    let mut settings = Settings {
        python_path: matching.iter().filter_map(|block| block.python_path.as_deref()).collect(),
        switch_interval: None,
        own_gil: wants_own_gil && version.has_own_gils() && !free,
        restrict_stdin: flag(|block| block.restrict_stdin).unwrap_or(false),
        restrict_stdout: flag(|block| block.restrict_stdout).unwrap_or(false),
        restrict_signal: flag(|block| block.restrict_signal).unwrap_or(true),
        diagnostics: Vec::new(),
    };
    if wants_own_gil && free {
        settings.diagnostics.push(Diagnostic::warning(format!(
            "{OWN_GIL_WITHOUT_GIL}: WSGIPerInterpreterGIL has no effect on the {place}: the process runs without a GIL \
             (WSGIFreeThreading)"
        )));
    }
    let interval_of = |block: &Block| block.group_switch_interval.or(block.switch_interval);
    let interval = matching.iter().rev().find_map(|block| interval_of(block).map(|value| (*block, value)));
    if let Some((block, seconds)) = interval {
        if free {
            let is_of_server = block.specificity() == 0 && place.process_group.is_empty();
            let (code, option) = match block.group_switch_interval {
                Some(_) => (SWITCH_INTERVAL_OF_GROUP_WITHOUT_GIL, "switch-interval="),
                None if is_of_server => (SWITCH_INTERVAL_OF_SERVER_WITHOUT_GIL, "WSGISwitchInterval "),
                None => (SWITCH_INTERVAL_WITHOUT_GIL, "WSGISwitchInterval "),
            };
            settings.diagnostics.push(Diagnostic::warning(format!(
                "{code}: {option}{seconds} has no effect on the {place}: the process runs without a GIL (WSGIFreeThreading)"
            )));
        } else if block.application_group.is_some() && !is_main && !settings.own_gil {
            settings.diagnostics.push(Diagnostic::warning(format!(
                "{SWITCH_INTERVAL_SHARED}: WSGISwitchInterval {seconds} has no effect on the {place}, which shares its GIL: set it \
                 outside of sections with application-group=, or add WSGIPerInterpreterGIL On"
            )));
        } else {
            settings.switch_interval = Some(seconds);
        }
    }
    settings
}

/// Returns whether a process runs without a GIL. Only a free-threaded build can.
#[must_use]
pub fn is_free_threaded<'a>(
    blocks: impl Iterator<Item = &'a Block>,
    process_group: &[u8],
    version: Version,
) -> bool {
    let mut decision = (0, false);
    for block in blocks.filter(|block| block.application_group.is_none()) {
        let selects = block.process_group.as_deref().is_none_or(|name| name == process_group);
        if let Some(value) = block.free_threading.filter(|_| selects && block.specificity() >= decision.0) {
            decision = (block.specificity(), value);
        }
    }
    decision.1 && version.free_threaded
}

/// Returns diagnostics of settings that a Python of this version cannot honour; they are logged
/// once per process.
#[must_use]
pub fn version_diagnostics<'a>(
    blocks: impl Iterator<Item = &'a Block> + Clone,
    version: Version,
) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let own_gil = blocks.clone().any(|block| block.per_interpreter_gil == Some(true));
    if own_gil && !version.has_own_gils() {
        diagnostics.push(Diagnostic::warning(format!(
            "{OWN_GIL_TOO_NEW}: WSGIPerInterpreterGIL has no effect with Python {version}: it needs Python 3.12 or later"
        )));
    }
    let free = blocks.clone().any(|block| block.free_threading == Some(true));
    if free && !version.free_threaded {
        diagnostics.push(Diagnostic::warning(format!(
            "{FREE_THREADING_NOT_BUILT}: WSGIFreeThreading has no effect with Python {version}, which is not a \
             free-threaded build; those are not supported yet (3.14t will be the first): leave the directive out"
        )));
    }
    diagnostics
}

/// Returns the directories of a `WSGIPythonPath`. Empty entries are left out: Python would take
/// them for the current directory.
pub fn path_entries(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b':').filter(|entry| !entry.is_empty())
}

/// Returns `sys.path` after directories have been added to it: the entries of `after` that were not
/// there `before` come first, all in their order.
#[must_use]
pub fn hoisted<T: PartialEq>(before: &[T], after: Vec<T>) -> Vec<T> {
    let (mut path, rest): (Vec<_>, Vec<_>) = after.into_iter().partition(|entry| !before.contains(entry));
    path.extend(rest);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { minor: 11, free_threaded: false };
    const NEW: Version = Version { minor: 13, free_threaded: false };
    const FREE: Version = Version { minor: 13, free_threaded: true };

    fn block(process_group: Option<&str>, application_group: Option<&str>) -> Block {
        let name = |name: &str| name.as_bytes().into();
        Block {
            process_group: process_group.map(name),
            application_group: application_group.map(name),
            ..Block::default()
        }
    }

    fn place<'a>(process_group: &'a str, application_group: &'a str) -> InterpreterName<'a> {
        InterpreterName {
            process_group: process_group.as_bytes(),
            application_group: application_group.as_bytes(),
        }
    }

    fn codes(diagnostics: &[Diagnostic]) -> Vec<&str> {
        diagnostics.iter().map(|diagnostic| &diagnostic.what[..8]).collect()
    }

    #[test]
    fn defaults() {
        let blocks = [Block::default()];
        let settings = settings(blocks.iter(), &place("", "x"), NEW);
        assert!(!settings.own_gil && !settings.restrict_stdin && !settings.restrict_stdout);
        assert!(
            settings.restrict_signal && settings.python_path.is_empty() && settings.diagnostics.is_empty()
        );
        assert_eq!(settings.switch_interval, None);
    }

    #[test]
    fn the_most_specific_block_wins_then_the_last() {
        let stdout = |value, block: Block| Block { restrict_stdout: Some(value), ..block };
        let blocks = [
            Block { restrict_stdin: Some(true), ..stdout(true, block(None, None)) },
            stdout(false, block(Some("g"), Some("a"))),
            stdout(true, block(Some("g"), None)),
            stdout(false, block(None, Some("b"))),
            stdout(true, block(None, Some("b"))),
            stdout(false, block(None, None)),
        ];
        let restricted = |process, application| {
            let settings = settings(blocks.iter(), &place(process, application), NEW);
            assert!(settings.restrict_stdin, "each setting by itself");
            settings.restrict_stdout
        };
        assert!(!restricted("g", "a"), "two selectors");
        assert!(restricted("g", "x"), "one selector");
        assert!(restricted("", "b"), "the later of two");
        assert!(!restricted("", "x"), "a section without selectors is later than the server level");
    }

    #[test]
    fn empty_selectors_are_names() {
        let blocks = [
            Block { restrict_signal: Some(false), ..block(Some(""), None) },
            Block { restrict_stdin: Some(true), ..block(None, Some("")) },
        ];
        let embedded = settings(blocks.iter(), &place("", "x"), NEW);
        assert!(!embedded.restrict_signal && !embedded.restrict_stdin);
        let daemon = settings(blocks.iter(), &place("g", ""), NEW);
        assert!(daemon.restrict_signal && daemon.restrict_stdin);
    }

    #[test]
    fn paths_add_up_from_the_least_specific() {
        let path = |path: &str, block: Block| Block { python_path: Some(path.as_bytes().into()), ..block };
        let blocks = [
            path("/top", block(None, None)),
            path("/both", block(Some("g"), Some("a"))),
            path("/a", block(None, Some("a"))),
            path("/other", block(None, Some("other"))),
            path("/g", block(Some("g"), None)),
            path("/any", block(None, None)),
        ];
        let settings = settings(blocks.iter(), &place("g", "a"), NEW);
        let paths: Vec<_> = settings.python_path.iter().map(|path| String::from_utf8_lossy(path)).collect();
        assert_eq!(paths, ["/top", "/any", "/a", "/g", "/both"]);
    }

    #[test]
    fn an_own_gil_needs_a_sub_interpreter_and_a_recent_python() {
        let blocks = [Block { per_interpreter_gil: Some(true), ..Block::default() }];
        let own = |place: InterpreterName<'_>, version| settings(blocks.iter(), &place, version).own_gil;
        assert!(
            own(place("", "x"), NEW) && own(place("", "x"), FREE),
            "a build without GIL uses it by default"
        );
        assert!(!own(place("", ""), NEW) && !own(place("", "x"), OLD));
        assert_eq!(codes(&version_diagnostics(blocks.iter(), OLD)), ["WSGI0198"]);
        assert!(version_diagnostics(blocks.iter(), NEW).is_empty());
    }

    #[test]
    fn free_threading_is_decided_for_the_process() {
        let free = |value, block: Block| Block { free_threading: Some(value), ..block };
        let blocks = [
            free(true, block(None, None)),
            free(false, block(Some("g"), None)),
            free(true, block(None, None)),
            free(true, block(Some("g"), Some("a"))),
        ];
        assert!(is_free_threaded(blocks.iter(), b"", FREE));
        assert!(!is_free_threaded(blocks.iter(), b"g", FREE));
        assert!(!is_free_threaded(blocks.iter(), b"", NEW), "without effect on other builds");
        assert_eq!(codes(&version_diagnostics(blocks.iter(), NEW)), ["WSGI0200"]);
        assert!(version_diagnostics(blocks.iter(), FREE).is_empty());
    }

    #[test]
    fn without_a_gil_its_settings_are_skipped() {
        let top = Block {
            free_threading: Some(true),
            per_interpreter_gil: Some(true),
            switch_interval: Some(0.1),
            ..Block::default()
        };
        let with = |version| settings([&top].into_iter(), &place("", "x"), version);
        let free = with(FREE);
        assert_eq!(codes(&free.diagnostics), ["WSGI0202", "WSGI0203"]);
        assert!(!free.own_gil && free.switch_interval.is_none());
        let usual = with(NEW);
        assert!(usual.own_gil && usual.diagnostics.is_empty(), "{usual:?}");
        assert_eq!(usual.switch_interval, Some(0.1));

        let section = Block { free_threading: Some(true), ..top.clone() };
        let section = Block { process_group: Some(b"g".as_slice().into()), ..section };
        let of_group = Block { group_switch_interval: Some(0.2), ..top.clone() };
        for (blocks, code) in
            [(vec![&top, &section], "WSGI0205"), (vec![&top], "WSGI0205"), (vec![&of_group], "WSGI0204")]
        {
            let of = |version| settings(blocks.iter().copied(), &place("g", ""), version);
            assert_eq!(codes(&of(FREE).diagnostics), [code]);
        }
        let of_group = settings([&of_group].into_iter(), &place("g", ""), NEW);
        assert_eq!(of_group.switch_interval, Some(0.2));
    }

    #[test]
    fn a_switch_interval_for_one_interpreter_needs_its_own_gil() {
        let interval = |seconds, block: Block| Block { switch_interval: Some(seconds), ..block };
        let blocks = [
            interval(0.5, Block::default()),
            interval(0.1, block(None, Some("a"))),
            interval(0.2, Block { per_interpreter_gil: Some(true), ..block(None, Some("own")) }),
            interval(0.3, block(None, Some(""))),
        ];
        let of = |group| settings(blocks.iter(), &place("", group), NEW);
        assert_eq!((of("a").switch_interval, codes(&of("a").diagnostics)), (None, vec!["WSGI0199"]));
        assert_eq!(of("own").switch_interval, Some(0.2));
        assert_eq!(of("").switch_interval, Some(0.3));
        assert_eq!(of("x").switch_interval, Some(0.5));
    }

    #[test]
    fn new_entries_go_to_the_front() {
        assert_eq!(hoisted(&["a", "b"], vec!["a", "b", "x", "y"]), ["x", "y", "a", "b"]);
        assert_eq!(hoisted(&["a", "b"], vec!["b", "x", "a"]), ["x", "b", "a"]);
        assert_eq!(hoisted(&["a"], vec!["a"]), ["a"]);
        assert_eq!(path_entries(b"/a::/b:").collect::<Vec<_>>(), [b"/a", b"/b"]);
    }
}
