//! Providers of authentication and authorisation.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use httpd_sys as sys;

use crate::guard::guard;
use crate::log::{Level, Logger};
use crate::module::Module;
use crate::pool::{InteriorNul, Pool};
use crate::request::Request;
use crate::text;

/// A provider of authentication, for `AuthBasicProvider` and the like.
#[derive(Debug, Clone, Copy)]
pub struct AuthnProvider {
    /// Its name in the configuration.
    pub name: &'static CStr,
    /// Checks the password of a user.
    pub check_password: fn(&Request, user: &[u8], password: &[u8]) -> Authentication,
    /// Finds the hash of user, realm and password, for Digest authentication.
    pub realm_hash: fn(&Request, user: &[u8], realm: &[u8]) -> RealmHash,
}

/// The result of a check of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// The password is right.
    Granted,
    /// It is wrong.
    Denied,
    /// The provider does not know the user: the next one is asked.
    UserUnknown,
    /// It could not be checked, which has been logged: the request fails.
    Failed,
}

/// The result of the search for a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RealmHash {
    /// The hash, hexadecimal.
    Found(Vec<u8>),
    /// The provider does not know the user: the next one is asked.
    UserUnknown,
    /// The search failed, which has been logged: the request fails.
    Failed,
}

/// A provider of authorisation, for `Require`.
#[derive(Debug, Clone, Copy)]
pub struct AuthzProvider {
    /// Its name in the configuration.
    pub name: &'static CStr,
    /// Decides whether a request meets the rest of the line `Require`.
    pub check: fn(&Request, line: &[u8]) -> Authorization,
}

/// The result of a decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// It is allowed.
    Granted,
    /// It is denied.
    Denied,
    /// It is denied until there is an authenticated user.
    NeedsUser,
    /// It could not be decided, which has been logged. The request is denied; where a denial would
    /// let it in (`Require not`, `<RequireNone>`), it fails.
    Failed,
}

/// Registers the providers that a module has, until Apache reads its configuration again.
pub(crate) fn register<M: Module>(pool: &Pool) {
    if let Some(AuthnProvider { name, .. }) = M::AUTHN_PROVIDER {
        add(pool, sys::AUTHN_PROVIDER_GROUP, name, sys::AUTHN_PROVIDER_VERSION, &Providers::<M>::AUTHN);
    }
    if let Some(AuthzProvider { name, .. }) = M::AUTHZ_PROVIDER {
        add(pool, sys::AUTHZ_PROVIDER_GROUP, name, sys::AUTHZ_PROVIDER_VERSION, &Providers::<M>::AUTHZ);
    }
}

/// `group` and `version` are constants of Apache's, which end with a NUL byte.
fn add<T>(
    pool: &Pool,
    group: &'static [u8],
    name: &'static CStr,
    version: &'static [u8],
    provider: &'static T,
) {
    // SAFETY: the names and the table are static; the table is the kind that the group takes.
    // Registration fails only without memory, which ends Apache.
    unsafe {
        sys::ap_register_auth_provider(
            pool.as_ptr(),
            group.as_ptr().cast(),
            name.as_ptr(),
            version.as_ptr().cast(),
            ptr::from_ref(provider).cast::<c_void>(),
            // Access depends on more than the configuration: scripts see the URL.
            sys::AP_AUTH_INTERNAL_PER_URI as c_int,
        );
    }
}

/// The tables of functions of a module's providers.
struct Providers<M>(PhantomData<fn() -> M>);

impl<M: Module> Providers<M> {
    const AUTHN: sys::authn_provider = sys::authn_provider {
        check_password: Some(Self::check_password),
        get_realm_hash: Some(Self::get_realm_hash),
    };

    const AUTHZ: sys::authz_provider = sys::authz_provider {
        check_authorization: Some(Self::check_authorization),
        parse_require_line: Some(parse_require_line),
    };

    unsafe extern "C" fn check_password(
        request: *mut sys::request_rec,
        user: *const c_char,
        password: *const c_char,
    ) -> sys::authn_status {
        let Some(provider) = M::AUTHN_PROVIDER else { return sys::AUTH_GENERAL_ERROR };
        // SAFETY: Apache gives a live request, and C strings that live as long.
        let (request, user, password) =
            unsafe { (Request::from_raw(request), text::bytes(user), text::bytes(password)) };
        let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
        let check = || (provider.check_password)(request, user, password);
        match guard("the check of a password", check, |line| {
            log::<M, _>(request, line, Authentication::Failed)
        }) {
            Authentication::Granted => sys::AUTH_GRANTED,
            Authentication::Denied => sys::AUTH_DENIED,
            Authentication::UserUnknown => sys::AUTH_USER_NOT_FOUND,
            Authentication::Failed => sys::AUTH_GENERAL_ERROR,
        }
    }

    unsafe extern "C" fn get_realm_hash(
        request: *mut sys::request_rec,
        user: *const c_char,
        realm: *const c_char,
        hash: *mut *mut c_char,
    ) -> sys::authn_status {
        let Some(provider) = M::AUTHN_PROVIDER else { return sys::AUTH_GENERAL_ERROR };
        // SAFETY: Apache gives a live request, and C strings that live as long.
        let (request, user, realm) =
            unsafe { (Request::from_raw(request), text::bytes(user), text::bytes(realm)) };
        let (user, realm) = (user.unwrap_or_default(), realm.unwrap_or_default());
        let search = || (provider.realm_hash)(request, user, realm);
        match guard("the search for a hash", search, |line| log::<M, _>(request, line, RealmHash::Failed)) {
            RealmHash::Found(found) => match request.pool().c_string(&found) {
                Ok(found) => {
                    // SAFETY: Apache gives a place for it; it is read only, and lives as long as
                    // the request.
                    unsafe { *hash = found.as_ptr().cast_mut() };
                    sys::AUTH_USER_FOUND
                }
                Err(InteriorNul) => {
                    Logger::of::<M>().request(
                        request,
                        Level::Error,
                        "The hash of a user contains a NUL byte",
                    );
                    sys::AUTH_GENERAL_ERROR
                }
            },
            RealmHash::UserUnknown => sys::AUTH_USER_NOT_FOUND,
            RealmHash::Failed => sys::AUTH_GENERAL_ERROR,
        }
    }

