"""Dispatch: the query string has a Python expression for each function's result."""

import sys
from urllib.parse import parse_qs

calls = []


def answer(name, environ):
    fields = parse_qs(environ["QUERY_STRING"])
    if environ not in calls:
        calls[:] = [environ]
    print(f"{name} called {id(environ)}", file=environ["wsgi.errors"])
    if "show" in fields and name == "process_group":
        for key, value in sorted(environ.items()):
            print(f"shown {key} {value!a}", file=environ["wsgi.errors"])
        print(f"names {','.join(sorted(environ))} end", file=environ["wsgi.errors"])
    return eval(fields.get(name, ["None"])[0])


def process_group(environ):
    return answer("process_group", environ)


def application_group(environ):
    return answer("application_group", environ)


def callable_object(environ):
    return answer("callable_object", environ)
