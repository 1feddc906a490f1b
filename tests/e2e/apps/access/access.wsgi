"""An access script: the query string says what it returns. What it was called with is in the log."""

import sys

RESULTS = {
    "": True,
    "true": True,
    "false": False,
    "none": None,
    "one": 1,
    "zero": 0,
    "text": "True",
    "bytes": b"True",
    "list": [True],
}
kept = []


def allow_access(environ, host):
    what = environ["QUERY_STRING"]
    log = environ["wsgi.errors"]
    print(f"allow_access {what} for {type(host).__name__} {host!r}", file=log)
    if what == "raises":
        raise RuntimeError("allow_access fails")
    if what == "exits":
        sys.exit(3)
    if what == "interrupts":
        raise KeyboardInterrupt("allow_access interrupts")
    if what == "show":
        for name, value in sorted(environ.items()):
            print(f"shown {name} {value!a}", file=log)
        print(f"names {','.join(sorted(environ))} end", file=log)
    if what == "ssl":
        show_tls(environ, log)
    if what == "keep":
        kept.append(environ)
    if what == "kept":
        show_kept(kept.pop(), log)
    return RESULTS.get(what, True)


def show_tls(environ, log):
    lookup = environ["mod_ssl.var_lookup"]
    print(f"is_https {environ['mod_ssl.is_https']()!r}", file=log)
    for name in ["SSL_PROTOCOL", b"HTTPS", "SSL_NOTHING", "SERVER_NAME"]:
        print(f"lookup {name!r} {lookup(name)!r}", file=log)
    for arguments in [(1,), (None,), (), ("A", "B"), ("\u20ac",)]:
        try:
            outcome = repr(lookup(*arguments))
        except Exception as error:
            outcome = type(error).__name__
        print(f"lookup of {len(arguments)} {arguments[:1]!a} {outcome}", file=log)
    try:
        environ["mod_ssl.is_https"](1)
    except TypeError:
        print("is_https of 1 TypeError", file=log)


def show_kept(environ, log):
    for name, arguments in [("mod_ssl.is_https", ()), ("mod_ssl.var_lookup", ("SSL_PROTOCOL",))]:
        try:
            outcome = repr(environ[name](*arguments))
        except Exception as error:
            outcome = type(error).__name__
        print(f"kept {name} {outcome}", file=log)
