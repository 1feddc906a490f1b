//! Variables of a request that Apache computes for CGI programs.

use httpd_sys as sys;

use crate::request::Request;
use crate::text;

impl Request {
    /// Returns the server's banner, as `ServerTokens` limits it.
    #[must_use]
    pub fn server_banner(&self) -> &[u8] {
        // SAFETY: a string that lives as long as the configuration.
        unsafe { text::bytes(sys::ap_get_server_banner()) }.unwrap_or_default()
    }

    /// Returns the server's name in the form for URLs (brackets around IPv6 addresses).
    #[must_use]
    pub fn server_name_for_url(&self) -> &[u8] {
        // SAFETY: the request is live; the name is in its pool, or the server's.
        unsafe { text::bytes(sys::ap_get_server_name_for_url(self.as_ptr())) }.unwrap_or_default()
    }

    /// Returns the server's port, chosen by `UseCanonicalName` and `UseCanonicalPhysicalPort`.
    #[must_use]
    pub fn server_port(&self) -> u16 {
        // SAFETY: the request is live.
        unsafe { sys::ap_get_server_port(self.as_ptr()) }
    }

    /// Returns `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &[u8] {
        // SAFETY: the request is live; the result is static.
        unsafe { text::bytes(sys::ap_run_http_scheme(self.as_ptr())) }.unwrap_or_default()
    }

    /// Returns the document root.
    #[must_use]
    pub fn document_root(&self) -> Option<&[u8]> {
        // SAFETY: the request is live; the path is in a pool that outlives it.
        unsafe { text::bytes(sys::ap_document_root(self.as_ptr())) }
    }

    /// Returns the part of the URL that an `Alias` replaced; empty if there was none.
    #[must_use]
    pub fn context_prefix(&self) -> Option<&[u8]> {
        // SAFETY: the request is live; the prefix is in a pool that outlives it.
        unsafe { text::bytes(sys::ap_context_prefix(self.as_ptr())) }
    }

    /// Returns the path that an `Alias` put in its place, or the document root.
    #[must_use]
    pub fn context_document_root(&self) -> Option<&[u8]> {
        // SAFETY: the request is live; the path is in a pool that outlives it.
        unsafe { text::bytes(sys::ap_context_document_root(self.as_ptr())) }
    }

    /// Returns whether `CGIPassAuth On` is in force.
    #[must_use]
    pub fn cgi_pass_auth(&self) -> bool {
        self.core().is_some_and(|core| core.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON)
    }

    /// Returns whether `QualifyRedirectURL On` is in force.
    #[must_use]
    pub fn qualifies_redirect_url(&self) -> bool {
        self.core().is_some_and(|core| core.qualify_redirect_url() == sys::AP_CORE_CONFIG_ON)
    }

    /// Returns the rule that `CGIVar` sets for this variable.
    #[must_use]
    pub fn cgi_variable_rule(&self, variable: &'static std::ffi::CStr) -> Option<&[u8]> {
        let rules = self.core()?.cgi_var_rules;
        if rules.is_null() {
            return None;
        }
        // SAFETY: the table of rules maps C strings to C strings, and lives as long as the
        // configuration.
        unsafe {
            let rule = sys::apr_hash_get(rules, variable.as_ptr().cast(), variable.count_bytes() as isize);
            text::bytes(rule.cast())
        }
    }

    /// Returns the full URL. Apache supplies the parts that the client did not send.
    #[must_use]
    pub fn full_url(&self) -> Option<&[u8]> {
        // SAFETY: the request is live. Missing parts are added to a copy, as strings that live at
        // least as long as the request; the result is in its pool.
        unsafe {
            let request = self.as_ptr();
            let mut parts = (*request).parsed_uri;
            if parts.scheme.is_null() {
                parts.scheme = sys::ap_run_http_scheme(request).cast_mut();
            }
            if parts.port == 0 {
                parts.port = self.server_port();
                parts.port_str = self
                    .pool()
                    .c_string(self.pool().decimal(u64::from(parts.port)))
                    .ok()?
                    .as_ptr()
                    .cast_mut();
            }
            if parts.hostname.is_null() {
                parts.hostname = sys::ap_get_server_name_for_url(request).cast_mut();
            }
            text::bytes(sys::apr_uri_unparse((*request).pool, &raw const parts, 0))
        }
    }

    /// Escapes the characters of `text` that are special in HTML.
    ///
    /// There are hardly ever any; then the text itself is returned.
    #[must_use]
    pub fn escape_html<'r>(&'r self, text: &'r [u8]) -> &'r [u8] {
        if !text.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"')) {
            return text;
        }
        let Ok(text) = self.pool().c_string(text) else { return text };
        // SAFETY: a C string; the result is in the pool.
        unsafe { text::bytes(sys::ap_escape_html2(self.pool().as_ptr(), text.as_ptr(), 0)) }
            .unwrap_or_default()
    }

    fn core(&self) -> Option<&sys::core_dir_config> {
        // SAFETY: core is always loaded; its directory settings have this type and do not change.
        unsafe {
            let index = sys::core_module.module_index;
            let core = sys::ap_get_module_config((*self.as_ptr()).per_dir_config, index);
            core.cast_const().cast::<sys::core_dir_config>().as_ref()
        }
    }
}
