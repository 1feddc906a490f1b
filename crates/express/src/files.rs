//! The content that Apache serves itself: files, directories, scripts for files, pages for errors.

use std::fs;
use std::path::{Path, PathBuf};

use minijinja::{Value, context};

use crate::apache::Apache;
use crate::failure::Failure;
use crate::parse::Parsed;
use crate::quote::display;
use crate::quote::render;
use crate::spec::{Spec, section};
use crate::values::{self, absolute, texts};

section! {
    FILES {
        title: "Static files and errors",
        about: "A URL path of `--url-alias` or `--proxy-mount-point` goes there; an existing file of the document root is served; everything else \
                goes to the application. `/` and other directories do, too, unless there is an index file or `--directory-index`.",
        example: "mod_wsgi-express start-server app.wsgi --document-root public --url-alias /static build/static",
    }

    DOCUMENT_ROOT = Spec::text("--document-root", &["DIRECTORY"],
        "Directory of static files, served in preference to the application.")
        .default("htdocs in the server root");
    URL_ALIAS = Spec::text("--url-alias", &["URL-PATH", "FILE-OR-DIRECTORY"],
        "Serves static files below a URL path.").repeated();
    DIRECTORY_INDEX = Spec::text("--directory-index", &["NAME"],
        "File that is served for a directory, which then never goes to the application.")
        .default("index.html");
    DIRECTORY_LISTING = Spec::flag("--directory-listing",
        "Lists directories that do not go to the application and have no index file.");
    ALLOW_OVERRIDE = Spec::text("--allow-override", &["TYPE"],
        "What .htaccess files of the document root and of --url-alias may set, such as FileInfo.")
        .default("None").repeated();
    REWRITE_RULES = Spec::text("--rewrite-rules", &["FILE"],
        "Directives of mod_rewrite for the document root, as in a .htaccess file there.")
        .default("rewrite.conf in the server root");
    ADD_HANDLER = Spec::text("--add-handler", &["EXTENSION", "SCRIPT"],
        "WSGI script for the files of the document root with an extension.").repeated()
        .note("It runs where the application does, in the main interpreter; `SCRIPT_FILENAME` is the file. Its function is \
               `handle_request(environ, start_response)`, else `application`.");
    WITH_CGI = Spec::flag("--with-cgi",
        "Runs the .cgi files of the document root.");
    WITH_PHP5 = Spec::flag("--with-php5",
        "Accepted, and without effect: no Apache of today has PHP 5.");
    ERROR_DOCUMENT = Spec::text("--error-document", &["STATUS", "URL"],
        "Page to send for a status that Apache answers with, or a text.").repeated()
        .note("With `--error-override` also for those of the application. A URL path begins with a slash, and a URL with `http://` or `https://`; \
               anything else is the text of the page.");
    ERROR_OVERRIDE = Spec::flag("--error-override",
        "Replaces the application's error pages by Apache's.");
    ENABLE_SENDFILE = Spec::flag("--enable-sendfile",
        "Lets the kernel send files, also those of wsgi.file_wrapper.");
    COMPRESS_RESPONSES = Spec::flag("--compress-responses",
        "Compresses text, HTML, XML, CSS, JavaScript and JSON for clients that accept it.");
    SERVER_STATUS = Spec::flag("--server-status",
        "Serves Apache's status at /server-status, and that of processes and requests at /wsgi-status, to clients on this machine.")
        .note("`mod_wsgi-express status` shows the second in a terminal; see the [guide](status.md).");
    ENABLE_DOCS = Spec::flag("--enable-docs",
        "Serves this documentation at /__wsgi__/docs/; without an application it always is.");
}

/// The settings of the content that Apache serves itself.
#[derive(Debug)]
pub(crate) struct Files {
    directory_index: Option<String>,
    listing: bool,
    /// As `AllowOverride` takes it.
    allow_override: Vec<String>,
    /// None for the one in the server root.
    pub(crate) rewrite_rules: Option<PathBuf>,
    /// Extensions, with their dots, and scripts.
    pub(crate) handlers: Vec<(String, PathBuf)>,
    cgi: bool,
    error_documents: Vec<(String, String)>,
    sendfile: bool,
    compress: bool,
    pub(crate) status: bool,
    /// `--with-php5` was given, which included files may ask for.
    php: bool,
    docs: bool,
}

