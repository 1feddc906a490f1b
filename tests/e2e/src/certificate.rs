//! Certificates for servers of tests.

use std::path::Path;
use std::process::Command;

/// Makes `certificate.pem` and `key.pem` in a directory: a certificate for a name, signed by itself,
/// with these extensions.
///
/// # Panics
/// There is no `openssl`, or it fails.
pub(crate) fn make(directory: &Path, name: &str, extensions: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-days", "2", "-subj", &format!("/CN={name}")]);
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    command.args(["-keyout", "key.pem", "-out", "certificate.pem"]).current_dir(directory);
    let output =
        command.output().unwrap_or_else(|error| panic!("openssl: {error}; install the package openssl"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
