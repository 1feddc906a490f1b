"""The part of mod_wsgi that is written in Python.

In processes that run applications, the server creates the module `mod_wsgi` with the functions and values of its
interface. That module finds the submodules here.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
