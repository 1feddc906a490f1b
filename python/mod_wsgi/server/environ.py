"""The former place of mod_wsgi.diagnostics.environ."""

from mod_wsgi.diagnostics.environ import application

__all__ = ["application"]
