//! Scripts that could not be imported, as the server is told for its record of events: once for each
//! version of a script, since requests try again and again.

use python::{Object, Python};

use crate::locked::Locked;
use crate::process::process;
use crate::report;
use crate::state::State;

/// The versions of scripts that the server has been told of; the last ones, if there are many.
static TOLD: Locked<Vec<Version>> = Locked::new(Vec::new());

/// The most that are remembered.
const MOST: usize = 64;

/// A version of a script: path, application group, modification time.
type Version = (Vec<u8>, Vec<u8>, Option<i64>);

/// Tells the server that a script could not be imported: what became of it, and the exception.
pub(crate) fn tell(
    py: Python<'_>,
    state: &State,
    path: &[u8],
    mtime: Option<i64>,
    what: &str,
    exception: &Object,
) {
    let Some(process) = process() else { return };
    let version = (path.to_vec(), state.group.clone(), mtime);
    let is_new = TOLD.with(|told| {
        let is_new = !told.contains(&version);
        if is_new {
            if told.len() >= MOST {
                told.remove(0);
            }
            told.push(version);
        }
        is_new
    });
    if !is_new {
        return;
    }
    let script = String::from_utf8_lossy(path);
    let text = format!("The script file '{script}' {what}: {}", report::plain(py, exception).join(" "));
    let detail = report::describe(py, state, exception).join("\n").into_bytes();
    py.detach(|| process.server.import_failed(text.as_bytes(), &detail));
}
