//! Client connections.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use httpd_sys as sys;

use crate::request::Request;
use crate::text;

/// The connection that a request came on.
#[repr(transparent)]
pub struct Connection(UnsafeCell<sys::conn_rec>);

impl Connection {
    /// # Safety
    /// `connection` is live for as long as `'c`, and is used by the calling thread alone.
    pub(crate) unsafe fn from_raw<'c>(connection: *mut sys::conn_rec) -> &'c Self {
        // SAFETY: by the caller; the wrapper is transparent.
        unsafe { &*connection.cast::<Self>() }
    }

    fn as_ptr(&self) -> *mut sys::conn_rec {
        self.0.get()
    }

    /// Returns the server's address as a number.
    #[must_use]
    pub fn local_ip(&self) -> &[u8] {
        // SAFETY: strings of a connection live as long as it.
        unsafe { text::bytes((*self.as_ptr()).local_ip) }.unwrap_or_default()
    }

    /// Returns the address at the other end as a number.
    #[must_use]
    pub fn peer_ip(&self) -> &[u8] {
        // SAFETY: strings of a connection live as long as it.
        unsafe { text::bytes((*self.as_ptr()).client_ip) }.unwrap_or_default()
    }

    /// Returns the client's port.
    #[must_use]
    pub fn client_port(&self) -> u16 {
        // SAFETY: a connection has addresses.
        unsafe { (*(*self.as_ptr()).client_addr).port }
    }

    /// Returns the configured address of the listener; empty if it is bound to all addresses.
    #[must_use]
    pub fn listener_host(&self) -> &[u8] {
        // SAFETY: a connection has addresses. APR copies the listener's into that of an accepted
        // socket.
        unsafe { text::bytes((*(*self.as_ptr()).local_addr).hostname) }.unwrap_or_default()
    }

    /// Returns the port that the listener is bound to.
    #[must_use]
    pub fn listener_port(&self) -> u16 {
        // SAFETY: a connection has addresses.
        unsafe { (*(*self.as_ptr()).local_addr).port }
    }

    /// Returns the id in logs, or `None` if Apache has not made one.
    #[must_use]
    pub fn log_id(&self) -> Option<&[u8]> {
        // SAFETY: strings of a connection live as long as it.
        unsafe { text::bytes((*self.as_ptr()).log_id) }
    }

    /// Returns whether the client is known to be gone.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { (*self.as_ptr()).aborted != 0 }
    }

    /// Returns whether this is a stream of HTTP/2, which has a connection of its own within Apache.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        // SAFETY: the connection is live.
        unsafe { !(*self.as_ptr()).master.is_null() }
    }

    /// Returns whether the connection uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        // mod_ssl's optional function, if the module is loaded. Modules do not come and go while
        // requests run.
        static IS_TLS: OnceLock<Option<unsafe extern "C" fn(*mut sys::conn_rec) -> c_int>> = OnceLock::new();
        let is_tls = IS_TLS.get_or_init(|| {
            // SAFETY: the type is that of mod_ssl.h's declaration.
            unsafe { retrieve(c"ssl_is_https") }
        });
        // SAFETY: the connection is live.
        is_tls.is_some_and(|is_tls| unsafe { is_tls(self.as_ptr()) } != 0)
    }

    /// Returns whether the client is known to have reset the connection, or the stream of HTTP/2.
    /// Does not wait.
    ///
    /// TCP does not tell a client that has closed its socket from one that has only shut down its
    /// sending side and waits for the response. The kernel is told to probe the client instead; the
    /// response itself shows the difference, too.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        if self.is_aborted() {
            return true;
        }
        let Some(descriptor) = self.descriptor() else { return false };
        let events = events(descriptor);
        if events & (libc::POLLHUP | libc::POLLERR) != 0 {
            return true;
        }
        if events & libc::POLLRDHUP != 0 {
            probe(descriptor);
        }
        false
    }

    /// Returns whether the connection is shut down in both directions, as Apache does it in a child
    /// that is to end at once. A client that has closed its side is not enough. For a stream of
    /// HTTP/2, the connection that carries it counts.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        // SAFETY: the connection and its master are live, and so is their socket, open or closed.
        let socket = unsafe {
            let own = self.as_ptr();
            let connection = if (*own).master.is_null() { own } else { (*own).master };
            sys::ap_get_conn_socket(connection)
        };
        let Some(descriptor) = (!socket.is_null()).then_some(socket).and_then(descriptor) else {
            return false;
        };
        descriptor < 0 || events(descriptor) & (libc::POLLHUP | libc::POLLERR) == libc::POLLHUP
    }

    /// Returns the descriptor of the client's socket, or `None` for a stream of HTTP/2. It is for
    /// polling only: Apache closes the socket when the child has to end at once.
    #[must_use]
    pub fn descriptor(&self) -> Option<c_int> {
        self.socket().and_then(descriptor)
    }

    /// Returns whether there is something to read from the client's socket, and whether it takes
    /// more, as soon as either is so, at the latest after `timeout`. A socket that is broken,
    /// closed or not this connection's own counts as one that takes more: sending shows what is
    /// wrong with it.
    #[must_use]
    pub fn readiness(&self, timeout: Duration) -> [bool; 2] {
        let Some(descriptor) = self.descriptor() else { return [false, true] };
        let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            // SAFETY: the call writes to the one structure that it is given.
            match unsafe { libc::poll(&raw mut poll, 1, c_int::try_from(left).unwrap_or(c_int::MAX)) } {
                0 => return [false, false],
                1.. => return [poll.revents & libc::POLLIN != 0, poll.revents & !libc::POLLIN != 0],
                // A signal.
                _ => {}
            }
        }
    }

    /// Returns how long a read or write on the connection may take, or `None` for a stream of
    /// HTTP/2 or without a limit.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let socket = self.socket()?;
        let mut timeout = 0;
        // SAFETY: the socket of a live connection is live.
        unsafe { sys::apr_socket_timeout_get(socket, &raw mut timeout) };
        u64::try_from(timeout).ok().filter(|&timeout| timeout > 0).map(Duration::from_micros)
    }

    /// Sets how long a read or write on the connection may take, and returns what was set before.
    pub fn set_timeout(&self, timeout: Duration) -> Option<Duration> {
        let socket = self.socket()?;
        let mut before = 0;
        // SAFETY: the socket of a live connection is live.
        unsafe {
            sys::apr_socket_timeout_get(socket, &raw mut before);
            sys::apr_socket_timeout_set(socket, i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX));
        }
        u64::try_from(before).ok().map(Duration::from_micros)
    }

    /// Returns the client's socket, or `None` if the connection is a stream of another one.
    fn socket(&self) -> Option<*mut sys::apr_socket_t> {
        // SAFETY: the connection is live.
        unsafe {
            if !(*self.as_ptr()).master.is_null() {
                return None;
            }
            let socket = sys::ap_get_conn_socket(self.as_ptr());
            (!socket.is_null()).then_some(socket)
        }
    }

    /// Has the connection closed at once and unsent data dropped, as Apache itself does when the
    /// client is gone. A stream of HTTP/2 is reset.
    pub(crate) fn abandon(&self) {
        // SAFETY: the connection is live.
        unsafe { (*self.as_ptr()).aborted = 1 }
        self.close_after_response();
    }

    /// Has the connection closed after this response.
    pub fn close_after_response(&self) {
        // SAFETY: the connection is live.
        unsafe { (*self.as_ptr()).keepalive = sys::AP_CONN_CLOSE }
    }
}

