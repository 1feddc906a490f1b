//! Lines of this process with fields, where the log wants them.

use std::sync::OnceLock;

use wsgi_core::log_record::{self, Field, Record};

use crate::process::{self, Process};

/// Returns whether lines are wanted with fields.
#[inline]
pub(crate) fn are_wanted() -> bool {
    process::process().is_some_and(|process| process.settings.log_records)
}

/// Returns a record of a text, with the place where it comes from.
pub(crate) fn new(message: &[u8]) -> Record {
    let mut record = Record::new(message);
    if let Some(process) = process::process() {
        record.add_encoded(place(process));
    }
    record.add(Field::ThreadId, os::thread::id().to_string().as_bytes());
    record
}

/// Returns the fields that all records of the process have.
fn place(process: &Process) -> &'static [u8] {
    static PLACE: OnceLock<(u32, Vec<u8>)> = OnceLock::new();
    let id = std::process::id();
    let fields = || {
        let id = id.to_string();
        let mut fields = vec![(Field::Process, id.as_bytes())];
        if !process.settings.process_group.is_empty() {
            fields.push((Field::Group, &process.settings.process_group));
        }
        log_record::fields(&fields)
    };
    let (owner, place) = PLACE.get_or_init(|| (id, fields()));
    // A copy that an application or a template has forked: whoever writes the line adds its own id.
    if *owner == id { place } else { &[] }
}
