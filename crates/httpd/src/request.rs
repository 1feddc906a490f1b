//! Requests.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use httpd_sys as sys;

use crate::config::{DirectoryEntry, ModuleConfig};
use crate::connection::Connection;
use crate::pool::{InteriorNul, Pool};
use crate::server::Server;
use crate::table::Table;
use crate::text;

/// A request. It belongs to one thread, and the reference ends with the hook that was given it.
///
/// Strings of a request are in its pool (or live longer). Modules replace them, and do not write to
/// them once the request line has been read.
///
/// Data borrowed from a request ends with it:
/// ```compile_fail
/// fn keep(request: &httpd::Request) -> &'static [u8] {
///     request.uri().unwrap_or_default()
/// }
/// ```
/// and no other thread sees it:
/// ```compile_fail
/// fn share(request: &httpd::Request) {
///     std::thread::scope(|scope| drop(scope.spawn(|| request.uri())));
/// }
/// ```
#[repr(transparent)]
pub struct Request(UnsafeCell<sys::request_rec>);

/// The type of a request's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// There is no file, or it is inaccessible.
    None,
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// Something else.
    Other,
}

/// A status for the response to a request, with its reason.
#[derive(Clone, Copy)]
pub struct ResponseStatus<'r> {
    request: &'r Request,
    status: u16,
    line: Option<&'r CStr>,
}

impl ResponseStatus<'_> {
    /// Returns the number of the status.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.status
    }

    /// Sets the status of the response.
    pub fn apply(&self) {
        let request = self.request.as_ptr();
        // SAFETY: the request is live; the line is static or in its pool.
        unsafe {
            (*request).status = c_int::from(self.status);
            (*request).status_line = self.line.map_or(ptr::null(), CStr::as_ptr);
        }
    }
}

/// The fields that are strings.
macro_rules! strings {
    ($($(#[$doc:meta])* $name:ident = $field:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        #[inline]
        pub fn $name(&self) -> Option<&[u8]> {
            // SAFETY: the request is live; for the string see the type.
            unsafe { text::bytes((*self.as_ptr()).$field) }
        })*
    };
}

/// The fields that are tables.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $field:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        #[inline]
        pub fn $name(&self) -> &Table {
            // SAFETY: a request has all of its tables from the beginning to the end.
            unsafe { Table::from_raw((*self.as_ptr()).$field) }
        })*
    };
}

impl Request {
    /// Returns whether the request has its connection for itself: it is no subrequest and no stream
    /// of HTTP/2.
    #[must_use]
    pub fn is_alone_on_connection(&self) -> bool {
        // SAFETY: the request is live, and so is its connection.
        unsafe {
            let request = self.as_ptr();
            (*request).main.is_null() && (*(*request).connection).master.is_null()
        }
    }

    /// # Safety
    /// `request` is live for as long as `'r`, and is used by the calling thread alone.
    pub(crate) unsafe fn from_raw<'r>(request: *mut sys::request_rec) -> &'r Self {
        // SAFETY: by the caller; the wrapper is transparent.
        unsafe { &*request.cast::<Self>() }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::request_rec {
        self.0.get()
    }

    /// Returns the `request_rec`, for code outside this crate.
    #[must_use]
    pub fn as_opaque(&self) -> *mut c_void {
        self.as_ptr().cast()
    }

    strings! {
        /// The name of the handler that is to answer.
        handler = handler;
        /// The decoded path.
        uri = uri;
        /// The path as it was received, undecoded.
        unparsed_uri = unparsed_uri;
        /// The request line.
        request_line = the_request;
        /// The file.
        filename = filename;
        /// The path after the file.
        path_info = path_info;
        /// The part of the URL after `?`.
        query = args;
        /// The protocol, such as `HTTP/1.1`.
        protocol = protocol;
        /// The method, such as `GET`.
        method = method;
        /// The host that the client named.
        hostname = hostname;
        /// The authenticated user.
        user = user;
        /// The way in which the user was authenticated.
        auth_type = ap_auth_type;
        /// The address of the client, as modules have determined it.
        useragent_ip = useragent_ip;
    }

    tables! {
        /// The headers of the request.
        headers_in = headers_in;
        /// The headers of the response, if it succeeds.
        headers_out = headers_out;
        /// The headers that are sent with errors, too.
        err_headers_out = err_headers_out;
        /// The variables for CGI programs and the like.
        subprocess_env = subprocess_env;
        /// Notes of modules for each other.
        notes = notes;
    }

    /// Returns the pool of the request.
    #[must_use]
    #[inline]
    pub fn pool(&self) -> &Pool {
        // SAFETY: the pool of a live request is live.
        unsafe { Pool::from_raw((*self.as_ptr()).pool) }
    }

    /// Returns the connection of the request.
    #[must_use]
    #[inline]
    pub fn connection(&self) -> &Connection {
        // SAFETY: a request has a connection, which outlives it.
        unsafe { Connection::from_raw((*self.as_ptr()).connection) }
    }

    /// Returns the virtual host, or the main server.
    #[must_use]
    #[inline]
    pub fn server(&self) -> &Server {
        // SAFETY: a request has a server, which outlives it.
        unsafe { Server::from_raw((*self.as_ptr()).server) }
    }

    /// Returns the request that this one was redirected from, or `None` if it was not redirected.
    #[must_use]
    pub fn previous(&self) -> Option<&Self> {
        // SAFETY: a request that was redirected lives as long as the one it became.
        unsafe {
            let previous = (*self.as_ptr()).prev;
            (!previous.is_null()).then(|| Self::from_raw(previous))
        }
    }

    /// Returns the request that this one was made within: which was redirected to it, or whose
    /// subrequest it is. `None` for the client's own.
    #[must_use]
    pub fn outer(&self) -> Option<&Self> {
        // SAFETY: a request lives as long as its subrequests, and the one that it became.
        self.previous().or_else(|| unsafe {
            let main = (*self.as_ptr()).main;
            (!main.is_null()).then(|| Self::from_raw(main))
        })
    }

    /// Returns whether the request is the client's own: no subrequest, and not redirected from another
    /// one, whose times it would have.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).main.is_null() && (*self.as_ptr()).prev.is_null() }
    }

