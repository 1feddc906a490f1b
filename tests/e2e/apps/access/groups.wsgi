"""Groups: the user's name says what is returned."""

import sys


def failing():
    yield "staff"
    raise RuntimeError("the groups end early")


def early():
    yield "others"
    raise RuntimeError("the groups end early")


RESULTS = {
    "list": ["others", "staff"],
    "tuple": ("staff",),
    "set": {"staff"},
    "bytes": [b"staff"],
    "case": ["StAfF"],
    "two-words": ["Two Words"],
    "latin-1": ["J\u00f6rg"],
    "no-groups": [],
    "other": ["others"],
    "number": ["staff", 1],
    "number-first": [1, "staff"],
    "beyond": ["staff", "\u20ac"],
    "beyond-first": ["\u20ac", "staff"],
    "not-iterable": 1,
    "none": None,
    "text": "staff",
    "dict": {"staff": 1},
    "prefix": ["staffs", "staf"],
}


def groups_for_user(environ, user):
    log = environ["wsgi.errors"]
    print(f"groups_for_user {user!a} {type(user).__name__}", file=log)
    if user == "raises":
        raise RuntimeError("groups_for_user fails")
    if user == "exits":
        sys.exit(3)
    if user == "generator":
        return (name for name in ["others", "staff"])
    if user == "failing":
        return failing()
    if user == "ends-early":
        return early()
    if user == "show":
        for name, value in sorted(environ.items()):
            print(f"shown {name} {value!a}", file=log)
    return RESULTS.get(user, ["staff"])
