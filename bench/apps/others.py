"""What the servers behind Apache are asked for: the applications beside this file, by path."""

import os
from importlib.machinery import SourceFileLoader
from types import ModuleType


def load(name):
    module = ModuleType("application_" + name)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".wsgi")
    SourceFileLoader(module.__name__, path).exec_module(module)
    return module.application


APPLICATIONS = {}
for name in "hello", "json", "flask", "django":
    try:
        APPLICATIONS["/" + name] = load(name)
    except ImportError:
        pass  # The framework is not installed, and not measured.


def application(environ, start_response):
    return APPLICATIONS[environ["PATH_INFO"].rstrip("/")](environ, start_response)


try:
    from a2wsgi import WSGIMiddleware
except ImportError:
    pass
else:
    asgi = WSGIMiddleware(application, workers=int(os.environ.get("BENCH_THREADS", "15")))
