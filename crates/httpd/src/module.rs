//! What a module is, and its record.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use httpd_sys as sys;

use crate::child::Child;
use crate::directive::{Directives, Line, Then};
use crate::hooks::Hooks;
use crate::mpm::ServerInfo;
use crate::request::Request;
use crate::server::Server;
use crate::status::Status;
use crate::{config, hooks};

/// An Apache module. The type itself is never made: it only names the parts.
///
/// Configuration is read by one thread, before there are requests, and never changes after that. (The sections
/// of `.htaccess` files are made while requests run, but each for one request only.)
pub trait Module: Sized + 'static {
    /// Settings of the main server or a virtual host.
    type Server: Default + Send + Sync + 'static;
    /// Settings of a directory section.
    type Directory: Default + Send + Sync + 'static;
    /// Settings that exist once.
    type Global: Default + Send + Sync + 'static;

    /// The record that Apache loads.
    fn record() -> &'static Record<Self>;

    /// Settings of a virtual host: its own over the main server's.
    fn merge_server(main: &Self::Server, host: &Self::Server) -> Self::Server;

    /// Settings of a directory section within another. Not called if one of them has no directive of ours.
    fn merge_directory(outer: &Self::Directory, inner: &Self::Directory) -> Self::Directory;

    /// Applies a line: that of the directive with this index in the record's [`Directives`].
    ///
    /// # Errors
    /// A text for the administrator.
    fn directive(index: usize, line: &mut Line<'_, Self>) -> Result<Then, String>;

    /// The content of a section ([`Then::Section`]) has been applied.
    fn end_section(index: usize, line: &mut Line<'_, Self>);

    /// Registers those of the following that are to be called.
    fn register(hooks: &mut Hooks<'_, Self>);

    /// Maps a request to a file.
    fn translate_name(request: &Request) -> Status;

    /// Answers a request.
    fn handler(request: &Request) -> Status;

    /// Looks at the configuration once it is complete. Apache reads its configuration twice when it starts; this
    /// is called the second time only.
    ///
    /// # Errors
    /// A text for the administrator; the server does not start.
    fn post_config(server: &Server, info: &ServerInfo) -> Result<(), String>;

    /// Looks at a configuration that is only tested (`httpd -t`), once it is complete: what is logged here is shown.
    fn test_config(server: &Server);

    /// Looks after things in the parent process, about every ten seconds while the server runs.
    fn monitor(server: &Server);

    /// Prepares a child process, in its first thread, before it serves requests.
    fn child_init(child: &Child<'_>);
}

/// A module's record, which Apache finds by its symbol and writes to.
#[repr(transparent)]
pub struct Record<M> {
    record: UnsafeCell<sys::module>,
    module: PhantomData<fn() -> M>,
}

// SAFETY: Apache writes to a record while it loads and unloads modules, in one thread; at all other times it and
// we only read.
unsafe impl<M> Sync for Record<M> {}

impl<M: Module> Record<M> {
    /// The record of the module with this name (that of its source file, by custom, for `<IfModule>`).
    #[must_use]
    pub const fn new<const N: usize>(name: &'static CStr, directives: &'static Directives<M, N>) -> Self {
        let mut record = sys::standard20_module_stuff(name);
        record.create_server_config = Some(config::create_server::<M>);
        record.merge_server_config = Some(config::merge_server::<M>);
        record.create_dir_config = Some(config::create_directory::<M>);
        record.merge_dir_config = Some(config::merge_directory::<M>);
        record.cmds = directives.as_ptr();
        record.register_hooks = Some(hooks::register::<M>);
        Self { record: UnsafeCell::new(record), module: PhantomData }
    }

    /// The module's place in Apache's vectors, as long as it is loaded.
    #[must_use]
    #[inline]
    pub(crate) fn index(&self) -> c_int {
        // SAFETY: written only while modules are loaded, see above.
        unsafe { (*self.record.get()).module_index }
    }

    /// The name in the record.
    pub(crate) fn name(&self) -> &'static CStr {
        // SAFETY: `new` had it from a static string, and Apache does not change it.
        unsafe { CStr::from_ptr((*self.record.get()).name) }
    }
}

/// Declares the record of a module under the symbol that `LoadModule` names.
#[macro_export]
macro_rules! declare_module {
    ($(#[$attribute:meta])* $symbol:ident : $module:ty = $record:expr) => {
        $(#[$attribute])*
        // SAFETY: the symbol is a module record, which is what Apache takes a symbol of this name for.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, reason = "the name is Apache's custom")]
        pub static $symbol: $crate::Record<$module> = $record;
    };
}
