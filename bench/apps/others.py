"""What the servers behind Apache are asked for: the applications beside this file, by path."""

import os
from importlib.machinery import SourceFileLoader
from types import ModuleType


def load(name):
    module = ModuleType("application_" + name)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".wsgi")
    SourceFileLoader(module.__name__, path).exec_module(module)
    return module.application


APPLICATIONS = {"/hello": load("hello"), "/json": load("json")}


def application(environ, start_response):
    return APPLICATIONS[environ["PATH_INFO"]](environ, start_response)
