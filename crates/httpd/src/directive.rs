//! Directives: the table that Apache reads, and the one function behind all of its entries.
//!
//! All are registered as raw arguments: the module gets the rest of the line, and all errors are
//! its own.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::zeroed;
use std::ptr;

use httpd_sys as sys;

use crate::config::{DirectoryEntry, ModuleConfig, ServerEntry};
use crate::guard::guard;
use crate::log::{Level, Logger};
use crate::pool::Pool;
use crate::server::Server;
use crate::text;

/// The description of a directive for Apache. The name of a section starts with `<`.
#[derive(Debug, Clone, Copy)]
pub struct DirectiveSpec {
    /// Its name.
    pub name: &'static CStr,
    /// Shown by `httpd -L`.
    pub help: &'static CStr,
    /// The places where it may stand.
    pub allowed: Allowed,
}

/// The places where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Outside directory sections.
    Server,
    /// There and in directory sections.
    ServerAndDirectory,
    /// Everywhere, in `.htaccess` with `AllowOverride FileInfo`.
    FileInfo,
    /// In directory sections, and in `.htaccess` with `AllowOverride AuthConfig`.
    AuthConfig,
}

/// The directives of a module.
pub trait ModuleDirectives: ModuleConfig {
    /// Applies a line of the directive with this index in the record's [`Directives`].
    ///
    /// # Errors
    /// A text for the administrator.
    fn directive(index: usize, line: &mut Line<'_, Self>) -> Result<Applied, String>;

    /// Ends a section ([`Applied::Section`]) whose content has been applied.
    fn end_section(index: usize, line: &mut Line<'_, Self>);
}

/// The table of a module's directives.
#[repr(C)]
pub struct Directives<M, const N: usize> {
    commands: [sys::command_rec; N],
    end: sys::command_rec,
    module: PhantomData<fn() -> M>,
}

// SAFETY: nobody writes to it.
unsafe impl<M, const N: usize> Sync for Directives<M, N> {}

impl<M: ModuleDirectives, const N: usize> Directives<M, N> {
    /// Makes the table of these directives. [`ModuleDirectives::directive`] is called with their
    /// indexes.
    #[must_use]
    pub const fn new(specs: [DirectiveSpec; N]) -> Self {
        // SAFETY: a command is pointers, integers and an optional function, all of which may be
        // zero. Such a one ends the table.
        let end: sys::command_rec = unsafe { zeroed() };
        let mut commands = [end; N];
        let mut index = 0;
        while index < N {
            let spec = &specs[index];
            commands[index] = sys::command_rec {
                name: spec.name.as_ptr(),
                func: sys::cmd_func { raw_args: Some(apply::<M>) },
                cmd_data: ptr::without_provenance_mut(index),
                req_override: spec.allowed.bits(),
                args_how: sys::RAW_ARGS,
                errmsg: spec.help.as_ptr(),
            };
            index += 1;
        }
        Self { commands, end, module: PhantomData }
    }

    pub(crate) const fn as_ptr(&'static self) -> *const sys::command_rec {
        // The commands and their end are one array for Apache.
        ptr::from_ref(self).cast()
    }
}

impl Allowed {
    const fn bits(self) -> i32 {
        (match self {
            Self::Server => sys::RSRC_CONF,
            Self::ServerAndDirectory => sys::RSRC_CONF | sys::ACCESS_CONF,
            Self::FileInfo => sys::OR_FILEINFO,
            Self::AuthConfig => sys::OR_AUTHCFG,
        }) as i32
    }
}

/// A line of the configuration.
pub struct Line<'a, M: ModuleConfig> {
    /// The settings that it may change.
    pub settings: Settings<'a, M>,
    /// The rest of the line, behind the directive's name.
    pub arguments: &'a [u8],
    server: &'a Server,
    position: (&'a [u8], u32),
}

/// The settings that a line may change.
pub struct Settings<'a, M: ModuleConfig> {
    /// The global settings and those of the server that the line stands in; none in `.htaccess`,
    /// which is read while they are in use.
    pub shared: Option<(&'a mut M::Global, &'a mut M::Server)>,
    /// The settings of the directory section that the line stands in.
    pub directory: Option<&'a mut M::Directory>,
    /// Set if the server is a virtual host.
    pub is_virtual_host: bool,
}

/// The kind of line that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A complete directive.
    Done,
    /// The begin of a section: its lines are applied next, then [`ModuleDirectives::end_section`]
    /// is called.
    Section,
}

