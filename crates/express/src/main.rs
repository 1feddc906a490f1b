//! The program `mod_wsgi-express`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mod_wsgi_express::main(std::env::args_os())
}
