"""Says what it gets of a trace, and answers with the status that it is asked for."""

from urllib.parse import parse_qs


def application(environ, start_response):
    if environ["PATH_INFO"] == "/log":
        print("a line of the application", file=environ["wsgi.errors"])
    status = parse_qs(environ["QUERY_STRING"]).get("status", ["200"])[0]
    text = "\n".join(environ.get(name, "") for name in ("HTTP_TRACEPARENT", "HTTP_TRACESTATE")).encode()
    start_response(f"{status} Told", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]
