//! Readers of a request's environment in Apache (`subprocess_env`): the decision whether the CGI
//! variables of a request have to be put there.
//!
//! Copying some forty variables takes about a sixth of the time of a small request, and in most
//! configurations nothing reads them once the application runs. Nothing is left out unless all who
//! could read are known: every module that is loaded, by what this table says about it, and the
//! directives that tell those modules what to read. A module that is not in the table counts as a
//! reader.
//!
//! Apache's own modules read the environment at these times:
//!
//! | reader | reads | seen here as |
//! |---|---|---|
//! | mod_env, mod_setenvif, mod_rewrite, mod_ssl, access control, `<If>`, `RequestHeader` | before the handler | nothing: there are no variables yet |
//! | handlers (mod_cgi, mod_proxy ...) | their own requests | nothing |
//! | mod_log_config, `ErrorLogFormat` | a log line | `%{NAME}e`, `%{ENV:NAME}x` (mod_ssl), `env=`, `expr=` |
//! | mod_log_debug | any phase | `LogMessage` |
//! | mod_headers | the head of the response | `Header` with `%{NAME}e`, `%{ENV:NAME}s` (mod_ssl), `env=`, `expr=`, or `.htaccess` |
//! | mod_lua | any phase | a directive `Lua...`, or `.htaccess` |
//! | mod_include, mod_ext_filter, mod_proxy_html and other filters | the response | a filter of the request that is not in [`is_harmless_filter`] |
//! | `ErrorDocument` with an expression | the end of the request, or a filter that fails | `ErrorDocument` with `%{` and `env` |
//! | mod_ext_filter with `ftype=`, mod_filter with `expr=` | the response | `ExtFilterDefine`, `FilterProvider` |
//! | `ErrorDocument` of another local URL, internal redirects | the end of the request, or a filter that fails | nothing: errors and redirects are rare and get the variables then |

/// The readers that a configuration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readers {
    /// Something may read the variables of any request.
    pub any: bool,
    /// mod_headers may read them for requests that it changes.
    pub headers: bool,
}

impl Readers {
    /// All possible readers, for a configuration that is not known.
    pub const UNKNOWN: Self = Self { any: true, headers: true };
}

/// The search for readers in a configuration. It is given all modules and all directives.
#[derive(Debug, Default)]
pub struct Survey {
    has_unknown_module: bool,
    has_reading_directive: bool,
    has_reading_header: bool,
    /// True if mod_lua or mod_log_debug is loaded, which `.htaccess` files can use.
    has_flexible_module: bool,
    allows_htaccess: bool,
}

impl Survey {
    /// Notes a module that is loaded, by the name in its record.
    pub fn module(&mut self, name: &[u8]) {
        self.has_unknown_module |= !HARMLESS_MODULES.iter().any(|known| known.as_bytes() == name);
        self.has_flexible_module |= matches!(name, b"mod_lua.c" | b"mod_log_debug.c");
    }

    /// Notes a directive of the configuration's files.
    pub fn directive(&mut self, name: &[u8], arguments: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let has_word = |word: &str| words(arguments).any(|given| given.eq_ignore_ascii_case(word.as_bytes()));
        if is("Header") {
            self.has_reading_header |= reads_variable(arguments);
        } else if LOG_DIRECTIVES.iter().any(|known| is(known)) {
            self.has_reading_directive |= reads_variable(arguments);
        } else if is("FilterProvider") || is("LogMessage") {
            self.has_reading_directive |= contains(arguments, b"env");
        } else if is("ErrorDocument") {
            self.has_reading_directive |= contains(arguments, b"%{") && contains(arguments, b"env");
        } else if is("AllowOverride") {
            self.allows_htaccess |= has_word("All") || has_word("FileInfo");
        } else if is("AllowOverrideList") {
            self.allows_htaccess |= !has_word("None");
        } else if is("ExtFilterDefine") || strip_beginning(name, b"Lua").is_some() {
            self.has_reading_directive = true;
        }
    }

