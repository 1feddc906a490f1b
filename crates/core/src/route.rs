//! The route of a request: what an alias or a handler script says of it.

/// Options of an alias or a handler script. Unset ones are inherited from the directives of the
/// same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteOptions {
    /// `process-group=`, unexpanded.
    pub process_group: Option<Box<[u8]>>,
    /// `application-group=`, unexpanded.
    pub application_group: Option<Box<[u8]>>,
    /// `callable-object=`, never expanded.
    pub callable_object: Option<Box<[u8]>>,
    /// `pass-authorization=`.
    pub pass_authorization: Option<bool>,
    /// `url-path=` of a handler script, without a slash at its end; empty for the root.
    pub url_path: Option<Box<[u8]>>,
    /// `module-name=` of a handler script.
    pub module_name: Option<Box<[u8]>>,
}
