//! The trampolines of a module's hooks, one each, and the record that leads to them.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use httpd_sys as sys;

use crate::access;
use crate::child::Child;
use crate::config;
use crate::directive::Directives;
use crate::guard::{guard, quiet_guard};
use crate::log::{Level, Logger};
use crate::main_log;
use crate::module::{ChildStatus, Hook, Module, RequestHook};
use crate::mpm::ServerInfo;
use crate::pool::Pool;
use crate::record::Record;
use crate::redirects;
use crate::request::Request;
use crate::server::Server;
use crate::status::Status;
use crate::status_page;

impl<M: Module> Record<M> {
    /// Makes the record of the module with this name (by custom that of its source file, for
    /// `<IfModule>`).
    #[must_use]
    pub const fn new<const N: usize>(name: &'static CStr, directives: &'static Directives<M, N>) -> Self {
        let mut record = sys::standard20_module_stuff(name);
        record.create_server_config = Some(config::create_server::<M>);
        record.merge_server_config = Some(config::merge_server::<M>);
        record.create_dir_config = Some(config::create_directory::<M>);
        record.merge_dir_config = Some(config::merge_directory::<M>);
        record.cmds = directives.as_ptr();
        record.register_hooks = Some(register::<M>);
        Self::of(record)
    }
}

/// Registers the hooks that a module has. Apache forgets them when it reads its configuration
/// again, and calls this again.
unsafe extern "C" fn register<M: Module>(pool: *mut sys::apr_pool_t) {
    // SAFETY: Apache gives the configuration's pool.
    let pool = unsafe { Pool::from_raw(pool) };
    quiet_guard("the registration of hooks", || {
        if let Some(loaded) = M::LOADED {
            loaded();
        }
        access::register::<M>(pool);
        status_page::register::<M>();
        let hooks = Registration { pool };
        // SAFETY: each function is static, and of the kind that the hook is registered for.
        unsafe {
            hooks.add(M::POST_CONFIG, sys::ap_hook_post_config, Some(post_config::<M>));
            hooks.add(M::TEST_CONFIG, sys::ap_hook_test_config, Some(test_config::<M>));
            hooks.add(M::MONITOR, sys::ap_hook_monitor, Some(monitor::<M>));
            hooks.add(M::CHILD_STATUS, sys::ap_hook_child_status, Some(child_status::<M>));
            hooks.add(M::CHILD_INIT, sys::ap_hook_child_init, Some(child_init::<M>));
            hooks.add(M::TRANSLATE_NAME, sys::ap_hook_translate_name, Some(translate_name::<M>));
            hooks.add(M::ACCESS_CHECKER, sys::ap_hook_access_checker, Some(access_checker::<M>));
            hooks.add(M::HANDLER, sys::ap_hook_handler, Some(handler::<M>));
            sys::ap_hook_create_request(
                Some(redirects::create_request::<M>),
                ptr::null(),
                ptr::null(),
                MIDDLE,
            );
        }
    });
}

/// One of Apache's functions that register a hook.
type Register<T> = unsafe extern "C" fn(T, *const *const c_char, *const *const c_char, c_int);

/// The registration of hooks for one reading of the configuration.
struct Registration<'p> {
    pool: &'p Pool,
}

impl Registration<'_> {
    /// Registers `trampoline` with Apache if the module has the hook.
    ///
    /// # Safety
    /// `register` takes functions like the trampoline, which is static.
    unsafe fn add<F, T>(&self, hook: Option<Hook<F>>, register: Register<T>, trampoline: T) {
        let Some(Hook { order, .. }) = hook else { return };
        let (after, before) = (self.list(order.after), self.list(order.before));
        // SAFETY: by the caller; the lists live as long as the configuration.
        unsafe { register(trampoline, after, before, MIDDLE) }
    }

    /// Returns the names as a null-terminated list that lives until Apache has sorted the hooks, or
    /// null if there are none.
    fn list(&self, names: &[&'static CStr]) -> *const *const c_char {
        if names.is_empty() {
            return ptr::null();
        }
        let mut list = self.pool.vec(names.len() + 1);
        for name in names {
            list.push(name.as_ptr());
        }
        list.push(ptr::null());
        list.into_slice().as_ptr()
    }
}

