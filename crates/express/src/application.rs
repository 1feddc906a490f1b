//! The application: what the entry point is, and the script that loads it.

use std::path::{Path, PathBuf};

use minijinja::{Value, context};

use crate::failure::Failure;
use crate::general;
use crate::parse::Parsed;
use crate::quote::display;
use crate::quote::render;
use crate::values::absolute;

/// The content that is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Application {
    /// A page that says that nothing was named.
    Placeholder,
    /// A WSGI script file.
    Script(PathBuf),
    /// A Python module, by its dotted name, and the callable that was named with it.
    Module(String, Option<String>),
    /// A configuration of PasteDeploy.
    Paste(PathBuf),
    /// No application: files.
    Static,
}

impl Application {
    /// Returns the application, and for static files the directory that was named.
    ///
    /// # Errors
    /// There is no such type, or its entry point cannot be used.
    pub(crate) fn new(parsed: &Parsed) -> Result<(Self, Option<PathBuf>), Failure> {
        const TYPES: [&str; 4] = ["script", "module", "paste", "static"];
        let kind = parsed.text(&general::APPLICATION_TYPE).unwrap_or("script");
        if !TYPES.contains(&kind) {
            let valid = TYPES.join(", ");
            return Err(Failure::usage(format!("option --application-type: '{kind}' is not one of {valid}")));
        }
        let entry = parsed.text(&general::ENTRY_POINT).or(parsed.positional.first().map(String::as_str));
        if entry.is_some_and(|entry| entry.trim().is_empty()) {
            return Err(Failure::usage(
                "the name of what to serve is empty, as that of a variable that is not set: name the script, \
                 or leave the empty argument out",
            ));
        }
        if kind == "static" {
            return Ok((Self::Static, Some(absolute(entry.unwrap_or("."))?)));
        }
        let Some(entry) = entry else { return Ok((Self::Placeholder, None)) };
        let application = match kind {
            "module" => module(entry)?,
            "paste" => Self::Paste(absolute(entry)?),
            _ => Self::Script(absolute(entry)?),
        };
        Ok((application, None))
    }

    /// The file that was named, and what it is.
    pub(crate) fn file(&self) -> Option<(&Path, &'static str)> {
        match self {
            Self::Script(file) => Some((file, "the WSGI script")),
            Self::Paste(file) => Some((file, "the configuration of PasteDeploy")),
            Self::Placeholder | Self::Module(..) | Self::Static => None,
        }
    }

    /// Returns the name of the module of a script of the user's, by which the script can tell who
    /// runs it. If something is put around the application, `handler.wsgi` names the module.
    pub(crate) fn module_name(&self, is_wrapped: bool) -> Option<&'static str> {
        matches!(self, Self::Script(_) if !is_wrapped).then_some("__wsgi__")
    }

    /// Returns what to do if its file does not exist. A name that could be that of a module most
    /// likely is one, as other servers take it.
    pub(crate) fn remedy(&self) -> String {
        const NAME: &str = "name an existing one";
        let Self::Script(path) = self else { return NAME.to_owned() };
        let here = std::env::current_dir().is_ok_and(|directory| path.parent() == Some(&*directory));
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| here).unwrap_or_default();
        if module(name).is_ok() {
            format!("{NAME}, or add --application-type module if it is a module")
        } else {
            NAME.to_owned()
        }
    }

    /// The script that has the application; `None` for static files. Something may be put around the
    /// application; then this is never the user's own.
    pub(crate) fn script(&self, server_root: &Path, is_wrapped: bool) -> Option<PathBuf> {
        match self {
            Self::Script(_) | Self::Placeholder if is_wrapped => Some(server_root.join(HANDLER)),
            Self::Script(file) => Some(file.clone()),
            Self::Placeholder => Some(server_root.join(DEFAULT)),
            Self::Module(..) | Self::Paste(_) => Some(server_root.join(HANDLER)),
            Self::Static => None,
        }
    }

    /// The name of the callable in that script.
    pub(crate) fn callable_object<'a>(&self, asked: &'a str, is_wrapped: bool) -> &'a str {
        match self {
            Self::Script(_) if !is_wrapped => asked,
            _ => "application",
        }
    }

    /// The text of `handler.wsgi`; `around` is what is put around the application.
    ///
    /// # Errors
    /// A name cannot be written into it.
    pub(crate) fn handler_script(
        &self,
        callable_object: &str,
        server_root: &Path,
        around: Option<&Value>,
    ) -> Result<String, Failure> {
        let loader = match self {
            Self::Script(_) if around.is_none() => None,
            Self::Placeholder if around.is_some() => {
                Some(Loader::script(&server_root.join(DEFAULT), "application"))
            }
            _ => self.loader(callable_object),
        };
        let Loader { function, entry, callable_object } = loader.unwrap_or_default();
        render(
            HANDLER,
            include_str!("../templates/handler.wsgi"),
            context! { loader => function, entry, callable_object, around },
        )
    }

    /// Returns what loads it; `None` if nothing was named that could be loaded.
    pub(crate) fn loader(&self, callable_object: &str) -> Option<Loader> {
        match self {
            Self::Script(file) => Some(Loader::script(file, callable_object)),
            Self::Module(name, own) => Some(Loader {
                function: "module",
                entry: name.clone(),
                callable_object: Some(own.as_deref().unwrap_or(callable_object).to_owned()),
            }),
            Self::Paste(file) => {
                Some(Loader { function: "paste", entry: display(file), callable_object: None })
            }
            Self::Placeholder | Self::Static => None,
        }
    }
}

