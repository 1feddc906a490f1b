//! Lines of this process with fields, where the log wants them.

use wsgi_core::log_record::{Field, Record};

use crate::process;

/// Returns whether lines are wanted with fields.
#[inline]
pub(crate) fn are_wanted() -> bool {
    process::process().is_some_and(|process| process.settings.log_records)
}

/// Returns a record of a text, with the place where it comes from.
pub(crate) fn new(message: &[u8]) -> Record {
    let mut record = Record::new(message);
    // Asked for each time: the process may be one that a template or an application has forked.
    record.add(Field::Process, std::process::id().to_string().as_bytes());
    record.add(Field::ThreadId, os::thread::id().to_string().as_bytes());
    if let Some(process) = process::process()
        && !process.settings.process_group.is_empty()
    {
        record.add(Field::Group, &process.settings.process_group);
    }
    record
}
