"""Prints the environ, one `name<TAB>repr` line each."""


def application(environ, start_response):
    lines = [f"{name}\t{value!r}" for name, value in sorted(environ.items())]
    body = "\n".join(lines).encode("utf-8")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def other(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"other"]


number = 7
