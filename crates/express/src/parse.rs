//! Reads a command line as the contract's users are used to: unambiguous prefixes, options that
//! take two arguments, integers in four notations, and the error texts of Python's optparse. None
//! of the command line libraries does these.

use std::collections::BTreeMap;

use wsgi_core::nearest::nearest;
use wsgi_core::quantity::{Count, Duration, Size};

use crate::failure::Failure;
use crate::spec::{Kind, Spec};

/// The options and arguments of a command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    values: BTreeMap<&'static str, Vec<Vec<String>>>,
    /// The arguments that are neither options nor theirs.
    pub(crate) positional: Vec<String>,
    /// Help was asked for; nothing else counts.
    pub(crate) help: bool,
    /// Texts about what was read in a way that may surprise.
    pub(crate) warnings: Vec<String>,
}

impl Parsed {
    /// Returns whether the option was given.
    pub(crate) fn has(&self, spec: &Spec) -> bool {
        self.values.contains_key(spec.name)
    }

    /// The argument of an option; the last one if it was repeated.
    pub(crate) fn text(&self, spec: &Spec) -> Option<&str> {
        self.all(spec).last().and_then(|arguments| arguments.first()).map(String::as_str)
    }

    /// The number given to an option; the last one if it was repeated.
    pub(crate) fn integer(&self, spec: &Spec) -> Option<i64> {
        self.text(spec).and_then(|text| number(spec.kind, text).ok())
    }

    /// The least of the range given to an option, `None` if that is one number; the last one if it
    /// was repeated.
    pub(crate) fn least(&self, spec: &Spec) -> Option<i64> {
        self.text(spec).and_then(range).map(|(least, _)| least)
    }

    /// The decimal number given to an option; the last one if it was repeated.
    pub(crate) fn float(&self, spec: &Spec) -> Option<f64> {
        self.text(spec).and_then(|text| text.trim().parse().ok())
    }

    /// Gives an option these arguments, unless it was given others.
    pub(crate) fn assume(&mut self, spec: &Spec, arguments: &[&str]) {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.values.entry(spec.name).or_insert_with(|| vec![arguments]);
    }

    /// Gives an option this argument, whatever it was given.
    pub(crate) fn replace(&mut self, spec: &Spec, argument: String) {
        self.values.insert(spec.name, vec![vec![argument]]);
    }

    /// The arguments of each occurrence of an option.
    pub(crate) fn all(&self, spec: &Spec) -> &[Vec<String>] {
        self.values.get(spec.name).map_or(&[], Vec::as_slice)
    }
}

/// Reads `arguments` by the definitions in `specs`.
///
/// # Errors
/// The mistakes of a command line, one line each.
pub(crate) fn parse(specs: &[&'static Spec], arguments: Vec<String>) -> Result<Parsed, Failure> {
    let mut parsed = Parsed::default();
    let mut problems = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            parsed.positional.extend(rest);
            break;
        }
        if !argument.starts_with('-') || argument == "-" {
            parsed.positional.push(argument);
            continue;
        }
        if argument == "-h" {
            parsed.help = true;
            return Ok(parsed);
        }
        if !argument.starts_with("--") {
            let short: String = argument.chars().take(2).collect();
            problems.push(format!("no such option: {short}"));
            continue;
        }

        let (name, mut attached) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let spec = match find(specs, name) {
            Ok(Some(spec)) => spec,
            Ok(None) => {
                parsed.help = true;
                return Ok(parsed);
            }
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if spec.arguments.is_empty() && attached.is_some() {
            problems.push(format!("{} option does not take a value", spec.name));
            continue;
        }
        let mut values = Vec::new();
        values.extend(attached.take());
        values.extend(rest.by_ref().take(spec.arguments.len() - values.len()));
        if values.len() < spec.arguments.len() {
            problems.push(missing(spec));
            break;
        }
        if let Err(problem) = check(spec, &values, &mut parsed.warnings) {
            problems.push(problem);
        }
        parsed.values.entry(spec.name).or_default().push(values);
    }
    problems.extend(specs.iter().filter_map(|spec| out_of_range(spec, &parsed)));
    if problems.is_empty() { Ok(parsed) } else { Err(Failure::usage(problems.join("\n"))) }
}