const MIDDLE: c_int = sys::APR_HOOK_MIDDLE as c_int;

unsafe extern "C" fn translate_name<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: Apache gives a live request.
    unsafe { run::<M>("the name translation", request, M::TRANSLATE_NAME) }
}

unsafe extern "C" fn access_checker<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: Apache gives a live request.
    unsafe { run::<M>("the check of access", request, M::ACCESS_CHECKER) }
}

unsafe extern "C" fn handler<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: Apache gives a live request.
    unsafe { run::<M>("the request handler", request, M::HANDLER) }
}

/// # Safety
/// `request` is live.
unsafe fn run<M: Module>(
    entry: &str,
    request: *mut sys::request_rec,
    hook: Option<Hook<RequestHook>>,
) -> c_int {
    let Some(hook) = hook else { return sys::DECLINED };
    // SAFETY: by the caller; the reference ends with this call.
    let request = unsafe { Request::from_raw(request) };
    let failed = |line: &str| {
        Logger::of::<M>().request(request, Level::Crit, line);
        Status::INTERNAL_SERVER_ERROR
    };
    guard(entry, || (hook.function)(request), failed).code()
}

unsafe extern "C" fn post_config<M: Module>(
    pool: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    let Some(hook) = M::POST_CONFIG else { return sys::DECLINED };
    // SAFETY: Apache gives the main server and the configuration's pool.
    let (server, info) = unsafe { (Server::from_raw(server), ServerInfo::new(pool)) };
    // SAFETY: the call takes and returns numbers only.
    let state = unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE as c_int) };
    if state == sys::AP_SQ_MS_CREATE_PRE_CONFIG as c_int {
        return sys::OK as c_int;
    }
    match guard(
        "the check of the configuration",
        || (hook.function)(server, &info),
        |line| Err(line.to_owned()),
    ) {
        Ok(()) => sys::OK as c_int,
        Err(text) => {
            Logger::of::<M>().server(server, Level::Crit, text);
            Status::INTERNAL_SERVER_ERROR.code()
        }
    }
}

unsafe extern "C" fn test_config<M: Module>(_: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    let Some(hook) = M::TEST_CONFIG else { return };
    // SAFETY: Apache gives the main server.
    let server = unsafe { Server::from_raw(server) };
    guard(
        "the test of the configuration",
        || (hook.function)(server),
        |line| main_log::write(M::record().index(), Level::Crit, line.as_bytes()),
    );
}

unsafe extern "C" fn monitor<M: Module>(_: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> c_int {
    let Some(hook) = M::MONITOR else { return sys::DECLINED };
    // SAFETY: Apache gives the main server.
    let server = unsafe { Server::from_raw(server) };
    let failed = |line: &str| Logger::of::<M>().server(server, Level::Crit, line);
    guard("the watch over the server", || (hook.function)(server), failed);
    // The hooks of other modules are to run, too.
    sys::DECLINED
}

unsafe extern "C" fn child_status<M: Module>(
    server: *mut sys::server_rec,
    pid: sys::pid_t,
    _: sys::ap_generation_t,
    _: c_int,
    state: sys::mpm_child_status,
) {
    let Some(hook) = M::CHILD_STATUS else { return };
    let status = match state {
        sys::MPM_CHILD_STARTED => ChildStatus::Started(pid.cast_unsigned()),
        sys::MPM_CHILD_EXITED => ChildStatus::Ended(pid.cast_unsigned()),
        // One that still runs has lost its place in the scoreboard.
        _ => return,
    };
    // SAFETY: Apache gives the main server.
    let server = unsafe { Server::from_raw(server) };
    let failed = |line: &str| Logger::of::<M>().server(server, Level::Crit, line);
    guard("the note of a child's status", || (hook.function)(server, status), failed);
}

unsafe extern "C" fn child_init<M: Module>(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    let Some(hook) = M::CHILD_INIT else { return };
    // SAFETY: Apache gives the child's pool and the main server, which a child keeps to its end.
    let child = unsafe { Child::new(pool, server) };
    guard(
        "the start of a child",
        || (hook.function)(&child),
        |line| main_log::write(M::record().index(), Level::Crit, line.as_bytes()),
    );
}
