//! Hooks: one trampoline each.

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use httpd_sys as sys;

use crate::child::Child;
use crate::guard::{guard, quiet_guard};
use crate::log::{self, Level, Logger};
use crate::module::Module;
use crate::mpm::ServerInfo;
use crate::pool::Pool;
use crate::request::Request;
use crate::server::Server;
use crate::status::Status;

/// Registers a module's hooks with Apache, which forgets them when it reads its configuration again, and asks
/// again.
pub struct Hooks<'p, M> {
    pool: &'p Pool,
    module: PhantomData<fn() -> M>,
}

/// Which modules' hooks come before and after ours, by the names in their records.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// These come first.
    pub after: &'static [&'static CStr],
    /// These come later.
    pub before: &'static [&'static CStr],
}

impl<M: Module> Hooks<'_, M> {
    /// Registers [`Module::translate_name`].
    pub fn translate_name(&mut self, order: Order) {
        let (after, before) = (self.list(order.after), self.list(order.before));
        // SAFETY: the function is static, the lists live as long as the configuration.
        unsafe { sys::ap_hook_translate_name(Some(translate_name::<M>), after, before, MIDDLE) }
    }

    /// Registers [`Module::handler`].
    pub fn handler(&mut self) {
        // SAFETY: the function is static.
        unsafe { sys::ap_hook_handler(Some(handler::<M>), ptr::null(), ptr::null(), MIDDLE) }
    }

    /// Registers [`Module::post_config`].
    pub fn post_config(&mut self) {
        // SAFETY: the function is static.
        unsafe { sys::ap_hook_post_config(Some(post_config::<M>), ptr::null(), ptr::null(), MIDDLE) }
    }

    /// Registers [`Module::test_config`].
    pub fn test_config(&mut self) {
        // SAFETY: the function is static.
        unsafe { sys::ap_hook_test_config(Some(test_config::<M>), ptr::null(), ptr::null(), MIDDLE) }
    }

    /// Registers [`Module::monitor`].
    pub fn monitor(&mut self) {
        // SAFETY: the function is static.
        unsafe { sys::ap_hook_monitor(Some(monitor::<M>), ptr::null(), ptr::null(), MIDDLE) }
    }

    /// Registers [`Module::child_init`].
    pub fn child_init(&mut self) {
        // SAFETY: the function is static.
        unsafe { sys::ap_hook_child_init(Some(child_init::<M>), ptr::null(), ptr::null(), MIDDLE) }
    }

    /// As a null-terminated list that lives until Apache has sorted the hooks.
    fn list(&self, names: &[&'static CStr]) -> *const *const c_char {
        let mut list = self.pool.vec(names.len() + 1);
        for name in names {
            list.push(name.as_ptr());
        }
        list.push(ptr::null());
        list.into_slice().as_ptr()
    }
}

const MIDDLE: c_int = sys::APR_HOOK_MIDDLE as c_int;

pub(crate) unsafe extern "C" fn register<M: Module>(pool: *mut sys::apr_pool_t) {
    // SAFETY: Apache gives the configuration's pool.
    let pool = unsafe { Pool::from_raw(pool) };
    quiet_guard("the registration of hooks", || M::register(&mut Hooks { pool, module: PhantomData }));
}

unsafe extern "C" fn translate_name<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: Apache gives a live request.
    unsafe { run::<M>("the name translation", request, M::translate_name) }
}

unsafe extern "C" fn handler<M: Module>(request: *mut sys::request_rec) -> c_int {
    // SAFETY: as above.
    unsafe { run::<M>("the request handler", request, M::handler) }
}

/// # Safety
/// `request` is live.
unsafe fn run<M: Module>(entry: &str, request: *mut sys::request_rec, hook: fn(&Request) -> Status) -> c_int {
    // SAFETY: by the caller; the reference ends with this call.
    let request = unsafe { Request::from_raw(request) };
    let failed = |line: &str| {
        Logger::of::<M>().request(request, Level::Crit, line);
        Status::INTERNAL_SERVER_ERROR
    };
    guard(entry, || hook(request), failed).code()
}

unsafe extern "C" fn post_config<M: Module>(
    pool: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: Apache gives the main server and the configuration's pool.
    let (server, info) = unsafe { (Server::from_raw(server), ServerInfo::new(pool)) };
    // SAFETY: a plain question.
    let state = unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE as c_int) };
    if state == sys::AP_SQ_MS_CREATE_PRE_CONFIG as c_int {
        return sys::OK as c_int;
    }
    match guard(
        "the check of the configuration",
        || M::post_config(server, &info),
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
    // SAFETY: Apache gives the main server.
    let server = unsafe { Server::from_raw(server) };
    guard(
        "the test of the configuration",
        || M::test_config(server),
        |line| log::anywhere(M::record().index(), Level::Crit, line.as_bytes()),
    );
}

unsafe extern "C" fn monitor<M: Module>(_: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> c_int {
    // SAFETY: Apache gives the main server.
    let server = unsafe { Server::from_raw(server) };
    let failed = |line: &str| Logger::of::<M>().server(server, Level::Crit, line);
    guard("the watch over the server", || M::monitor(server), failed);
    // Others are to be called as well.
    sys::DECLINED
}

unsafe extern "C" fn child_init<M: Module>(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    // SAFETY: Apache gives the child's pool and the main server, which a child keeps to its end.
    let child = unsafe { Child::new(pool, server) };
    guard(
        "the start of a child",
        || M::child_init(&child),
        |line| log::anywhere(M::record().index(), Level::Crit, line.as_bytes()),
    );
}
