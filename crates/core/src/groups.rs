//! Names of groups and callables: what a configured name means for one request.

use std::borrow::Cow;

use crate::config::Callable;
use crate::nearest::nearest;
use crate::words::display;

/// Variables of a request that expansion needs.
pub trait RequestVariables {
    /// Returns the configured name of the virtual host (not an alias, not the `Host` header).
    fn server_name(&self) -> &[u8];

    /// Returns the host that the request names, without a port; `None` or empty if it names none.
    fn host(&self) -> Option<&[u8]>;

    /// Returns the server's canonical port for the request.
    fn port(&self) -> u16;

    /// Returns the request's path without `PATH_INFO`, slashes collapsed, lower-cased if paths are
    /// not case-sensitive.
    fn script_name(&self) -> Cow<'_, [u8]>;

    /// Returns a variable by name: from the request's notes, else its `subprocess_env`, else the
    /// process environment.
    fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>>;
}

/// Returns the process group that `configured` names; empty: embedded.
///
/// The name lives in `configured` or in `buffer`, whose content is replaced.
pub fn process_group<'a>(
    configured: Option<&'a [u8]>,
    request: &impl RequestVariables,
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    expand(configured.unwrap_or_default(), &Form::REQUEST, request, buffer)
}

/// Returns the application group that `configured` names; empty: the main interpreter. Unset, it is
/// `%{RESOURCE}`.
///
/// The name lives in `configured` or in `buffer`, whose content is replaced.
pub fn application_group<'a>(
    configured: Option<&'a [u8]>,
    request: &impl RequestVariables,
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    expand(configured.unwrap_or(b"%{RESOURCE}"), &Form::REQUEST, request, buffer)
}

/// Returns the application group that the option of an authentication, access or dispatch script
/// names: like [`application_group`], but unset it is the main interpreter, and fewer forms are
/// expanded.
pub fn script_group<'a>(
    configured: Option<&'a [u8]>,
    request: &impl RequestVariables,
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    expand(configured.unwrap_or_default(), &Form::SCRIPT, request, buffer)
}

/// Returns the name of the callable. Only `%{ENV:NAME}` is expanded, once; any other `%` form is
/// `application`.
///
/// The name lives in `configured` or in `buffer`, whose content is replaced.
pub fn callable<'a>(
    configured: Callable<'a>,
    request: &impl RequestVariables,
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    let name = match configured {
        Callable::Literal(name) => return name,
        Callable::Expand(name) if name.first() != Some(&b'%') => return name,
        Callable::Expand(name) => name,
    };
    match environment_name(name).and_then(|name| request.variable(name)) {
        Some(value) => {
            buffer.clear();
            buffer.extend_from_slice(&value);
            buffer
        }
        None => b"application",
    }
}

/// The forms that are expanded in a place where a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    /// The forms of a request: `%{GLOBAL}`, `%{SERVER}`, `%{HOST}`, `%{RESOURCE}` and
    /// `%{ENV:NAME}`.
    Request,
    /// The forms of a script of one of the server's hooks: `%{GLOBAL}`, `%{SERVER}` and `%{HOST}`.
    Script,
    /// `%{GLOBAL}` alone.
    Global,
    /// `%{ENV:NAME}` alone, of a callable.
    Callable,
    /// `%{GROUP}` alone, of what `ps` shows.
    Title,
}

impl Forms {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Request => &["%{GLOBAL}", "%{SERVER}", "%{HOST}", "%{RESOURCE}", "%{ENV:NAME}"],
            Self::Script => &["%{GLOBAL}", "%{SERVER}", "%{HOST}"],
            Self::Global => &["%{GLOBAL}"],
            Self::Callable => &["%{ENV:NAME}"],
            Self::Title => &["%{GROUP}"],
        }
    }

    /// Returns what is wrong with a name that seems to have a form in it and is not expanded, to
    /// complete a sentence that begins with the name. Returns `None` if nothing is wrong.
    #[must_use]
    pub fn check(self, name: &[u8]) -> Option<String> {
        let has_variable = matches!(self, Self::Request | Self::Callable);
        let is_known = |name: &str| {
            self.names().contains(&name) || (has_variable && environment_name(name.as_bytes()).is_some())
        };
        let shown = display(name);
        if !name.windows(2).any(|pair| pair == b"%{") || is_known(&shown) {
            return None;
        }
        let meant = match shown.get(..6) {
            Some(begin) if has_variable && begin.eq_ignore_ascii_case("%{env:") => {
                Some(format!("%{{ENV:{}", &shown[6..])).filter(|meant| is_known(meant))
            }
            _ => nearest(name, self.names().iter().copied()).map(str::to_owned),
        };
        let expected = match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("what is expanded, if it stands alone, is {}", self.names().join(", ")),
        };
        let taken = match self {
            Self::Callable => "the name 'application' is taken",
            _ => "it is taken as it stands",
        };
        Some(format!("is not expanded, and {taken}: {expected}"))
    }
}