/// The script that passes requests to those of `--add-handler`.
pub(crate) const RESOURCES: &str = "resource.wsgi";

impl Files {
    /// # Errors
    /// A value is not valid.
    pub(crate) fn new(parsed: &Parsed, has_application: bool) -> Result<Self, Failure> {
        Ok(Self {
            directory_index: parsed.text(&DIRECTORY_INDEX).map(directory_index).transpose()?,
            listing: parsed.has(&DIRECTORY_LISTING),
            allow_override: allow_override(texts(parsed, &ALLOW_OVERRIDE))?,
            rewrite_rules: parsed.text(&REWRITE_RULES).map(absolute).transpose()?,
            handlers: values::pairs(parsed, &ADD_HANDLER)
                .map(|(extension, script)| Ok((self::extension(extension)?, absolute(script)?)))
                .collect::<Result<_, Failure>>()?,
            cgi: parsed.has(&WITH_CGI),
            error_documents: values::pairs(parsed, &ERROR_DOCUMENT)
                .map(|(status, page)| error_document(status, page))
                .collect::<Result<_, _>>()?,
            sendfile: parsed.has(&ENABLE_SENDFILE),
            compress: parsed.has(&COMPRESS_RESPONSES),
            status: parsed.has(&SERVER_STATUS),
            php: parsed.has(&WITH_PHP5),
            docs: parsed.has(&ENABLE_DOCS) || !has_application,
        })
    }

    /// Returns the values for the templates; `docs` is the directory of the documentation.
    pub(crate) fn context(&self, docs: &Path) -> Value {
        context! {
            directory_index => self.directory_index.as_deref(),
            listing => self.listing,
            cgi => self.cgi,
            allow_override => self.allow_override.join(" "),
            extensions => self.handlers.iter().map(|(extension, _)| extension.clone()).collect::<Vec<_>>(),
            error_documents => self.error_documents.iter()
                .map(|(status, page)| context! { status, page })
                .collect::<Vec<_>>(),
            sendfile => self.sendfile,
            compress => self.compress,
            status => self.status,
            docs => (self.docs && docs.is_dir()).then(|| display(docs)),
        }
    }

    /// The modules of Apache that are needed.
    pub(crate) fn modules(&self, apache: &Apache) -> impl Iterator<Item = &'static str> {
        let cgi = if apache.module("cgid").is_ok() { "cgid" } else { "cgi" };
        [("autoindex", self.listing), (cgi, self.cgi), ("deflate", self.compress)]
            .into_iter()
            .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// The names of an included file's `<IfDefine>` that apply.
    pub(crate) fn defines(&self, apache: &Apache) -> impl Iterator<Item = &'static str> {
        let has_cgid = apache.module("cgid").is_ok();
        [
            ("MOD_WSGI_DIRECTORY_INDEX", self.directory_index.is_some()),
            ("MOD_WSGI_DIRECTORY_LISTING", self.listing),
            ("MOD_WSGI_CGID_SCRIPT", self.cgi && has_cgid),
            ("MOD_WSGI_CGI_SCRIPT", self.cgi && !has_cgid),
            ("MOD_WSGI_ENABLE_SENDFILE", self.sendfile),
            ("MOD_WSGI_COMPRESS_RESPONSES", self.compress),
            ("MOD_WSGI_SERVER_STATUS", self.status),
            ("MOD_WSGI_WITH_PHP5", self.php),
        ]
        .into_iter()
        .filter_map(|(name, applies)| applies.then_some(name))
    }

    /// Returns what prevents Apache, as the user that starts it, from using the files.
    pub(crate) fn problems(&self) -> Option<String> {
        let rules = self.rewrite_rules.as_ref()?;
        let error = fs::File::open(rules).err()?;
        Some(format!("cannot read {}: {error}; check --rewrite-rules", rules.display()))
    }

    /// The text of `resource.wsgi`.
    ///
    /// # Errors
    /// A name cannot be written into it.
    pub(crate) fn resource_script(&self) -> Result<String, Failure> {
        let handlers = self.handlers.iter();
        let handlers = handlers.map(|(extension, script)| context! { extension, script => display(script) });
        render(
            RESOURCES,
            include_str!("../templates/resource.wsgi"),
            context! { handlers => handlers.collect::<Vec<_>>() },
        )
    }
}