/// Replaces `$NAME` and `${NAME}` by what `variable` knows; unknown names stay as they are.
pub(crate) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = if let Some(braced) = after.strip_prefix('{') {
            braced.find('}').map_or(("", 0), |end| (&braced[..end], end + 2))
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            (&after[..end], end)
        };
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    expanded
}

/// The option that `name` is or begins; nothing for `--help`.
fn find(specs: &[&'static Spec], name: &str) -> Result<Option<&'static Spec>, String> {
    const HELP: &str = "--help";
    if name == HELP {
        return Ok(None);
    }
    if let Some(spec) = specs.iter().find(|spec| spec.name == name) {
        return Ok(Some(spec));
    }
    let mut candidates: Vec<&str> =
        specs.iter().map(|spec| spec.name).chain([HELP]).filter(|known| known.starts_with(name)).collect();
    candidates.sort_unstable();
    match candidates[..] {
        [] => {
            let meant = nearest(name.as_bytes(), specs.iter().map(|spec| spec.name));
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            Err(format!("no such option: {name}{meant}"))
        }
        [HELP] => Ok(None),
        [only] => Ok(specs.iter().copied().find(|spec| spec.name == only)),
        _ => Err(format!("ambiguous option: {name} ({}?)", candidates.join(", "))),
    }
}

/// The names of arguments that are paths.
const PATHS: [&str; 5] = ["FILE", "DIRECTORY", "FILE-OR-DIRECTORY", "SCRIPT", "PREFIX"];

/// Further options whose argument cannot be empty.
const NEVER_EMPTY: [&str; 6] =
    ["--application-group", "--callable-object", "--group", "--host", "--python-warnings", "--user"];

fn check(spec: &Spec, values: &[String], warnings: &mut Vec<String>) -> Result<(), String> {
    let name = spec.name;
    for (argument, value) in spec.arguments.iter().zip(values) {
        // Levels are words, however they are set apart.
        if name != "--log-level" && value.chars().any(char::is_control) {
            return Err(format!(
                "option {name}: '{}' contains a control character, which an Apache configuration cannot hold",
                value.escape_debug()
            ));
        }
        if NEVER_EMPTY.contains(&name) && value.trim().is_empty() {
            return Err(format!(
                "option {name}: its argument is empty, as that of a variable that is not set"
            ));
        }
        if PATHS.contains(argument) && value.trim().is_empty() {
            return Err(format!(
                "option {name}: the name of the {} is empty, as that of a variable that is not set",
                argument.to_lowercase().replace('-', " ")
            ));
        }
        match spec.kind {
            Kind::Flag | Kind::Text => {}
            Kind::Integer | Kind::Range | Kind::Count | Kind::Seconds | Kind::Milliseconds | Kind::Bytes => {
                let number = number(spec.kind, value)
                    .map_err(|reason| format!("option {name}: {reason}: '{value}'"))?;
                if is_octal(value) {
                    warnings.push(format!(
                        "{name} {value} is octal for {number}; drop the leading zero if you mean it"
                    ));
                }
            }
            Kind::Float if value.trim().parse::<f64>().is_ok() => {}
            Kind::Float => {
                return Err(format!("option {name}: invalid floating-point value: '{value}'"));
            }
        }
    }
    Ok(())
}

/// Returns a text if the number that counts is out of range.
fn out_of_range(spec: &Spec, parsed: &Parsed) -> Option<String> {
    let (least, most) = spec.range;
    if matches!(spec.kind, Kind::Flag | Kind::Text | Kind::Float) {
        return None;
    }
    let value = parsed.integer(spec).filter(|value| !(least..=most).contains(value))?;
    Some(format!("option {}: {value} is not in the range {least} to {most}", spec.name))
}

fn missing(spec: &Spec) -> String {
    let count = spec.arguments.len();
    format!("{} option requires {count} argument{}", spec.name, if count == 1 { "" } else { "s" })
}

/// The number that `text` writes, as an option of this kind takes it.
///
/// # Errors
/// It is none; the text says of what kind.
fn number(kind: Kind, text: &str) -> Result<i64, String> {
    if let Some(number) = integer(text) {
        return Ok(number);
    }
    let (number, expected) = match kind {
        Kind::Range => {
            let most = range(text).map(|(_, most)| most.cast_unsigned());
            (most.ok_or_else(String::new), "an integer, or the least and the most, as in 0-5")
        }
        Kind::Count => (Count::ANY.read(text.as_bytes()), "1000, 10k or 2M"),
        Kind::Seconds => {
            (Duration::WHOLE_SECONDS.read(text.as_bytes()), "whole seconds, as in 90, 90s, 5m or 2h")
        }
        Kind::Milliseconds => {
            (Duration::MILLISECONDS.read(text.as_bytes()), "milliseconds, as in 500, 500ms or 2s")
        }
        Kind::Bytes => (Size::zero_or(0).read(text.as_bytes()), "bytes, as in 65536, 64K, 512M or 2G"),
        Kind::Integer | Kind::Flag | Kind::Text | Kind::Float => {
            return Err("invalid integer value".to_owned());
        }
    };
    let number = number.ok().and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| format!("invalid value (it must be {expected})"))
}

/// The least and the most that `text` writes, with a dash in between.
fn range(text: &str) -> Option<(i64, i64)> {
    let (least, most) = text.trim().split_once('-')?;
    let (least, most) = (integer(least)?, integer(most)?);
    (0 <= least && least <= most).then_some((least, most))
}

/// The number that `text` writes: decimal, `0x`, `0b`, or octal with a leading zero.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0b") => (&lower[2..], 2),
        _ if is_octal(&lower) => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

fn is_octal(text: &str) -> bool {
    let digits = text.trim().trim_start_matches(['+', '-']);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files, general, options};

    fn read(arguments: &[&str]) -> Result<Parsed, Failure> {
        parse(&options::server(), arguments.iter().map(|&argument| argument.to_owned()).collect())
    }

    fn refusal(arguments: &[&str]) -> String {
        match read(arguments) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn options_and_positional_arguments_interleave() {
        let parsed =
            read(&["--port=81", "app.wsgi", "--log-to", "--url-alias", "/s", "/srv", "--", "--port"])
                .unwrap();
        assert_eq!(parsed.integer(&general::PORT), Some(81));
        assert!(parsed.has(&crate::logs::LOG_TO_TERMINAL));
        assert_eq!(parsed.all(&files::URL_ALIAS), [["/s", "/srv"]]);
        assert_eq!(parsed.positional, ["app.wsgi", "--port"]);
    }

    #[test]
    fn arguments_that_cannot_be_meant_are_refused_with_their_option() {
        for option in ["--document-root", "--python-path", "--pid-file", "--application-group"] {
            let text = refusal(&[option, "a\nb"]);
            assert!(text.contains(&format!("option {option}: 'a\\nb' contains a control")), "{text}");
            let text = refusal(&[option, ""]);
            assert!(text.contains(&format!("option {option}: ")) && text.contains("is empty"), "{text}");
        }
        assert!(refusal(&["--host", " "]).contains("option --host: its argument is empty"));
        assert!(refusal(&["--setenv", "A", "b\tc"]).contains("option --setenv: 'b\\tc'"));
    }

    #[test]
    fn last_value_wins_and_pairs_accept_an_attached_first() {
        let parsed = read(&["--port", "1", "--port", "2", "--url-alias=/a", "b"]).unwrap();
        assert_eq!(parsed.integer(&general::PORT), Some(2));
        assert_eq!(parsed.all(&files::URL_ALIAS), [["/a", "b"]]);
    }

    #[test]
    fn empty_paths_are_refused_with_their_options() {
        let mut count = 0;
        for spec in options::server() {
            let Some(at) = spec.arguments.iter().position(|argument| PATHS.contains(argument)) else {
                continue;
            };
            let mut arguments = vec![spec.name];
            arguments.extend(["x"].iter().cycle().take(at));
            arguments.push(" ");
            let text = refusal(&arguments);
            assert!(text.contains(spec.name) && text.contains("is empty"), "{text}");
            count += 1;
        }
        assert!(count > 25, "{count}");
    }

    #[test]
    fn integers_have_four_notations() {
        for (text, value) in
            [("8", 8), ("0x1F", 31), ("0b11", 3), ("010", 8), ("0", 0), ("-5", -5), (" 7 ", 7)]
        {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        for text in ["", "abc", "0x", "09", "1.5", "0x-1", "--1"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(read(&["--port", "010"]).unwrap().warnings.len(), 1);
        assert_eq!(read(&["--port", "10"]).unwrap().warnings.len(), 0);
    }

    #[test]
    fn times_and_sizes_may_have_units() {
        for (option, text, value) in [
            ("--request-timeout", "5m", 300),
            ("--request-timeout", "0x10", 16),
            ("--memory-limit", "512M", 512 << 20),
            ("--response-flush-delay", "1s", 1_000),
            ("--maximum-requests", "10k", 10_000),
        ] {
            let parsed = read(&[option, text]).unwrap();
            let spec = options::server().into_iter().find(|spec| spec.name == option).unwrap();
            assert_eq!(parsed.integer(spec), Some(value), "{option} {text}");
        }
        for (option, text) in [
            ("--request-timeout", "30x"),
            ("--request-timeout", "1500ms"),
            ("--memory-limit", "lots"),
            ("--port", "8k"),
        ] {
            let refusal = refusal(&[option, text]);
            assert!(refusal.contains(option) && refusal.ends_with(&format!("'{text}'")), "{refusal}");
        }
    }

    #[test]
    fn errors_read_like_the_contract_s() {
        assert_eq!(refusal(&["--xyz"]), "no such option: --xyz");
        assert_eq!(refusal(&["--procesess", "2"]), "no such option: --procesess; did you mean --processes?");
        assert_eq!(refusal(&["-p"]), "no such option: -p");
        assert_eq!(refusal(&["--port", "abc"]), "option --port: invalid integer value: 'abc'");
        assert_eq!(refusal(&["--port"]), "--port option requires 1 argument");
        assert_eq!(refusal(&["--url-alias", "/x"]), "--url-alias option requires 2 arguments");
        assert_eq!(
            refusal(&["--slow-requests", "x"]),
            "option --slow-requests: invalid floating-point value: 'x'"
        );
        assert_eq!(refusal(&["--access-log=1"]), "--access-log option does not take a value");
        assert_eq!(
            refusal(&["--process", "1"]),
            "ambiguous option: --process (--process-group, --process-name, --processes?)"
        );
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let said = refusal(&["--procesess", "2", "--port", "abc", "-x", "--access-log=1", "--threads"]);
        let expected = [
            "no such option: --procesess; did you mean --processes?",
            "option --port: invalid integer value: 'abc'",
            "no such option: -x",
            "--access-log option does not take a value",
            "--threads option requires 1 argument",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn help_wins_over_what_follows() {
        assert!(read(&["--help", "--xyz"]).unwrap().help);
        assert!(read(&["-h"]).unwrap().help);
        assert!(read(&["--hel"]).unwrap().help);
    }

    #[test]
    fn variables_are_expanded_where_known() {
        let variable = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        for (text, expanded) in [
            ("$HOME/x", "/h/x"),
            ("a${HOME}b", "a/hb"),
            ("$HOMER ${NO} $ ${ $$HOME", "$HOMER ${NO} $ ${ $/h"),
            ("%{GLOBAL}", "%{GLOBAL}"),
            ("${}", "${}"),
            ("end$", "end$"),
        ] {
            assert_eq!(expand(text, variable), expanded, "{text}");
        }
    }
}
