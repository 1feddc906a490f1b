"""Calls start_response with the arguments of a case, and says how that ended."""

import sys


class Text(str):
    pass


class Items(list):
    pass


class Block(bytes):
    pass


PLAIN = [("Content-Type", "text/plain")]

CASES = {
    # Arguments.
    "no-arguments": lambda s: s(),
    "one-argument": lambda s: s("200 OK"),
    "four-arguments": lambda s: s("200 OK", [], None, None),
    "keywords": lambda s: s(status="200 OK", headers=[]),
    "headers-tuple": lambda s: s("200 OK", ()),
    "headers-none": lambda s: s("200 OK", None),
    "headers-dict": lambda s: s("200 OK", {}),
    "headers-subclass": lambda s: s("200 OK", Items(PLAIN)),
    "exc-info-list": lambda s: s("200 OK", [], [1, 2, 3]),
    "exc-info-text": lambda s: s("200 OK", [], "x"),
    "exc-info-none": lambda s: s("200 OK", [], None),
    "exc-info-short": lambda s: s("200 OK", [], (1, 2)),
    # Status.
    "status-bytes": lambda s: s(b"200 OK", []),
    "status-int": lambda s: s(200, []),
    "status-none": lambda s: s(None, []),
    "status-subclass": lambda s: s(Text("200 OK"), []),
    "status-wide": lambda s: s("200 \u2603", []),
    "status-latin": lambda s: s("200 caf\xe9", []),
    "status-short": lambda s: s("20", []),
    "status-empty": lambda s: s("", []),
    "status-long": lambda s: s("2000 OK", []),
    "status-sign": lambda s: s("+20 OK", []),
    "status-blank": lambda s: s(" 200 OK", []),
    "status-letters": lambda s: s("abc OK", []),
    "status-joined": lambda s: s("200OK", []),
    "status-tab-separated": lambda s: s("200\tOK", []),
    "status-digits-only": lambda s: s("200", []),
    "status-space-only": lambda s: s("200 ", []),
    "status-wide-digits": lambda s: s("\u0662\u0660\u0660 OK", []),
    "status-newline": lambda s: s("200 OK\n", []),
    "status-injection": lambda s: s("200 OK\r\nX-Evil: 1", []),
    "status-tab": lambda s: s("200 O\tK", []),
    "status-delete": lambda s: s("200 O\x7fK", []),
    "status-nul": lambda s: s("200 O\0K", []),
    "status-zero": lambda s: s("000 None", []),
    "status-interim": lambda s: s("100 Continue", []),
    "status-upgrade": lambda s: s("101 Switching Protocols", []),
    "status-least": lambda s: s("200 OK", []),
    "status-most": lambda s: s("599 Odd", []),
    "status-beyond": lambda s: s("600 Odd", []),
    "status-nines": lambda s: s("999 Denied", []),
    # Headers.
    "item-list": lambda s: s("200 OK", [["A", "b"]]),
    "item-text": lambda s: s("200 OK", ["Ab"]),
    "item-none": lambda s: s("200 OK", [None]),
    "item-one": lambda s: s("200 OK", [("A",)]),
    "item-three": lambda s: s("200 OK", [("A", "b", "c")]),
    "name-bytes": lambda s: s("200 OK", [(b"A", "b")]),
    "name-none": lambda s: s("200 OK", [(None, "b")]),
    "name-empty": lambda s: s("200 OK", [("", "b")]),
    "name-space": lambda s: s("200 OK", [("A B", "b")]),
    "name-newline": lambda s: s("200 OK", [("A\n", "b")]),
    "name-injection": lambda s: s("200 OK", [("A: b\r\nEvil", "b")]),
    "name-tab": lambda s: s("200 OK", [("A\t", "b")]),
    "name-nul": lambda s: s("200 OK", [("A\0B", "b")]),
    "name-wide": lambda s: s("200 OK", [("\u2603", "b")]),
    "value-bytes": lambda s: s("200 OK", [("A", b"b")]),
    "value-int": lambda s: s("200 OK", [("Content-Length", 5)]),
    "value-none": lambda s: s("200 OK", [("A", None)]),
    "value-newline": lambda s: s("200 OK", [("A", "b\n")]),
    "value-return": lambda s: s("200 OK", [("A", "b\rc")]),
    "value-injection": lambda s: s("200 OK", [("A", "b\r\nEvil: 1")]),
    "value-quotes": lambda s: s("200 OK", [("A", "it's\n")]),
    "value-nul": lambda s: s("200 OK", [("A", "b\0c")]),
    "value-wide": lambda s: s("200 OK", [("A", "\u2603")]),
    "value-tab": lambda s: s("200 OK", [("A", "b\tc")]),
    "value-empty": lambda s: s("200 OK", [("A", "")]),
    "value-latin": lambda s: s("200 OK", [("A", "caf\xe9")]),
    "length-bad": lambda s: s("200 OK", [("Content-Length", "5x")]),
    "length-first-bad": lambda s: s("200 OK", [("Content-Length", "x"), ("Content-Length", "5")]),
    "lengths": lambda s: s("200 OK", [("Content-Length", "4"), ("content-length", "5")]),
    "length-twice": lambda s: s("200 OK", [("Content-Length", "5"), ("content-length", "5")]),
    "order": lambda s: s("200 OK", [("", b"x"), (None, None)]),
    "status-before-headers": lambda s: s("nonsense", [None]),
}


