//! The section `<WSGIInterpreterOptions>`.

use super::arguments::known_options;
use super::{Context, Directive, Effect, Support, Target};
use crate::groups::Forms;
use crate::interpreter::Block;
use crate::words::{Words, display};

pub(super) const INTERPRETER_OPTIONS: Directive = Directive {
    name: c"<WSGIInterpreterOptions",
    context: Context::Global,
    in_container: false,
    arguments: "[process-group=*name*] [application-group=*name*]",
    default: "",
    help: c"Container for options of the interpreters of some groups.",
    doc: "\
Settings for the interpreters of one process group, of one application group, or of both. `%{GLOBAL}` is the Apache children, \
or the main interpreter. If several sections match, each setting is taken from the section with more selectors, or else from the \
later one; `WSGIPythonPath` adds up. A value with blanks is written as `\"application-group=a b\"`.

Other directives in the section have the same effect as outside.",
    support: Support::Supported,
    effect: Effect::Raw(open),
};

fn open(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let name = INTERPRETER_OPTIONS.text();
    // The server takes the `>` for part of the name if it follows that directly.
    let selectors = match line.iter().rposition(|&byte| byte == b'>') {
        Some(end) => &line[..end],
        None if line.is_empty() => line,
        None => return Err(format!("{name}> directive missing closing '>'")),
    };
    let mut block = Block::default();
    for word in Words::new(selectors) {
        let Some(equals) = word.iter().position(|&byte| byte == b'=') else {
            return Err(format!("Invalid option '{}' to {name}>: write it as key=value", display(&word)));
        };
        let (key, value) = (&word[..equals], &word[equals + 1..]);
        let selector = match key.to_ascii_lowercase().as_slice() {
            b"process-group" => &mut block.process_group,
            b"application-group" => &mut block.application_group,
            _ => {
                return Err(format!(
                    "Invalid option '{}' to {name}>: {}",
                    display(key),
                    known_options(key, &["process-group", "application-group"])
                ));
            }
        };
        if selector.is_some() {
            return Err(format!("Option '{}' to {name}> is given twice", display(key)));
        }
        target.warn_if_unexpanded(&format!("{name}> {}=", display(key)), value, Forms::Global);
        *selector = Some(if value == b"%{GLOBAL}" { Box::default() } else { value.into() });
    }
    target.global.open_container(block);
    Ok(())
}
