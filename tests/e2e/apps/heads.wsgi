"""Sends heads of all kinds."""

from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    one = lambda name, default: query.get(name, [default])[0]
    headers = [("Content-Length", "5")]
    # Fields as name:value; and so many of one name, each so long.
    headers += [tuple(field.split(":", 1)) for field in query.get("field", [])]
    name, count, length = one("name", "X"), int(one("count", "0")), int(one("length", "0"))
    for number in range(count):
        headers.append((name.replace("@", str(number)), "x" * length))
    if "generator" in query:
        start_response(one("status", "200 OK"), headers)
        return iter([b"hello"])
    start_response(one("status", "200 OK"), headers)
    return [b"hello"]