    /// Returns the readers that were found.
    #[must_use]
    pub fn readers(&self) -> Readers {
        Readers {
            any: self.has_unknown_module
                || self.has_reading_directive
                || (self.has_flexible_module && self.allows_htaccess),
            headers: self.has_reading_header || self.allows_htaccess,
        }
    }
}

/// The directives with formats of log lines.
const LOG_DIRECTIVES: &[&str] = &["CustomLog", "ErrorLogFormat", "GlobalLog", "LogFormat", "TransferLog"];

/// The modules that read none of the variables, or only as the table of the module says.
const HARMLESS_MODULES: &[&str] = &[
    "core.c",
    "event.c",
    "http_core.c",
    "mod_access_compat.c",
    "mod_actions.c",
    "mod_alias.c",
    "mod_allowmethods.c",
    "mod_asis.c",
    "mod_auth_basic.c",
    "mod_auth_digest.c",
    "mod_auth_form.c",
    "mod_authn_anon.c",
    "mod_authn_core.c",
    "mod_authn_dbd.c",
    "mod_authn_dbm.c",
    "mod_authn_file.c",
    "mod_authn_socache.c",
    "mod_authnz_fcgi.c",
    "mod_authnz_ldap.c",
    "mod_authz_core.c",
    "mod_authz_dbd.c",
    "mod_authz_dbm.c",
    "mod_authz_groupfile.c",
    "mod_authz_host.c",
    "mod_authz_owner.c",
    "mod_authz_user.c",
    "mod_autoindex.c",
    "mod_brotli.c",
    "mod_buffer.c",
    "mod_cache.c",
    "mod_cache_disk.c",
    "mod_cache_socache.c",
    "mod_cgi.c",
    "mod_cgid.c",
    "mod_charset_lite.c",
    "mod_dav.c",
    "mod_dav_fs.c",
    "mod_dav_lock.c",
    "mod_dbd.c",
    "mod_deflate.c",
    "mod_dir.c",
    "mod_dumpio.c",
    "mod_env.c",
    "mod_expires.c",
    "mod_ext_filter.c",
    "mod_file_cache.c",
    "mod_filter.c",
    "mod_headers.c",
    "mod_http2.c",
    "mod_include.c",
    "mod_info.c",
    "mod_lbmethod_bybusyness.c",
    "mod_lbmethod_byrequests.c",
    "mod_lbmethod_bytraffic.c",
    "mod_lbmethod_heartbeat.c",
    "mod_log_config.c",
    "mod_log_debug.c",
    "mod_log_forensic.c",
    "mod_logio.c",
    "mod_lua.c",
    "mod_macro.c",
    "mod_md.c",
    "mod_mime.c",
    "mod_mime_magic.c",
    "mod_negotiation.c",
    "mod_proxy.c",
    "mod_proxy_ajp.c",
    "mod_proxy_balancer.c",
    "mod_proxy_connect.c",
    "mod_proxy_express.c",
    "mod_proxy_fcgi.c",
    "mod_proxy_fdpass.c",
    "mod_proxy_ftp.c",
    "mod_proxy_hcheck.c",
    "mod_proxy_html.c",
    "mod_proxy_http.c",
    "mod_proxy_http2.c",
    "mod_proxy_scgi.c",
    "mod_proxy_uwsgi.c",
    "mod_proxy_wstunnel.c",
    "mod_ratelimit.c",
    "mod_reflector.c",
    "mod_remoteip.c",
    "mod_reqtimeout.c",
    "mod_request.c",
    "mod_rewrite.c",
    "mod_sed.c",
    "mod_session.c",
    "mod_session_cookie.c",
    "mod_session_crypto.c",
    "mod_session_dbd.c",
    "mod_setenvif.c",
    "mod_slotmem_plain.c",
    "mod_slotmem_shm.c",
    "mod_so.c",
    "mod_socache_dbm.c",
    "mod_socache_memcache.c",
    "mod_socache_redis.c",
    "mod_socache_shmcb.c",
    "mod_speling.c",
    "mod_ssl.c",
    "mod_status.c",
    "mod_substitute.c",
    "mod_suexec.c",
    "mod_systemd.c",
    "mod_unique_id.c",
    "mod_unixd.c",
    "mod_userdir.c",
    "mod_usertrack.c",
    "mod_version.c",
    "mod_vhost_alias.c",
    "mod_watchdog.c",
    "mod_wsgi.c",
    "mod_xml2enc.c",
    "prefork.c",
    "util_ldap.c",
    "worker.c",
];

