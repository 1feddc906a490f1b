//! Requests that Apache serves itself, and those that go to the application.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use e2e::Needs::{Daemon, Ours};
use e2e::{Response, Test, test};

use super::server::{Express, Site};

pub(super) const TESTS: &[Test] = &[
    test!(aliases_files_directories_and_the_application_in_this_order, Daemon),
    test!(an_index_keeps_directories_from_the_application, Daemon),
    test!(outside_of_the_mount_point_there_are_files_only, Daemon),
    test!(directories_scripts_and_rewriting_of_the_document_root, Daemon, Ours("such checks and messages")),
    test!(responses_are_compressed_and_statuses_shown, Daemon, Ours("documentation that is installed")),
    test!(rules_in_the_server_root_survive, Daemon, Ours("such checks and messages")),
];

const APPLICATION: &str = r#"
def application(environ, start_response):
    body = ("%s|%s" % (environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

/// Prints the file that it is asked for.
const RESOURCE: &str = r#"
def handle_request(environ, start_response):
    name, path = environ["SCRIPT_FILENAME"].rsplit("/", 1)[1], environ["PATH_INFO"]
    body = f"{__name__}|{name}|{environ['SCRIPT_NAME']}|{path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

fn site() -> Site {
    let site = Site::new();
    for directory in ["docs", "docs/sub", "docs/indexed", "docs/shop", "assets"] {
        fs::create_dir(site.path(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    }
    site.write("app.wsgi", APPLICATION);
    site.write("resource.py", RESOURCE);
    site.write("docs/file.txt", "file");
    site.write("docs/page.md", "page");
    site.write("docs/indexed/index.html", "index");
    site.write("assets/asset.txt", "asset");
    site.write("assets/note.md", "note");
    site
}

fn outcome(response: &Response) -> String {
    match response.status {
        200 => response.text(),
        301 => {
            let target = response.header("Location").unwrap_or_default();
            format!("-> {}", target.splitn(4, '/').nth(3).unwrap_or_default())
        }
        status => status.to_string(),
    }
}

fn check(server: &Express, table: &[(&str, &str)]) {
    for (target, expected) in table {
        let response = server.ask("GET", target, "", "");
        assert_eq!(outcome(&response), *expected, "{target}: {}\n{}", response.text(), server.log());
    }
}

const DOCUMENTS: [&str; 5] = ["--document-root", "docs", "--url-alias", "/assets", "assets"];

fn aliases_files_directories_and_the_application_in_this_order() {
    let server = Express::serve(site(), &[&DOCUMENTS[..], &["--add-handler", ".md", "resource.py"]].concat());
    check(
        &server,
        &[
            ("/file.txt", "file"),
            ("//file.txt", "file"),
            ("/file.txt?x=/y", "file"),
            ("/file.txt/more", "404"),
            ("/", "|/"),
            ("/sub", "-> sub/"),
            ("/sub/", "|/sub/"),
            ("/sub//deeper", "|/sub/deeper"),
            ("/indexed", "-> indexed/"),
            ("/indexed/", "index"),
            ("/page.md", "__wsgi_resource_md__|page.md|/page.md|"),
            ("/page.md/more", "__wsgi_resource_md__|page.md|/page.md|/more"),
            ("/missing.md", "|/missing.md"),
            ("/assets/asset.txt", "asset"),
            ("/assets/missing", "404"),
            ("/assets/note.md", "__wsgi_resource_md__|note.md|/assets/note.md|"),
            // As with the original: the script decides about what does not exist.
            ("/assets/missing.md", "__wsgi_resource_md__|missing.md|/assets/missing.md|"),
            ("/other/deep/", "|/other/deep/"),
            ("/%3Ffile.txt", "|/?file.txt"),
            ("/a%20b%25", "|/a b%"),
        ],
    );
}

fn an_index_keeps_directories_from_the_application() {
    let server = Express::serve(site(), &[&DOCUMENTS[..], &["--directory-index", "index.html"]].concat());
    check(
        &server,
        &[
            ("/", "404"),
            ("/sub", "-> sub/"),
            ("/sub/", "404"),
            ("/indexed/", "index"),
            ("/file.txt", "file"),
            ("/other", "|/other"),
        ],
    );
}

fn outside_of_the_mount_point_there_are_files_only() {
    let server = Express::serve(site(), &[&DOCUMENTS[..], &["--mount-point", "/shop"]].concat());
    check(
        &server,
        &[
            ("/file.txt", "file"),
            ("/", "404"),
            ("/shop", "-> shop/"),
            ("/shop/", "/shop|/"),
            ("/shop/deep", "/shop|/deep"),
            ("/shop//deep", "/shop|/deep"),
            ("/shopping", "404"),
            ("/sub/", "404"),
            ("/indexed/", "index"),
            ("/assets/asset.txt", "asset"),
        ],
    );
}

fn directories_scripts_and_rewriting_of_the_document_root() {
    let site = site();
    site.write(
        "docs/run.cgi",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\ncgi %s' \"$QUERY_STRING\"\n",
    );
    fs::set_permissions(site.path("docs/run.cgi"), Permissions::from_mode(0o755))
        .unwrap_or_else(|error| panic!("run.cgi: {error}"));
    site.write("docs/.htaccess", "Header set X-Override yes\n");
    site.write("rules.conf", "RewriteRule ^old/(.*)$ /new/$1 [R=301,L]\nRewriteRule ^inner$ /file.txt [L]\n");
    site.write("docs/missing.html", "the error page");
    let server = Express::serve(
        site,
        &[
            "--document-root",
            "docs",
            "--directory-index",
            "none.html",
            "--directory-listing",
            "--with-cgi",
            "--allow-override",
            "FileInfo",
            "--rewrite-rules",
            "rules.conf",
            "--error-document",
            "403",
            "/missing.html",
            "--error-document",
            "404",
            "/missing.html",
            "--error-document",
            "411",
            "How \"long\"?",
            "--add-handler",
            "md",
            "resource.py",
            "--with-php5",
            "--url-alias",
            "/same",
            "docs",
        ],
    );
    check(
        &server,
        &[
            ("/run.cgi?a", "cgi a"),
            // The alias takes nothing away from the directory.
            ("/same/run.cgi?b", "cgi b"),
            ("/old/x", "-> new/x"),
            ("/inner", "file"),
            ("/application", "|/application"),
            ("/page.md", "__wsgi_resource_md__|page.md|/page.md|"),
        ],
    );
    let listing = server.ask("GET", "/sub/", "", "");
    assert!(listing.status == 200 && listing.text().contains("Index of /sub"), "{}", listing.text());
    assert_eq!(server.ask("GET", "/file.txt", "", "").header("X-Override"), Some("yes"));
    let missing = server.ask("GET", "/file.txt/more", "", "");
    assert_eq!((missing.status, missing.text().as_str()), (404, "the error page"));
    let chunked = server.ask("POST", "/application", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
    assert_eq!((chunked.status, chunked.text().as_str()), (411, "How \"long\"?"));
    assert!(server.read("output").contains("--with-php5 is without effect"), "{}", server.read("output"));
}

fn responses_are_compressed_and_statuses_shown() {
    let options =
        [&DOCUMENTS[..], &["--compress-responses", "--server-status", "--enable-docs", "--enable-sendfile"]];
    let site = site();
    site.write("docs/large.txt", &"a line\n".repeat(1000));
    let server = Express::serve(site, &options.concat());
    for target in ["/x", "/large.txt"] {
        let compressed = server.ask("GET", target, "Accept-Encoding: gzip\r\n", "");
        assert_eq!(compressed.header("Content-Encoding"), Some("gzip"), "{target}: {:?}", compressed.headers);
        let plain = server.ask("GET", target, "", "");
        assert_eq!((plain.status, plain.header("Content-Encoding")), (200, None), "{target}");
    }
    let status = server.ask("GET", "/server-status?auto", "", "");
    assert!(status.status == 200 && status.text().contains("BusyWorkers"), "{}", status.text());
    let line = format!("Server Status      : http://127.0.0.1:{}/server-status\n", server.port);
    assert!(server.read("output").contains(&line), "{}", server.read("output"));
    let processes = server.ask("GET", "/wsgi-status?format=json", "", "");
    assert!(processes.status == 200 && processes.text().contains("\"schema\":1"), "{}", processes.text());
    let line = format!("Process Status     : http://127.0.0.1:{}/wsgi-status\n", server.port);
    assert!(server.read("output").contains(&line), "{}", server.read("output"));
    let docs = server.ask("GET", "/__wsgi__/docs/", "", "");
    let results = "project/bench/RESULTS.md";
    assert!(docs.status == 200 && docs.text().contains(results), "{} {}", docs.status, docs.text());
    for (document, text) in [("express.md", "--enable-docs"), (results, "# ")] {
        let document = server.ask("GET", &format!("/__wsgi__/docs/{document}"), "", "");
        assert!(
            document.status == 200 && document.text().contains(text),
            "{} {}",
            document.status,
            document.text()
        );
    }

    let without = Express::start(&[]);
    assert_eq!(without.ask("GET", "/server-status", "", "").value("received").as_deref(), Some("0"));
    let plain = without.ask("GET", "/", "Accept-Encoding: gzip\r\n", "");
    assert_eq!(plain.header("Content-Encoding"), None);
}

fn rules_in_the_server_root_survive() {
    let site = site();
    fs::create_dir(site.path("root")).unwrap_or_else(|error| panic!("root: {error}"));
    site.write("root/rewrite.conf", "RewriteRule ^old$ /file.txt [L]\n");
    fs::set_permissions(site.path("root"), Permissions::from_mode(0o711))
        .unwrap_or_else(|error| panic!("root: {error}"));
    let server = Express::serve(site, &DOCUMENTS);
    check(&server, &[("/old", "file"), ("/new", "|/new")]);
}
