//! Modules that do not fit: two of one kind, or one for another system.

use std::path::{Path, PathBuf};

use super::on;
use crate::doctor::apache::Configuration;
use crate::doctor::apache::elf::{Elf, Libc};
use crate::doctor::apache::line::place;
use crate::doctor::check::Check;
use crate::doctor::finding::Finding;

pub(super) const SEVERAL: Check = Check {
    name: "two-modules",
    about: "Two lines `LoadModule wsgi_module` with different files, such as the distribution's and another one's: Apache uses the first one \
            and says little about the other.",
    run: |subject| on(subject, several),
};

pub(super) const FOREIGN: Check = Check {
    name: "foreign-module",
    about: "A module that was built for another Apache (its magic number), another processor, or another system: a newer glibc, or musl where \
            there is glibc. It is read from the file, without loading it.",
    run: |subject| on(subject, foreign),
};

const IS_OURS: &str = "supervisor";

fn several(configuration: &Configuration) -> Vec<Finding> {
    let mut modules = configuration.modules.iter().filter(|module| module.name == "wsgi_module");
    let Some(first) = modules.next() else { return Vec::new() };
    let real = |file: &Path| file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let described = |file: &Path| {
        let directory = real(file);
        let is_ours = directory.parent().is_some_and(|directory| directory.join(IS_OURS).is_file());
        let whose = if is_ours { "this mod_wsgi" } else { "another mod_wsgi" };
        format!("{} ({whose})", file.display())
    };
    modules
        .map(|module| {
            let at = place(&module.position);
            if real(&module.file) == real(&first.file) {
                return Finding::note("the module is loaded twice")
                    .at(Some(&at))
                    .because(format!("{} loads it already", place(&first.position)))
                    .remedy("remove one of both lines");
            }
            Finding::error(format!(
                "two different modules are to be loaded as wsgi_module: {} is not used",
                described(&module.file)
            ))
            .at(Some(&at))
            .because(format!(
                "{} loads {}, and Apache takes the first one",
                place(&first.position),
                described(&first.file)
            ))
            .remedy("remove the line of the one that you do not want (Debian: a2dismod wsgi)")
        })
        .collect()
}

fn foreign(configuration: &Configuration) -> Vec<Finding> {
    let Some(module) = configuration.module() else {
        let has_lines = configuration.model.hosts.iter().any(|host| !host.own.aliases.is_empty());
        let is_accepted = configuration.word.as_ref().is_some_and(|word| word.complaint.is_none());
        return if has_lines && !is_accepted {
            vec![
                Finding::error("no line loads the module, and some use it")
                    .remedy("add the line that `mod_wsgi-express module-config` prints"),
            ]
        } else {
            Vec::new()
        };
    };
    let at = place(&module.position);
    let shown = module.file.display();
    if !module.file.is_file() {
        return vec![
            Finding::error(format!("there is no module {shown}"))
                .at(Some(&at))
                .remedy("correct the path: `mod_wsgi-express module-config` prints the line"),
        ];
    }
    let Some(elf) = Elf::read(&module.file) else {
        return vec![
            Finding::error(format!("{shown} is no module"))
                .at(Some(&at))
                .because("it is no library for a system with 64 bits")
                .remedy("correct the path: `mod_wsgi-express module-config` prints the line"),
        ];
    };
    let Some(launcher) = &configuration.launcher else { return Vec::new() };
    let program = Elf::read(&launcher.program);
    let libc = program.as_ref().and_then(library).and_then(|file| Elf::read(&file));
    let wanted = launcher.build.magic;
    let found = misfit(&elf, program.as_ref(), libc.as_ref(), wanted);
    let finding = |(why, remedy): (String, &str)| {
        Finding::error(format!("{shown} is not for this Apache")).at(Some(&at)).because(why).remedy(remedy)
    };
    found.map(finding).into_iter().collect()
}

