//! Directives about Python itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Context, Diagnostic, Directive, Effect, FileKind, Support, System, Target};
use crate::codes::FREE_THREADING_OF_PROCESS;
use crate::python_home::{base, is_executable, prefix};
use crate::quantity::{Integer, Interval};
use crate::words::{Words, display};

pub(super) const HOME: Directive = Directive {
    name: c"WSGIPythonHome",
    context: Context::Global,
    in_container: false,
    arguments: "*directory*|*file*",
    default: "the Python that this module was installed for",
    help: c"Python prefix/exec_prefix absolute path names.",
    doc: "\
The Python to run: a virtual environment (a directory with a `pyvenv.cfg`), or the prefix of an installation, which may be \
written as `prefix:exec_prefix`. If that has several Pythons, as `/usr` may, name the executable instead, such as `/usr/bin/python3.12`. \
The path should be absolute.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        if !is_executable(path(word)) && target.system.file_kind(prefix(word)) == Some(FileKind::File) {
            let reason = not_a_home(word);
            target.report(Diagnostic::warning(format!("{} {}: {reason}", HOME.text(), display(word))));
        }
        target.global.python_home = Some(word.into());
        Ok(())
    }),
};

pub(super) const PATH: Directive = Directive {
    name: c"WSGIPythonPath",
    context: Context::Global,
    in_container: true,
    arguments: "*directory*[:*directory* ...]",
    default: "",
    help: c"Python module search path.",
    doc: "\
Directories that are put in front of `sys.path`; their `.pth` files are processed. The directories of matching \
`<WSGIInterpreterOptions>` sections come first, those of the most specific section before the others.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        if let Some(diagnostic) = missing_path(PATH.text(), word, target.system) {
            target.report(diagnostic);
        }
        target.global.interpreter_target().python_path = Some(word.into());
        Ok(())
    }),
};

pub(super) const EGGS: Directive = Directive {
    name: c"WSGIPythonEggs",
    context: Context::Global,
    in_container: false,
    arguments: "*directory*",
    default: "",
    help: c"Python eggs cache directory.",
    doc: "Sets `PYTHON_EGG_CACHE` in `os.environ` of embedded interpreters.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        target.global.python_eggs = Some(word.into());
        Ok(())
    }),
};

pub(super) const OPTIMIZE: Directive = Directive {
    name: c"WSGIPythonOptimize",
    context: Context::Global,
    in_container: false,
    arguments: "*level*",
    default: "0",
    help: c"Set level of Python compiler optimisations.",
    doc: "\
A whole number. 1 means Python's `-O` (no assertions), 2 or more means `-OO` (no documentation strings either), 0 or less means \
neither.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        let level = Integer.read(word).map_err(|reason| OPTIMIZE.invalid(word, &reason))?;
        target.global.python_optimize = u32::try_from(level).unwrap_or(0);
        Ok(())
    }),
};

pub(super) const WARNINGS: Directive = Directive {
    name: c"WSGIPythonWarnings",
    context: Context::Global,
    in_container: false,
    arguments: "*filter*",
    default: "",
    help: c"Set Python warning filters, one for each line.",
    doc: "A filter in the form of Python's option `-W`, such as `ignore::DeprecationWarning`. The directive may be repeated.",
    support: Support::Supported,
    effect: Effect::One(|target, word| {
        target.global.python_warnings.push(word.into());
        Ok(())
    }),
};

pub(super) const HASH_SEED: Directive = Directive {
    name: c"WSGIPythonHashSeed",
    context: Context::Global,
    in_container: false,
    arguments: "random|*number*",
    default: "random",
    help: c"Seed of Python's hashes: random, or 0 to 4294967295.",
    doc: "A whole number from 0 to 4294967295, or the word `random`. A fixed seed makes the order of sets the same in every process. 0 switches randomisation off.",
    support: Support::Supported,
    effect: Effect::One(hash_seed),
};

pub(super) const DONT_WRITE_BYTECODE: Directive = Directive {
    name: c"WSGIDontWriteBytecode",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable writing of byte code.",
    doc: "With `On`, Python writes no `.pyc` files.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.dont_write_bytecode = Some(value)),
};

pub(super) const DESTROY_INTERPRETER: Directive = Directive {
    name: c"WSGIDestroyInterpreter",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable destruction of Python interpreters.",
    doc: "With `Off`, interpreters are not finalised when a process ends, and `atexit` functions do not run.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.destroy_interpreter = Some(value)),
};

pub(super) const SWITCH_INTERVAL: Directive = Directive {
    name: c"WSGISwitchInterval",
    context: Context::Global,
    in_container: true,
    arguments: "*seconds*",
    default: "",
    help: c"Seconds after which Python threads hand over the GIL.",
    doc: "\
The value for `sys.setswitchinterval`: a time greater than 0 in seconds, such as `0.001`, or with a unit, such as `1ms`. In a \
section with `application-group=` it has an effect only on an interpreter with a GIL of its own.",
    support: Support::Supported,
    effect: Effect::One(switch_interval),
};

