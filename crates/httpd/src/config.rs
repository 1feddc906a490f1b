//! The life cycle of settings: made when Apache first meets a directive of the module, merged, and
//! dropped with their pool.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_void};
use std::ptr;

use httpd_sys as sys;

use crate::guard::quiet_guard;
use crate::pool::Pool;
use crate::record::Record;

/// The settings of a module.
///
/// One thread reads the configuration before there are requests; it never changes after that.
/// (Sections of `.htaccess` files are made while requests run, each for one request only.)
pub trait ModuleConfig: Sized + 'static {
    /// Settings of the main server or a virtual host.
    type Server: Default + Send + Sync + 'static;
    /// Settings of a directory section.
    type Directory: Default + Send + Sync + 'static;
    /// Settings that exist once.
    type Global: Default + Send + Sync + 'static;

    /// Returns the record that Apache loads.
    fn record() -> &'static Record<Self>;

    /// Merges the settings of a virtual host over those of the main server.
    fn merge_server(main: &Self::Server, host: &Self::Server) -> Self::Server;

    /// Merges the settings of a directory section over those of an outer one. Not called if one of
    /// them has no directive of the module.
    fn merge_directory(outer: &Self::Directory, inner: &Self::Directory) -> Self::Directory;
}

/// The module's entry in Apache's vector of a server.
pub(crate) struct ServerEntry<M: ModuleConfig> {
    global: *const UnsafeCell<M::Global>,
    settings: UnsafeCell<M::Server>,
}

/// The module's entry in Apache's vector of a directory section.
pub(crate) struct DirectoryEntry<M: ModuleConfig> {
    settings: UnsafeCell<M::Directory>,
    /// Set if the section contains a directive of the module.
    is_used: UnsafeCell<bool>,
}

// SAFETY: the owner of the pool makes and drops entries; they are shared only when nobody writes to
// them (see `ModuleConfig`). The global settings live in the same pool as the entry that points to
// them.
unsafe impl<M: ModuleConfig> Send for ServerEntry<M> {}
// SAFETY: the owner of the pool makes and drops entries; they are shared only when nobody writes to
// them.
unsafe impl<M: ModuleConfig> Send for DirectoryEntry<M> {}

impl<M: ModuleConfig> ServerEntry<M> {
    /// # Safety
    /// `entry` is live; no other reference to the settings exists, or all of them are shared.
    pub(crate) unsafe fn settings(entry: *const Self) -> *mut M::Server {
        // SAFETY: by the caller.
        unsafe { (*entry).settings.get() }
    }

    /// # Safety
    /// As [`ServerEntry::settings`].
    pub(crate) unsafe fn global(entry: *const Self) -> *mut M::Global {
        // SAFETY: by the caller; the global settings live as long as the entry.
        unsafe { (*(*entry).global).get() }
    }
}

impl<M: ModuleConfig> DirectoryEntry<M> {
    /// # Safety
    /// As [`ServerEntry::settings`].
    pub(crate) unsafe fn settings(entry: *const Self) -> *mut M::Directory {
        // SAFETY: by the caller.
        unsafe { (*entry).settings.get() }
    }

    /// # Safety
    /// `entry` is live and not shared.
    pub(crate) unsafe fn mark_used(entry: *const Self) {
        // SAFETY: by the caller.
        unsafe { *(*entry).is_used.get() = true }
    }
}

pub(crate) unsafe extern "C" fn create_server<M: ModuleConfig>(
    pool: *mut sys::apr_pool_t,
    _: *mut sys::server_rec,
) -> *mut c_void {
    // SAFETY: Apache gives the configuration's pool.
    let pool = unsafe { Pool::from_raw(pool) };
    create::<ServerEntry<M>>("the creation of server settings", || {
        pool.own_raw(ServerEntry::<M> { global: global::<M>(pool), settings: UnsafeCell::default() })
    })
}

pub(crate) unsafe extern "C" fn merge_server<M: ModuleConfig>(
    pool: *mut sys::apr_pool_t,
    main: *mut c_void,
    host: *mut c_void,
) -> *mut c_void {
    let (main, host) = (main.cast::<ServerEntry<M>>(), host.cast::<ServerEntry<M>>());
    let merged = create::<ServerEntry<M>>("the merging of server settings", || {
        // SAFETY: both were made by `create_server` or here, and nobody writes to them any more.
        let (settings, global) = unsafe {
            let settings = M::merge_server(&*ServerEntry::settings(main), &*ServerEntry::settings(host));
            (UnsafeCell::new(settings), (*main).global)
        };
        // SAFETY: Apache gives the configuration's pool.
        unsafe { Pool::from_raw(pool) }.own_raw(ServerEntry::<M> { global, settings })
    });
    if merged.is_null() { host.cast() } else { merged }
}

pub(crate) unsafe extern "C" fn create_directory<M: ModuleConfig>(
    pool: *mut sys::apr_pool_t,
    _: *mut c_char,
) -> *mut c_void {
    // SAFETY: Apache gives a live pool, of the configuration or (for `.htaccess`) of a request.
    let pool = unsafe { Pool::from_raw(pool) };
    create::<DirectoryEntry<M>>("the creation of directory settings", || {
        pool.own_raw(DirectoryEntry::<M> { settings: UnsafeCell::default(), is_used: UnsafeCell::new(false) })
    })
}

/// Merges directory sections. Apache does that anew for each request. Most sections have no
/// directive of the module, and the other one is the result.
pub(crate) unsafe extern "C" fn merge_directory<M: ModuleConfig>(
    pool: *mut sys::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    let (outer, inner) = (outer.cast::<DirectoryEntry<M>>(), inner.cast::<DirectoryEntry<M>>());
    // SAFETY: both were made by `create_directory` or here, and nobody writes to them any more.
    unsafe {
        if !*(*outer).is_used.get() {
            return inner.cast();
        }
        if !*(*inner).is_used.get() {
            return outer.cast();
        }
    }
    let merged = create::<DirectoryEntry<M>>("the merging of directory settings", || {
        // SAFETY: nobody writes to the two settings any more; Apache gives a live pool.
        let (settings, pool) = unsafe {
            let settings =
                M::merge_directory(&*DirectoryEntry::settings(outer), &*DirectoryEntry::settings(inner));
            (settings, Pool::from_raw(pool))
        };
        pool.own_raw(DirectoryEntry::<M> {
            settings: UnsafeCell::new(settings),
            is_used: UnsafeCell::new(true),
        })
    });
    if merged.is_null() { inner.cast() } else { merged }
}

/// Runs `make`. After a panic the result is null: to Apache, the module has no settings here.
fn create<T>(entry: &str, make: impl FnOnce() -> *mut T) -> *mut c_void {
    let mut result = ptr::null_mut();
    quiet_guard(entry, || result = make());
    result.cast()
}

/// Returns the global settings of the configuration that `pool` belongs to. Apache has no place for
/// them, so they are attached to the pool.
fn global<M: ModuleConfig>(pool: &Pool) -> *const UnsafeCell<M::Global> {
    let key = M::record().name().as_ptr();
    let mut found: *mut c_void = ptr::null_mut();
    // SAFETY: the pool is live; data under the module's name was put there below, in this pool.
    unsafe {
        sys::apr_pool_userdata_get(&raw mut found, key, pool.as_ptr());
        if found.is_null() {
            found = pool.own_raw(Global::<M>(UnsafeCell::default())).cast();
            sys::apr_pool_userdata_setn(found, key, None, pool.as_ptr());
        }
        &raw const (*found.cast::<Global<M>>()).0
    }
}

struct Global<M: ModuleConfig>(UnsafeCell<M::Global>);
