"""Authentication: the user's name says what is returned. The application shows the outcome."""

import hashlib
import os
import sys
import time

RESULTS = {
    "none": None,
    "true": True,
    "false": False,
    "renamed": "somebody else",
    "beyond-latin-1": "J\u00f6rg \u20ac",
    "surrogate": "\ud800",
    "empty": "",
    "one": 1,
    "zero": 0,
    "bytes": b"true",
    "list": ["true"],
}


class Text(str):
    pass


def check_password(environ, user, password):
    log = environ["wsgi.errors"]
    print(f"check_password {user!a} {password!a} {type(user).__name__}", file=log)
    if user == "raises":
        raise RuntimeError("check_password fails")
    if user == "exits":
        sys.exit(3)
    if user == "text":
        return Text("a text")
    if user == "show":
        for name, value in sorted(environ.items()):
            print(f"shown {name} {value!a}", file=log)
        return True
    if user == "place":
        return f"{environ['mod_wsgi.process_group']} uid {os.getuid()} Python {sys.version_info[1]}"
    if user == "pid":
        return str(os.getpid())
    if user == "spins":
        while True:
            time.sleep(0.01)
    if user == "sleeps":
        time.sleep(3600)
    if user == "crashes":
        os.kill(os.getpid(), 11)
        # Another thread may have the signal.
        time.sleep(60)
    if user == "leaves":
        os._exit(7)
    if user == "forks":
        if os.fork() == 0:
            return True
        os.wait()
    if user == "group":
        return f"group <{environ['mod_wsgi.application_group']}>"
    if user in RESULTS:
        return RESULTS[user]
    if password != "secret":
        return None if user.startswith("unknown") else False
    return True


def get_realm_hash(environ, user, realm):
    print(f"get_realm_hash {user!a} {realm!a}", file=environ["wsgi.errors"])
    if user == "raises":
        raise RuntimeError("get_realm_hash fails")
    if user == "exits":
        sys.exit(3)
    if user == "none":
        return None
    if user == "empty":
        return ""
    if user == "empty-bytes":
        return b""
    if user == "one":
        return 1
    if user == "true":
        return True
    if user == "beyond":
        return "\u20ac"
    found = hashlib.md5(f"{user}:{realm}:secret".encode()).hexdigest()
    if user == "wrong":
        return found[::-1]
    return found.encode() if user == "bytes" else found


def application(environ, start_response):
    names = ["REMOTE_USER", "AUTH_TYPE", "HTTP_AUTHORIZATION", "mod_wsgi.process_group"]
    lines = [f"{name}\t{environ.get(name)!r}" for name in names]
    if environ["REQUEST_METHOD"] == "POST":
        lines.append(f"body\t{environ['wsgi.input'].read()!r}")
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["\n".join(lines).encode()]