/// Returns the option that was given but has no effect, and why.
pub(crate) fn without_effect(parsed: &Parsed) -> Option<String> {
    parsed.has(&WITH_PHP5).then(|| {
        "--with-php5 is without effect: no Apache of today has PHP 5; load a newer one with --include-file".to_owned()
    })
}

fn directory_index(name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::usage("option --directory-index: the name of the file is empty"));
    }
    Ok(name.to_owned())
}

fn allow_override(types: Vec<String>) -> Result<Vec<String>, Failure> {
    const TYPES: [&str; 7] = ["None", "All", "AuthConfig", "FileInfo", "Indexes", "Limit", "Options"];
    let is_list =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == ',');
    let words: Vec<String> =
        types.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned).collect();
    for word in &words {
        let valid = TYPES.iter().any(|valid| valid.eq_ignore_ascii_case(word))
            || word.split_once('=').is_some_and(|(name, list)| {
                ["Options", "Nonfatal"].iter().any(|valid| valid.eq_ignore_ascii_case(name)) && is_list(list)
            });
        if !valid {
            return Err(Failure::usage(format!(
                "option --allow-override: '{word}' is not one of {}, Options=..., Nonfatal=...",
                TYPES.join(", ")
            )));
        }
    }
    Ok(if words.is_empty() { vec!["None".to_owned()] } else { words })
}

fn extension(text: &str) -> Result<String, Failure> {
    let name = text.strip_prefix('.').unwrap_or(text);
    if name.is_empty() || name.contains(['.', '/']) || name.contains(char::is_whitespace) {
        return Err(Failure::usage(format!(
            "option --add-handler: '{text}' is not the extension of a file, such as .md"
        )));
    }
    // Apache does not tell upper from lower case in extensions.
    Ok(format!(".{}", name.to_lowercase()))
}

fn error_document(status: &str, page: &str) -> Result<(String, String), Failure> {
    if !status.parse::<u16>().is_ok_and(|status| (400..600).contains(&status)) {
        return Err(Failure::usage(format!(
            "option --error-document: '{status}' is not the status of an error, 400 to 599"
        )));
    }
    if page.is_empty() {
        return Err(Failure::usage(format!(
            "option --error-document: there is nothing to send for {status}"
        )));
    }
    if page.contains("%{") {
        return Err(Failure::usage(format!(
            "option --error-document: '{page}' contains %{{, which Apache would take for an expression"
        )));
    }
    Ok((status.to_owned(), page.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;
    use crate::parse::parse;

    fn files(arguments: &[&str]) -> Result<Files, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Files::new(&parse(&options::server(), arguments)?, true)
    }

    #[test]
    fn extensions_have_one_dot() {
        for text in ["md", ".md", ".MD"] {
            assert_eq!(
                files(&["--add-handler", text, "/h"]).unwrap().handlers,
                [(".md".into(), "/h".into())]
            );
        }
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            &["--add-handler", ".tar.gz", "/h"][..],
            &["--add-handler", ".", "/h"],
            &["--add-handler", "a b", "/h"],
            &["--error-document", "200", "/x"],
            &["--error-document", "404", ""],
            &["--error-document", "404", "/%{file:/etc/passwd}"],
            &["--allow-override", "Everything"],
            &["--allow-override", "Options=a\nInclude"],
            &["--directory-index", ""],
        ] {
            let text = files(arguments).unwrap_err().to_string();
            assert!(text.contains(arguments[0]), "{text}");
        }
        let override_ = files(&["--allow-override", "fileinfo Limit", "--allow-override", "Options=Indexes"]);
        assert_eq!(override_.unwrap().allow_override, ["fileinfo", "Limit", "Options=Indexes"]);
    }
}
