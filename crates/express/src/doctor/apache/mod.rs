//! The configuration of an Apache that somebody else has set up.
//!
//! [`program`] asks Apache itself what it reads ([`dump`]) and whether it accepts it; where it cannot
//! be asked, and for what it does not tell, [`reader`] reads the files. [`model`] is what the lines
//! mean, and [`facts`] are the facts in it that all checks look at.

mod authorization;
pub(super) mod checks;
mod dump;
mod elf;
mod facts;
mod handlers;
mod line;
mod macros;
mod mapping;
mod model;
mod overrides;
mod pattern;
mod program;
mod reader;
mod section;
mod system;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(super) use facts::subject;

use line::Line;
use model::Model;
use program::{Launcher, Word};
use reader::{Conditions, LoadModule, Problem};
use system::Machine;

use crate::apache::Apache;

/// A configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The first file.
    pub(crate) file: PathBuf,
    /// The directory that paths are relative to.
    root: PathBuf,
    /// `None` if there is no Apache here.
    launcher: Option<Launcher>,
    /// The answers of Apache; `None` if it could not be asked.
    word: Option<Word>,
    modules: Vec<LoadModule>,
    /// The parts that could not be read.
    problems: Vec<Problem>,
    /// Apache can be asked to read it: it is there, and has an end.
    is_readable: bool,
    model: Model,
    /// Root starts it.
    is_root: bool,
}

impl Configuration {
    /// Reads a configuration with all that belongs to it.
    pub(crate) fn read(file: &Path, apache: Option<&Apache>) -> Self {
        let launcher = apache.map(|apache| Launcher::new(apache, file));
        let conditions = conditions(file, launcher.as_ref());
        let mut content = reader::read(file, &conditions);
        let is_readable = !content.is_endless && !content.files.is_empty();
        let word = launcher.as_ref().filter(|_| is_readable).and_then(|launcher| launcher.ask(file));
        // Apache's own reading counts, as far as it has come to an end.
        let dumped =
            word.as_ref().filter(|word| word.complaint.is_none()).map(|word| dump::parse(&word.output));
        let is_dumped = dumped.as_ref().is_some_and(|lines| !lines.is_empty());
        let own = std::mem::take(&mut content.lines);
        let lines: Vec<Line> = dumped.filter(|lines| !lines.is_empty()).unwrap_or(own);
        let is_root = nix::unistd::geteuid().is_root() || file.metadata().is_ok_and(|data| data.uid() == 0);
        let machine = Machine { is_root };
        let read = |file: &Path| reader::read_override(file, &conditions, &content);
        let model = Model::new(&lines, &machine).read_overrides(&machine, &content.root, &read);
        Self {
            file: file.to_owned(),
            root: content.root,
            launcher,
            word,
            modules: content.modules,
            problems: if is_dumped { Vec::new() } else { content.problems },
            is_readable,
            model,
            is_root,
        }
    }
}

fn conditions(file: &Path, launcher: Option<&Launcher>) -> Conditions {
    let directory = || file.parent().unwrap_or(Path::new("/")).to_owned();
    let Some(launcher) = launcher else {
        return Conditions { root: directory(), ..Conditions::default() };
    };
    Conditions {
        root: launcher.build.root.clone().unwrap_or_else(directory),
        version: launcher.build.version.clone(),
        built_in: launcher.built_in.clone(),
        environment: launcher.environment.clone(),
        defines: launcher.defines(),
    }
}
