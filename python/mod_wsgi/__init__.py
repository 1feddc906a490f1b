"""The part of mod_wsgi that is written in Python.

Where applications run, the module `mod_wsgi` is made by the server, with the functions and values of its interface; it
finds the submodules here.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