/// Returns the descriptor of a live socket; -1 if it is closed, `None` if it never had one.
fn descriptor(socket: *mut sys::apr_socket_t) -> Option<c_int> {
    let mut descriptor = -1;
    // SAFETY: the socket of a live connection is live.
    let found = unsafe { sys::apr_os_sock_get(&raw mut descriptor, socket) };
    (found == sys::APR_SUCCESS).then_some(descriptor)
}

/// Has the kernel probe from time to time whether the client still knows the connection. If not,
/// the client's system answers with a reset, at the latest when it has forgotten the connection (on
/// Linux, after a minute).
fn probe(descriptor: c_int) {
    const INTERVAL: c_int = 5;
    // SAFETY: the calls read and write one number, of the length that they are given.
    unsafe {
        let (mut now, mut length) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
        let asked = libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_KEEPIDLE,
            (&raw mut now).cast(),
            &raw mut length,
        );
        // Setting it again would probe at once.
        if asked != 0 || now == INTERVAL {
            return;
        }
        for (level, option, value) in [
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, INTERVAL),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, INTERVAL),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        ] {
            libc::setsockopt(descriptor, level, option, (&raw const value).cast(), length);
        }
    }
}

/// Returns which of `POLLRDHUP`, `POLLHUP` and `POLLERR` a socket has; 0 if it is closed.
fn events(descriptor: c_int) -> libc::c_short {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: the call writes to the one structure that it is given.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } > 0 { poll.revents } else { 0 }
}

/// Returns an optional function of another module, if that is loaded.
///
/// # Safety
/// The optional function of this name has the signature `F`.
unsafe fn retrieve<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<unsafe extern "C" fn()>()) };
    // SAFETY: a C string; for the type see the caller's promise.
    unsafe {
        sys::apr_dynamic_fn_retrieve(name.as_ptr())
            .map(|function| std::mem::transmute_copy::<unsafe extern "C" fn(), F>(&function))
    }
}

/// `ssl_var_lookup` of mod_ssl.
type VariableLookup = unsafe extern "C" fn(
    *mut sys::apr_pool_t,
    *mut sys::server_rec,
    *mut sys::conn_rec,
    *mut sys::request_rec,
    *mut c_char,
) -> *mut c_char;

impl Request {
    /// Returns a variable of mod_ssl, such as `SSL_CLIENT_S_DN`; `None` if it is empty, or the
    /// module is not loaded.
    #[must_use]
    pub fn tls_variable(&self, name: &[u8]) -> Option<&[u8]> {
        static LOOKUP: OnceLock<Option<VariableLookup>> = OnceLock::new();
        // SAFETY: the type is that of mod_ssl.h's declaration.
        let lookup = (*LOOKUP.get_or_init(|| unsafe { retrieve(c"ssl_var_lookup") }))?;
        let name = self.pool().c_string(name).ok()?;
        let request = self.as_ptr();
        // SAFETY: the request is live, and so are its pool, server and connection. The function
        // does not write to the name; the value is in the pool, or lives longer.
        let value = unsafe {
            let value = lookup(
                (*request).pool,
                (*request).server,
                (*request).connection,
                request,
                name.as_ptr().cast_mut(),
            );
            text::bytes(value)
        };
        value.filter(|value| !value.is_empty())
    }
}