impl<'a, M: ModuleConfig> Line<'a, M> {
    /// Returns the server that the line stands in, as configured so far.
    #[must_use]
    pub fn server(&self) -> &'a Server {
        self.server
    }

    /// Returns the file that the line is in, and its number there.
    #[must_use]
    pub fn position(&self) -> (&'a [u8], u32) {
        self.position
    }

    /// Logs a line.
    pub fn log(&self, level: Level, line: impl AsRef<[u8]>) {
        Logger::of::<M>().server(self.server, level, line);
    }

    /// # Safety
    /// The arguments are those of a directive's function. No other reference to the settings
    /// exists.
    unsafe fn new(parms: *mut sys::cmd_parms, directory: *mut c_void, arguments: *const c_char) -> Self {
        // SAFETY: Apache gives live parameters, the entry that `create_directory` made, and a C
        // string. While requests run, Apache applies only `.htaccess` files, to entries made for
        // it; otherwise one thread applies the configuration, and nobody else has the entries.
        unsafe {
            let server = (*parms).server;
            // A section of a provider (`<AuthnProviderAlias>`) has settings of its own, and no path.
            let in_directory = !(*parms).path.is_null() || (*parms).override_ & sys::RSRC_CONF as c_int == 0;
            let entry = directory.cast::<DirectoryEntry<M>>();
            let directory = (in_directory && !entry.is_null()).then(|| {
                DirectoryEntry::mark_used(entry);
                &mut *DirectoryEntry::settings(entry)
            });
            let entry = sys::ap_get_module_config((*server).module_config, M::record().index());
            let entry = entry.cast::<ServerEntry<M>>();
            let running = sys::ap_state_query(sys::AP_SQ_MAIN_STATE as i32) == sys::AP_SQ_MS_RUN_MPM as i32;
            let shared = (!running && !entry.is_null())
                .then(|| (&mut *ServerEntry::global(entry), &mut *ServerEntry::settings(entry)));
            let is_virtual_host = (*server).is_virtual != 0;
            // The parameters point to the directive that is being applied.
            let directive = (*parms).directive.as_ref();
            let position = directive.map(|directive| {
                let file = text::bytes(directive.filename).unwrap_or_default();
                (file, u32::try_from(directive.line_num).unwrap_or(0))
            });
            Self {
                settings: Settings { shared, directory, is_virtual_host },
                arguments: text::bytes(arguments).unwrap_or_default(),
                server: Server::from_raw(server),
                position: position.unwrap_or_default(),
            }
        }
    }
}

/// Applies a line of any directive.
unsafe extern "C" fn apply<M: ModuleDirectives>(
    parms: *mut sys::cmd_parms,
    directory: *mut c_void,
    arguments: *const c_char,
) -> *const c_char {
    // SAFETY: Apache gives live parameters.
    let pool = unsafe { Pool::from_raw((*parms).pool) };
    let error_text = |text: &str| {
        let text = text.replace('\0', " ");
        pool.c_string(text.as_bytes()).map_or(c"Internal error in a directive".as_ptr(), CStr::as_ptr)
    };
    let body = || {
        // SAFETY: the command is an entry of `Directives`, so its data is an index. The line ends
        // before anything else gets at the settings: the content of a section is applied by this
        // function, too.
        unsafe {
            let index = (*(*parms).cmd).cmd_data.addr();
            let directive = (*parms).directive;
            let context = (*parms).context;
            let applied = M::directive(index, &mut Line::<M>::new(parms, directory, arguments));
            match applied {
                Ok(Applied::Done) => ptr::null(),
                Ok(Applied::Section) => {
                    let error = sys::ap_walk_config((*directive).first_child, parms, context);
                    M::end_section(index, &mut Line::<M>::new(parms, directory, arguments));
                    error
                }
                Err(text) => error_text(&text),
            }
        }
    };
    guard("a directive", body, error_text)
}
