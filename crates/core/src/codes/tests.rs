use std::fs;
use std::path::{Path, PathBuf};

use super::table::NAMES;
use super::*;

/// Codes whose meaning the configuration and Python contracts of mod_wsgi 6.1.1 give, and words of
/// it.
const CONTRACT: &[(&str, &[&str])] = &[
    ("WSGI0009", &["home="]),
    ("WSGI0010", &["home directory of its user"]),
    ("WSGI0011", &["user database"]),
    ("WSGI0025", &["daemon process", "pause"]),
    ("WSGI0028", &["daemon process"]),
    ("WSGI0035", &["interpreter"]),
    ("WSGI0036", &["Python"]),
    ("WSGI0040", &["imported at start", "interpreter"]),
    ("WSGI0041", &["password", "500"]),
    ("WSGI0042", &["interpreter", "500"]),
    ("WSGI0043", &["check_password", "500"]),
    ("WSGI0044", &["hash", "500"]),
    ("WSGI0045", &["interpreter", "500"]),
    ("WSGI0046", &["get_realm_hash", "500"]),
    ("WSGI0048", &["interpreter", "denied"]),
    ("WSGI0049", &["group", "denied"]),
    ("WSGI0050", &["group", "denied"]),
    ("WSGI0051", &["iterated", "denied"]),
    ("WSGI0052", &["groups_for_user", "denied"]),
    ("WSGI0054", &["interpreter", "403"]),
    ("WSGI0055", &["allow_access", "403"]),
    ("WSGI0056", &["allow_access", "403"]),
    ("WSGI0057", &["denied", "403"]),
    ("WSGI0058", &["none is configured", "denied"]),
    ("WSGI0059", &["no groups", "denied"]),
    ("WSGI0060", &["none of the groups", "denied"]),
    ("WSGI0067", &["stacks"]),
    ("WSGI0075", &["cpu-priority="]),
    ("WSGI0076", &["cpu-time-limit="]),
    ("WSGI0077", &["`memory-limit="]),
    ("WSGI0078", &["virtual-memory-limit="]),
    ("WSGI0079", &["locale="]),
    ("WSGI0081", &["script", "chroot=", "502"]),
    ("WSGI0084", &["queue-timeout=", "504"]),
    ("WSGI0086", &["interpreter", "500"]),
    ("WSGI0087", &["interpreter", "500"]),
    ("WSGI0089", &["callable", "404", "500"]),
    ("WSGI0091", &["path", "rest", "skipped"]),
    ("WSGI0094", &["`site`", "`addsitedir`"]),
    ("WSGI0095", &["`site`"]),
    ("WSGI0096", &["`sys.path`"]),
    ("WSGI0100", &["WSGIPythonHome", "examined"]),
    ("WSGI0101", &["WSGIPythonHome", "directory"]),
    ("WSGI0102", &["WSGIPythonHome", "searched"]),
    ("WSGI0103", &["interpreter"]),
    ("WSGI0105", &["request", "read", "500"]),
    ("WSGI0106", &["at start", "read"]),
    ("WSGI0107", &["request", "SystemExit", "500"]),
    ("WSGI0108", &["at start", "SystemExit"]),
    ("WSGI0109", &["request", "exception", "500"]),
    ("WSGI0110", &["at start", "exception"]),
    ("WSGI0112", &["event", "exception"]),
    ("WSGI0114", &["event"]),
    ("WSGI0116", &["No process", "503"]),
    ("WSGI0117", &["connect", "503"]),
    ("WSGI0126", &["body", "OSError"]),
    ("WSGI0132", &["target"]),
    ("WSGI0133", &["thread"]),
    ("WSGI0134", &["ExecCGI", "403"]),
    ("WSGI0135", &["does not exist", "404"]),
    ("WSGI0136", &["directory", "403"]),
    ("WSGI0137", &["AcceptPathInfo", "404"]),
    ("WSGI0138", &["transfer encoding", "501"]),
    ("WSGI0139", &["chunked", "411"]),
    ("WSGI0141", &["Content-Length", "400"]),
    ("WSGI0143", &["WSGIRestrictEmbedded", "500"]),
    ("WSGI0144", &["head", "500"]),
    ("WSGI0145", &["socket-timeout=", "504"]),
    ("WSGI0149", &["WSGIRestrictProcess", "500"]),
    ("WSGI0150", &["no process group is defined", "500"]),
    ("WSGI0151", &["process group that is not defined", "500"]),
    ("WSGI0152", &["virtual host", "500"]),
    ("WSGI0174", &["exception"]),
    ("WSGI0175", &["SystemExit"]),
    ("WSGI0176", &["empty", "500"]),
    ("WSGI0177", &["check_password", "500"]),
    ("WSGI0178", &["empty", "500"]),
    ("WSGI0179", &["get_realm_hash", "500"]),
    ("WSGI0188", &["module"]),
    ("WSGI0190", &["event", "SystemExit"]),
    ("WSGI0194", &["close()"]),
    ("WSGI0195", &["script of a request", "closed"]),
    ("WSGI0196", &["imported at start", "closed"]),
    ("WSGI0198", &["WSGIPerInterpreterGIL", "3.12"]),
    ("WSGI0199", &["WSGISwitchInterval", "GIL"]),
    ("WSGI0200", &["WSGIFreeThreading"]),
    ("WSGI0201", &["WSGIFreeThreading", "application-group="]),
    ("WSGI0202", &["WSGIPerInterpreterGIL", "without a GIL"]),
    ("WSGI0203", &["WSGISwitchInterval", "without a GIL"]),
    ("WSGI0204", &["switch-interval=", "without a GIL"]),
    ("WSGI0205", &["WSGISwitchInterval", "without a GIL"]),
    ("WSGI0210", &["Python is not running", "500"]),
];