/// Returns why a module cannot be loaded by a program, and what to do; `libc` is the library of the
/// system, and `wanted` the number that modules have to be built for.
fn misfit(
    module: &Elf,
    program: Option<&Elf>,
    libc: Option<&Elf>,
    wanted: Option<(u32, u32)>,
) -> Option<(String, &'static str)> {
    let build = "build the module on this system, or install the package for it";
    if let Some(program) = program {
        if module.machine != program.machine {
            return Some((
                format!(
                    "it is for another processor (ELF machine {}, Apache's is {})",
                    module.machine, program.machine
                ),
                build,
            ));
        }
        let kind = |libc| match libc {
            Libc::Glibc => "glibc",
            Libc::Musl => "musl",
        };
        if let (Some(own), Some(system)) = (module.libc(), program.libc())
            && own != system
        {
            return Some((
                format!("it is built for {}, and this system has {}", kind(own), kind(system)),
                build,
            ));
        }
    }
    if let (Some(needed), Some(there)) = (module.glibc_wanted(), libc.and_then(Elf::glibc_had))
        && needed > there
    {
        let why =
            format!("it needs glibc {}.{}, and this system has {}.{}", needed.0, needed.1, there.0, there.1);
        return Some((why, build));
    }
    if let (Some((own, _)), Some((wanted, _))) = (module.magic, wanted)
        && own != wanted
    {
        let why = format!("its magic number is {own}, and this Apache takes modules of {wanted}");
        return Some((why, "build the module with the headers of this Apache (apxs of the same server)"));
    }
    None
}

/// Returns the file of the library that a program of glibc uses.
fn library(program: &Elf) -> Option<PathBuf> {
    let interpreter = Path::new(program.interpreter.as_deref()?).canonicalize().ok()?;
    let beside = interpreter.parent()?.join("libc.so.6");
    let elsewhere = ["/lib64/libc.so.6", "/usr/lib64/libc.so.6", "/usr/lib/libc.so.6"].map(PathBuf::from);
    std::iter::once(beside).chain(elsewhere).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Builds a library from C; `arguments` are further ones of the compiler.
    fn built(directory: &Path, name: &str, source: &str, arguments: &[&str]) -> Elf {
        let input = directory.join(format!("{name}.c"));
        fs::write(&input, source).unwrap();
        let output = directory.join(name);
        let mut command = Command::new("cc");
        command
            .current_dir(directory)
            .args(["-shared", "-fPIC", "-o"])
            .arg(&output)
            .arg(&input)
            .args(arguments);
        assert!(command.status().unwrap().success());
        Elf::read(&output).unwrap()
    }

    /// The beginning of a module's record.
    fn record(major: u32, minor: u32) -> String {
        format!(
            "extern int puts(const char *);\n\
             struct {{ int version, minor; void *use; }} wsgi_module = {{ {major}, {minor}, puts }};\n"
        )
    }

    #[test]
    fn modules_are_for_one_system() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let program = Elf { interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()), ..Elf::default() };
        let sound = built(directory, "sound.so", &record(20_120_211, 142), &[]);
        assert_eq!(sound.magic, Some((20_120_211, 142)));
        let program = Elf { machine: sound.machine, ..program };
        let own = Elf {
            interpreter: fs::read("/proc/self/exe")
                .ok()
                .and_then(|_| Elf::read(Path::new("/proc/self/exe")))
                .and_then(|elf| elf.interpreter),
            ..Elf::default()
        };
        let libc = library(&own).and_then(|file| Elf::read(&file)).unwrap();
        let judge = |module: &Elf| {
            misfit(module, Some(&program), Some(&libc), Some((20_120_211, 142))).map(|(why, _)| why)
        };
        assert_eq!(judge(&sound), None);

        let older = built(directory, "older.so", &record(20_051_115, 1), &[]);
        assert!(judge(&older).unwrap().contains("20051115"));

        // A library of a newer system, which the module is linked with.
        fs::write(directory.join("map"), "GLIBC_2.2.5 { puts; };\nGLIBC_2.99 { new; } GLIBC_2.2.5;\n")
            .unwrap();
        let stub = "int puts(const char *text) { return 0; }\nint new(void) { return 1; }\n";
        let _ = built(
            directory,
            "libnew.so",
            stub,
            &["-nostdlib", "-Wl,-soname,libc.so.6", "-Wl,--version-script=map"],
        );
        let source = record(20_120_211, 142) + "extern int new(void);\nint use(void) { return new(); }\n";
        let newer = built(directory, "newer.so", &source, &["-nostdlib", "-L.", "-lnew"]);
        assert!(judge(&newer).unwrap().contains("needs glibc 2.99"), "{newer:?}");

        let _ = built(directory, "libmusl.so", stub, &["-nostdlib", "-Wl,-soname,libc.musl-x86_64.so.1"]);
        let musl = built(directory, "musl.so", &record(20_120_211, 142), &["-nostdlib", "-L.", "-lmusl"]);
        assert!(judge(&musl).unwrap().contains("built for musl"), "{musl:?}");

        let other = Elf { machine: 0, ..sound };
        assert!(judge(&other).unwrap().contains("another processor"));
        assert_eq!(Elf::read(&directory.join("map")), None);
    }
}
