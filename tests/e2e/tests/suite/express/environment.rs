//! Variables, programs and paths.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use e2e::Needs::{Daemon, Ours};
use e2e::{Test, test};

use super::server::{Express, Site};

pub(super) const TESTS: &[Test] = &[test!(
    variables_programs_and_paths_are_those_that_were_named,
    Daemon,
    Ours("such checks and messages")
)];

const APPLICATION: &str = r#"
import os

def application(environ, start_response):
    names = ["SHOP_COLOUR", "SHOP_REGION", "SHOP_SHELL"]
    lines = [f"{name}\t{environ.get(name)}\n" for name in names]
    names = ["SHOP_COLOUR", "SHOP_REGION", "MOD_WSGI_EXPRESS", "MOD_WSGI_SERVER_NAME", "MOD_WSGI_WORKING_DIRECTORY"]
    lines += [f"process {name}\t{os.environ.get(name)}\n" for name in names]
    body = "".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

fn variables_programs_and_paths_are_those_that_were_named() {
    let site = Site::new();
    site.write("app.wsgi", APPLICATION);
    site.write("it's env.sh", "export SHOP_REGION=north\n");
    site.write("types", "text/x-shop shop\n");
    site.write("item.shop", "item");
    site.write("shell", "#!/bin/sh\nexport SHOP_SHELL=own\nexec /bin/sh \"$@\"\n");
    fs::set_permissions(site.path("shell"), Permissions::from_mode(0o755))
        .unwrap_or_else(|error| panic!("shell: {error}"));
    let server = Express::serve(
        site,
        &[
            "--setenv",
            "SHOP_COLOUR",
            "dark \"red\" \\ %{x}",
            "--passenv",
            "SHOP_REGION",
            "--passenv",
            "SHOP_SHELL",
            "--envvars-script",
            "it's env.sh",
            "--mime-types",
            "types",
            "--shell-executable",
            "shell",
            "--pid-file",
            "own.pid",
            "--url-alias",
            "/item.shop",
            "item.shop",
        ],
    );
    let response = server.get();
    for (name, expected) in [
        ("SHOP_COLOUR", "dark \"red\" \\ %{x}"),
        ("SHOP_REGION", "north"),
        ("SHOP_SHELL", "own"),
        ("process SHOP_COLOUR", "None"),
        ("process SHOP_REGION", "north"),
        ("process MOD_WSGI_EXPRESS", "true"),
        ("process MOD_WSGI_SERVER_NAME", "127.0.0.1"),
    ] {
        assert_eq!(response.value(name).as_deref(), Some(expected), "{name}\n{}", server.log());
    }
    assert_eq!(server.ask("GET", "/item.shop", "", "").header("Content-Type"), Some("text/x-shop"));
    assert_eq!(server.read("own.pid").trim(), server.process.id().to_string());
}
