//! The machine that the figures come from: they mean little elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::Interpreter;

/// The machine and the versions of what took part.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) python: String,
    pub(crate) rustc: String,
    pub(crate) date: String,
    /// Commit of ours.
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn inspect() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let python = Interpreter::current().executable;
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            python: format!("{} ({})", said(&python, &["--version"]), python.display()),
            rustc: said("rustc".as_ref(), &["--version"]),
            date: said("date".as_ref(), &["--utc", "+%Y-%m-%d %H:%M UTC"]),
            commit: said("git".as_ref(), &["describe", "--always", "--dirty"]),
        }
    }
}

/// The first line that a program prints.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("unknown").to_owned()
}
