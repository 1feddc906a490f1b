//! Scripts as modules: their names, and how logs call the place where they run.

use std::fmt;

use md5::{Digest, Md5};

use crate::words::display;

/// Returns the name in `sys.modules` of the script at `path`. Without case sensitivity, paths that
/// differ only in case are the same module.
#[must_use]
pub fn module_name(path: &[u8], case_sensitive: bool) -> String {
    let digest = if case_sensitive { Md5::digest(path) } else { Md5::digest(path.to_ascii_lowercase()) };
    let mut name = String::with_capacity(PREFIX.len() + 2 * digest.len());
    name.push_str(PREFIX);
    for byte in digest.iter() {
        name.push(char::from(HEX[usize::from(byte >> 4)]));
        name.push(char::from(HEX[usize::from(byte & 15)]));
    }
    name
}

const PREFIX: &str = "_mod_wsgi_";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The interpreter in which something happens, as logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterpreterName<'a> {
    /// Empty: embedded mode.
    pub process_group: &'a [u8],
    /// Empty: the main interpreter.
    pub application_group: &'a [u8],
}

impl fmt::Display for InterpreterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.application_group {
            b"" => f.write_str("main interpreter")?,
            name => write!(f, "sub-interpreter '{}'", display(name))?,
        }
        match self.process_group {
            b"" => f.write_str(" in embedded mode"),
            name => write!(f, " of daemon process '{}'", display(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_are_digests_of_paths() {
        // md5sum of the paths.
        assert_eq!(module_name(b"/w/a.wsgi", true), "_mod_wsgi_8da7210764555e45bfb9a33e6307ab4c");
        assert_eq!(module_name(b"/W/A.wsgi", true), "_mod_wsgi_45ae0c663b4610c60ea81f5215930778");
        assert_eq!(module_name(b"/W/A.wsgi", false), module_name(b"/w/a.wsgi", true));
    }

    #[test]
    fn places_are_named() {
        for (process_group, application_group, text) in [
            ("", "", "main interpreter in embedded mode"),
            ("", "x|/y", "sub-interpreter 'x|/y' in embedded mode"),
            ("g", "", "main interpreter of daemon process 'g'"),
            ("g", "a", "sub-interpreter 'a' of daemon process 'g'"),
        ] {
            let place = InterpreterName {
                process_group: process_group.as_bytes(),
                application_group: application_group.as_bytes(),
            };
            assert_eq!(place.to_string(), text);
        }
    }
}
