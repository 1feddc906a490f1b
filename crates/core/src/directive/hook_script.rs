//! The arguments of the directives that name a script for one of the server's hooks.

use std::sync::Arc;
use std::time::Duration;

use super::Target;
use super::arguments::{known_options, wanted_option};
use crate::config::HookScript;
use crate::groups::Forms;
use crate::quantity;
use crate::words::{NotAnOption, Pair, Words, display};

const KEYS: &[&str] = &["application-group", "process-group", "timeout"];

/// Reads `*file* [*option*=*value* ...]`, where options may also come first. `of` says what kind of
/// script it is, such as `access script`.
pub(super) fn parse(
    target: &mut Target<'_>,
    line: &[u8],
    of: &'static str,
) -> Result<Arc<HookScript>, String> {
    let mut words = Words::new(line);
    let mut file = None;
    let mut script = HookScript {
        script: Box::default(),
        application_group: Box::default(),
        process_group: Box::default(),
        time_limit: HookScript::TIME_LIMIT,
    };
    loop {
        let is_option = file.is_some() || begins_with_option(&words);
        if is_option {
            let Some(pair) = words.pair() else { break };
            let pair = pair.map_err(|NotAnOption(token)| {
                format!(
                    "Invalid option '{}' to WSGI {of} definition: {}",
                    display(token),
                    wanted_option(token)
                )
            })?;
            set(target, &mut script, &pair, of)?;
        } else {
            file = Some(words.word().filter(|word| !word.is_empty()).ok_or_else(|| missing(of))?);
        }
    }
    script.script = file.ok_or_else(|| missing(of))?.into();
    if script.process_group.is_empty() {
        target.global.embedded_demanded = true;
    } else {
        target.record_named_group(&script.process_group);
    }
    Ok(Arc::new(script))
}

fn missing(of: &str) -> String {
    format!("Location of {of} not supplied")
}

/// Returns whether an option comes next where the file may stand. (The name of a file may contain
/// a `=`.)
fn begins_with_option(words: &Words<'_>) -> bool {
    let pair = words.clone().pair();
    pair.is_some_and(|pair| pair.is_ok_and(|pair| KEYS.iter().any(|key| key.as_bytes() == pair.key)))
}

fn set(
    target: &mut Target<'_>,
    script: &mut HookScript,
    pair: &Pair<'_>,
    of: &'static str,
) -> Result<(), String> {
    match pair.key {
        b"application-group" => {
            target.warn_if_unexpanded("application-group=", &pair.value, Forms::Script);
            script.application_group = name("application group", &pair.value, of)?;
        }
        b"process-group" => {
            target.warn_if_unexpanded("process-group=", &pair.value, Forms::Script);
            script.process_group = name("process group", &pair.value, of)?;
            // Like WSGIProcessGroup, which is not allowed there.
            if target.is_htaccess && !script.process_group.is_empty() {
                return Err(format!(
                    "process-group={} of {of} is not allowed in .htaccess: who writes that file could run scripts as the user of \
                     any process group. Set it in the server's configuration",
                    display(&pair.value)
                ));
            }
        }
        b"timeout" => {
            let invalid =
                |reason: String| format!("Invalid timeout '{}' of {of}: {reason}", display(&pair.value));
            let limit = quantity::Duration::SECONDS.read(&pair.value).map_err(invalid)?;
            if !(1..=LONGEST).contains(&limit) {
                return Err(invalid("it must be more than 0, and a day at most".to_owned()));
            }
            script.time_limit = Duration::from_millis(limit);
        }
        key => {
            let known = known_options(key, KEYS);
            return Err(format!("Invalid option '{}' to WSGI {of} definition: {known}", display(key)));
        }
    }
    Ok(())
}

/// The longest time limit, in milliseconds.
const LONGEST: u64 = 24 * 60 * 60 * 1_000;

fn name(what: &str, value: &[u8], of: &str) -> Result<Box<[u8]>, String> {
    match value {
        b"" => Err(format!("Invalid name for WSGI {what} of {of}: it is empty")),
        b"%{GLOBAL}" => Ok(Box::default()),
        name => Ok(name.into()),
    }
}