    /// Returns the status of the response, once that has ended: that of the request which this one was
    /// redirected to, if it was.
    #[must_use]
    pub fn final_status(&self) -> u16 {
        // SAFETY: a request that was redirected lives as long as the one it became, and the reverse:
        // they have one pool.
        unsafe {
            let mut request = self.as_ptr();
            while !(*request).next.is_null() {
                request = (*request).next;
            }
            u16::try_from((*request).status).unwrap_or(0)
        }
    }

    /// Returns whether the request is the document for the error of another one, whose body may have
    /// been read by half.
    #[must_use]
    pub fn is_error_document(&self) -> bool {
        // SAFETY: a request that was redirected lives as long as the one it became.
        self.previous().is_some_and(|previous| unsafe { (*previous.as_ptr()).status >= 400 })
    }

    /// Returns the module's settings for the directory sections of the request, or `None` if there
    /// are none.
    #[must_use]
    #[inline]
    pub fn directory<M: ModuleConfig>(&self) -> Option<&M::Directory> {
        // SAFETY: the request is live, the module is loaded, and nobody writes to settings in use.
        unsafe {
            let entry = sys::ap_get_module_config((*self.as_ptr()).per_dir_config, M::record().index());
            (!entry.is_null()).then(|| &*DirectoryEntry::<M>::settings(entry.cast_const().cast()))
        }
    }

    /// Returns the HTTP version as 1000 * major + minor.
    #[must_use]
    pub fn protocol_number(&self) -> u32 {
        // SAFETY: the request is live.
        u32::try_from(unsafe { (*self.as_ptr()).proto_num }).unwrap_or(0)
    }