/// A call of the Python module that loads applications.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    /// The name of the function.
    pub(crate) function: &'static str,
    /// The file or module.
    pub(crate) entry: String,
    /// The name in it, where one is needed.
    pub(crate) callable_object: Option<String>,
}

impl Loader {
    fn script(file: &Path, callable_object: &str) -> Self {
        let callable_object = Some(callable_object.to_owned());
        Self { function: "script", entry: display(file), callable_object }
    }
}

/// The script that loads what is no script.
pub(crate) const HANDLER: &str = "handler.wsgi";

/// The script of the placeholder.
pub(crate) const DEFAULT: &str = "default.wsgi";

/// Returns the module that is named by `shop.wsgi`, `shop.wsgi:app` or `shop.wsgi:create_app()`.
fn module(entry: &str) -> Result<Application, Failure> {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    let is_dotted = |name: &str| name.split('.').all(is_name);
    let (name, callable) = match entry.split_once(':') {
        Some((name, callable)) => (name, Some(callable)),
        None => (entry, None),
    };
    if is_dotted(name)
        && callable.is_none_or(|callable| is_dotted(callable.strip_suffix("()").unwrap_or(callable)))
    {
        return Ok(Application::Module(name.to_owned(), callable.map(str::to_owned)));
    }
    Err(Failure::usage(format!(
        "--application-type module needs the dotted name of a module, such as shop.wsgi, shop.wsgi:app or \
         shop.wsgi:create_app(), and '{entry}' is none"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn application(arguments: &[&str]) -> Result<(Application, Option<PathBuf>), Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Application::new(&parse(&options::server(), arguments).unwrap())
    }

    #[test]
    fn entry_points_of_each_type() {
        let of = |kind, entry| application(&["--application-type", kind, entry]).unwrap();
        assert_eq!(of("script", "/a"), (Application::Script("/a".into()), None));
        assert_eq!(of("module", "a.b"), (Application::Module("a.b".into(), None), None));
        assert_eq!(of("module", "a:b.c()").0, Application::Module("a".into(), Some("b.c()".into())));
        assert_eq!(of("paste", "/a.ini"), (Application::Paste("/a.ini".into()), None));
        assert_eq!(of("static", "/d"), (Application::Static, Some("/d".into())));
        assert_eq!(application(&["--application-type", "paste"]).unwrap().0, Application::Placeholder);
        assert_eq!(application(&["/a", "--entry-point", "/b"]).unwrap().0, Application::Script("/b".into()));
    }

    #[test]
    fn unknown_types_and_names_that_are_none_are_refused() {
        let refusal =
            |kind, entry| application(&["--application-type", kind, entry]).unwrap_err().to_string();
        let text = refusal("asgi", "/a");
        assert!(text.contains("'asgi' is not one of script, module, paste, static"), "{text}");
        for kind in ["script", "module", "paste", "static"] {
            assert!(refusal(kind, "").contains("is empty"), "{kind}");
        }
        for name in ["a/b.py", "a..b", "a:", "a:b(1)", "a:b()()", "a:b:c", "1a", "a\nb"] {
            assert!(refusal("module", name).contains("dotted name"), "{name}");
        }
    }

    #[test]
    fn handler_scripts_hold_their_names_as_text() {
        let text = |application: &Application, around: Option<&Value>| {
            application.handler_script("x\"\n", Path::new("/r"), around).unwrap()
        };
        let paste = text(&Application::Paste("/it's \"a\"\\b.ini".into()), None);
        assert!(paste.contains(r#"paste("/it's \"a\"\\b.ini")"#), "{paste}");
        let module = text(&Application::Module("a.b".into(), Some("c()".into())), None);
        assert!(module.contains(r#"module("a.b", "c()")"#), "{module}");
        let module = text(&Application::Module("a.b".into(), None), None);
        assert!(module.contains(r#"module("a.b", "x\"\x0a")"#), "{module}");
        let around = context! {
            debugger => false, at_startup => false, coverage => "/c\"\n", profiler => "/p\"\n", recorder => "/r\"\n",
        };
        let script = text(&Application::Script("/a\"\n.wsgi".into()), Some(&around));
        for part in [
            r#"script("/a\"\x0a.wsgi", "x\"\x0a")"#,
            r#"coverage="/c\"\x0a""#,
            r#"profiler="/p\"\x0a""#,
            r#"recorder="/r\"\x0a""#,
        ] {
            assert!(script.contains(part), "{part} in {script}");
        }
        assert!(
            text(&Application::Placeholder, Some(&around))
                .contains(r#"script("/r/default.wsgi", "application")"#)
        );
    }
}