/// Returns whether a configured name is the same for every request: it is not inspected, or it is
/// `%{GLOBAL}`.
#[must_use]
pub fn is_constant(configured: &[u8]) -> bool {
    configured.first() != Some(&b'%') || Form::of(configured).is_none_or(|form| form == Form::Global)
}

/// The forms that expansion knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Global,
    Server,
    Host,
    Resource,
    Environment(&'a [u8]),
}

impl<'a> Form<'a> {
    const REQUEST: fn(&Form<'_>) -> bool = |_| true;
    const SCRIPT: fn(&Form<'_>) -> bool = |form| matches!(form, Form::Global | Form::Server | Form::Host);

    fn of(name: &'a [u8]) -> Option<Self> {
        match name {
            b"%{GLOBAL}" => Some(Self::Global),
            b"%{SERVER}" => Some(Self::Server),
            b"%{HOST}" => Some(Self::Host),
            b"%{RESOURCE}" => Some(Self::Resource),
            _ => environment_name(name).map(Self::Environment),
        }
    }
}

fn environment_name(name: &[u8]) -> Option<&[u8]> {
    name.strip_prefix(b"%{ENV:")?.strip_suffix(b"}")
}

fn expand<'a>(
    name: &'a [u8],
    knows: &fn(&Form<'_>) -> bool,
    request: &impl RequestVariables,
    buffer: &'a mut Vec<u8>,
) -> &'a [u8] {
    if name.first() != Some(&b'%') {
        return name;
    }
    let Some(form) = Form::of(name).filter(knows) else { return name };
    let Form::Environment(variable) = form else {
        write(form, request, buffer);
        return buffer;
    };
    let Some(value) = request.variable(variable) else { return name };
    // Once more, but never a variable's name from a variable: a request could lead that in circles.
    match Form::of(&value).filter(|form| !matches!(form, Form::Environment(_))) {
        Some(form) => write(form, request, buffer),
        None => {
            buffer.clear();
            buffer.extend_from_slice(&value);
        }
    }
    buffer
}

fn write(form: Form<'_>, request: &impl RequestVariables, buffer: &mut Vec<u8>) {
    buffer.clear();
    match form {
        Form::Global | Form::Environment(_) => {}
        Form::Server => write_host(request.server_name(), request.port(), buffer),
        Form::Host => {
            let host =
                request.host().filter(|host| !host.is_empty()).unwrap_or_else(|| request.server_name());
            write_host(host, request.port(), buffer);
        }
        Form::Resource => {
            write_host(request.server_name(), request.port(), buffer);
            buffer.push(b'|');
            buffer.extend_from_slice(&request.script_name());
        }
    }
}

fn write_host(host: &[u8], port: u16, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(host);
    if !matches!(port, 80 | 443) {
        let mut digits = [b'0'; 5];
        let mut rest = port;
        let mut first = digits.len();
        while rest > 0 || first == digits.len() {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        buffer.push(b':');
        buffer.extend_from_slice(&digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Example {
        host: Option<&'static [u8]>,
        port: u16,
        script_name: &'static [u8],
        variables: &'static [(&'static str, &'static str)],
    }

    const EXAMPLE: Example = Example {
        host: Some(b"alias.example.com"),
        port: 8080,
        script_name: b"/app",
        variables: &[
            ("GROUP", "blue"),
            ("EMPTY", ""),
            ("GLOBAL", "%{GLOBAL}"),
            ("SERVER", "%{SERVER}"),
            ("LOOP", "%{ENV:LOOP}"),
            ("ODD", "%{ODD}"),
        ],
    };

    impl RequestVariables for Example {
        fn server_name(&self) -> &[u8] {
            b"www.example.com"
        }
        fn host(&self) -> Option<&[u8]> {
            self.host
        }
        fn port(&self) -> u16 {
            self.port
        }
        fn script_name(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(self.script_name)
        }
        fn variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
            let found = self.variables.iter().find(|(key, _)| key.as_bytes() == name);
            found.map(|(_, value)| Cow::Borrowed(value.as_bytes()))
        }
    }

    fn application(configured: Option<&str>, request: &Example) -> String {
        let mut buffer = b"left over".to_vec();
        let name = application_group(configured.map(str::as_bytes), request, &mut buffer);
        String::from_utf8(name.to_vec()).unwrap()
    }

    #[test]
    fn forms_of_the_contract() {
        let group = |configured| application(Some(configured), &EXAMPLE);
        assert_eq!(application(None, &EXAMPLE), "www.example.com:8080|/app");
        assert_eq!(group("%{GLOBAL}"), "");
        assert_eq!(group("%{SERVER}"), "www.example.com:8080");
        assert_eq!(group("%{HOST}"), "alias.example.com:8080");
        assert_eq!(group("%{RESOURCE}"), "www.example.com:8080|/app");
        assert_eq!(group("%{ENV:GROUP}"), "blue");
        for literal in ["x%{SERVER}", "%{server}", "%{SERVER}x", "%", "%{OTHER}", "%{ENV:NONE}", "plain", ""]
        {
            assert_eq!(group(literal), literal);
        }
    }

    #[test]
    fn variables_are_expanded_once() {
        let group = |configured| application(Some(configured), &EXAMPLE);
        assert_eq!(group("%{ENV:EMPTY}"), "");
        assert_eq!(group("%{ENV:GLOBAL}"), "");
        assert_eq!(group("%{ENV:SERVER}"), "www.example.com:8080");
        assert_eq!(group("%{ENV:LOOP}"), "%{ENV:LOOP}");
        assert_eq!(group("%{ENV:ODD}"), "%{ODD}");
    }

    #[test]
    fn standard_ports_are_left_out() {
        for (port, suffix) in [(80, ""), (443, ""), (99, ":99"), (65535, ":65535"), (0, ":0")] {
            let request = Example { port, ..EXAMPLE };
            assert_eq!(application(Some("%{SERVER}"), &request), format!("www.example.com{suffix}"));
        }
    }

    #[test]
    fn a_request_without_host_is_the_servers() {
        for host in [None, Some(&b""[..])] {
            let request = Example { host, port: 80, ..EXAMPLE };
            assert_eq!(application(Some("%{HOST}"), &request), "www.example.com");
        }
        let root = Example { script_name: b"", port: 80, ..EXAMPLE };
        assert_eq!(application(None, &root), "www.example.com|");
    }

    #[test]
    fn process_and_script_groups_default_to_global() {
        let mut buffer = Vec::new();
        assert_eq!(process_group(None, &EXAMPLE, &mut buffer), b"");
        assert_eq!(script_group(None, &EXAMPLE, &mut buffer), b"");
        assert_eq!(script_group(Some(b"%{HOST}"), &EXAMPLE, &mut buffer), b"alias.example.com:8080");
        assert_eq!(script_group(Some(b"%{RESOURCE}"), &EXAMPLE, &mut buffer), b"%{RESOURCE}");
        assert_eq!(script_group(Some(b"%{ENV:GROUP}"), &EXAMPLE, &mut buffer), b"%{ENV:GROUP}");
        assert_eq!(process_group(Some(b"%{ENV:GROUP}"), &EXAMPLE, &mut buffer), b"blue");
    }

    #[test]
    fn callables_expand_variables_only() {
        let name = |configured: &str| {
            let mut buffer = Vec::new();
            callable(Callable::Expand(configured.as_bytes()), &EXAMPLE, &mut buffer).to_vec()
        };
        assert_eq!(name("app"), b"app");
        assert_eq!(name("%{ENV:GROUP}"), b"blue");
        assert_eq!(name("%{ENV:GLOBAL}"), b"%{GLOBAL}");
        for other in ["%{ENV:NONE}", "%{GLOBAL}", "%x"] {
            assert_eq!(name(other), b"application", "{other}");
        }
        let mut buffer = Vec::new();
        assert_eq!(callable(Callable::Literal(b"%{ENV:GROUP}"), &EXAMPLE, &mut buffer), b"%{ENV:GROUP}");
    }

    #[test]
    fn constant_names_are_known_in_advance() {
        for name in ["", "x", "x%{SERVER}", "%{GLOBAL}", "%{other}"] {
            assert!(is_constant(name.as_bytes()), "{name}");
        }
        for name in ["%{SERVER}", "%{HOST}", "%{RESOURCE}", "%{ENV:X}"] {
            assert!(!is_constant(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn unknown_forms_are_reported() {
        for (forms, name, meant) in [
            (Forms::Request, "%{global}", "mean %{GLOBAL}?"),
            (Forms::Request, "%{GLOBAl}", "mean %{GLOBAL}?"),
            (Forms::Request, "%{env:APP}", "mean %{ENV:APP}?"),
            (Forms::Request, "x%{SERVER}", "mean %{SERVER}?"),
            (Forms::Request, "app-%{HTTP_HOST}x", "%{ENV:NAME}"),
            (Forms::Global, "%{SERVER}", "stands alone, is %{GLOBAL}"),
            (Forms::Callable, "%{GLOBAL}", "'application'"),
            (Forms::Callable, "%{Env:X}", "mean %{ENV:X}?"),
            (Forms::Title, "%{Group}", "mean %{GROUP}?"),
        ] {
            let text = forms.check(name.as_bytes()).unwrap();
            assert!(text.starts_with("is not expanded") && text.contains(meant), "{name}: {text}");
        }
        for (forms, name) in [
            (Forms::Request, "plain"),
            (Forms::Request, "100%"),
            (Forms::Request, "%{ENV:X}"),
            (Forms::Request, "%{HOST}"),
            (Forms::Global, "%{GLOBAL}"),
            (Forms::Callable, "%{ENV:X}"),
            (Forms::Title, "%{GROUP}"),
            (Forms::Title, "%d"),
        ] {
            assert_eq!(forms.check(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_expands(name in proptest::collection::vec(any::<u8>(), 0..30)) {
            let mut buffer = Vec::new();
            let expanded = application_group(Some(&name), &EXAMPLE, &mut buffer);
            for forms in [Forms::Request, Forms::Global, Forms::Callable, Forms::Title] {
                let _ = forms.check(&name);
            }
            if name.first() != Some(&b'%') {
                prop_assert_eq!(expanded, &name[..]);
            }
        }
    }
}