#[test]
fn codes_are_unique_and_in_order() {
    for pair in CODES.windows(2) {
        assert!(pair[0].id < pair[1].id, "{} is not before {}", pair[0], pair[1]);
    }
    for code in CODES {
        let number = code.id.strip_prefix("WSGI").and_then(|digits| digits.parse::<u16>().ok());
        assert!(code.id.len() == 8 && number.is_some(), "{code}");
        assert!(matches!(number, Some(1..=999 | 1001..)), "{code} is of nobody's range");
    }
}

#[test]
fn codes_have_a_meaning_and_a_remedy() {
    for code in CODES {
        for text in [code.meaning, code.remedy] {
            assert!(text.ends_with('.') && !text.contains("  "), "{code}: {text}");
        }
    }
}

#[test]
fn codes_agree_with_the_contract() {
    for (id, words) in CONTRACT {
        let code = CODES.iter().find(|code| code.id == *id);
        let code = code.unwrap_or_else(|| panic!("{id} is not in the table"));
        for word in *words {
            assert!(code.meaning.contains(word), "{id}: no '{word}' in: {}", code.meaning);
        }
    }
    // The options of the owner of a script, and their ranges.
    for code in CODES {
        let option = match code.id {
            id if ("WSGI0153"..="WSGI0161").contains(&id) => "script-group=",
            id if ("WSGI0162"..="WSGI0173").contains(&id) => "script-user=",
            _ => continue,
        };
        assert!(code.meaning.contains(option) && code.meaning.contains("403"), "{code}");
    }
}

/// Returns all sources of the product but this folder, each with what stands before its unit tests.
fn sources() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut directories: Vec<_> =
        fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "codes" | "tests") {
                    directories.push(path);
                }
            } else if (name.ends_with(".rs") && name != "tests.rs") || name.ends_with(".py") {
                let text = fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                sources.push((path, product.to_owned()));
            }
        }
    }
    sources
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[test]
fn every_code_is_used() {
    let sources = sources();
    for (code, name) in CODES.iter().zip(NAMES) {
        let is_used = sources.iter().any(|(path, text)| {
            let is_python = path.extension().is_some_and(|extension| extension == "py");
            has_word(text, if is_python { code.id } else { name })
        });
        assert!(is_used, "nothing says {code} ({name})");
    }
}

#[test]
fn codes_are_written_in_the_table_alone() {
    for (path, text) in sources() {
        for (at, prefix) in text.match_indices("WSGI") {
            let rest = &text[at + prefix.len()..];
            let is_code = rest.starts_with(|character: char| character.is_ascii_digit() || character == '{');
            if !is_code {
                continue;
            }
            // Python names no constants: what it says has to be in the table.
            let is_python = path.extension().is_some_and(|extension| extension == "py");
            let id = text.get(at..at + 8).unwrap_or_default();
            let is_known = is_python && CODES.iter().any(|code| code.id == id);
            assert!(is_known, "{}: {id} is not a constant of the table", path.display());
        }
    }
}
