"""The command of Django under the former name of its package."""

from mod_wsgi.express.management.commands.runmodwsgi import Command

__all__ = ["Command"]