/// The filter by which mod_headers changes the head of a response.
pub const HEADERS_FILTER: &[u8] = b"fixup_headers_out";

/// Returns whether a filter of the content reads none of the variables. (Filters of the protocol,
/// such as the one for chunks, read none.)
#[must_use]
pub fn is_harmless_filter(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"brotli_compress",
        b"buffer",
        b"byterange",
        b"bytype:brotli_compress",
        b"bytype:deflate",
        b"deflate",
        b"inflate",
        b"mod_expires",
        b"rate_limit",
        b"substitute",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns whether a variable of this name may be one of those that the module puts into a
/// request's environment. (Keys are compared without case there.)
#[must_use]
pub fn may_be_published(name: &[u8]) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "AUTH_TYPE",
        "CONTENT_",
        "CONTEXT_",
        "DOCUMENT_ROOT",
        "HTTP_",
        "HTTPS",
        "PATH_INFO",
        "QUERY_STRING",
        "REDIRECT_",
        "REMOTE_",
        "REQUEST_",
        "SCRIPT_",
        "SERVER_",
        "mod_wsgi.",
    ];
    BEGINNINGS.iter().any(|beginning| strip_beginning(name, beginning.as_bytes()).is_some())
}

/// Returns whether the arguments of a directive can make Apache read one of the variables: by
/// `%{NAME}e`, `%{ENV:NAME}x`, `%{ENV:NAME}s`, `env=NAME`, or an expression.
fn reads_variable(arguments: &[u8]) -> bool {
    let in_format = || {
        arguments.split(|&byte| byte == b'{').skip(1).any(|rest| {
            let Some(end) = rest.iter().position(|&byte| byte == b'}') else { return false };
            // Modifiers may stand before the braces or after them.
            let form = rest[end + 1..].iter().find(|byte| !b"<>!,+-0123456789".contains(byte));
            match form {
                Some(b'e') => may_be_published(&rest[..end]),
                // The forms of mod_ssl, in logs and in headers.
                Some(b'x' | b's') => strip_beginning(&rest[..end], b"ENV:").is_some_and(may_be_published),
                _ => false,
            }
        })
    };
    let in_condition = || {
        let names = words(arguments).filter_map(|word| strip_beginning(word, b"env="));
        names.map(|name| name.strip_prefix(b"!").unwrap_or(name)).any(may_be_published)
    };
    // An expression reads the environment by `%{ENV:NAME}`, `%{reqenv:NAME}`, `env('NAME')` ...
    let in_expression = || contains(arguments, b"expr=") && contains(arguments, b"env");
    in_format() || in_condition() || in_expression()
}

fn words(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    arguments.split(is_between).filter(|word| !word.is_empty())
}

/// Returns the part of `word` after `beginning`, in whatever case that is.
fn strip_beginning<'w>(word: &'w [u8], beginning: &[u8]) -> Option<&'w [u8]> {
    let (begin, rest) = word.split_at_checked(beginning.len())?;
    begin.eq_ignore_ascii_case(beginning).then_some(rest)
}