def ending(action):
    try:
        action()
    except BaseException as error:
        return type(error).__name__
    return "accepted"


def table(environ, start_response):
    lines = [f"{name}\t{ending(lambda: case(start_response))}" for name, case in CASES.items()]
    start_response("200 OK", list(PLAIN))
    return ["\n".join(lines).encode()]


def texts(environ, start_response):
    """Says for each case what was raised, with its text."""
    lines = [f"{name}\t{text(lambda: case(start_response))}" for name, case in CASES.items()]
    start_response("200 OK", list(PLAIN))
    return ["\n".join(lines).encode()]


def text(action):
    try:
        action()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def result(environ, start_response):
    write = start_response("200 OK", list(PLAIN))
    lines = [f"callable\t{callable(write)}"]
    for name, value in [
        ("str", "x"),
        ("bytearray", bytearray(b"x")),
        ("memoryview", memoryview(b"x")),
        ("none", None),
        ("int", 1),
    ]:
        lines.append(f"{name}\t{ending(lambda: write(value))}")
    lines.append(f"result\t{write(b'')!r}")
    lines.append(f"subclass\t{ending(lambda: write(Block(b'')))}")
    return ["\n".join(lines).encode()]


def twice(environ, start_response):
    start_response("404 Not Found", [("X-First", "1")])
    start_response("201 Created", [("X-Second", "2")])
    return [b"", b"second"]


def failed_twice(environ, start_response):
    start_response("202 Accepted", [("X-First", "1")])
    ending(lambda: start_response("200 OK", [("A", "b\n")]))
    return [b"first"]


def replaced(environ, start_response):
    try:
        start_response("200 OK", [("X-First", "1")])
        raise KeyError("lost")
    except KeyError:
        start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


def after_empty(environ, start_response):
    yield b""
    start_response("203 Late", [])
    yield b"late"


def snapshot(environ, start_response):
    headers = [("X-Kept", "1")]
    start_response("200 OK", headers)
    headers.append(("X-Later", "1"))
    headers[0] = ("X-Kept", "2")
    return [b"snapshot"]


def late(environ, start_response, ending=ending):
    """Headers are sent by write(b""), and then start_response refuses."""
    write = start_response("200 OK", list(PLAIN))
    write(b"")
    lines = [f"again\t{ending(lambda: start_response('404 Not Found', []))}"]
    try:
        raise KeyError("mine")
    except KeyError:
        info = sys.exc_info()
    lines.append(f"reraised\t{ending(lambda: start_response('500 Oops', [], info))}")
    lines.append(f"short\t{ending(lambda: start_response('500 Oops', [], (1, 2)))}")
    lines.append(f"not-a-tuple\t{ending(lambda: start_response('500 Oops', [], [1]))}")
    write(("\n".join(lines)).encode())
    return []


def late_texts(environ, start_response):
    return late(environ, start_response, text)


kept = {}


def keep(environ, start_response):
    kept["start_response"] = start_response
    kept["write"] = start_response("200 OK", list(PLAIN))
    return [b"kept"]


def use(environ, start_response):
    lines = [
        f"start_response\t{ending(lambda: kept['start_response']('200 OK', []))}",
        f"write\t{ending(lambda: kept['write'](b'x'))}",
    ]
    start_response("200 OK", list(PLAIN))
    return ["\n".join(lines).encode()]


def headers(environ, start_response):
    start_response(
        "299 Caf\xe9 time",
        [
            ("Content-Type", "text/first"),
            ("Content-Type", "Text/Last; Charset=x"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-Many", "1"),
            ("x-many", "2"),
            ("X-Latin", "caf\xe9"),
            ("Status", "404 Not Found"),
            ("Location", "/elsewhere"),
        ],
    )
    return [b"headers"]


def no_type(environ, start_response):
    start_response("200 OK", [])
    return [b"untyped"]


def status(environ, start_response):
    start_response(environ["QUERY_STRING"].replace("+", " "), list(PLAIN))
    return [b"body"]


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)