    unsafe extern "C" fn check_authorization(
        request: *mut sys::request_rec,
        line: *const c_char,
        parsed: *const c_void,
    ) -> sys::authz_status {
        let failed = if parsed.is_null() { sys::AUTHZ_GENERAL_ERROR } else { sys::AUTHZ_DENIED };
        let Some(provider) = M::AUTHZ_PROVIDER else { return failed };
        // SAFETY: Apache gives a live request, and a C string that lives as long.
        let (request, line) = unsafe { (Request::from_raw(request), text::bytes(line)) };
        let check = || (provider.check)(request, line.unwrap_or_default());
        match guard("the check of a user", check, |line| log::<M, _>(request, line, Authorization::Failed)) {
            Authorization::Granted => sys::AUTHZ_GRANTED,
            Authorization::Denied => sys::AUTHZ_DENIED,
            Authorization::NeedsUser => sys::AUTHZ_DENIED_NO_USER,
            Authorization::Failed => failed,
        }
    }
}

/// Stands for the parsed line of a requirement that is certain not to be negated. All others,
/// those of `<AuthzProviderAlias>` among them, may be.
static NOT_NEGATED: u8 = 0;

/// Notes whether a requirement may be negated.
unsafe extern "C" fn parse_require_line(
    parms: *mut sys::cmd_parms,
    _: *const c_char,
    parsed: *mut *const c_void,
) -> *const c_char {
    // SAFETY: Apache gives live parameters, whose directive is a node of a live tree.
    let is_negated = unsafe { may_be_negated((*parms).directive) };
    // SAFETY: Apache gives a place for it.
    unsafe { *parsed = if is_negated { ptr::null() } else { (&raw const NOT_NEGATED).cast() } };
    ptr::null()
}

/// Returns whether the requirement of a directive may be negated.
///
/// # Safety
/// The directive is null or a node of a live tree.
unsafe fn may_be_negated(mut directive: *const sys::ap_directive_t) -> bool {
    // SAFETY: by the caller; Apache's directives have a name, and arguments or null.
    let texts = |directive: *const sys::ap_directive_t| unsafe {
        let Some(directive) = directive.as_ref() else { return (&b""[..], &b""[..]) };
        let text = |pointer| text::bytes(pointer).unwrap_or_default();
        (text(directive.directive), text(directive.args))
    };
    let (name, arguments) = texts(directive);
    let is_not = |word: &[u8]| word.eq_ignore_ascii_case(b"not");
    let mut words = arguments.split(|byte| matches!(byte, b'"' | b'\'') || byte.is_ascii_whitespace());
    if !name.eq_ignore_ascii_case(b"Require") || words.find(|word| !word.is_empty()).is_none_or(is_not) {
        return true;
    }
    // SAFETY: by the caller; a node's parents live as long.
    while let Some(parent) = unsafe { directive.as_ref() }.map(|directive| directive.parent) {
        if texts(parent).0.eq_ignore_ascii_case(b"<RequireNone") {
            return true;
        }
        directive = parent;
    }
    false
}

/// Logs the line of a panic, and returns what stands for it.
fn log<M: Module, T>(request: &Request, line: &str, failed: T) -> T {
    Logger::of::<M>().request(request, Level::Crit, line);
    failed
}

impl Request {
    /// Sets the authenticated user.
    ///
    /// # Errors
    /// The name contains a NUL byte.
    pub fn set_user(&self, user: &[u8]) -> Result<(), InteriorNul> {
        let user = self.pool().c_string(user)?;
        // SAFETY: the request is live, and so is its pool.
        unsafe { (*self.as_ptr()).user = user.as_ptr().cast_mut() };
        Ok(())
    }

    /// Returns the name of the client, if `HostnameLookups` permits to look for it and it is found.
    #[must_use]
    pub fn client_host(&self) -> Option<&[u8]> {
        // SAFETY: the request is live; the name is kept as long as its connection.
        unsafe {
            text::bytes(sys::ap_get_useragent_host(self.as_ptr(), sys::REMOTE_HOST as c_int, ptr::null_mut()))
        }
    }

    /// Returns the line that Apache writes under its own pages; empty with `ServerSignature Off`.
    #[must_use]
    pub fn server_signature(&self) -> &[u8] {
        // SAFETY: the request is live; the text is static or in its pool.
        unsafe { text::bytes(sys::ap_psignature(c"".as_ptr(), self.as_ptr())) }.unwrap_or_default()
    }

    /// Returns whether a user may still be let in whom the check of access denies: `Satisfy Any`,
    /// and authentication is configured.
    #[must_use]
    pub fn may_be_satisfied_by_user(&self) -> bool {
        // SAFETY: the request is live.
        unsafe {
            sys::ap_satisfies(self.as_ptr()) == sys::SATISFY_ANY as c_int
                && sys::ap_some_auth_required(self.as_ptr()) != 0
        }
    }
}