/// Returns whether `arguments` contain `text`, in whatever case.
fn contains(arguments: &[u8], text: &[u8]) -> bool {
    arguments.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Readers = Readers { any: false, headers: false };

    fn survey(directives: &[(&str, &str)]) -> Readers {
        let mut survey = Survey::default();
        for (name, arguments) in directives {
            survey.directive(name.as_bytes(), arguments.as_bytes());
        }
        survey.readers()
    }

    #[test]
    fn a_plain_configuration_reads_nothing() {
        let mut plain = Survey::default();
        for module in ["core.c", "mod_log_config.c", "mod_lua.c", "mod_wsgi.c"] {
            plain.module(module.as_bytes());
        }
        for (name, arguments) in [
            ("LogFormat", r#""%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" %{UNIQUE_ID}e" combined"#),
            ("CustomLog", "logs/access.log combined env=!dontlog"),
            ("CustomLog", r#"logs/slow.log combined "expr=%{REQUEST_STATUS} >= 400""#),
            ("Header", r#"always set Strict-Transport-Security "max-age=1" env=TLS"#),
            ("Header", r#"set X "%{FROM_SETENVIF}e %D""#),
            ("RewriteCond", "%{HTTP_HOST} ^www"),
            ("RequestHeader", "set X %{HTTP_HOST}e"),
            ("SetEnvIf", "HTTP_ORIGIN . ORIGIN=$0"),
            ("ErrorDocument", "404 /missing"),
            ("AllowOverride", "None"),
            ("AllowOverride", "AuthConfig Limit"),
            ("AllowOverrideList", "none"),
        ] {
            plain.directive(name.as_bytes(), arguments.as_bytes());
            assert_eq!(plain.readers(), NONE, "{name} {arguments}");
        }
    }

    #[test]
    fn an_unknown_module_reads() {
        let mut survey = Survey::default();
        survey.module(b"mod_security2.c");
        survey.module(b"core.c");
        assert!(survey.readers().any);
    }

    #[test]
    fn directives_read() {
        let any = Readers { any: true, ..NONE };
        let headers = Readers { headers: true, ..NONE };
        for (name, arguments, readers) in [
            ("CustomLog", r#"logs/x "%U %{SCRIPT_NAME}e""#, any),
            ("logformat", r#""%!200,304{http_host}e" x"#, any),
            ("CustomLog", "logs/x %{SCRIPT_NAME}>e", any),
            ("CustomLog", "logs/x %{SCRIPT_NAME}!200,304<e", any),
            ("ErrorLogFormat", "%{SCRIPT_NAME}-+e %M", any),
            ("CustomLog", "logs/x %{ENV:SCRIPT_NAME}x", any),
            ("CustomLog", "logs/x common env=HTTP_X", any),
            ("CustomLog", "logs/x common ENV=!mod_wsgi.process_group", any),
            ("CustomLog", r#"logs/x common "expr=%{ENV:PATH_INFO} == '/'""#, any),
            ("ErrorLogFormat", "%M %{REQUEST_URI}e", any),
            ("LogMessage", r#""x %{reqenv:REMOTE_ADDR}" hook=all"#, any),
            ("FilterProvider", r#"x INCLUDES "-n %{Env:HTTP_HOST}""#, any),
            ("ExtFilterDefine", "x cmd=/bin/cat", any),
            ("LuaHookLog", "/x.lua f", any),
            ("ErrorDocument", "500 /error?of=%{reqenv:SCRIPT_NAME}", any),
            ("Header", r#"set X "%{HTTP_ORIGIN}e" env=OK"#, headers),
            ("Header", "set X %{ENV:SCRIPT_NAME}s", headers),
            ("Header", "always set X y env=!REMOTE_USER", headers),
            ("Header", r#"set X "expr=%{reqenv:SCRIPT_NAME}""#, headers),
            ("Header", r#"set X y "expr=reqenv('HTTP_X') == 'a'""#, headers),
            ("AllowOverride", "Limit FILEINFO", headers),
            ("AllowOverrideList", "Header", headers),
        ] {
            assert_eq!(survey(&[(name, arguments)]), readers, "{name} {arguments}");
        }
    }

    #[test]
    fn htaccess_may_use_lua() {
        let mut survey = Survey::default();
        survey.module(b"mod_lua.c");
        assert!(!survey.readers().any);
        survey.directive(b"AllowOverride", b"All");
        assert!(survey.readers().any);
    }

    #[test]
    fn filters_are_known_in_any_case() {
        assert!(is_harmless_filter(b"DEFLATE") && is_harmless_filter(b"BYTYPE:DEFLATE"));
        assert!(!is_harmless_filter(b"includes") && !is_harmless_filter(HEADERS_FILTER));
    }
}
