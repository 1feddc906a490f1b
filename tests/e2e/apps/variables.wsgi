"""Ends requests in the ways that make Apache look at its environment of them."""

import os


def application(environ, start_response):
    path = environ["PATH_INFO"]
    text = [("Content-Type", "text/plain")]
    if path == "/raise":
        raise RuntimeError("on purpose")
    if path == "/location":
        start_response("200 OK", [*text, ("Location", environ["SCRIPT_NAME"] + "/environ")])
        return [b""]
    if path.startswith("/status/"):
        start_response(path.removeprefix("/status/") + " Status", text)
        return [b"of the application"]
    if path == "/malformed":
        # No token, so Apache answers with 500 when it sends the head.
        start_response("200 OK", [*text, ("X(Y", "value")])
        return [b"of the application"]
    if path == "/read":
        environ["wsgi.input"].read()
    if path == "/page":
        start_response("200 OK", [("Content-Type", "text/html")])
        names = ["SCRIPT_NAME", "HTTP_X_ASKED", "mod_wsgi.path_info", "HTTPS"]
        return ["".join(f'{name}=<!--#echo var="{name}" -->;' for name in names).encode()]
    if path == "/file":
        file = open(__file__, "rb")
        start_response("200 OK", [*text, ("Content-Length", str(os.fstat(file.fileno()).st_size))])
        return environ["wsgi.file_wrapper"](file)
    lines = [f"{name}\t{value!r}" for name, value in sorted(environ.items())]
    start_response("200 OK", text)
    return ["\n".join(lines).encode()]
