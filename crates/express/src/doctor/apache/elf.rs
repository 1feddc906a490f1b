//! The needs of a program or a library, read from its file.

use std::path::Path;

use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};

/// More than any module has.
const LARGEST: u64 = 512 << 20;

/// Facts about a file in ELF.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    /// The number of the machine (`e_machine`).
    pub(crate) machine: u16,
    /// The program that loads it, such as `/lib64/ld-linux-x86-64.so.2`; libraries have none.
    pub(crate) interpreter: Option<String>,
    /// The libraries that it needs.
    pub(crate) needed: Vec<String>,
    /// The versions that it needs, with their libraries, such as `libc.so.6` and `GLIBC_2.34`.
    pub(crate) wants: Vec<(String, String)>,
    /// The versions that it has.
    pub(crate) has: Vec<String>,
    /// The number of Apache's that a module was built for, and the minor one, from its record
    /// `wsgi_module`.
    pub(crate) magic: Option<(u32, u32)>,
}

/// The libraries of systems, which a file is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Libc {
    Glibc,
    Musl,
}

impl Elf {
    /// Reads a file; `None` if it cannot be read, or is none of 64 bits in ELF.
    pub(crate) fn read(file: &Path) -> Option<Self> {
        Self::parse(&os::file::read_regular(file, LARGEST).ok()?).ok()
    }

    fn parse(data: &[u8]) -> object::read::Result<Self> {
        let file = ElfFile64::<Endianness>::parse(data)?;
        let (endian, header) = (file.endian(), file.elf_header());
        let mut elf = Self { machine: header.e_machine(endian), ..Self::default() };
        for segment in file.elf_program_headers() {
            if let Some(path) = segment.interpreter(endian, data)? {
                elf.interpreter = Some(text(path));
            }
        }
        let sections = file.elf_section_table();
        if let Some((entries, link)) = sections.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            for entry in entries.iter().filter(|entry| entry.tag32(endian) == Some(object::elf::DT_NEEDED)) {
                elf.needed.push(text(entry.string(endian, strings)?));
            }
        }
        if let Some((mut libraries, link)) = sections.gnu_verneed(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((library, mut versions)) = libraries.next()? {
                let library = text(library.file(endian, strings)?);
                while let Some(version) = versions.next()? {
                    elf.wants.push((library.clone(), text(version.name(endian, strings)?)));
                }
            }
        }
        if let Some((mut definitions, link)) = sections.gnu_verdef(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((_, mut names)) = definitions.next()? {
                if let Some(name) = names.next()? {
                    elf.has.push(text(name.name(endian, strings)?));
                }
            }
        }
        elf.magic = magic(&file);
        Ok(elf)
    }

    /// Returns the kind of library that it needs; `None` if it needs neither.
    pub(crate) fn libc(&self) -> Option<Libc> {
        let names = self.needed.iter().map(String::as_str).chain(self.interpreter.as_deref());
        names
            .filter_map(|name| {
                if name.contains("musl") {
                    Some(Libc::Musl)
                } else if name == "libc.so.6" || name.contains("ld-linux") {
                    Some(Libc::Glibc)
                } else {
                    None
                }
            })
            .next()
    }

    /// Returns the newest version of glibc that it needs.
    pub(crate) fn glibc_wanted(&self) -> Option<(u32, u32)> {
        self.wants.iter().filter_map(|(_, version)| glibc(version)).max()
    }

    /// Returns the version of glibc that it is.
    pub(crate) fn glibc_had(&self) -> Option<(u32, u32)> {
        self.has.iter().filter_map(|version| glibc(version)).max()
    }
}

/// Reads `GLIBC_2.34`.
fn glibc(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Returns the first two numbers in the record of the module.
fn magic(file: &ElfFile64<'_, Endianness>) -> Option<(u32, u32)> {
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("wsgi_module"))?;
    let mut sections = file.sections();
    let data = sections.find_map(|section| section.data_range(symbol.address(), 8).ok().flatten())?;
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().ok()?;
        Some(if file.is_little_endian() { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    Some((number(data.get(..4)?)?, number(data.get(4..8)?)?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