    /// Returns whether the method is GET or HEAD, which [`Self::is_header_only`] tells apart.
    #[must_use]
    #[inline]
    pub fn is_get_or_head(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).method_number }) == sys::M_GET as c_int
    }

    /// Returns whether the response is to have no body (HEAD).
    #[must_use]
    pub fn is_header_only(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).header_only }) != 0
    }

    /// Returns whether the headers announce a body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        let headers = self.headers_in();
        self.is_chunked()
            || headers.value(c"Content-Length").is_some_and(|length| length.iter().any(|byte| *byte != b'0'))
    }

    /// Returns whether the body comes in chunks (or in another coding).
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.headers_in().value(c"Transfer-Encoding").is_some()
    }

    /// Returns whether the client wants a part of the response.
    #[must_use]
    pub fn wants_range(&self) -> bool {
        self.headers_in().value(c"Range").is_some()
    }

    /// Has Apache serve no ranges of the response. Does nothing in a subrequest.
    pub(crate) fn disable_ranges(&self) {
        // SAFETY: the request is live, and so are its filters. The removed one is only taken out of
        // the list: it stays in its pool, even if it is running. Its absence is no error.
        unsafe {
            if (*self.as_ptr()).main.is_null() {
                sys::ap_remove_output_filter_byhandle((*self.as_ptr()).output_filters, c"BYTERANGE".as_ptr());
            }
        }
    }

    /// Returns whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).expecting_100 }) != 0
    }

    /// Returns the time at which the request was read, in microseconds since the epoch.
    #[must_use]
    pub fn time(&self) -> i64 {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).request_time }
    }

    /// Returns the type of the file.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        // SAFETY: the request is live.
        match unsafe { (*self.as_ptr()).finfo.filetype } {
            sys::APR_NOFILE => FileType::None,
            sys::APR_REG => FileType::Regular,
            sys::APR_DIR => FileType::Directory,
            _ => FileType::Other,
        }
    }

    /// Returns the modification time of the file, in microseconds since the epoch; 0 if it is not
    /// known.
    #[must_use]
    pub fn file_modified(&self) -> i64 {
        // SAFETY: the request is live.
        unsafe {
            let file = &raw const (*self.as_ptr()).finfo;
            if (*file).valid & sys::APR_FINFO_MTIME as i32 == 0 { 0 } else { (*file).mtime }
        }
    }

    /// Returns whether `Options ExecCGI` is in force.
    #[must_use]
    pub fn may_execute(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { sys::ap_allow_options(self.as_ptr()) }) & sys::OPT_EXECCGI as c_int != 0
    }

    /// Returns whether `AcceptPathInfo Off` is in force.
    #[must_use]
    pub fn rejects_path_info(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).used_path_info }) == sys::AP_REQ_REJECT_PATH_INFO as c_int
    }

    /// Returns `LimitRequestBody`, or `None` if there is no limit.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        // SAFETY: the request is live.
        u64::try_from(unsafe { sys::ap_get_limit_req_body(self.as_ptr()) }).ok().filter(|&limit| limit > 0)
    }

    /// Returns the port of the client that Apache takes for the user's.
    #[must_use]
    pub fn useragent_port(&self) -> u16 {
        // SAFETY: the request is live, and so is the address, if there is one.
        unsafe { (*self.as_ptr()).useragent_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// Returns the id in logs, and has Apache make one if there is none.
    #[must_use]
    pub fn log_id(&self) -> Option<&[u8]> {
        // SAFETY: the request is live; Apache keeps the id in the request's pool.
        unsafe {
            let request = self.as_ptr();
            if (*request).log_id.is_null() {
                sys::ap_run_generate_log_id((*request).connection, request, &raw mut (*request).log_id);
            }
            text::bytes((*request).log_id)
        }
    }

    /// Returns whether the first filter of the response works on its content, not on the protocol.
    #[must_use]
    pub fn has_content_filter(&self) -> bool {
        // SAFETY: the filters of a live request are live.
        unsafe {
            let filter = (*self.as_ptr()).output_filters;
            !filter.is_null() && (*(*filter).frec).ftype < sys::AP_FTYPE_PROTOCOL
        }
    }

    /// Returns whether the filters have got the end of the response, whoever sent it.
    #[must_use]
    pub fn has_ended_response(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).eos_sent }) != 0
    }

    /// Returns whether the head of the response has gone out, and body after it.
    pub(crate) fn has_sent_body(&self) -> bool {
        // SAFETY: the request is live.
        (unsafe { (*self.as_ptr()).sent_bodyct }) != 0
    }

    /// Returns whether the head has gone out and is all of the response. Apache's filters drop a
    /// body in the same brigade as the head; but the filter of HTTP/2 sends later data, which is a
    /// protocol error to the client.
    pub(crate) fn has_sent_all(&self) -> bool {
        // SAFETY: the request is live.
        let status = unsafe { (*self.as_ptr()).status };
        self.has_sent_body() && (self.is_header_only() || matches!(status, 204 | 304))
    }

    /// Returns whether mod_xsendfile is going to send a file in place of the response's body,
    /// whatever the length of that.
    #[must_use]
    pub fn awaits_sendfile(&self) -> bool {
        const HEADERS: [&CStr; 2] = [c"X-Sendfile", c"X-Sendfile-Temporary"];
        let is_sendfile = |name: &CStr| name.to_bytes().eq_ignore_ascii_case(b"xsendfile");
        let tables = [self.headers_out(), self.err_headers_out()];
        let names_file =
            HEADERS.iter().any(|header| tables.iter().any(|table| table.value(header).is_some()));
        // It does nothing for other statuses and for subrequests.
        // SAFETY: the request and its filters are live, and filters have names.
        names_file
            && unsafe {
                if (*self.as_ptr()).status != 200 || !(*self.as_ptr()).main.is_null() {
                    return false;
                }
                let mut filter = (*self.as_ptr()).output_filters;
                while !filter.is_null() && !text::c_string((*(*filter).frec).name).is_some_and(is_sendfile) {
                    filter = (*filter).next;
                }
                !filter.is_null()
            }
    }

    /// Has no cache store the response, nor that of the main request of a subrequest.
    pub(crate) fn forbid_caching(&self) {
        // SAFETY: the request is live, and so is its main request.
        unsafe {
            let request = self.as_ptr();
            (*request).no_cache = 1;
            if !(*request).main.is_null() {
                (*(*request).main).no_cache = 1;
            }
        }
    }

    /// Returns whether the kernel may send files to the client by itself: nothing has to read them.
    pub(crate) fn may_send_files(&self) -> bool {
        self.is_alone_on_connection() && !self.has_content_filter() && !self.connection().is_tls()
    }

    /// Sets the name of the handler that is to answer.
    pub fn set_handler(&self, handler: &'static CStr) {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).handler = handler.as_ptr() }
    }

    /// Sets the file.
    ///
    /// # Errors
    /// The name contains a NUL byte.
    pub fn set_filename(&self, filename: &[u8]) -> Result<(), InteriorNul> {
        let filename = self.pool().c_string(filename)?;
        // SAFETY: the request is live, and so is its pool.
        unsafe { (*self.as_ptr()).filename = filename.as_ptr().cast_mut() };
        Ok(())
    }

    /// Prepares a status for the response, with the standard reason if there is none.
    ///
    /// # Errors
    /// The reason contains a NUL byte.
    pub fn prepare_status(
        &self,
        status: u16,
        reason: Option<&[u8]>,
    ) -> Result<ResponseStatus<'_>, InteriorNul> {
        let line = reason.map(|reason| self.status_line(status, reason)).transpose()?;
        Ok(ResponseStatus { request: self, status, line })
    }

    /// Forgets a status that was set.
    pub fn reset_status(&self) {
        // SAFETY: the request is live.
        unsafe {
            (*self.as_ptr()).status = 200;
            (*self.as_ptr()).status_line = ptr::null();
        }
    }

    /// Allows GET and HEAD alone, which Apache names to a client whose method is refused (405).
    pub fn allow_reading_alone(&self) {
        // SAFETY: a request has its list of methods from the beginning to the end.
        unsafe { (*(*self.as_ptr()).allowed_methods).method_mask = 1 << sys::M_GET };
    }

    /// Sets `Content-Type`, and lets Apache adapt its filters to it.
    ///
    /// # Errors
    /// The type contains a NUL byte.
    pub fn set_content_type(&self, content_type: &[u8]) -> Result<(), InteriorNul> {
        let content_type = self.pool().c_string(content_type)?;
        // SAFETY: the request is live, the string in its pool.
        unsafe { sys::ap_set_content_type(self.as_ptr(), content_type.as_ptr()) };
        Ok(())
    }

    /// Sets `Content-Length`.
    pub fn set_content_length(&self, length: u64) {
        // SAFETY: the request is live.
        unsafe { sys::ap_set_content_length(self.as_ptr(), i64::try_from(length).unwrap_or(i64::MAX)) }
    }

    /// Gives up sending `100 Continue`. Once the head of the response is out, it would be taken for
    /// a part of it.
    pub fn withhold_continue(&self) {
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).expecting_100 = 0 }
    }

    /// Sends `100 Continue` to a client that waits for it.
    pub fn send_continue(&self) {
        // SAFETY: the request is live; Apache sends what `status` says, and resets `expecting_100`.
        unsafe {
            let request = self.as_ptr();
            let (status, line) = ((*request).status, (*request).status_line);
            (*request).status = 100;
            (*request).status_line = ptr::null();
            sys::ap_send_interim_response(request, 0);
            (*request).status = status;
            (*request).status_line = line;
        }
    }

    /// Responds with the result of `GET` for another path of this server. Nothing announces the body
    /// any more: see [`crate::Input::redirect`].
    ///
    /// # Errors
    /// The path contains a NUL byte.
    pub(crate) fn redirect_internally(&self, path: &[u8]) -> Result<(), InteriorNul> {
        let path = self.pool().c_string(path)?;
        // SAFETY: the request is live, and so is its pool; Apache runs the new request before it
        // returns.
        unsafe {
            let request = self.as_ptr();
            (*request).method = c"GET".as_ptr();
            (*request).method_number = sys::M_GET as c_int;
            sys::apr_table_unset((*request).headers_in, c"Content-Length".as_ptr());
            sys::apr_table_unset((*request).headers_in, c"Transfer-Encoding".as_ptr());
            sys::ap_internal_redirect(path.as_ptr(), request);
        }
        Ok(())
    }

    /// Returns a line such as `200 OK`: Apache's own string if the reason is the standard one.
    fn status_line(&self, status: u16, reason: &[u8]) -> Result<&CStr, InteriorNul> {
        // SAFETY: a static string; for an unknown status it is that of 500.
        let standard = unsafe { text::c_string(sys::ap_get_status_line(c_int::from(status))) };
        let digits = [status / 100, status / 10, status].map(|digit| b'0' + (digit % 10) as u8);
        let is_same = |line: &&CStr| {
            let rest = line.to_bytes().strip_prefix(&digits).and_then(|rest| rest.strip_prefix(b" "));
            rest == Some(reason)
        };
        match standard.filter(is_same) {
            Some(line) => Ok(line),
            None => self.pool().c_string_of(&[&digits, b" ", reason]),
        }
    }
}