pub(super) const PER_INTERPRETER_GIL: Directive = Directive {
    name: c"WSGIPerInterpreterGIL",
    context: Context::Global,
    in_container: true,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable a GIL of its own for each sub-interpreter.",
    doc: "\
With `On`, sub-interpreters run in parallel. This needs Python 3.12 or later and extension modules that support it. Such an \
interpreter has neither `fork` nor daemon threads. The main interpreter (`%{GLOBAL}`) is not affected. \
Prefer Python 3.13 for it: 3.12 shares memory of extension modules between such interpreters, and its first \
releases (3.12.1 at least) can abort when a process ends, or when several interpreters import at a time. Tools that \
call `sys._current_frames()`, such as profilers, can crash the process: it looks into interpreters that run.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| {
        target.global.interpreter_target().per_interpreter_gil = Some(value)
    }),
};

pub(super) const FREE_THREADING: Directive = Directive {
    name: c"WSGIFreeThreading",
    context: Context::Global,
    in_container: true,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable the use of a free-threaded Python without GIL.",
    doc: "\
Free-threaded builds of Python are not supported yet (3.14t will be the first), so this directive has no effect. With `On`, a \
process with such a build will run without the GIL; with `Off`, it will use the GIL. The setting holds for a whole process: it is \
ignored in a section with `application-group=`.",
    support: Support::Supported,
    effect: Effect::Raw(free_threading),
};

pub(super) const RESTRICT_STDIN: Directive = Directive {
    name: c"WSGIRestrictStdin",
    context: Context::Global,
    in_container: true,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable restrictions on use of STDIN.",
    doc: "With `On`, using `sys.stdin` raises `OSError`.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.interpreter_target().restrict_stdin = Some(value)),
};

pub(super) const RESTRICT_STDOUT: Directive = Directive {
    name: c"WSGIRestrictStdout",
    context: Context::Global,
    in_container: true,
    arguments: "On|Off",
    default: "Off",
    help: c"Enable/Disable restrictions on use of STDOUT.",
    doc: "With `On`, using `sys.stdout` raises `OSError`; with `Off`, what is written to it goes to the error log.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.interpreter_target().restrict_stdout = Some(value)),
};

pub(super) const RESTRICT_SIGNAL: Directive = Directive {
    name: c"WSGIRestrictSignal",
    context: Context::Global,
    in_container: true,
    arguments: "On|Off",
    default: "On",
    help: c"Enable/Disable restrictions on use of signal().",
    doc: "\
With `On`, `signal.signal` registers nothing and logs who called it: the signals of the process belong to the server.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.interpreter_target().restrict_signal = Some(value)),
};

pub(super) const CASE_SENSITIVITY: Directive = Directive {
    name: c"WSGICaseSensitivity",
    context: Context::Global,
    in_container: false,
    arguments: "On|Off",
    default: "On (Off on macOS)",
    help: c"Define whether file system is case sensitive.",
    doc: "With `Off`, script paths that differ only in case are the same module, and the same `%{RESOURCE}`.",
    support: Support::Supported,
    effect: Effect::Flag(|target, value| target.global.case_sensitivity = Some(value)),
};

/// Returns a diagnostic of the directories of a search path that do not exist, if there are any.
pub(super) fn missing_path(what: &str, path: &[u8], system: &dyn System) -> Option<Diagnostic> {
    let entries = path.split(|&byte| byte == b':').filter(|entry| entry.starts_with(b"/"));
    let missing = entries.filter(|entry| system.file_kind(entry) == Some(FileKind::Missing));
    let missing: Vec<_> = missing.map(|entry| format!("'{}'", display(entry))).collect();
    (!missing.is_empty()).then(|| {
        let does = if missing.len() == 1 { "does" } else { "do" };
        Diagnostic::warning(format!(
            "{what}: {} {does} not exist, and nothing is imported from there: correct the path, or create it",
            missing.join(", ")
        ))
    })
}

/// Returns a word as a path.
fn path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}

/// Returns why a file is no Python home, and what to write instead.
pub(super) fn not_a_home(file: &[u8]) -> String {
    let above = base(path(file)).map_or_else(
        || "the directory that contains bin/python3".to_owned(),
        |directory| format!("the directory above bin, {}", directory.display()),
    );
    format!("it is a file, and no Python (bin/python3); a directory is wanted: {above}")
}

fn hash_seed(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let decimal = word.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(word).ok().filter(|_| decimal).and_then(|word| word.parse().ok());
    target.global.python_hash_seed = match number {
        Some(seed) => Some(seed),
        None if word == b"random" => None,
        None => {
            return Err(format!(
                "{} must be 'random' or a number from 0 to 4294967295, not '{}'",
                HASH_SEED.text(),
                display(word)
            ));
        }
    };
    Ok(())
}

fn switch_interval(target: &mut Target<'_>, word: &[u8]) -> Result<(), String> {
    let seconds = Interval.read(word).map_err(|reason| SWITCH_INTERVAL.invalid(word, &reason))?;
    target.global.interpreter_target().switch_interval = Some(seconds);
    Ok(())
}

fn free_threading(target: &mut Target<'_>, line: &[u8]) -> Result<(), String> {
    let value = FREE_THREADING.flag(line)?;
    let block = target.global.interpreter_target();
    if let Some(group) = &block.application_group {
        let written = Words::new(line).word().unwrap_or_default();
        let diagnostic = Diagnostic::warning(format!(
            "{FREE_THREADING_OF_PROCESS}: {} {} is ignored in a section with application-group='{}': it holds for whole processes",
            FREE_THREADING.text(),
            display(&written),
            display(group)
        ));
        target.report(diagnostic);
        return Ok(());
    }
    block.free_threading = Some(value);
    Ok(())
}
